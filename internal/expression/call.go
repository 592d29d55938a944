// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
)

// invoke runs a filter or a test on an operand.
func (ev *evaluation) invoke(e *entry, operand node, args arguments) (any, error) {
	value, err := ev.eval(operand)
	if err != nil {
		return nil, err
	}
	positional, named, err := ev.arguments(args)
	if err != nil {
		return nil, err
	}
	return ev.apply(e, value, positional, named)
}

// apply runs a filter or a test on a value whose arguments fit the entry's parameters.
func (ev *evaluation) apply(e *entry, value any, positional []any, named *Map) (any, error) {
	if err := ev.step(1); err != nil {
		return nil, err
	}
	if !e.undefined {
		if err := defined(value); err != nil {
			return nil, err
		}
		if err := definedArguments(positional, named); err != nil {
			return nil, err
		}
	}
	return e.run(&invocation{ev, e, positional, named}, value)
}

func (ev *evaluation) arguments(args arguments) ([]any, *Map, error) {
	positional, err := ev.all(args.positional)
	if err != nil {
		return nil, nil, err
	}
	named := NewMap()
	for i, keyword := range args.names {
		value, err := ev.eval(args.named[i])
		if err != nil {
			return nil, nil, err
		}
		named.Set(keyword, value)
	}
	return positional, named, nil
}

func definedArguments(positional []any, named *Map) error {
	if err := defined(positional...); err != nil {
		return err
	}
	for _, argument := range named.All() {
		if err := defined(argument); err != nil {
			return err
		}
	}
	return nil
}

// call runs a function or a method.
func (ev *evaluation) call(n *call) (any, error) {
	var of any
	method, isMethod := n.callee.(*attribute)
	if isMethod {
		var err error
		if of, err = ev.eval(method.of); err != nil {
			return nil, err
		}
		if err := defined(of); err != nil {
			return nil, ev.locate(method.of, err)
		}
	}
	positional, named, err := ev.arguments(n.arguments)
	if err != nil {
		return nil, err
	}
	if err := definedArguments(positional, named); err != nil {
		return nil, err
	}
	if isMethod {
		return ev.method(of, method.name, positional, named)
	}
	return ev.function(n.callee.(*name).name, positional, named)
}

func (ev *evaluation) function(name string, positional []any, named *Map) (any, error) {
	switch name {
	case "range":
		return ev.rangeList(positional, named)
	case "dict":
		return ev.newDict(positional, named)
	}
	caller, ok := ev.scope.(Caller)
	if !ok {
		return nil, fmt.Errorf("the function %q is not available here", name)
	}
	return caller.Call(ev.ctx, name, positional, named)
}

// rangeList is Python's range as a list; its length is charged before the list is made.
func (ev *evaluation) rangeList(positional []any, named *Map) (any, error) {
	if named.Len() > 0 || len(positional) < 1 || len(positional) > 3 {
		return nil, errors.New("range takes one to three integers")
	}
	bounds := []int64{0, 0, 1}
	for i, value := range positional {
		n, ok := integer(value)
		if !ok {
			return nil, fmt.Errorf("range needs integers, not %s", typeName(value))
		}
		if len(positional) == 1 {
			i = 1
		}
		bounds[i] = n
	}
	low, high, step := bounds[0], bounds[1], bounds[2]
	if step == 0 {
		return nil, errors.New("the step of range cannot be zero")
	}
	var distance, stride uint64
	if step > 0 && low < high {
		distance, stride = uint64(high)-uint64(low), uint64(step)
	} else if step < 0 && low > high {
		distance, stride = uint64(low)-uint64(high), magnitude(step)
	}
	if distance == 0 {
		return []any{}, nil
	}
	count := (distance-1)/stride + 1
	if count > uint64(ev.budget.Bytes)/itemSize || count > uint64(ev.budget.Steps) {
		return nil, fmt.Errorf("%w: range would have %d items", ErrBudget, count)
	}
	result := make([]any, count)
	for i := range result {
		result[i] = low + int64(i)*step
	}
	return result, errors.Join(ev.charge(len(result)*itemSize), ev.step(len(result)))
}

func (ev *evaluation) newDict(positional []any, named *Map) (any, error) {
	result := NewMap()
	if len(positional) > 1 {
		return nil, errors.New("dict takes at most one argument without a name")
	}
	for _, argument := range positional {
		pairs, err := ev.pairs(argument)
		if err != nil {
			return nil, err
		}
		result = pairs
	}
	for key, value := range named.All() {
		result.Set(key, value)
	}
	return result, ev.charge(result.Len() * itemSize)
}

// pairs makes a new map of a mapping, or of a list of two-item lists.
func (ev *evaluation) pairs(value any) (*Map, error) {
	result := NewMap()
	if m, ok := value.(Mapping); ok {
		for _, key := range m.Keys() {
			item, _, err := get(m, key)
			if err != nil {
				return nil, err
			}
			result.Set(key, item)
		}
		return result, ev.step(result.Len())
	}
	items, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("a dictionary cannot be made of %s", typeName(value))
	}
	for _, entry := range items {
		pair, ok := entry.([]any)
		if !ok || len(pair) != 2 {
			return nil, errors.New("a dictionary is made of pairs: lists of a key and a value")
		}
		key, err := keyText(pair[0])
		if err != nil {
			return nil, err
		}
		result.Set(key, pair[1])
	}
	return result, ev.step(len(items))
}
