// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"strings"
	"unicode"
)

// valueTests are those about a value's type and its relation to another.
func valueTests() []entry {
	return []entry{
		{name: "defined", undefined: true, run: testDefined, doc: "the variable or key exists"},
		{name: "undefined", undefined: true, run: testUndefined, doc: "the variable or key does not exist"},
		{name: "none", run: is(func(v any) bool { return v == nil }), doc: "the value is None"},
		{name: "true", run: is(func(v any) bool { return v == true }), doc: "the value is true itself"},
		{name: "false", run: is(func(v any) bool { return v == false }), doc: "the value is false itself"},
		{name: "string", run: is(isType[string]), doc: "the value is text"},
		{name: "boolean", run: is(isType[bool]), doc: "the value is true or false"},
		{name: "integer", run: is(isType[int64]), doc: "the value is an integer and not a bool"},
		{name: "float", run: is(isType[float64]), doc: "the value is a float"},
		{name: "number", run: is(isNumber), doc: "the value is a number; a bool counts as one"},
		{name: "mapping", run: is(isType[Mapping]), doc: "the value is a dictionary"},
		{name: "sequence", run: is(isIterable), doc: "the value is a list, a text or a dictionary"},
		{name: "iterable", run: is(isIterable), doc: "the value is a list, a text or a dictionary"},
		{name: "odd", run: testOdd, doc: "the integer is odd"},
		{name: "even", run: testEven, doc: "the integer is even"},
		{name: "divisibleby", parameters: "num", run: testDivisible, doc: "the integer can be divided by another without a rest"},
		{name: "lower", run: testLower, doc: "the text has no upper case letters, and at least one letter"},
		{name: "upper", run: testUpper, doc: "the text has no lower case letters, and at least one letter"},
		{name: "truthy", parameters: "convert_bool?", run: testTruthy, doc: "the value counts as true; with convert_bool=true 'no' and its like do not"},
		{name: "falsy", parameters: "convert_bool?", run: testFalsy, doc: "the value does not count as true"},
		{name: "sameas", parameters: "other", run: testSameAs, doc: "the value is of the same type as another and equal to it"},
		{name: "in", parameters: "seq", run: testIn, doc: "the value is in a list, a text or a dictionary"},
		{name: "eq", parameters: "b", run: related("=="), doc: "the value equals another"},
		{name: "equalto", parameters: "b", run: related("=="), doc: "the value equals another"},
		{name: "ne", parameters: "b", run: related("!="), doc: "the value does not equal another"},
		{name: "lt", parameters: "b", run: related("<"), doc: "the value is less than another"},
		{name: "lessthan", parameters: "b", run: related("<"), doc: "the value is less than another"},
		{name: "le", parameters: "b", run: related("<="), doc: "the value is at most another"},
		{name: "gt", parameters: "b", run: related(">"), doc: "the value is greater than another"},
		{name: "greaterthan", parameters: "b", run: related(">"), doc: "the value is greater than another"},
		{name: "ge", parameters: "b", run: related(">="), doc: "the value is at least another"},
		{name: "==", parameters: "b", run: related("=="), doc: "the value equals another, for selectattr and its like"},
		{name: "!=", parameters: "b", run: related("!="), doc: "the value does not equal another, for selectattr and its like"},
		{name: "<", parameters: "b", run: related("<"), doc: "the value is less than another, for selectattr and its like"},
		{name: "<=", parameters: "b", run: related("<="), doc: "the value is at most another, for selectattr and its like"},
		{name: ">", parameters: "b", run: related(">"), doc: "the value is greater than another, for selectattr and its like"},
		{name: ">=", parameters: "b", run: related(">="), doc: "the value is at least another, for selectattr and its like"},
	}
}

func testDefined(_ *invocation, value any) (any, error) {
	_, undefined := value.(Undefined)
	return !undefined, nil
}

func testUndefined(_ *invocation, value any) (any, error) {
	_, undefined := value.(Undefined)
	return undefined, nil
}

// is makes a test of a predicate.
func is(predicate func(any) bool) func(*invocation, any) (any, error) {
	return func(_ *invocation, value any) (any, error) { return predicate(value), nil }
}

func isType[T any](value any) bool {
	_, ok := value.(T)
	return ok
}

func isNumber(value any) bool {
	_, ok := float(value)
	return ok
}

func isIterable(value any) bool {
	return isType[string](value) || isType[[]any](value) || isType[Mapping](value)
}

func testOdd(_ *invocation, value any) (any, error)  { return remainder(value, int64(2), 1) }
func testEven(_ *invocation, value any) (any, error) { return remainder(value, int64(2), 0) }

func testDivisible(c *invocation, value any) (any, error) {
	divisor, _ := c.argument("num")
	return remainder(value, divisor, 0)
}

func remainder(value, divisor any, wanted int64) (any, error) {
	n, ok := integer(value)
	d, divisorOK := integer(divisor)
	if !ok || !divisorOK {
		return nil, fmt.Errorf("an integer is needed, not %s divided by %s", typeName(value), typeName(divisor))
	}
	rest, err := floorDivision("%", n, d)
	return rest == any(wanted), err
}

func testLower(_ *invocation, value any) (any, error) { return hasCase(value, unicode.IsUpper) }
func testUpper(_ *invocation, value any) (any, error) { return hasCase(value, unicode.IsLower) }

func hasCase(value any, wrong func(rune) bool) (any, error) {
	s, err := text(value)
	cased := strings.ContainsFunc(s, func(r rune) bool { return unicode.IsUpper(r) || unicode.IsLower(r) })
	return cased && !strings.ContainsFunc(s, wrong), err
}

func testTruthy(c *invocation, value any) (any, error) {
	convert, err := c.boolArgument("convert_bool", false)
	if err != nil {
		return nil, err
	}
	if s, ok := value.(string); ok && convert {
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "no", "off", "n", "f", "false", "0", "0.0":
			return false, nil
		}
	}
	return truth(value)
}

func testFalsy(c *invocation, value any) (any, error) {
	yes, err := testTruthy(c, value)
	return yes == false, err
}

func testSameAs(c *invocation, value any) (any, error) {
	other, _ := c.argument("other")
	if typeName(other) != typeName(value) {
		return false, nil
	}
	return equal(value, other)
}

func testIn(c *invocation, value any) (any, error) {
	container, _ := c.argument("seq")
	return contains(container, value)
}

func related(op string) func(*invocation, any) (any, error) {
	return func(c *invocation, value any) (any, error) {
		other, _ := c.argument("b")
		return relate(op, value, other)
	}
}
