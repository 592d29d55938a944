// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	endToken tokenKind = iota
	nameToken
	stringToken
	integerToken
	floatToken
	operatorToken
)

type token struct {
	kind   tokenKind
	text   string // the name, the operator, or the content of a string
	number any    // int64 or float64
	offset int
}

func (t token) describe() string {
	switch t.kind {
	case endToken:
		return "the end"
	case stringToken:
		return "a string"
	default:
		return strconv.Quote(t.text)
	}
}

// operators holds every operator, the longer ones first.
var operators = [...]string{
	"//", "**", "==", "!=", "<=", ">=",
	"+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ",", ":", "|", "(", ")", "[", "]", "{", "}",
}

// source is a text with the place where it begins, which turns offsets into positions.
type source struct {
	text string
	at   Position
}

func (s *source) position(offset int) Position {
	before := s.text[:min(offset, len(s.text))]
	at := s.at
	if newlines := strings.Count(before, "\n"); newlines > 0 {
		at.Line += newlines
		at.Column = 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
		return at
	}
	at.Column += utf8.RuneCountInString(before)
	return at
}

func (s *source) fail(offset int, format string, args ...any) *Error {
	return &Error{Position: s.position(offset), Message: fmt.Sprintf(format, args...)}
}

// lex reads tokens from start until the closing mark ("}}", "%}", or "" for the end of the text) and returns them
// with the offset behind the mark. A `-` or `+` right before the mark is given back as trim.
func (s *source) lex(start int, mark string) (tokens []token, after int, trim byte, err error) {
	var open []byte
	// Inside {{ }} a backslash in a string stands for itself. That is Ansible's rule for the values of playbooks, where
	// YAML has had its turn already: `'\1'` and `'\d'` mean what they say. In {% %} and in conditions a backslash
	// begins an escape, as in Jinja2 (ansible-core 2.14 and 2.19).
	raw := mark == "}}"
	for i := start; ; {
		for i < len(s.text) && strings.IndexByte(" \t\r\n", s.text[i]) >= 0 {
			i++
		}
		if i == len(s.text) {
			if mark != "" {
				return nil, 0, 0, s.fail(start-2, "this is never closed: %q is missing", mark)
			}
			return append(tokens, token{offset: i}), i, 0, nil
		}
		if mark != "" && len(open) == 0 {
			if n, sign := closing(s.text[i:], mark); n > 0 {
				return append(tokens, token{offset: i}), i + n, sign, nil
			}
		}
		afterDot := len(tokens) > 0 && tokens[len(tokens)-1].text == "." && tokens[len(tokens)-1].kind == operatorToken
		next, end, err := s.token(i, afterDot, raw)
		if err != nil {
			return nil, 0, 0, err
		}
		if open, err = s.balance(open, next); err != nil {
			return nil, 0, 0, err
		}
		tokens, i = append(tokens, next), end
	}
}

// closing returns the length of the mark at the beginning of text, with the sign before it.
func closing(text, mark string) (n int, sign byte) {
	if strings.HasPrefix(text, mark) {
		return len(mark), 0
	}
	if (text[0] == '-' || text[0] == '+') && strings.HasPrefix(text[1:], mark) {
		return 1 + len(mark), text[0]
	}
	return 0, 0
}

func (s *source) balance(open []byte, t token) ([]byte, error) {
	if t.kind != operatorToken {
		return open, nil
	}
	switch t.text {
	case "(", "[", "{":
		return append(open, t.text[0]), nil
	case ")", "]", "}":
		pair := map[string]byte{")": '(', "]": '[', "}": '{'}[t.text]
		if len(open) == 0 || open[len(open)-1] != pair {
			return nil, s.fail(t.offset, "unexpected %q", t.text)
		}
		return open[:len(open)-1], nil
	}
	return open, nil
}

func (s *source) token(i int, afterDot, raw bool) (token, int, error) {
	c := s.text[i]
	switch {
	case c == '\'' || c == '"':
		return s.stringToken(i, raw)
	case c >= '0' && c <= '9':
		return s.numberToken(i, afterDot)
	}
	r, _ := utf8.DecodeRuneInString(s.text[i:])
	if r == '_' || unicode.IsLetter(r) {
		end := i + strings.IndexFunc(s.text[i:]+" ", func(r rune) bool {
			return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
		})
		return token{kind: nameToken, text: s.text[i:end], offset: i}, end, nil
	}
	for _, op := range operators {
		if strings.HasPrefix(s.text[i:], op) {
			return token{kind: operatorToken, text: op, offset: i}, i + len(op), nil
		}
	}
	return token{}, 0, s.unexpected(i, r)
}

func (s *source) unexpected(i int, r rune) error {
	err := s.fail(i, "unexpected character %q", r)
	switch {
	case strings.HasPrefix(s.text[i:], "&&"):
		err.Hint = "write `and`"
	case strings.HasPrefix(s.text[i:], "!"):
		err.Hint = "write `not`"
	}
	return err
}

