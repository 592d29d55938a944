// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"drover/internal/expression"
)

// maxLiteralDepth bounds nested lists and dictionaries in one INI value.
const maxLiteralDepth = 100

// parseLiteral gives an INI value the type that Ansible gives it: a Python literal becomes its value, anything else stays
// text. A tuple becomes a list. What the values of a playbook cannot hold (sets, complex numbers, integers over 64
// bits, infinity) stays text too.
func parseLiteral(source string) any {
	p := &literal{text: strings.TrimLeft(source, " \t")}
	value, ok := p.top()
	if !ok {
		return source
	}
	return value
}

type literal struct {
	text string
	at   int
}

// top reads one value, or several with commas between them, which Python takes as a tuple.
func (p *literal) top() (any, bool) {
	first, ok := p.value(0)
	if !ok {
		return nil, false
	}
	p.space()
	if !p.take(',') {
		return first, p.end()
	}
	items := []any{first}
	for !p.end() {
		item, ok := p.value(0)
		if !ok {
			return nil, false
		}
		items = append(items, item)
		p.space()
		if !p.take(',') {
			return items, p.end()
		}
	}
	return items, true
}

// end tells whether only white space and a Python comment are left.
func (p *literal) end() bool {
	p.space()
	return p.at == len(p.text) || p.text[p.at] == '#'
}

func (p *literal) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\f", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *literal) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *literal) value(depth int) (any, bool) {
	p.space()
	if depth > maxLiteralDepth || p.at == len(p.text) {
		return nil, false
	}
	switch c := p.text[p.at]; {
	case c == '[':
		p.at++
		items, _, ok := p.items(']', depth)
		return items, ok
	case c == '(':
		p.at++
		items, tuple, ok := p.items(')', depth)
		if ok && len(items) == 1 && !tuple {
			return items[0], true
		}
		return items, ok
	case c == '{':
		p.at++
		return p.dictionary(depth)
	case c == '+' || c == '-':
		p.at++
		return p.signed(c == '-')
	case c >= '0' && c <= '9' || c == '.':
		return p.number()
	}
	return p.wordOrText()
}

// items reads up to the closing bracket; comma tells whether there was one, which makes (1,) a tuple.
func (p *literal) items(closing byte, depth int) (items []any, comma, ok bool) {
	items = []any{}
	for {
		p.space()
		if p.take(closing) {
			return items, comma, true
		}
		if len(items) > 0 && !comma {
			return nil, false, false
		}
		item, ok := p.value(depth + 1)
		if !ok {
			return nil, false, false
		}
		items = append(items, item)
		p.space()
		if !p.take(',') {
			if len(items) > 1 {
				comma = true
			}
			p.space()
			return items, comma, p.take(closing)
		}
		comma = true
	}
}

func (p *literal) dictionary(depth int) (any, bool) {
	m := expression.NewMap()
	for {
		p.space()
		if p.take('}') {
			return m, true
		}
		key, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		name, ok := keyName(key)
		p.space()
		if !ok || !p.take(':') {
			return nil, false
		}
		value, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		m.Set(name, value)
		p.space()
		if !p.take(',') {
			p.space()
			return m, p.take('}')
		}
	}
}

// keyName is the text of a key; maps know their keys by text only.
func keyName(key any) (string, bool) {
	switch k := key.(type) {
	case string:
		return k, true
	case int64:
		return strconv.FormatInt(k, 10), true
	case bool:
		if k {
			return "True", true
		}
		return "False", true
	case nil:
		return "None", true
	}
	return "", false
}

// signed reads the number after a sign; Python takes one sign only as part of a literal.
func (p *literal) signed(negative bool) (any, bool) {
	p.space()
	if p.at == len(p.text) || !(p.text[p.at] == '.' || p.text[p.at] >= '0' && p.text[p.at] <= '9') {
		return nil, false
	}
	start := p.at
	value, ok := p.number()
	if !ok {
		// The smallest integer has no positive counterpart.
		if negative && p.text[start:p.at] == "9223372036854775808" {
			return int64(math.MinInt64), true
		}
		return nil, false
	}
	if !negative {
		return value, true
	}
	if i, isInt := value.(int64); isInt {
		return -i, true
	}
	return -value.(float64), true
}

func (p *literal) number() (any, bool) {
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		exponent := p.at > start && (p.text[p.at-1] == 'e' || p.text[p.at-1] == 'E') && !isHex(p.text[start:p.at])
		if !(c == '.' || c == '_' || isAlnum(c) || exponent && (c == '+' || c == '-')) {
			break
		}
		p.at++
	}
	if p.at < len(p.text) && p.text[p.at] >= utf8.RuneSelf {
		return nil, false
	}
	return pythonNumber(p.text[start:p.at])
}

