// SPDX-License-Identifier: MPL-2.0

package console

import (
	"encoding/json"
	"fmt"
	"io"
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
		case hidden(r):
			return -1
		}
		return r
	}, text)
}

// hidden tells whether a character does something to a terminal, or to how the text around it is read.
func hidden(r rune) bool {
	return unicode.IsControl(r) || r == unicode.ReplacementChar || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 || r == 0x200E || r == 0x200F
}

// NewEncoder writes values as lines of JSON that a terminal can be shown: encoding/json escapes the control characters
// of ASCII, this also those beyond it and the ones that change the writing direction. Nothing is lost by that.
func NewEncoder(out io.Writer) *json.Encoder { return json.NewEncoder(escaping{out}) }

// escaping is given whole values by json.Encoder. Outside of JSON's strings there are no such characters but line breaks.
type escaping struct{ out io.Writer }

func (e escaping) Write(text []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(text) {
		if r != '\n' && hidden(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	if _, err := io.WriteString(e.out, b.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}
