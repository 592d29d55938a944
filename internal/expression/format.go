// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxWidth bounds the width and the precision in a format.
const maxWidth = 10_000

// verb is one `%...` of Python's formatting.
type verb struct {
	key   string // of `%(key)s`
	keyed bool
	flags string
	width string
	letter
}

type letter struct {
	precision string // with its dot
	kind      byte
}

// format fills in `%s`, `%d` and their like, as Python's % operator does.
func (ev *evaluation) format(layout string, values []any, named *Map) (any, error) {
	var b strings.Builder
	next := 0
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' {
			b.WriteByte(layout[i])
			continue
		}
		v, length, err := parseVerb(layout[i+1:])
		if err != nil {
			return nil, err
		}
		i += length
		if v.kind == '%' {
			b.WriteByte('%')
			continue
		}
		value, err := v.choose(values, named, &next)
		if err != nil {
			return nil, err
		}
		s, err := v.text(value)
		if err != nil {
			return nil, err
		}
		if err := ev.charge(len(s)); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	if _, isMapping := onlyMapping(values); next < len(values) && !isMapping {
		return nil, errors.New("format: there are more values than places for them")
	}
	return b.String(), ev.charge(len(layout))
}

func onlyMapping(values []any) (Mapping, bool) {
	if len(values) != 1 {
		return nil, false
	}
	m, ok := values[0].(Mapping)
	return m, ok
}

// parseVerb reads what follows a %, and returns its length.
func parseVerb(rest string) (verb, int, error) {
	var v verb
	i := 0
	if strings.HasPrefix(rest, "(") {
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return v, 0, errors.New("format: a key in %(key)s is never closed")
		}
		v.key, v.keyed, i = rest[1:end], true, end+1
	}
	span := func(set string) string {
		start := i
		for i < len(rest) && strings.IndexByte(set, rest[i]) >= 0 {
			i++
		}
		return rest[start:i]
	}
	v.flags, v.width = span("-+ #0"), span("0123456789")
	if i < len(rest) && rest[i] == '.' {
		i++
		v.precision = "." + span("0123456789")
	}
	for _, number := range []string{v.width, strings.TrimPrefix(v.precision, ".")} {
		if n, err := strconv.Atoi(number); number != "" && (err != nil || n > maxWidth) {
			return v, 0, fmt.Errorf("format: the width or precision %s is too large", number)
		}
	}
	if i == len(rest) {
		return v, 0, errors.New("format: the text ends inside a % place")
	}
	v.kind = rest[i]
	return v, i + 1, nil
}

func (v verb) choose(values []any, named *Map, next *int) (any, error) {
	if v.keyed {
		m := Mapping(named)
		if only, ok := onlyMapping(values); ok {
			m = only
		}
		value, ok, err := get(m, v.key)
		if err == nil && !ok {
			err = fmt.Errorf("format: there is no value for %q", v.key)
		}
		return value, err
	}
	if *next >= len(values) {
		return nil, errors.New("format: there are fewer values than places for them")
	}
	*next++
	return values[*next-1], nil
}

func (v verb) text(value any) (string, error) {
	layout := "%" + v.flags + v.width
	switch v.kind {
	case 's', 'r', 'a':
		s, err := text(value)
		if v.kind != 's' {
			var b strings.Builder
			err = writeRepr(&b, value, 0)
			s = b.String()
		}
		return fmt.Sprintf("%"+strings.ReplaceAll(v.flags, "0", "")+v.width+v.precision+"s", s), err
	case 'd', 'i', 'u', 'x', 'X', 'o', 'c':
		n, ok := integer(value)
		if f, isFloat := value.(float64); isFloat && strings.IndexByte("diu", v.kind) >= 0 {
			whole, err := truncate(f, nil)
			if n, ok = whole.(int64); err != nil {
				return "", err
			}
		}
		if !ok {
			return "", fmt.Errorf("format: %%%c needs an integer, not %s", v.kind, typeName(value))
		}
		if v.kind == 'i' || v.kind == 'u' {
			v.kind = 'd'
		}
		return fmt.Sprintf(layout+v.precision+string(v.kind), n), nil
	case 'f', 'F', 'e', 'E', 'g', 'G':
		f, ok := float(value)
		if !ok {
			return "", fmt.Errorf("format: %%%c needs a number, not %s", v.kind, typeName(value))
		}
		if (v.kind == 'g' || v.kind == 'G') && v.precision == "" {
			v.precision = ".6"
		}
		return fmt.Sprintf(layout+v.precision+string(v.kind), f), nil
	}
	return "", fmt.Errorf("format: unknown place %%%c", v.kind)
}

// braceFormat is Python's str.format without format specifications.
func (ev *evaluation) braceFormat(layout string, values []any, named *Map) (any, error) {
	var b strings.Builder
	next := 0
	for i := 0; i < len(layout); i++ {
		c := layout[i]
		if c != '{' && c != '}' {
			b.WriteByte(c)
			continue
		}
		if i+1 < len(layout) && layout[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(layout[i:], '}')
		if c == '}' || end < 0 {
			return nil, errors.New("format: a brace stands alone; write it twice")
		}
		s, err := braceField(layout[i+1:i+end], values, named, &next)
		if err != nil {
			return nil, err
		}
		if err := ev.charge(len(s)); err != nil {
			return nil, err
		}
		b.WriteString(s)
		i += end
	}
	return b.String(), ev.charge(len(layout))
}

func braceField(field string, values []any, named *Map, next *int) (string, error) {
	if strings.ContainsAny(field, ":!.[{") {
		return "", fmt.Errorf("format: {%s} is more than a name or a number; use %%-formatting for widths", field)
	}
	if field == "" {
		field = strconv.Itoa(*next)
		*next++
	}
	if i, err := strconv.Atoi(field); err == nil {
		if i < 0 || i >= len(values) {
			return "", fmt.Errorf("format: there is no value for {%s}", field)
		}
		return text(values[i])
	}
	value, ok := named.Get(field)
	if !ok {
		return "", fmt.Errorf("format: there is no value for {%s}", field)
	}
	return text(value)
}