func (s *source) numberToken(i int, afterDot bool) (token, int, error) {
	end := i
	digits := func(set string) {
		for end < len(s.text) && strings.IndexByte(set, s.text[end]) >= 0 {
			end++
		}
	}
	if prefix := strings.ToLower(s.text[i:min(i+2, len(s.text))]); !afterDot && (prefix == "0x" || prefix == "0o" || prefix == "0b") {
		end = i + 2
		digits("0123456789abcdefABCDEF_")
		return s.integerToken(i, end)
	}
	digits("0123456789_")
	isFloat := false
	if !afterDot {
		if end+1 < len(s.text) && s.text[end] == '.' && s.text[end+1] >= '0' && s.text[end+1] <= '9' {
			isFloat = true
			end++
			digits("0123456789_")
		}
		if n := exponent(s.text[end:]); n > 0 {
			isFloat = true
			end += n
			digits("0123456789_")
		}
	}
	if !isFloat {
		return s.integerToken(i, end)
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s.text[i:end], "_", ""), 64)
	if err != nil {
		return token{}, 0, s.fail(i, "%q is not a number that fits", s.text[i:end])
	}
	return token{kind: floatToken, text: s.text[i:end], number: f, offset: i}, end, nil
}

// exponent returns the length of an "e", its sign and its first digit.
func exponent(text string) int {
	n := 1
	if len(text) > 2 && (text[1] == '+' || text[1] == '-') {
		n = 2
	}
	if len(text) > n && (text[0] == 'e' || text[0] == 'E') && text[n] >= '0' && text[n] <= '9' {
		return n + 1
	}
	return 0
}

func (s *source) integerToken(i, end int) (token, int, error) {
	text := strings.ReplaceAll(s.text[i:end], "_", "")
	base := 10
	if len(text) > 1 && text[0] == '0' {
		base = 0
		if text[1] >= '0' && text[1] <= '9' && strings.Trim(text, "0") != "" {
			return token{}, 0, s.fail(i, "%q: a number does not begin with 0; write 0o%s for octal or quote it", text, strings.TrimLeft(text, "0"))
		}
	}
	n, err := strconv.ParseInt(text, base, 64)
	if err != nil {
		return token{}, 0, s.fail(i, "%q is not a number that fits in 64 bits", text)
	}
	return token{kind: integerToken, text: s.text[i:end], number: n, offset: i}, end, nil
}

func (s *source) stringToken(i int, raw bool) (token, int, error) {
	quote := s.text[i]
	for end := i + 1; end < len(s.text); end++ {
		switch s.text[end] {
		case '\\':
			end++
		case quote:
			content := strings.ReplaceAll(s.text[i+1:end], `\`+string(quote), string(quote))
			var err error
			if !raw {
				content, err = s.unescape(i+1, end)
			}
			if err != nil {
				return token{}, 0, err
			}
			return token{kind: stringToken, text: content, offset: i}, end + 1, nil
		}
	}
	return token{}, 0, s.fail(i, "this string is never closed: %c is missing", quote)
}

// unescape returns the content of a string with its escapes decoded.
func (s *source) unescape(start, end int) (string, error) {
	raw := s.text[start:end]
	if !strings.Contains(raw, `\`) {
		return raw, nil
	}
	var b strings.Builder
	for i := 0; i < len(raw); {
		if raw[i] != '\\' || i+1 == len(raw) {
			b.WriteByte(raw[i])
			i++
			continue
		}
		r, n := escape(raw[i+1:])
		if n < 0 {
			return "", s.fail(start+i, "invalid escape in a string")
		}
		if n == 0 {
			b.WriteByte('\\')
			i++
			continue
		}
		if r >= 0 {
			b.WriteRune(r)
		}
		i += 1 + n
	}
	return b.String(), nil
}

// escape decodes what follows a backslash. It returns the rune (-1 for none) and the length; 0 for an unknown escape,
// which stays as it is, and -1 for a broken one.
func escape(text string) (rune, int) {
	if i := strings.IndexByte("\n\\'\"abfnrtv", text[0]); i >= 0 {
		return [...]rune{-1, '\\', '\'', '"', '\a', '\b', '\f', '\n', '\r', '\t', '\v'}[i], 1
	}
	if size := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[0]]; size > 0 {
		if len(text) < 1+size {
			return 0, -1
		}
		n, err := strconv.ParseUint(text[1:1+size], 16, 32)
		if err != nil || !utf8.ValidRune(rune(n)) {
			return 0, -1
		}
		return rune(n), 1 + size
	}
	n := 0
	for n < 3 && n < len(text) && text[n] >= '0' && text[n] <= '7' {
		n++
	}
	if n == 0 {
		return 0, 0
	}
	code, err := strconv.ParseUint(text[:n], 8, 32)
	if err != nil {
		return 0, -1
	}
	return rune(code), n
}
