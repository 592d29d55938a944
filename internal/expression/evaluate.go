// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Scope is where names get their values. A value that is an error fails the evaluation, an Undefined counts as not
// defined. Variables that are templates themselves are rendered by the scope, not here.
type Scope interface {
	Lookup(name string) (value any, ok bool)
}

// Caller is a Scope that also answers the function lookup, as in lookup('env', 'HOME'), and the filters to_yaml,
// to_nice_yaml and from_yaml, which come as functions of one argument (package yaml has Filter for them).
type Caller interface {
	Call(ctx context.Context, function string, positional []any, named *Map) (any, error)
}

// Variables is the simplest Scope.
type Variables map[string]any

// Lookup returns a variable as a value of this package.
func (v Variables) Lookup(name string) (any, bool) {
	value, ok := v[name]
	return FromGo(value), ok
}

// Lookup makes a Map usable as a Scope.
func (m *Map) Lookup(name string) (any, bool) { return m.Get(name) }

// Budget bounds one evaluation; zero fields mean the defaults, a million steps and 64 MiB.
type Budget struct {
	Steps int // evaluated nodes and visited items
	Bytes int // memory of texts and lists that are made on the way
}

const (
	defaultSteps = 1_000_000
	defaultBytes = 64 << 20
	itemSize     = 16 // the least that an item of a list takes
)

// evaluation is the state of one run of an expression or a template.
type evaluation struct {
	ctx      context.Context
	scope    Scope
	source   *source
	registry *registry
	budget   Budget
	locals   []map[string]any
}

func newEvaluation(ctx context.Context, scope Scope, budget Budget, s *source) *evaluation {
	if budget.Steps <= 0 {
		budget.Steps = defaultSteps
	}
	if budget.Bytes <= 0 {
		budget.Bytes = defaultBytes
	}
	if scope == nil {
		scope = Variables{}
	}
	return &evaluation{ctx: ctx, scope: scope, source: s, registry: builtin, budget: budget}
}

// charge takes memory from the budget before it is used.
func (ev *evaluation) charge(n int) error {
	if n < 0 || n > ev.budget.Bytes {
		return fmt.Errorf("%w of memory", ErrBudget)
	}
	ev.budget.Bytes -= n
	return nil
}

// step takes n steps from the budget, and looks whether the caller has given up.
func (ev *evaluation) step(n int) error {
	before := ev.budget.Steps
	ev.budget.Steps -= n
	if ev.budget.Steps < 0 {
		return fmt.Errorf("%w of steps", ErrBudget)
	}
	if before>>8 != ev.budget.Steps>>8 {
		return ev.ctx.Err()
	}
	return nil
}

// locate gives an error the place of a node, unless it has one.
func (ev *evaluation) locate(n node, err error) error {
	if err == nil {
		return nil
	}
	var located *Error
	if errors.As(err, &located) {
		return err
	}
	return &Error{Position: ev.source.position(n.start()), Message: err.Error(), Err: err}
}

func (ev *evaluation) eval(n node) (any, error) {
	if err := ev.step(1); err != nil {
		return nil, ev.locate(n, err)
	}
	value, err := ev.node(n)
	return value, ev.locate(n, err)
}

func (ev *evaluation) node(n node) (any, error) {
	switch n := n.(type) {
	case *constant:
		return n.value, nil
	case *name:
		return ev.lookup(n.name)
	case *list:
		if err := ev.charge(len(n.items) * itemSize); err != nil {
			return nil, err
		}
		return ev.all(n.items)
	case *dict:
		return ev.dict(n)
	case *unary:
		return ev.unary(n)
	case *binary:
		return ev.infix(n)
	case *concat:
		return ev.concat(n)
	case *comparison:
		return ev.comparison(n)
	case *conditional:
		return ev.conditional(n)
	case *attribute:
		of, err := ev.eval(n.of)
		if err != nil {
			return nil, err
		}
		return item(of, n.name)
	case *index:
		values, err := ev.all([]node{n.of, n.key})
		if err != nil {
			return nil, err
		}
		return item(values[0], values[1])
	case *slice:
		return ev.slice(n)
	case *call:
		return ev.call(n)
	case *filterCall:
		return ev.invoke(n.filter, n.operand, n.arguments)
	case *testCall:
		return ev.invoke(n.test, n.operand, n.arguments)
	}
	return nil, fmt.Errorf("unknown expression %T", n)
}

func (ev *evaluation) lookup(name string) (any, error) {
	for _, frame := range slices.Backward(ev.locals) {
		if value, ok := frame[name]; ok {
			return value, nil
		}
	}
	value, ok := ev.scope.Lookup(name)
	if !ok {
		return Undefined{Name: name}, nil
	}
	if err, failed := value.(error); failed {
		return nil, err
	}
	return value, nil
}

