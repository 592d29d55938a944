// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// method is one of Python's methods: of which type, how many arguments it takes and what it does.
type method struct {
	of, name string
	min, max int
	run      func(ev *evaluation, of any, args []any) (any, error)
}

// methods is the table of what may be called on a value. None of them changes the value.
func methods() []method {
	return []method{
		{"str", "split", 0, 2, methodSplit},
		{"str", "rsplit", 0, 2, methodRSplit},
		{"str", "splitlines", 0, 0, func(ev *evaluation, of any, _ []any) (any, error) { return ev.lines(of.(string)) }},
		{"str", "strip", 0, 1, strip(strings.TrimFunc)},
		{"str", "lstrip", 0, 1, strip(strings.TrimLeftFunc)},
		{"str", "rstrip", 0, 1, strip(strings.TrimRightFunc)},
		{"str", "startswith", 1, 1, affix(strings.HasPrefix)},
		{"str", "endswith", 1, 1, affix(strings.HasSuffix)},
		{"str", "removeprefix", 1, 1, cutAffix(strings.TrimPrefix)},
		{"str", "removesuffix", 1, 1, cutAffix(strings.TrimSuffix)},
		{"str", "upper", 0, 0, change(strings.ToUpper)},
		{"str", "lower", 0, 0, change(strings.ToLower)},
		{"str", "capitalize", 0, 0, change(capitalize)},
		{"str", "title", 0, 0, change(pythonTitle)},
		{"str", "replace", 2, 3, methodReplace},
		{"str", "join", 1, 1, methodJoin},
		{"str", "find", 1, 1, methodFind},
		{"str", "count", 1, 1, methodTextCount},
		{"str", "isdigit", 0, 0, methodIsDigit},
		{"str", "zfill", 1, 1, methodZFill},
		{"str", "format", 0, 64, func(ev *evaluation, of any, args []any) (any, error) {
			return ev.braceFormat(of.(string), args, nil)
		}},
		{"list", "index", 1, 1, methodListIndex},
		{"list", "count", 1, 1, methodListCount},
		{"dict", "items", 0, 0, func(ev *evaluation, of any, _ []any) (any, error) { return ev.pairList(of.(Mapping)) }},
		{"dict", "keys", 0, 0, func(ev *evaluation, of any, _ []any) (any, error) { return ev.iterate(of) }},
		{"dict", "values", 0, 0, methodValues},
		{"dict", "get", 1, 2, methodGet},
	}
}

func methodNames() []string {
	var names []string
	for _, m := range methods() {
		names = append(names, m.name)
	}
	return names
}

// method calls a method; keywords are known to str.format only.
func (ev *evaluation) method(of any, name string, args []any, named *Map) (any, error) {
	kind := typeName(of)
	if s, ok := of.(string); ok && name == "format" {
		return ev.braceFormat(s, args, named)
	}
	for _, m := range methods() {
		if m.of != kind || m.name != name {
			continue
		}
		if named.Len() > 0 {
			return nil, fmt.Errorf("%s.%s takes no arguments by name", kind, name)
		}
		if len(args) < m.min || len(args) > m.max {
			return nil, fmt.Errorf("%s.%s takes %d to %d arguments, not %d", kind, name, m.min, m.max, len(args))
		}
		return m.run(ev, of, args)
	}
	return nil, fmt.Errorf("%s has no method %q", kind, name)
}

func argumentText(args []any, i int) (string, error) {
	s, ok := args[i].(string)
	if !ok {
		return "", fmt.Errorf("text is needed as an argument, not %s", typeName(args[i]))
	}
	return s, nil
}

func argumentInteger(args []any, i int, fallback int64) (int64, error) {
	if i >= len(args) {
		return fallback, nil
	}
	n, ok := integer(args[i])
	if !ok {
		return 0, fmt.Errorf("an integer is needed as an argument, not %s", typeName(args[i]))
	}
	return n, nil
}

func change(f func(string) string) func(*evaluation, any, []any) (any, error) {
	return func(ev *evaluation, of any, _ []any) (any, error) {
		s := f(of.(string))
		return s, ev.charge(len(s))
	}
}

func affix(f func(s, part string) bool) func(*evaluation, any, []any) (any, error) {
	return func(_ *evaluation, of any, args []any) (any, error) {
		candidates, ok := args[0].([]any)
		if !ok {
			candidates = args
		}
		for i := range candidates {
			part, err := argumentText(candidates, i)
			if err != nil {
				return nil, err
			}
			if f(of.(string), part) {
				return true, nil
			}
		}
		return false, nil
	}
}

func cutAffix(f func(s, part string) string) func(*evaluation, any, []any) (any, error) {
	return func(_ *evaluation, of any, args []any) (any, error) {
		part, err := argumentText(args, 0)
		return f(of.(string), part), err
	}
}

func strip(f func(string, func(rune) bool) string) func(*evaluation, any, []any) (any, error) {
	return func(_ *evaluation, of any, args []any) (any, error) {
		if len(args) == 0 || args[0] == nil {
			return f(of.(string), unicode.IsSpace), nil
		}
		set, err := argumentText(args, 0)
		return f(of.(string), func(r rune) bool { return strings.ContainsRune(set, r) }), err
	}
}

func methodSplit(ev *evaluation, of any, args []any) (any, error) {
	limit, err := argumentInteger(args, 1, -1)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 || args[0] == nil {
		return ev.fields(of.(string), limit)
	}
	separator, err := argumentText(args, 0)
	if err != nil {
		return nil, err
	}
	return ev.split(of.(string), separator, limit)
}

