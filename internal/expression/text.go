// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// text is Python's str(): what a value looks like inside a larger text.
func text(value any) (string, error) {
	if s, ok := value.(string); ok {
		return s, nil
	}
	var b strings.Builder
	err := writeRepr(&b, value, 0)
	return b.String(), err
}

// writeRepr is Python's repr().
func writeRepr(b *strings.Builder, value any, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("the value is nested deeper than %d levels", maxNesting)
	}
	switch v := value.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(floatText(v))
	case string:
		writeQuoted(b, v)
	case []any:
		b.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			if err := writeRepr(b, item, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case Mapping:
		return writeReprMapping(b, v, depth)
	case Undefined:
		return &UndefinedError{v}
	default:
		return fmt.Errorf("a value of type %T cannot be used in an expression", value)
	}
	return nil
}

func writeReprMapping(b *strings.Builder, m Mapping, depth int) error {
	b.WriteByte('{')
	for i, key := range m.Keys() {
		if i > 0 {
			b.WriteString(", ")
		}
		item, _, err := get(m, key)
		if err != nil {
			return err
		}
		writeQuoted(b, key)
		b.WriteString(": ")
		if err := writeRepr(b, item, depth+1); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// floatText is Python's repr of a float: the shortest digits, always told apart from an int.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	if size := math.Abs(f); f != 0 && (size >= 1e16 || size < 1e-4) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// writeQuoted writes a string as Python's repr does: single quotes unless only those occur inside.
func writeQuoted(b *strings.Builder, s string) {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case writeEscaped(b, r, quote):
		case r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
}

// writeEscaped writes the quote, the backslash and the usual controls, which repr and JSON escape alike; it tells whether r is one of these.
func writeEscaped(b *strings.Builder, r, quote rune) bool {
	switch r {
	case quote, '\\':
		b.WriteByte('\\')
		b.WriteRune(r)
	case '\n':
		b.WriteString(`\n`)
	case '\r':
		b.WriteString(`\r`)
	case '\t':
		b.WriteString(`\t`)
	default:
		return false
	}
	return true
}