func (ev *evaluation) all(nodes []node) ([]any, error) {
	values := make([]any, len(nodes))
	for i, n := range nodes {
		var err error
		if values[i], err = ev.eval(n); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (ev *evaluation) dict(n *dict) (any, error) {
	m := NewMap()
	for i := range n.keys {
		pair, err := ev.all([]node{n.keys[i], n.values[i]})
		if err != nil {
			return nil, err
		}
		key, err := keyText(pair[0])
		if err != nil {
			return nil, ev.locate(n.keys[i], err)
		}
		m.Set(key, pair[1])
	}
	return m, ev.charge(m.Len() * itemSize)
}

func (ev *evaluation) unary(n *unary) (any, error) {
	value, err := ev.eval(n.operand)
	if err != nil {
		return nil, err
	}
	if err := defined(value); err != nil {
		return nil, err
	}
	switch n.op {
	case "not":
		t, err := truth(value)
		return !t, err
	case "-":
		return negate(value)
	}
	if _, ok := value.(float64); ok {
		return value, nil
	}
	if i, ok := integer(value); ok {
		return i, nil
	}
	return nil, fmt.Errorf("a sign does not work on %s", typeName(value))
}

// infix evaluates arithmetic, and `and` and `or`, which stop as soon as the answer is known and return that operand.
func (ev *evaluation) infix(n *binary) (any, error) {
	left, err := ev.eval(n.left)
	if err != nil {
		return nil, err
	}
	if n.op == "and" || n.op == "or" {
		yes, err := truth(left)
		if err != nil {
			return nil, ev.locate(n.left, err)
		}
		if yes == (n.op == "or") {
			return left, nil
		}
		return ev.eval(n.right)
	}
	right, err := ev.eval(n.right)
	if err != nil {
		return nil, err
	}
	return ev.binary(n.op, left, right)
}

func (ev *evaluation) concat(n *concat) (any, error) {
	var b strings.Builder
	for _, part := range n.parts {
		value, err := ev.eval(part)
		if err != nil {
			return nil, err
		}
		s, err := text(value)
		if err != nil {
			return nil, ev.locate(part, err)
		}
		if err := ev.charge(len(s)); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func (ev *evaluation) comparison(n *comparison) (any, error) {
	left, err := ev.eval(n.operands[0])
	if err != nil {
		return nil, err
	}
	for i, op := range n.ops {
		right, err := ev.eval(n.operands[i+1])
		if err != nil {
			return nil, err
		}
		yes, err := relate(op, left, right)
		if err != nil || !yes {
			return false, err
		}
		left = right
	}
	return true, nil
}

func relate(op string, left, right any) (bool, error) {
	switch op {
	case "==":
		return equal(left, right)
	case "!=":
		same, err := equal(left, right)
		return !same, err
	case "in":
		return contains(right, left)
	case "not in":
		found, err := contains(right, left)
		return !found, err
	default:
		return ordered(op, left, right)
	}
}

func (ev *evaluation) conditional(n *conditional) (any, error) {
	condition, err := ev.eval(n.condition)
	if err != nil {
		return nil, err
	}
	yes, err := truth(condition)
	if err != nil {
		return nil, ev.locate(n.condition, err)
	}
	if yes {
		return ev.eval(n.yes)
	}
	if n.no == nil {
		return Undefined{Hint: "the inline if is false and has no else", Empty: true}, nil
	}
	return ev.eval(n.no)
}

// item is `of[key]` and `of.key`; what does not exist is undefined, at any depth.
func item(of, key any) (any, error) {
	if u, ok := of.(Undefined); ok {
		return u, nil
	}
	if err := defined(key); err != nil {
		return nil, err
	}
	switch container := of.(type) {
	case Mapping:
		name, err := keyText(key)
		if err != nil {
			return nil, err
		}
		if value, ok, err := get(container, name); ok || err != nil {
			return value, err
		}
	case []any:
		if i, ok := integer(key); ok {
			if at, ok := position(i, len(container)); ok {
				return container[at], nil
			}
		}
	case string:
		if i, ok := integer(key); ok {
			runes := []rune(container)
			if at, ok := position(i, len(runes)); ok {
				return string(runes[at]), nil
			}
		}
	}
	name, err := text(key)
	return Undefined{Name: name, Of: typeName(of)}, err
}

// position turns an index, which counts from the end when it is negative, into an offset.
func position(i int64, length int) (int, bool) {
	if i < 0 {
		i += int64(length)
	}
	return int(i), i >= 0 && i < int64(length)
}

func (ev *evaluation) slice(n *slice) (any, error) {
	of, err := ev.eval(n.of)
	if err != nil {
		return nil, err
	}
	var bounds [3]*int64
	for i, part := range []node{n.low, n.high, n.step} {
		if part == nil {
			continue
		}
		value, err := ev.eval(part)
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		bound, ok := integer(value)
		if !ok {
			return nil, ev.locate(part, fmt.Errorf("a slice needs integers, not %s", typeName(value)))
		}
		bounds[i] = &bound
	}
	switch v := of.(type) {
	case []any:
		return cut(ev, v, bounds)
	case string:
		runes, err := cut(ev, []rune(v), bounds)
		return string(runes), err
	case Undefined:
		return v, nil
	}
	return nil, fmt.Errorf("%s cannot be sliced", typeName(of))
}

// cut is Python's extended slice.
func cut[T any](ev *evaluation, all []T, bounds [3]*int64) ([]T, error) {
	step := int64(1)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	if step == 0 {
		return nil, errors.New("the step of a slice cannot be zero")
	}
	length := int64(len(all))
	lowest, highest := int64(0), length
	if step < 0 {
		lowest, highest = -1, length-1
	}
	clamp := func(bound *int64, fallback int64) int64 {
		if bound == nil {
			return fallback
		}
		i := *bound
		if i < 0 {
			i += length
		}
		return min(max(i, lowest), highest)
	}
	low, high := clamp(bounds[0], lowest), clamp(bounds[1], highest)
	if step < 0 {
		low, high = clamp(bounds[0], highest), clamp(bounds[1], lowest)
	}
	result := []T{}
	for i := low; step > 0 && i < high || step < 0 && i > high; i += step {
		result = append(result, all[i])
		if step > length || step < -length {
			break
		}
	}
	return result, ev.charge(len(result) * itemSize)
}