func isHex(word string) bool { return len(word) > 1 && (word[1] == 'x' || word[1] == 'X') }

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// pythonNumber parses one unsigned number. It refuses what Python's grammar refuses and Go's parser takes: 01, 0x1p3.
func pythonNumber(word string) (any, bool) {
	if !underscores(word) {
		return nil, false
	}
	lower := strings.ToLower(word)
	digits := strings.ReplaceAll(lower, "_", "")
	if len(lower) > 1 && lower[0] == '0' && strings.IndexByte("xob", lower[1]) >= 0 {
		i, err := strconv.ParseInt(digits, 0, 64)
		return i, err == nil
	}
	if strings.Trim(digits, "0123456789") == "" {
		if digits[0] == '0' && strings.Trim(digits, "0") != "" {
			return nil, false
		}
		i, err := strconv.ParseInt(digits, 10, 64)
		return i, err == nil
	}
	if strings.Trim(digits, "0123456789.e+-") != "" {
		return nil, false
	}
	f, err := strconv.ParseFloat(digits, 64)
	return f, err == nil
}

// underscores tells whether each underscore stands between digits, or after a base prefix.
func underscores(word string) bool {
	for i, c := range word {
		if c != '_' {
			continue
		}
		if i == 0 || i == len(word)-1 || !isAlnum(word[i-1]) || !isAlnum(word[i+1]) {
			return false
		}
		based := len(word) > 1 && word[0] == '0' && !(word[1] >= '0' && word[1] <= '9') && word[1] != '_'
		if !based && (word[i-1] > '9' || word[i+1] > '9') {
			return false
		}
	}
	return true
}

// wordOrText reads True, False, None or one or more adjacent strings, which Python joins.
func (p *literal) wordOrText() (any, bool) {
	for word, value := range map[string]any{"True": true, "False": false, "None": nil} {
		if rest, ok := strings.CutPrefix(p.text[p.at:], word); ok && (rest == "" || !isAlnum(rest[0]) && rest[0] != '_' && rest[0] < utf8.RuneSelf) {
			p.at += len(word)
			return value, true
		}
	}
	var joined strings.Builder
	for n := 0; ; n++ {
		text, found, ok := p.quoted()
		if !ok || !found && n == 0 {
			return nil, false
		}
		if !found {
			return joined.String(), true
		}
		joined.WriteString(text)
		p.space()
	}
}

// quoted reads one string with its prefix; found is false when there is none here.
func (p *literal) quoted() (text string, found, ok bool) {
	start := p.at
	raw := false
	for p.at < len(p.text) && p.at < start+2 && strings.IndexByte("rRuUbB", p.text[p.at]) >= 0 {
		raw = raw || p.text[p.at]|0x20 == 'r'
		p.at++
	}
	if p.at == len(p.text) || p.text[p.at] != '"' && p.text[p.at] != '\'' || p.at > start && !stringPrefix(p.text[start:p.at]) {
		failed := p.at > start
		p.at = start
		return "", false, !failed
	}
	quote := p.text[p.at : p.at+1]
	if strings.HasPrefix(p.text[p.at:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	p.at += len(quote)
	text, ok = p.untilQuote(quote, raw)
	return text, true, ok
}

func stringPrefix(prefix string) bool {
	switch strings.ToLower(prefix) {
	case "r", "u", "b", "rb", "br":
		return true
	}
	return false
}

func (p *literal) untilQuote(quote string, raw bool) (string, bool) {
	var b strings.Builder
	for p.at < len(p.text) {
		if strings.HasPrefix(p.text[p.at:], quote) {
			p.at += len(quote)
			return b.String(), true
		}
		c := p.text[p.at]
		if c != '\\' || p.at+1 == len(p.text) {
			b.WriteByte(c)
			p.at++
			continue
		}
		if raw {
			b.WriteString(p.text[p.at : p.at+2])
			p.at += 2
			continue
		}
		if !p.escape(&b) {
			return "", false
		}
	}
	return "", false
}

// escape reads one backslash sequence; an unknown one keeps its backslash, as in Python.
func (p *literal) escape(b *strings.Builder) bool {
	c := p.text[p.at+1]
	p.at += 2
	if i := strings.IndexByte(`abfnrtv\'"`, c); i >= 0 {
		b.WriteByte("\a\b\f\n\r\t\v\\'\""[i])
		return true
	}
	width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	switch {
	case width > 0:
		if p.at+width > len(p.text) {
			return false
		}
		code, err := strconv.ParseUint(p.text[p.at:p.at+width], 16, 32)
		p.at += width
		if err != nil || code > utf8.MaxRune {
			return false
		}
		b.WriteRune(rune(code))
	case c >= '0' && c <= '7':
		code := rune(c - '0')
		for n := 1; n < 3 && p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '7'; n++ {
			code = code*8 + rune(p.text[p.at]-'0')
			p.at++
		}
		b.WriteRune(code)
	case c == 'N':
		return false // named characters are not known here; the value stays text
	default:
		b.WriteByte('\\')
		b.WriteByte(c)
	}
	return true
}
