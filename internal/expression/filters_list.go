// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// listFilters are those about lists.
func listFilters() []entry {
	return []entry{
		{name: "length", run: filterLength, doc: "the number of items, keys or characters"},
		{name: "count", run: filterLength, doc: "the number of items, keys or characters"},
		{name: "list", run: filterList, doc: "the items as a list; of a dictionary its keys, of text its characters"},
		{name: "first", run: filterFirst, doc: "the first item, undefined where there is none"},
		{name: "last", run: filterLast, doc: "the last item, undefined where there is none"},
		{name: "join", parameters: "d? attribute?", run: filterJoin, doc: "the items as one text with a separator between them"},
		{name: "map", parameters: "*filter **", run: filterMap, applies: appliesFilter, doc: "each item through a filter, or its attribute with attribute= (and default=)"},
		{name: "select", parameters: "*test **", run: filterSelect, applies: appliesTest(0), doc: "the items that pass a test"},
		{name: "reject", parameters: "*test **", run: filterReject, applies: appliesTest(0), doc: "the items that do not pass a test"},
		{name: "selectattr", parameters: "attribute *test **", run: filterSelectAttr, applies: appliesTest(1), doc: "the items whose attribute passes a test"},
		{name: "rejectattr", parameters: "attribute *test **", run: filterRejectAttr, applies: appliesTest(1), doc: "the items whose attribute does not pass a test"},
		{name: "sort", parameters: "reverse? case_sensitive? attribute?", run: filterSort, doc: "the items in order, of text without regard to case unless case_sensitive=true"},
		{name: "unique", parameters: "case_sensitive? attribute?", run: filterUnique, doc: "the items without repetitions, of text without regard to case unless case_sensitive=true"},
		{name: "reverse", run: filterReverse, doc: "the items or characters from last to first"},
		{name: "min", parameters: "case_sensitive? attribute?", run: filterMin, doc: "the smallest item"},
		{name: "max", parameters: "case_sensitive? attribute?", run: filterMax, doc: "the largest item"},
		{name: "sum", parameters: "attribute? start?", run: filterSum, doc: "the sum of the items"},
		{name: "union", parameters: "b", run: filterUnion, doc: "the items of two lists, each once"},
		{name: "intersect", parameters: "b", run: filterIntersect, doc: "the items that are in both lists, each once"},
		{name: "difference", parameters: "b", run: filterDifference, doc: "the items that are not in the other list, each once"},
		{name: "symmetric_difference", parameters: "b", run: filterSymmetric, doc: "the items that are in one of two lists only, each once"},
		{name: "zip", parameters: "*lists", run: filterZip, doc: "lists of the items at the same place, as long as the shortest list"},
		{name: "flatten", parameters: "levels? skip_nulls?", run: filterFlatten, doc: "the items of lists in lists as one list"},
		{name: "extract", parameters: "container morekeys?", run: filterExtract, doc: "the item of a container that has the value as its key, as in map('extract', hostvars, 'ansible_host')"},
		{name: "batch", parameters: "linecount fill_with?", run: filterBatch, doc: "lists of so many items each"},
	}
}

func filterLength(_ *invocation, value any) (any, error) {
	switch v := value.(type) {
	case string:
		return int64(len([]rune(v))), nil
	case []any:
		return int64(len(v)), nil
	case Mapping:
		return int64(len(v.Keys())), nil
	}
	return nil, fmt.Errorf("%s has no length", typeName(value))
}

func filterList(c *invocation, value any) (any, error) {
	items, err := c.iterate(value)
	return slices.Clone(items), err
}

// items returns what a list filter works on and charges a step for each.
func (c *invocation) items(value any) ([]any, error) {
	items, err := c.iterate(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.entry.name, err)
	}
	return items, c.step(len(items))
}

func filterFirst(c *invocation, value any) (any, error) { return c.end(value, 0) }
func filterLast(c *invocation, value any) (any, error)  { return c.end(value, -1) }

func (c *invocation) end(value any, i int64) (any, error) {
	items, err := c.items(value)
	if err != nil {
		return nil, err
	}
	if at, ok := position(i, len(items)); ok {
		return items[at], nil
	}
	return c.noItem(), nil
}

func (c *invocation) noItem() Undefined {
	return Undefined{Hint: "there is no " + c.entry.name + " item: the list is empty"}
}

// path looks up `a.b.0` in an item.
func path(value any, attribute any) (any, error) {
	s, ok := attribute.(string)
	if !ok {
		return item(value, attribute)
	}
	for part := range strings.SplitSeq(s, ".") {
		key := any(part)
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			key = n
		}
		var err error
		if value, err = item(value, key); err != nil {
			return nil, err
		}
	}
	return value, nil
}

// keyed returns the items of a list and what they are compared by: their attribute, where one is given, and text without case unless the
// filter was told otherwise.
func (c *invocation) keyed(value any) (items, keys []any, err error) {
	if items, err = c.items(value); err != nil {
		return nil, nil, err
	}
	caseSensitive, err := c.boolArgument("case_sensitive", false)
	if err != nil {
		return nil, nil, err
	}
	keys = slices.Clone(items)
	attribute, ok := c.argument("attribute")
	for i := range keys {
		if ok && attribute != nil {
			if keys[i], err = path(keys[i], attribute); err != nil {
				return nil, nil, err
			}
		}
		if s, isText := keys[i].(string); isText && !caseSensitive {
			keys[i] = strings.ToLower(s)
		}
	}
	return items, keys, defined(keys...)
}

