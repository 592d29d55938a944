// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover/internal/nearest"
)

// entry is one filter or one test: what it is called, what it takes and what it does.
type entry struct {
	name string
	// parameters are the arguments behind the value: "name" is required, "name?" may be missing, "*name" takes all
	// the rest, "**" takes any keyword.
	parameters string
	doc        string
	run        func(c *invocation, value any) (any, error)

	undefined bool // the value may be undefined
	// applies is set for filters such as map, whose nth argument names another filter or test.
	applies func() (kind string, nth int)

	kind     string
	known    []string
	required int
	rest     bool
	keywords bool
}

// Doc describes one filter or test for `drover doc`.
type Doc struct {
	Name      string
	Signature string // as it is written, such as "default(default_value, boolean)"
	Text      string // one sentence
}

// registry holds what expressions may use; it never changes once it is built.
type registry struct {
	filters, tests map[string]*entry
}

// builtin is the one registry; it is read only.
var builtin = newRegistry()

func newRegistry() *registry {
	r := &registry{filters: map[string]*entry{}, tests: map[string]*entry{}}
	for _, table := range [][]entry{coreFilters(), listFilters(), dictFilters(), textFilters(), convertFilters()} {
		for _, e := range table {
			r.filters[e.name] = e.prepare("filter")
		}
	}
	for _, table := range [][]entry{valueTests(), matchTests(), resultTests()} {
		for _, e := range table {
			r.tests[e.name] = e.prepare("test")
		}
	}
	return r
}

func (e entry) prepare(kind string) *entry {
	e.kind = kind
	for word := range strings.FieldsSeq(e.parameters) {
		switch {
		case word == "**":
			e.keywords = true
		case strings.HasPrefix(word, "*"):
			e.rest = true
		case strings.HasSuffix(word, "?"):
			e.known = append(e.known, strings.TrimSuffix(word, "?"))
		default:
			e.known = append(e.known, word)
			e.required++
		}
	}
	return &e
}

// mismatch says what is wrong with the number and the names of arguments; empty when nothing is.
func (e *entry) mismatch(positional int, named []string) (message, hint string) {
	if positional > len(e.known) && !e.rest {
		return fmt.Sprintf("%s %q takes at most %d arguments, not %d", e.kind, e.name, len(e.known), positional), ""
	}
	for _, name := range named {
		i := slices.Index(e.known, name)
		switch {
		case i < 0 && !e.keywords:
			return fmt.Sprintf("%s %q has no argument %q", e.kind, e.name, name), nearest.Hint(name, e.known)
		case i >= 0 && i < positional && !e.rest:
			return fmt.Sprintf("%s %q is given %q twice", e.kind, e.name, name), ""
		}
	}
	for i := positional; i < e.required; i++ {
		if !slices.Contains(named, e.known[i]) {
			return fmt.Sprintf("%s %q needs the argument %q", e.kind, e.name, e.known[i]), ""
		}
	}
	return "", ""
}

func (e *entry) describe() Doc {
	signature := e.name
	if e.parameters != "" {
		signature += "(" + strings.ReplaceAll(strings.ReplaceAll(e.parameters, "?", ""), " ", ", ") + ")"
	}
	return Doc{Name: e.name, Signature: signature, Text: e.doc}
}

func names(table map[string]*entry) []string { return slices.Sorted(maps.Keys(table)) }

func describe(table map[string]*entry) []Doc {
	docs := make([]Doc, 0, len(table))
	for _, name := range names(table) {
		docs = append(docs, table[name].describe())
	}
	return docs
}

// Filters describes every filter, by name.
func Filters() []Doc { return describe(builtin.filters) }

// Tests describes every test, by name.
func Tests() []Doc { return describe(builtin.tests) }

// functionNames lists the functions that expressions may call. `range` and `dict` are answered here, `lookup` by a Scope
// that implements Caller.
func (*registry) functionNames() []string { return []string{"dict", "lookup", "range"} }

// lookupNames lists what lookup may be asked for, as its first argument.
func (*registry) lookupNames() []string { return []string{"env", "file"} }

// invocation is one call of a filter or test with its evaluated arguments.
type invocation struct {
	*evaluation
	entry      *entry
	positional []any
	named      *Map
}

// argument returns the value of a parameter.
func (c *invocation) argument(name string) (any, bool) {
	if i := slices.Index(c.entry.known, name); i >= 0 && i < len(c.positional) {
		return c.positional[i], true
	}
	return c.named.Get(name)
}

// textArgument returns a parameter that must be text, or the fallback where it is not given.
func (c *invocation) textArgument(name, fallback string) (string, error) {
	value, ok := c.argument(name)
	if !ok {
		return fallback, nil
	}
	s, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("%s %q: %s must be text, not %s", c.entry.kind, c.entry.name, name, typeName(value))
	}
	return s, nil
}

// boolArgument returns a parameter's truth, or the fallback where it is not given.
func (c *invocation) boolArgument(name string, fallback bool) (bool, error) {
	value, ok := c.argument(name)
	if !ok {
		return fallback, nil
	}
	return truth(value)
}

// integerArgument returns a parameter that must be an integer, or the fallback where it is not given.
func (c *invocation) integerArgument(name string, fallback int64) (int64, error) {
	value, ok := c.argument(name)
	if !ok {
		return fallback, nil
	}
	n, ok := integer(value)
	if !ok {
		return 0, fmt.Errorf("%s %q: %s must be an integer, not %s", c.entry.kind, c.entry.name, name, typeName(value))
	}
	return n, nil
}

// rest returns the positional arguments behind the first n.
func (c *invocation) restFrom(n int) []any { return c.positional[min(n, len(c.positional)):] }
