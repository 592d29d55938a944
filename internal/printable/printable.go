// SPDX-License-Identifier: MPL-2.0

// Package printable makes text that hosts send harmless for a terminal.
package printable

import (
	"strings"
	"unicode"
)

// Text drops hidden characters; line breaks and tabs stay.
func Text(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && Hidden(r) {
			return -1
		}
		return r
	}, text)
}

// Line makes one line: hidden characters, line breaks and tabs among them, separate words as spaces do.
func Line(text string) string {
	text = strings.Map(func(r rune) rune {
		if Hidden(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	return strings.Join(strings.Fields(text), " ")
}

// Hidden tells whether a character does something to a terminal, or to how the text around it is read: control
// characters, the introducers of escape sequences, and format characters, which change the writing direction or show nothing.
func Hidden(r rune) bool {
	return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r)
}
