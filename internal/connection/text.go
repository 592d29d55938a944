// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"strings"
	"unicode"
)

// maxShown bounds how much of a host's own words goes into an error, in bytes.
const maxShown = 500

// printable makes text that came from a host fit for one line of an error: control characters become spaces, and the
// end is kept, where programs say why they gave up.
func printable(text string) string {
	text = strings.ToValidUTF8(text, "?")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxShown {
		text = "..." + strings.ToValidUTF8(text[len(text)-maxShown:], "")
	}
	return text
}