func filterJoin(c *invocation, value any) (any, error) {
	items, err := c.items(value)
	if err != nil {
		return nil, err
	}
	separator, err := c.textArgument("d", "")
	if err != nil {
		return nil, err
	}
	attribute, withAttribute := c.argument("attribute")
	var b strings.Builder
	for i, item := range items {
		if withAttribute {
			if item, err = path(item, attribute); err != nil {
				return nil, err
			}
		}
		s, err := text(item)
		if err != nil {
			return nil, err
		}
		if err := c.charge(len(s) + len(separator)); err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func filterReverse(c *invocation, value any) (any, error) {
	if s, ok := value.(string); ok {
		runes := []rune(s)
		slices.Reverse(runes)
		return string(runes), c.charge(len(s))
	}
	items, err := c.items(value)
	items = slices.Clone(items)
	slices.Reverse(items)
	return items, err
}

func filterSort(c *invocation, value any) (any, error) {
	items, keys, err := c.keyed(value)
	if err != nil {
		return nil, err
	}
	reverse, err := c.boolArgument("reverse", false)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	if err := sortBy(order, func(i int) any { return keys[i] }, reverse); err != nil {
		return nil, fmt.Errorf("sort: %w", err)
	}
	sorted := make([]any, len(items))
	for i, from := range order {
		sorted[i] = items[from]
	}
	return sorted, c.charge(len(items) * itemSize)
}

// sortBy sorts by keys of which each can be compared with each, and keeps what is equal in order, as Python does also in reverse.
func sortBy[T any](items []T, key func(T) any, reverse bool) error {
	var failure error
	slices.SortStableFunc(items, func(a, b T) int {
		order, err := compare(key(a), key(b))
		if err != nil && failure == nil {
			failure = err
		}
		if reverse {
			return -order
		}
		return order
	})
	return failure
}

func filterMin(c *invocation, value any) (any, error) { return c.extreme(value, -1) }
func filterMax(c *invocation, value any) (any, error) { return c.extreme(value, 1) }

func (c *invocation) extreme(value any, sign int) (any, error) {
	items, keys, err := c.keyed(value)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return c.noItem(), nil
	}
	best := 0
	for i := 1; i < len(items); i++ {
		order, err := compare(keys[i], keys[best])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.entry.name, err)
		}
		if order == sign {
			best = i
		}
	}
	return items[best], nil
}

func filterSum(c *invocation, value any) (any, error) {
	items, err := c.items(value)
	if err != nil {
		return nil, err
	}
	total, ok := c.argument("start")
	if !ok {
		total = int64(0)
	}
	attribute, withAttribute := c.argument("attribute")
	for _, item := range items {
		if withAttribute && attribute != nil {
			if item, err = path(item, attribute); err != nil {
				return nil, err
			}
		}
		if total, err = c.binary("+", total, item); err != nil {
			return nil, fmt.Errorf("sum: %w", err)
		}
	}
	return total, nil
}

func filterZip(c *invocation, value any) (any, error) {
	first, err := c.items(value)
	if err != nil {
		return nil, err
	}
	lists, shortest := [][]any{first}, len(first)
	for _, argument := range c.positional {
		items, err := c.items(argument)
		if err != nil {
			return nil, err
		}
		lists, shortest = append(lists, items), min(shortest, len(items))
	}
	if err := c.charge(shortest * len(lists) * itemSize); err != nil {
		return nil, err
	}
	result := make([]any, shortest)
	for i := range result {
		row := make([]any, len(lists))
		for j := range lists {
			row[j] = lists[j][i]
		}
		result[i] = row
	}
	return result, nil
}

func filterFlatten(c *invocation, value any) (any, error) {
	items, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("flatten needs a list, not %s", typeName(value))
	}
	levels := int64(maxNesting)
	if argument, ok := c.argument("levels"); ok && argument != nil {
		var err error
		if levels, err = c.integerArgument("levels", levels); err != nil {
			return nil, err
		}
	}
	skipNulls, err := c.boolArgument("skip_nulls", true)
	if err != nil {
		return nil, err
	}
	result, err := c.flatten([]any{}, items, levels, skipNulls)
	return result, err
}

func (c *invocation) flatten(result, items []any, levels int64, skipNulls bool) ([]any, error) {
	if err := c.step(len(items)); err != nil {
		return nil, err
	}
	if err := c.charge(len(items) * itemSize); err != nil {
		return nil, err
	}
	for _, item := range items {
		inner, nested := item.([]any)
		switch {
		case skipNulls && (item == nil || item == "None" || item == "null"):
		case nested && levels > 0:
			var err error
			if result, err = c.flatten(result, inner, levels-1, skipNulls); err != nil {
				return nil, err
			}
		default:
			result = append(result, item)
		}
	}
	return result, nil
}

func filterExtract(c *invocation, value any) (any, error) {
	container, _ := c.argument("container")
	found, err := item(container, value)
	if err != nil {
		return nil, err
	}
	more, ok := c.argument("morekeys")
	if !ok || more == nil {
		return found, nil
	}
	keys, ok := more.([]any)
	if !ok {
		keys = []any{more}
	}
	for _, key := range keys {
		if found, err = item(found, key); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func filterBatch(c *invocation, value any) (any, error) {
	items, err := c.items(value)
	if err != nil {
		return nil, err
	}
	size, err := c.integerArgument("linecount", 1)
	if err != nil {
		return nil, err
	}
	if size < 1 || size > 1<<20 {
		return nil, errors.New("batch needs a size of at least 1")
	}
	result := []any{}
	for chunk := range slices.Chunk(items, int(size)) {
		result = append(result, slices.Clone(chunk))
	}
	fill, ok := c.argument("fill_with")
	if last := len(result) - 1; ok && fill != nil && last >= 0 {
		row := result[last].([]any)
		if err := c.charge(int(size) * itemSize); err != nil {
			return nil, err
		}
		for len(row) < int(size) {
			row = append(row, fill)
		}
		result[last] = row
	}
	return result, c.charge(len(items) * itemSize)
}