func methodRSplit(ev *evaluation, of any, args []any) (any, error) {
	limit, err := argumentInteger(args, 1, -1)
	if err != nil {
		return nil, err
	}
	if limit < 0 {
		return methodSplit(ev, of, args)
	}
	separator, err := argumentText(args, 0)
	if err != nil {
		return nil, err
	}
	all, err := ev.split(of.(string), separator, -1)
	if err != nil || int64(len(all)) <= limit+1 {
		return all, err
	}
	head := len(all) - int(limit)
	var first []string
	for _, part := range all[:head] {
		first = append(first, part.(string))
	}
	return append([]any{strings.Join(first, separator)}, all[head:]...), nil
}

// split is Python's split with a separator; a negative limit means no limit.
func (ev *evaluation) split(s, separator string, limit int64) ([]any, error) {
	if separator == "" {
		return nil, fmt.Errorf("the separator of split is empty")
	}
	n := -1
	if limit >= 0 {
		n = int(min(limit, int64(len(s)))) + 1
	}
	if err := ev.charge((strings.Count(s, separator) + 1) * itemSize); err != nil {
		return nil, err
	}
	return texts(strings.SplitN(s, separator, n)), nil
}

// fields is Python's split at white space.
func (ev *evaluation) fields(s string, limit int64) ([]any, error) {
	if limit < 0 || limit > int64(len(s)) {
		limit = int64(len(s))
	}
	result := []any{}
	rest := strings.TrimLeftFunc(s, unicode.IsSpace)
	for rest != "" {
		end := strings.IndexFunc(rest, unicode.IsSpace)
		if end < 0 || int64(len(result)) == limit {
			if int64(len(result)) == limit {
				rest = strings.TrimRightFunc(rest, unicode.IsSpace)
			}
			return append(result, rest), ev.charge((len(result) + 1) * itemSize)
		}
		result = append(result, rest[:end])
		rest = strings.TrimLeftFunc(rest[end:], unicode.IsSpace)
	}
	return result, ev.charge(len(result) * itemSize)
}

func (ev *evaluation) lines(s string) ([]any, error) {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	if s == "" {
		return []any{}, nil
	}
	return ev.split(strings.TrimSuffix(s, "\n"), "\n", -1)
}

func texts(list []string) []any {
	result := make([]any, len(list))
	for i, s := range list {
		result[i] = s
	}
	return result
}

func pythonTitle(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		first := start
		start = !unicode.IsLetter(r)
		if first {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func methodReplace(ev *evaluation, of any, args []any) (any, error) {
	from, err := argumentText(args, 0)
	if err != nil {
		return nil, err
	}
	to, err := argumentText(args, 1)
	if err != nil {
		return nil, err
	}
	limit, err := argumentInteger(args, 2, -1)
	if err != nil {
		return nil, err
	}
	return ev.replace(of.(string), from, to, limit)
}

func methodJoin(ev *evaluation, of any, args []any) (any, error) {
	items, err := ev.iterate(args[0])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i := range items {
		if parts[i], err = argumentText(items, i); err != nil {
			return nil, err
		}
		if err := ev.charge(len(parts[i]) + len(of.(string))); err != nil {
			return nil, err
		}
	}
	return strings.Join(parts, of.(string)), nil
}

func methodFind(_ *evaluation, of any, args []any) (any, error) {
	part, err := argumentText(args, 0)
	if err != nil {
		return nil, err
	}
	before, _, found := strings.Cut(of.(string), part)
	if !found {
		return int64(-1), nil
	}
	return int64(len([]rune(before))), nil
}

func methodTextCount(_ *evaluation, of any, args []any) (any, error) {
	part, err := argumentText(args, 0)
	return int64(strings.Count(of.(string), part)), err
}

func methodIsDigit(_ *evaluation, of any, _ []any) (any, error) {
	s := of.(string)
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }), nil
}

func methodZFill(ev *evaluation, of any, args []any) (any, error) {
	width, err := argumentInteger(args, 0, 0)
	if err != nil {
		return nil, err
	}
	s := of.(string)
	missing := width - int64(len([]rune(s)))
	if missing <= 0 {
		return s, nil
	}
	if err := ev.chargeProduct(1, missing); err != nil {
		return nil, err
	}
	sign := ""
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		sign, s = s[:1], s[1:]
	}
	return sign + strings.Repeat("0", int(missing)) + s, nil
}

func methodListIndex(ev *evaluation, of any, args []any) (any, error) {
	i, err := ev.indexOf(of.([]any), args[0])
	if err == nil && i < 0 {
		err = fmt.Errorf("list.index: the value is not in the list")
	}
	return int64(i), err
}

func methodListCount(_ *evaluation, of any, args []any) (any, error) {
	n := int64(0)
	for _, item := range of.([]any) {
		same, err := equal(item, args[0])
		if err != nil {
			return nil, err
		}
		if same {
			n++
		}
	}
	return n, nil
}

func methodValues(ev *evaluation, of any, _ []any) (any, error) {
	pairs, err := ev.pairList(of.(Mapping))
	if err != nil {
		return nil, err
	}
	values := slices.Clone(pairs)
	for i := range values {
		values[i] = pairs[i].([]any)[1]
	}
	return values, nil
}

func methodGet(_ *evaluation, of any, args []any) (any, error) {
	key, err := keyText(args[0])
	if err != nil {
		return nil, err
	}
	value, ok, err := get(of.(Mapping), key)
	if err != nil || ok {
		return value, err
	}
	if len(args) > 1 {
		return args[1], nil
	}
	return nil, nil
}
