// SPDX-License-Identifier: MPL-2.0

package console

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"drover/internal/printable"
)

// NewEncoder writes values as lines of JSON that a terminal can be shown: encoding/json escapes the control characters
// of ASCII, this also those beyond it and the ones that change the writing direction. Nothing is lost by that.
func NewEncoder(out io.Writer) *json.Encoder { return json.NewEncoder(escaping{out}) }

// escaping is given whole values by json.Encoder. Outside of JSON's strings there are no such characters but line breaks.
type escaping struct{ out io.Writer }

func (e escaping) Write(text []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(text) {
		if r == '\n' || !printable.Hidden(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	if _, err := io.WriteString(e.out, b.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}
