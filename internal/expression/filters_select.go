// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
	"slices"

	"drover/internal/nearest"
)

func appliesFilter() (string, int) { return "filter", 0 }

func appliesTest(nth int) func() (string, int) {
	return func() (string, int) { return "test", nth }
}

// inner finds the filter or test that is named by a value, and holds its arguments against its parameters.
func (c *invocation) inner(kind string, name any, positional []any, named *Map) (*entry, error) {
	table := c.registry.filters
	if kind == "test" {
		table = c.registry.tests
	}
	word, ok := name.(string)
	if !ok {
		return nil, fmt.Errorf("%s needs the name of a %s, not %s", c.entry.name, kind, typeName(name))
	}
	found, ok := table[word]
	if !ok {
		message := fmt.Sprintf("%s: unknown %s %q", c.entry.name, kind, word)
		if hint := nearest.Hint(word, names(table)); hint != "" {
			message += "; " + hint
		}
		return nil, errors.New(message)
	}
	if message, _ := found.mismatch(len(positional), named.Keys()); message != "" {
		return nil, fmt.Errorf("%s: %s", c.entry.name, message)
	}
	return found, nil
}

func filterMap(c *invocation, value any) (any, error) {
	items, err := c.items(value)
	if err != nil {
		return nil, err
	}
	each, err := c.mapper()
	if err != nil {
		return nil, err
	}
	result := make([]any, len(items))
	for i, item := range items {
		if result[i], err = each(item); err != nil {
			return nil, err
		}
	}
	return result, c.charge(len(items) * itemSize)
}

// mapper returns what map does with each item.
func (c *invocation) mapper() (func(any) (any, error), error) {
	if len(c.positional) > 0 {
		filter, err := c.inner("filter", c.positional[0], c.positional[1:], c.named)
		if err != nil {
			return nil, err
		}
		return func(item any) (any, error) { return c.apply(filter, item, c.positional[1:], c.named) }, nil
	}
	attribute, ok := c.named.Get("attribute")
	if !ok {
		return nil, errors.New("map needs the name of a filter or attribute=")
	}
	fallback, hasFallback := c.named.Get("default")
	for _, keyword := range c.named.Keys() {
		if keyword != "attribute" && keyword != "default" {
			return nil, fmt.Errorf("map has no argument %q", keyword)
		}
	}
	return func(item any) (any, error) {
		found, err := path(item, attribute)
		if _, undefined := found.(Undefined); undefined && hasFallback {
			return fallback, err
		}
		return found, err
	}, nil
}

func filterSelect(c *invocation, value any) (any, error)     { return c.choose(value, 0, true) }
func filterReject(c *invocation, value any) (any, error)     { return c.choose(value, 0, false) }
func filterSelectAttr(c *invocation, value any) (any, error) { return c.choose(value, 1, true) }
func filterRejectAttr(c *invocation, value any) (any, error) { return c.choose(value, 1, false) }

// choose keeps the items for which the test, named by the nth argument, gives the wanted answer.
func (c *invocation) choose(value any, nth int, wanted bool) (any, error) {
	items, err := c.items(value)
	if err != nil {
		return nil, err
	}
	test, rest := any("truthy"), []any{}
	if more := c.restFrom(nth); len(more) > 0 {
		test, rest = more[0], more[1:]
	}
	inner, err := c.inner("test", test, rest, c.named)
	if err != nil {
		return nil, err
	}
	chosen := []any{}
	for _, item := range items {
		examined := item
		if nth == 1 {
			if examined, err = path(item, c.positional[0]); err != nil {
				return nil, err
			}
		}
		answer, err := c.apply(inner, examined, rest, c.named)
		if err != nil {
			return nil, err
		}
		if answer == wanted {
			chosen = append(chosen, item)
		}
	}
	return chosen, c.charge(len(chosen) * itemSize)
}

// indexOf finds an item by Python's ==.
func (ev *evaluation) indexOf(items []any, wanted any) (int, error) {
	for i, item := range items {
		if err := ev.step(1); err != nil {
			return 0, err
		}
		same, err := equal(item, wanted)
		if err != nil {
			return 0, err
		}
		if same {
			return i, nil
		}
	}
	return -1, nil
}

// appendNew adds the items that are not in the list yet and for which keep holds.
func (c *invocation) appendNew(list, items []any, keep func(any) (bool, error)) ([]any, error) {
	for _, item := range items {
		if keep != nil {
			if ok, err := keep(item); err != nil {
				return nil, err
			} else if !ok {
				continue
			}
		}
		i, err := c.indexOf(list, item)
		if err != nil {
			return nil, err
		}
		if i < 0 {
			list = append(list, item)
		}
	}
	return list, nil
}

func filterUnique(c *invocation, value any) (any, error) {
	items, keys, err := c.keyed(value)
	if err != nil {
		return nil, err
	}
	var seen []any
	result := []any{}
	for i, key := range keys {
		found, err := c.indexOf(seen, key)
		if err != nil {
			return nil, err
		}
		if found < 0 {
			seen, result = append(seen, key), append(result, items[i])
		}
	}
	return result, c.charge(len(result) * itemSize)
}

// lists returns the value and the argument b as lists.
func (c *invocation) lists(value any) (a, b []any, err error) {
	if a, err = c.items(value); err != nil {
		return nil, nil, err
	}
	argument, _ := c.argument("b")
	b, err = c.items(argument)
	return a, b, err
}

func (c *invocation) in(list []any, wanted bool) func(any) (bool, error) {
	return func(item any) (bool, error) {
		i, err := c.indexOf(list, item)
		return (i >= 0) == wanted, err
	}
}

func filterUnion(c *invocation, value any) (any, error) {
	a, b, err := c.lists(value)
	if err != nil {
		return nil, err
	}
	return c.appendNew([]any{}, slices.Concat(a, b), nil)
}

func filterIntersect(c *invocation, value any) (any, error) {
	a, b, err := c.lists(value)
	if err != nil {
		return nil, err
	}
	return c.appendNew([]any{}, a, c.in(b, true))
}

func filterDifference(c *invocation, value any) (any, error) {
	a, b, err := c.lists(value)
	if err != nil {
		return nil, err
	}
	return c.appendNew([]any{}, a, c.in(b, false))
}

func filterSymmetric(c *invocation, value any) (any, error) {
	a, b, err := c.lists(value)
	if err != nil {
		return nil, err
	}
	only, err := c.appendNew([]any{}, a, c.in(b, false))
	if err != nil {
		return nil, err
	}
	return c.appendNew(only, b, c.in(a, false))
}
