// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// coreFilters are those about single values.
func coreFilters() []entry {
	return []entry{
		{name: "default", parameters: "default_value? boolean?", undefined: true, run: filterDefault, doc: "the value, or another one where it is undefined; with boolean=true also where it is empty or false"},
		{name: "d", parameters: "default_value? boolean?", undefined: true, run: filterDefault, doc: "short for default"},
		{name: "mandatory", parameters: "msg?", undefined: true, run: filterMandatory, doc: "the value, or an error with a message of one's own where it is undefined"},
		{name: "ternary", parameters: "true_val false_val none_val?", run: filterTernary, doc: "one of two values, depending on whether the value is true"},
		{name: "bool", run: filterBool, doc: "true for true, yes, on and 1, else false; None stays None"},
		{name: "int", parameters: "default? base?", run: filterInt, doc: "an integer, or the default where the value does not look like one"},
		{name: "float", parameters: "default?", run: filterFloat, doc: "a float, or the default where the value does not look like one"},
		{name: "string", run: filterString, doc: "the value as text"},
		{name: "abs", run: filterAbs, doc: "a number without its sign"},
		{name: "round", parameters: "precision? method?", run: filterRound, doc: "a number rounded to a precision, by the method common, ceil or floor"},
		{name: "type_debug", undefined: true, run: filterTypeDebug, doc: "the name of the value's type"},
	}
}

func filterDefault(c *invocation, value any) (any, error) {
	fallback, ok := c.argument("default_value")
	if !ok {
		fallback = ""
	}
	if _, undefined := value.(Undefined); undefined {
		return fallback, nil
	}
	alsoFalse, err := c.boolArgument("boolean", false)
	if err != nil || !alsoFalse {
		return value, err
	}
	yes, err := truth(value)
	if err != nil || yes {
		return value, err
	}
	return fallback, nil
}

func filterMandatory(c *invocation, value any) (any, error) {
	u, undefined := value.(Undefined)
	if !undefined {
		return value, nil
	}
	message, err := c.textArgument("msg", "")
	if err != nil {
		return nil, err
	}
	if message == "" {
		message = fmt.Sprintf("mandatory variable %q is not defined", u.Name)
	}
	return nil, errors.New(message)
}

func filterTernary(c *invocation, value any) (any, error) {
	if none, ok := c.argument("none_val"); ok && value == nil && none != nil {
		return none, nil
	}
	yes, err := truth(value)
	if err != nil {
		return nil, err
	}
	chosen := "false_val"
	if yes {
		chosen = "true_val"
	}
	result, _ := c.argument(chosen)
	return result, nil
}

func filterBool(_ *invocation, value any) (any, error) {
	switch v := value.(type) {
	case nil, bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "yes", "on", "1", "true":
			return true, nil
		}
		return false, nil
	}
	n, ok := float(value)
	return ok && n == 1, nil
}

func filterInt(c *invocation, value any) (any, error) {
	fallback, ok := c.argument("default")
	if !ok {
		fallback = int64(0)
	}
	base, err := c.integerArgument("base", 10)
	if err != nil {
		return nil, err
	}
	if base != 0 && (base < 2 || base > 36) {
		return nil, errors.New("the base of int is between 2 and 36")
	}
	switch v := value.(type) {
	case string:
		if n, ok := parseInteger(v, int(base)); ok {
			return n, nil
		}
		if f, ok := parseFloat(v); ok {
			return truncate(f, fallback)
		}
	case float64:
		return truncate(v, fallback)
	default:
		if n, ok := integer(value); ok {
			return n, nil
		}
	}
	return fallback, nil
}

// parseInteger reads an integer as Python's int() does, with the prefix of its base where there is one.
func parseInteger(s string, base int) (int64, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	switch {
	case base == 16 && strings.HasPrefix(s, "0x"), base == 8 && strings.HasPrefix(s, "0o"), base == 2 && strings.HasPrefix(s, "0b"):
		s = s[2:]
	case strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+"):
		return 0, false
	}
	if strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") {
		return 0, false
	}
	n, err := strconv.ParseInt(sign+strings.ReplaceAll(s, "_", ""), base, 64)
	return n, err == nil
}

// parseFloat reads a float as Python's float() does.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if lower := strings.ToLower(s); strings.Contains(lower, "x") || strings.Contains(lower, "p") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || math.IsInf(f, 0)
}

func truncate(f float64, fallback any) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fallback, nil
	}
	if f >= math.MaxInt64 || f <= math.MinInt64 {
		return nil, errOverflow
	}
	return int64(f), nil
}

func filterFloat(c *invocation, value any) (any, error) {
	if f, ok := float(value); ok {
		return f, nil
	}
	if s, ok := value.(string); ok {
		if f, ok := parseFloat(s); ok {
			return f, nil
		}
	}
	if fallback, ok := c.argument("default"); ok {
		return fallback, nil
	}
	return 0.0, nil
}

func filterString(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	return s, c.charge(len(s))
}

func filterAbs(_ *invocation, value any) (any, error) {
	if i, ok := integer(value); ok {
		if i < 0 {
			return negate(i)
		}
		return i, nil
	}
	if f, ok := value.(float64); ok {
		return math.Abs(f), nil
	}
	return nil, fmt.Errorf("abs needs a number, not %s", typeName(value))
}

func filterRound(c *invocation, value any) (any, error) {
	f, ok := float(value)
	if !ok {
		return nil, fmt.Errorf("round needs a number, not %s", typeName(value))
	}
	precision, err := c.integerArgument("precision", 0)
	if err != nil {
		return nil, err
	}
	method, err := c.textArgument("method", "common")
	if err != nil {
		return nil, err
	}
	if precision < -300 || precision > 300 {
		return nil, errors.New("round: the precision is out of range")
	}
	scale := math.Pow(10, float64(precision))
	switch method {
	case "common":
		rounded := roundHalfEven(f, int(precision))
		if whole, ok := integer(value); ok {
			if precision >= 0 {
				return whole, nil
			}
			return truncate(rounded, nil)
		}
		return rounded, nil
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	}
	return nil, fmt.Errorf("round knows the methods common, ceil and floor, not %q", method)
}

// roundHalfEven is Python's round(): exact in decimal, ties to the even digit.
func roundHalfEven(f float64, precision int) float64 {
	if precision >= 0 {
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64)
		if err != nil {
			return f
		}
		return rounded
	}
	scale := math.Pow(10, float64(-precision))
	return math.RoundToEven(f/scale) * scale
}

func filterTypeDebug(_ *invocation, value any) (any, error) { return typeName(value), nil }
