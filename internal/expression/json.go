// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxNesting bounds how deep data may be nested when it is decoded or printed.
const maxNesting = 200

// DecodeJSON reads one JSON text into values, keeping the order of object keys and integers as integers.
func DecodeJSON(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	value, err := decodeJSON(decoder, 0)
	if err != nil {
		return nil, fmt.Errorf("invalid JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("invalid JSON: more text after the end of the value")
	}
	return value, nil
}

func decodeJSON(decoder *json.Decoder, depth int) (any, error) {
	token, err := decoder.Token()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if depth > maxNesting {
		return nil, fmt.Errorf("nested deeper than %d levels", maxNesting)
	}
	switch t := token.(type) {
	case json.Number:
		return fromNumber(t), nil
	case json.Delim:
		if t == '[' {
			return decodeArray(decoder, depth)
		}
		return decodeObject(decoder, depth)
	default:
		return t, nil
	}
}

func decodeArray(decoder *json.Decoder, depth int) (any, error) {
	list := []any{}
	for decoder.More() {
		item, err := decodeJSON(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := decoder.Token()
	return list, err
}

func decodeObject(decoder *json.Decoder, depth int) (any, error) {
	m := NewMap()
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		item, err := decodeJSON(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		m.Set(key.(string), item)
	}
	_, err := decoder.Token()
	return m, err
}

// jsonStyle is how Python's json.dumps lays out its text.
type jsonStyle struct {
	indent           int // 0 means one line
	sorted           bool
	keepUnicode      bool // Python's ensure_ascii=False
	separator, colon string
}

// writeJSON writes a value as Python's json.dumps does; limit bounds the length of the text.
func writeJSON(b *strings.Builder, value any, style jsonStyle, level, limit int) error {
	if b.Len() > limit {
		return ErrBudget
	}
	if level > maxNesting {
		return fmt.Errorf("the value is nested deeper than %d levels", maxNesting)
	}
	switch v := value.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		if v {
			b.WriteString("true")
		} else {
			b.WriteString("false")
		}
	case int64, float64:
		text, _ := text(v)
		b.WriteString(jsonNumber(text))
	case string:
		writeJSONString(b, v, style.keepUnicode)
	case []any:
		return writeJSONItems(b, '[', ']', len(v), style, level, func(i int) error {
			return writeJSON(b, v[i], style, level+1, limit)
		})
	case Mapping:
		return writeJSONMapping(b, v, style, level, limit)
	case Undefined:
		return &UndefinedError{v}
	default:
		return fmt.Errorf("a value of type %T cannot be written as JSON", value)
	}
	return nil
}

func writeJSONMapping(b *strings.Builder, m Mapping, style jsonStyle, level, limit int) error {
	keys := m.Keys()
	if style.sorted {
		keys = slices.Sorted(slices.Values(keys))
	}
	return writeJSONItems(b, '{', '}', len(keys), style, level, func(i int) error {
		item, _, err := get(m, keys[i])
		if err != nil {
			return err
		}
		writeJSONString(b, keys[i], style.keepUnicode)
		b.WriteString(style.colon)
		return writeJSON(b, item, style, level+1, limit)
	})
}

func writeJSONItems(b *strings.Builder, open, end byte, n int, style jsonStyle, level int, item func(int) error) error {
	b.WriteByte(open)
	for i := range n {
		if i > 0 {
			b.WriteString(style.separator)
		}
		if style.indent > 0 {
			b.WriteString("\n" + strings.Repeat(" ", style.indent*(level+1)))
		}
		if err := item(i); err != nil {
			return err
		}
	}
	if n > 0 && style.indent > 0 {
		b.WriteString("\n" + strings.Repeat(" ", style.indent*level))
	}
	b.WriteByte(end)
	return nil
}

// jsonNumber spells the numbers that JSON does not know as Python does.
func jsonNumber(text string) string {
	switch text {
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	case "nan":
		return "NaN"
	}
	return text
}

func writeJSONString(b *strings.Builder, s string, keepUnicode bool) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case writeEscaped(b, r, '"'):
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < 0x20 || (r >= 0x7f && r <= 0xffff && !keepUnicode):
			fmt.Fprintf(b, `\u%04x`, r)
		case r >= utf8.RuneSelf && !keepUnicode:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
