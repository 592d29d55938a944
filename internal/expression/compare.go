// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// equal is Python's ==: values of different types differ, except that numbers and bools compare by their number.
func equal(a, b any) (bool, error) { return equalAt(a, b, 0) }

func equalAt(a, b any, depth int) (bool, error) {
	if depth > maxNesting {
		return false, fmt.Errorf("the value is nested deeper than %d levels", maxNesting)
	}
	if err := defined(a, b); err != nil {
		return false, err
	}
	if order, ok := compareNumbers(a, b); ok {
		return order == 0, nil
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		y, ok := b.(string)
		return ok && x == y, nil
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false, nil
		}
		for i := range x {
			if same, err := equalAt(x[i], y[i], depth+1); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case Mapping:
		if y, ok := b.(Mapping); ok {
			return equalMappings(x, y, depth)
		}
	}
	return false, nil
}

func equalMappings(x, y Mapping, depth int) (bool, error) {
	keys := x.Keys()
	if len(keys) != len(y.Keys()) {
		return false, nil
	}
	for _, key := range keys {
		v, _, err := get(x, key)
		if err != nil {
			return false, err
		}
		w, ok, err := get(y, key)
		if err != nil || !ok {
			return false, err
		}
		if same, err := equalAt(v, w, depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// notOrdered is the answer of a comparison in which NaN takes part: every one of < <= == >= > is false.
const notOrdered = 2

func compareNumbers(a, b any) (order int, ok bool) {
	x, xInt := integer(a)
	y, yInt := integer(b)
	if xInt && yInt {
		return cmp.Compare(x, y), true
	}
	f, fNumber := float(a)
	g, gNumber := float(b)
	if !fNumber || !gNumber {
		return 0, false
	}
	if math.IsNaN(f) || math.IsNaN(g) {
		return notOrdered, true
	}
	return cmp.Compare(f, g), true
}

// compare orders two values as Python's < does: numbers, texts and lists among themselves, nothing else.
func compare(a, b any) (int, error) {
	if err := defined(a, b); err != nil {
		return 0, err
	}
	if order, ok := compareNumbers(a, b); ok {
		return order, nil
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), nil
		}
	case []any:
		if y, ok := b.([]any); ok {
			for i := range min(len(x), len(y)) {
				same, err := equal(x[i], y[i])
				if err != nil {
					return 0, err
				}
				if !same {
					return compare(x[i], y[i])
				}
			}
			return cmp.Compare(len(x), len(y)), nil
		}
	}
	return 0, wrongTypes("comparing", a, b)
}

// ordered answers one of < <= > >=.
func ordered(op string, a, b any) (bool, error) {
	order, err := compare(a, b)
	if err != nil || order == notOrdered {
		return false, err
	}
	switch op {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	default:
		return order >= 0, nil
	}
}

// contains is Python's `item in container`.
func contains(container, item any) (bool, error) {
	if err := defined(container, item); err != nil {
		return false, err
	}
	switch c := container.(type) {
	case string:
		s, ok := item.(string)
		if !ok {
			return false, fmt.Errorf("`in` a text needs a text on its left, not %s", typeName(item))
		}
		return strings.Contains(c, s), nil
	case []any:
		for _, candidate := range c {
			if same, err := equal(candidate, item); err != nil || same {
				return same, err
			}
		}
		return false, nil
	case Mapping:
		key, err := keyText(item)
		if err != nil {
			return false, err
		}
		if m, ok := c.(*Map); ok {
			_, found := m.Get(key)
			return found, nil
		}
		return slices.Contains(c.Keys(), key), nil
	}
	return false, fmt.Errorf("`in` needs a list, a text or a dictionary on its right, not %s", typeName(container))
}

// keyText returns a value as a key: keys that are numbers, bools or None are known by their text.
func keyText(value any) (string, error) {
	switch v := value.(type) {
	case []any, Mapping:
		return "", fmt.Errorf("%s cannot be a key", typeName(value))
	default:
		return text(v)
	}
}
