// SPDX-License-Identifier: MPL-2.0

package connection

import "strings"

// quote makes text one word of a POSIX shell. Everything that reaches a remote shell from outside this package passes
// here. NUL cannot be said in a shell and is dropped.
func quote(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	if text != "" && strings.Trim(text, plainCharacters) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'"
}

// plainCharacters mean nothing special to any shell. A tilde, an equals sign and a hash do in some places.
const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@,+"
