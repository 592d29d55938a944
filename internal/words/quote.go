// SPDX-License-Identifier: MPL-2.0

package words

import "strings"

// Quote makes text one word, for a POSIX shell and for Split. NUL cannot be said in a shell and is dropped.
func Quote(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	if text != "" && strings.Trim(text, plainCharacters) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'"
}

// plainCharacters mean nothing special to any shell. A tilde, an equals sign and a hash do in some places.
const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@,+"
