// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what a value is.
type Kind string

// Kinds of values. Null is JSON's.
const (
	Null   Kind = "null"
	Bool   Kind = "boolean"
	Number Kind = "number"
	String Kind = "text"
	List   Kind = "list"
	Block  Kind = "block"
)

// Value is the value of an attribute.
type Value struct {
	Kind Kind
	Text string   // of a literal, without quotation marks
	List []string // of a List; empty where it holds anything but literals
}

// ValueOf takes over a boolean, an integer, a number, a text or a list of texts.
func ValueOf(value any) (Value, error) {
	switch v := value.(type) {
	case bool:
		return Value{Kind: Bool, Text: strconv.FormatBool(v)}, nil
	case int:
		return Value{Kind: Number, Text: strconv.Itoa(v)}, nil
	case int64:
		return Value{Kind: Number, Text: strconv.FormatInt(v, 10)}, nil
	case float64:
		return Value{Kind: Number, Text: strconv.FormatFloat(v, 'f', -1, 64)}, nil
	case string:
		if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			return Value{}, fmt.Errorf("the text is not UTF-8 or holds a zero byte")
		}
		return Value{Kind: String, Text: v}, nil
	case []any:
		list := Value{Kind: List}
		for _, item := range v {
			text, err := ValueOf(item)
			if err != nil || text.Kind != String {
				return Value{}, fmt.Errorf("a list may hold texts only, not %v", text.Kind)
			}
			list.List = append(list.List, text.Text)
		}
		return list, nil
	}
	return Value{}, fmt.Errorf("want a boolean, a number, a text or a list of texts, not %T", value)
}

// String is the value for a person.
func (v Value) String() string {
	switch v.Kind {
	case List:
		return "[" + strings.Join(v.List, ", ") + "]"
	case String:
		return strconv.Quote(v.Text)
	case Block:
		return "a block"
	}
	return v.Text
}

// Equal tells whether Nomad reads both values as the same, as it does 3, 0x3 and "3". true and "1" count as different, though Nomad takes
// both for a boolean: one is then written for the other, which does no harm.
func (v Value) Equal(other Value) bool {
	if v.Kind == List || other.Kind == List || v.Kind == Block || other.Kind == Block {
		return v.Kind == List && other.Kind == List && slices.Equal(v.List, other.List)
	}
	return v.literal() == other.literal()
}

func (v Value) literal() string {
	if v.Kind == Number {
		if n, err := strconv.ParseInt(v.Text, 0, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	}
	return v.Text
}

// Zero tells whether Nomad's merge takes the value for "not set".
func (v Value) Zero() bool {
	switch v.Kind {
	case List:
		return len(v.List) == 0
	case Block:
		return false
	}
	return v.Text == "" || v.literal() == "0" || v.Text == "false" || v.Kind == Null
}

// as takes over the kind of the value that stands there, where a text can be read as one: a text "3" for a number.
func (v Value) as(kind Kind) Value {
	if v.Kind != String {
		return v
	}
	_, notInteger := strconv.ParseInt(v.Text, 10, 64)
	switch {
	case kind == Bool && (v.Text == "true" || v.Text == "false"), kind == Number && notInteger == nil:
		v.Kind = kind
	}
	return v
}

// hcl writes the value for HCL1.
func (v Value) hcl() string { return v.written(quoteHCL) }

// json writes the value for JSON.
func (v Value) json() string { return v.written(quoteJSON) }

// written spells the value in a language that differs from the other in its quoting only.
func (v Value) written(quote func(string) string) string {
	switch v.Kind {
	case String:
		return quote(v.Text)
	case List:
		quoted := make([]string, len(v.List))
		for i, text := range v.List {
			quoted[i] = quote(text)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return v.Text
}

func quoteJSON(text string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	// A text that has passed ValueOf can be encoded.
	_ = encoder.Encode(text)
	return strings.TrimSuffix(b.String(), "\n")
}

// quoteHCL quotes a text for HCL1. Inside ${ } that language unescapes nothing, and it has no escape for ${ itself; where the braces
// do not read back as they were, the dollar sign is written by its number.
func quoteHCL(text string) string {
	plain := escapeHCL(text)
	if !strings.Contains(text, "${") {
		return plain
	}
	if tree, err := parseHCL([]byte("x = " + plain)); err == nil && len(tree.items) == 1 && tree.items[0].value.Text == text {
		return plain
	}
	return strings.ReplaceAll(plain, "${", `\u0024{`)
}

func escapeHCL(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r == 0x7f || r == 0xE123:
			// U+E123 is reserved in Nomad's scanner.
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
