// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// dictFilters are those about dictionaries.
func dictFilters() []entry {
	return []entry{
		{name: "dict2items", parameters: "key_name? value_name?", run: filterDict2Items, doc: "a list of dictionaries with the fields key and value"},
		{name: "items2dict", parameters: "key_name? value_name?", run: filterItems2Dict, doc: "a dictionary of a list of dictionaries with the fields key and value"},
		{name: "items", run: filterItems, doc: "a list of pairs of key and value"},
		{name: "dictsort", parameters: "case_sensitive? by? reverse?", run: filterDictSort, doc: "a list of pairs of key and value, in order of the keys, or of the values with by='value'"},
		{name: "combine", parameters: "*others recursive? list_merge?", run: filterCombine, doc: "a dictionary with the entries of others on top; recursive=true also inside"},
	}
}

func mapping(filter string, value any) (Mapping, error) {
	m, ok := value.(Mapping)
	if !ok {
		return nil, fmt.Errorf("%s needs a dictionary, not %s", filter, typeName(value))
	}
	return m, nil
}

// fieldNames are those of what holds the key and the value in an item of a list that stands for a dictionary.
func (c *invocation) fieldNames() (key, value string, err error) {
	if key, err = c.textArgument("key_name", "key"); err != nil {
		return "", "", err
	}
	value, err = c.textArgument("value_name", "value")
	return key, value, err
}

func filterDict2Items(c *invocation, value any) (any, error) {
	m, err := mapping("dict2items", value)
	if err != nil {
		return nil, err
	}
	keyName, valueName, err := c.fieldNames()
	if err != nil {
		return nil, err
	}
	result := []any{}
	for _, key := range m.Keys() {
		item, _, err := get(m, key)
		if err != nil {
			return nil, err
		}
		result = append(result, MapOf(keyName, key, valueName, item))
	}
	return result, errors.Join(c.step(len(result)), c.charge(len(result)*4*itemSize))
}

func filterItems2Dict(c *invocation, value any) (any, error) {
	items, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("items2dict needs a list, not %s", typeName(value))
	}
	keyName, valueName, err := c.fieldNames()
	if err != nil {
		return nil, err
	}
	result := NewMap()
	for _, entry := range items {
		key, err := item(entry, keyName)
		if err != nil {
			return nil, err
		}
		field, err := item(entry, valueName)
		if err != nil {
			return nil, err
		}
		if err := defined(key, field); err != nil {
			return nil, fmt.Errorf("items2dict needs items with %q and %q: %w", keyName, valueName, err)
		}
		name, err := keyText(key)
		if err != nil {
			return nil, err
		}
		result.Set(name, field)
	}
	return result, errors.Join(c.step(len(items)), c.charge(len(items)*itemSize))
}

func filterItems(c *invocation, value any) (any, error) {
	m, err := mapping("items", value)
	if err != nil {
		return nil, err
	}
	return c.pairList(m)
}

// pairList is Python's dict.items() as a list of lists.
func (ev *evaluation) pairList(m Mapping) ([]any, error) {
	keys := m.Keys()
	if err := ev.charge(len(keys) * 3 * itemSize); err != nil {
		return nil, err
	}
	result := make([]any, len(keys))
	for i, key := range keys {
		value, _, err := get(m, key)
		if err != nil {
			return nil, err
		}
		result[i] = []any{key, value}
	}
	return result, ev.step(len(keys))
}

func filterDictSort(c *invocation, value any) (any, error) {
	m, err := mapping("dictsort", value)
	if err != nil {
		return nil, err
	}
	by, err := c.textArgument("by", "key")
	if err != nil {
		return nil, err
	}
	caseSensitive, err := c.boolArgument("case_sensitive", false)
	if err != nil {
		return nil, err
	}
	reverse, err := c.boolArgument("reverse", false)
	if err != nil {
		return nil, err
	}
	column := map[string]int{"key": 0, "value": 1}
	at, ok := column[by]
	if !ok {
		return nil, fmt.Errorf("dictsort sorts by key or by value, not by %q", by)
	}
	pairs, err := c.pairList(m)
	if err != nil {
		return nil, err
	}
	sortKey := func(pair any) any {
		key := pair.([]any)[at]
		if s, isText := key.(string); isText && !caseSensitive {
			return strings.ToLower(s)
		}
		return key
	}
	return pairs, sortBy(pairs, sortKey, reverse)
}

func filterCombine(c *invocation, value any) (any, error) {
	recursive, err := named(c, "recursive", false)
	if err != nil {
		return nil, err
	}
	listMerge, err := named(c, "list_merge", "replace")
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"replace", "keep", "append", "prepend", "append_rp", "prepend_rp"}, listMerge) {
		return nil, fmt.Errorf("combine: unknown list_merge %q", listMerge)
	}
	result := any(NewMap())
	for _, term := range leaves(append([]any{value}, c.positional...)) {
		m, err := mapping("combine", term)
		if err != nil {
			return nil, err
		}
		if result, err = c.merge(result.(Mapping), m, recursive, listMerge, 0); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// named returns a keyword argument of one type, or the fallback.
func named[T any](c *invocation, keyword string, fallback T) (T, error) {
	value, ok := c.named.Get(keyword)
	if !ok {
		return fallback, nil
	}
	typed, ok := value.(T)
	if !ok {
		return fallback, fmt.Errorf("%s: %s cannot be %s", c.entry.name, keyword, typeName(value))
	}
	return typed, nil
}

// leaves lists the dictionaries of `[a, [b, c]] | combine(d)`.
func leaves(items []any) []any {
	var all []any
	for _, item := range items {
		if inner, ok := item.([]any); ok {
			all = append(all, leaves(inner)...)
			continue
		}
		all = append(all, item)
	}
	return all
}

func (c *invocation) merge(low, high Mapping, recursive bool, listMerge string, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("combine: nested deeper than %d levels", maxNesting)
	}
	result, err := c.pairs(low)
	if err != nil {
		return nil, err
	}
	if err := c.charge(result.Len() * itemSize); err != nil {
		return nil, err
	}
	for _, key := range high.Keys() {
		value, _, err := get(high, key)
		if err != nil {
			return nil, err
		}
		if old, ok := result.Get(key); ok {
			if value, err = c.mergeValues(old, value, recursive, listMerge, depth); err != nil {
				return nil, err
			}
		}
		result.Set(key, value)
	}
	return result, c.step(len(high.Keys()))
}

func (c *invocation) mergeValues(old, value any, recursive bool, listMerge string, depth int) (any, error) {
	low, lowOK := old.(Mapping)
	high, highOK := value.(Mapping)
	if lowOK && highOK && recursive {
		return c.merge(low, high, recursive, listMerge, depth+1)
	}
	before, beforeOK := old.([]any)
	after, afterOK := value.([]any)
	if !beforeOK || !afterOK {
		return value, nil
	}
	switch listMerge {
	case "keep":
		return before, nil
	case "append":
		return slices.Concat(before, after), nil
	case "prepend":
		return slices.Concat(after, before), nil
	case "append_rp", "prepend_rp":
		kept, err := c.without(before, after)
		if listMerge == "append_rp" {
			return slices.Concat(kept, after), err
		}
		return slices.Concat(after, kept), err
	}
	return value, nil
}

// without returns the items that are not in the other list, with their repetitions.
func (c *invocation) without(items, others []any) ([]any, error) {
	var kept []any
	for _, item := range items {
		i, err := c.indexOf(others, item)
		if err != nil {
			return nil, err
		}
		if i < 0 {
			kept = append(kept, item)
		}
	}
	return kept, nil
}
