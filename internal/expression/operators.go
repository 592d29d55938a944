// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// integer returns a value as Python's arithmetic sees integers: a bool counts as 0 or 1.
func integer(value any) (int64, bool) {
	switch v := value.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// float returns any number as a float.
func float(value any) (float64, bool) {
	if f, ok := value.(float64); ok {
		return f, true
	}
	i, ok := integer(value)
	return float64(i), ok
}

// binary applies an arithmetic operator; the evaluation is charged before anything large is made.
func (ev *evaluation) binary(op string, a, b any) (any, error) {
	if err := defined(a, b); err != nil {
		return nil, err
	}
	x, xInt := integer(a)
	y, yInt := integer(b)
	if xInt && yInt {
		return integerOperation(op, x, y)
	}
	f, fNumber := float(a)
	g, gNumber := float(b)
	if fNumber && gNumber {
		return floatOperation(op, f, g)
	}
	if result, done, err := ev.sequenceOperation(op, a, b); done || err != nil {
		return result, err
	}
	return nil, wrongTypes(op, a, b)
}

func defined(values ...any) error {
	for _, value := range values {
		if u, ok := value.(Undefined); ok {
			return &UndefinedError{u}
		}
	}
	return nil
}

func wrongTypes(op string, a, b any) error {
	err := fmt.Errorf("%s does not work between %s and %s", op, typeName(a), typeName(b))
	_, aText := a.(string)
	_, bText := b.(string)
	_, aNumber := float(a)
	_, bNumber := float(b)
	if aText && bNumber || aNumber && bText {
		return fmt.Errorf("%w: convert one of them with | int, | float or | string", err)
	}
	return err
}

// sequenceOperation joins and repeats texts and lists, and formats with %.
func (ev *evaluation) sequenceOperation(op string, a, b any) (any, bool, error) {
	switch op {
	case "+":
		if s, ok := a.(string); ok {
			if t, ok := b.(string); ok {
				return s + t, true, ev.charge(len(s) + len(t))
			}
		}
		if s, ok := a.([]any); ok {
			if t, ok := b.([]any); ok {
				return slices.Concat(s, t), true, ev.charge((len(s) + len(t)) * itemSize)
			}
		}
	case "*":
		if n, ok := integer(b); ok {
			return ev.repeat(a, n)
		}
		if n, ok := integer(a); ok {
			return ev.repeat(b, n)
		}
	case "%":
		if s, ok := a.(string); ok {
			list, isList := b.([]any)
			if !isList {
				list = []any{b}
			}
			result, err := ev.format(s, list, nil)
			return result, true, err
		}
	}
	return nil, false, nil
}

func (ev *evaluation) repeat(value any, n int64) (any, bool, error) {
	n = max(n, 0)
	switch v := value.(type) {
	case string:
		if err := ev.chargeProduct(int64(len(v)), n); err != nil {
			return nil, false, err
		}
		return strings.Repeat(v, int(n)), true, nil
	case []any:
		if err := ev.chargeProduct(int64(len(v))*itemSize, n); err != nil {
			return nil, false, err
		}
		return slices.Repeat(v, int(n)), true, nil
	}
	return nil, false, nil
}

// chargeProduct charges size*n bytes without computing a product that could overflow.
func (ev *evaluation) chargeProduct(size, n int64) error {
	if size > 0 && n > int64(ev.budget.Bytes)/size {
		return ErrBudget
	}
	return ev.charge(int(size * n))
}

func integerOperation(op string, x, y int64) (any, error) {
	switch op {
	case "+":
		if sum := x + y; (sum > x) == (y > 0) {
			return sum, nil
		}
		return nil, errOverflow
	case "-":
		if difference := x - y; (difference < x) == (y > 0) {
			return difference, nil
		}
		return nil, errOverflow
	case "*":
		return multiply(x, y)
	case "/":
		if y == 0 {
			return nil, errDivision
		}
		return float64(x) / float64(y), nil
	case "//", "%":
		return floorDivision(op, x, y)
	case "**":
		return power(x, y)
	}
	return nil, fmt.Errorf("%s does not work between integers", op)
}

var errDivision = errors.New("division by zero")

func multiply(x, y int64) (any, error) {
	high, low := bits.Mul64(magnitude(x), magnitude(y))
	negative := (x < 0) != (y < 0)
	switch {
	case high != 0 || low > 1<<63 || low == 1<<63 && !negative:
		return nil, errOverflow
	case negative:
		return -int64(low), nil
	}
	return int64(low), nil
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

// floorDivision rounds towards minus infinity, and gives the remainder the sign of the divisor.
func floorDivision(op string, x, y int64) (any, error) {
	if y == 0 {
		return nil, errDivision
	}
	if x == math.MinInt64 && y == -1 {
		if op == "%" {
			return int64(0), nil
		}
		return nil, errOverflow
	}
	quotient, remainder := x/y, x%y
	if remainder != 0 && (remainder < 0) != (y < 0) {
		quotient--
		remainder += y
	}
	if op == "//" {
		return quotient, nil
	}
	return remainder, nil
}

func power(x, y int64) (any, error) {
	if y < 0 {
		if x == 0 {
			return nil, errDivision
		}
		return math.Pow(float64(x), float64(y)), nil
	}
	if x == 0 || x == 1 || x == -1 {
		if y == 0 || x == -1 && y%2 == 0 {
			return int64(1), nil
		}
		return x, nil
	}
	result := any(int64(1))
	for range y {
		var err error
		if result, err = multiply(result.(int64), x); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func floatOperation(op string, f, g float64) (any, error) {
	if g == 0 && (op == "/" || op == "//" || op == "%") {
		return nil, errDivision
	}
	switch op {
	case "+":
		return f + g, nil
	case "-":
		return f - g, nil
	case "*":
		return f * g, nil
	case "/":
		return f / g, nil
	case "//":
		return math.Floor(f / g), nil
	case "%":
		remainder := math.Mod(f, g)
		if remainder != 0 && (remainder < 0) != (g < 0) {
			remainder += g
		}
		return remainder, nil
	case "**":
		if f < 0 && g != math.Floor(g) {
			return nil, errors.New("a negative number has no real root here")
		}
		if f == 0 && g < 0 {
			return nil, errDivision
		}
		result := math.Pow(f, g)
		if math.IsInf(result, 0) && !math.IsInf(f, 0) && !math.IsInf(g, 0) {
			return nil, errors.New("the result is too large for a float")
		}
		return result, nil
	}
	return nil, fmt.Errorf("%s does not work between numbers", op)
}

func negate(value any) (any, error) {
	if i, ok := integer(value); ok {
		if i == math.MinInt64 {
			return nil, errOverflow
		}
		return -i, nil
	}
	if f, ok := value.(float64); ok {
		return -f, nil
	}
	return nil, fmt.Errorf("a sign does not work on %s", typeName(value))
}
