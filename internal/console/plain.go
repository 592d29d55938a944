// SPDX-License-Identifier: MPL-2.0

package console

import (
	"strings"
	"unicode"
)

// Plain makes text that a host sent harmless for a terminal: control characters, escape sequences' introducers and
// characters that change the writing direction are dropped; line breaks and tabs stay.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), r == unicode.ReplacementChar, r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F:
			return -1
		}
		return r
	}, text)
}
