// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/internal/expression"
	"drover/internal/nearest"
)

// Convert turns a rendered value into the Go type of the argument's kind: string (String, Path), int64, float64, bool, []any,
// *expression.Map, uint32 (Mode), time.Duration, or the value itself (Any, Raw). It accepts what Ansible accepts where nothing can be
// lost: "3" for an integer, yes for a boolean, one item for a list.
func (a *Arg) Convert(value any) (any, error) {
	if undefined, ok := value.(expression.Undefined); ok {
		return nil, &expression.UndefinedError{Undefined: undefined}
	}
	converted, err := convert(a.Kind, value)
	if err != nil {
		return nil, a.mistake(value, err)
	}
	return converted, a.checkChoices(converted)
}

// mistake describes a value of a wrong type, without the value where it is a secret.
func (a *Arg) mistake(value any, err error) error {
	if errors.Is(err, errKind) {
		return fmt.Errorf("%s is not a %s", a.shown(value), kindName(a.Kind))
	}
	return fmt.Errorf("%s: %w", a.shown(value), err)
}

func (a *Arg) shown(value any) string {
	if a.Secret {
		return "the given value"
	}
	return show(value)
}

func (a *Arg) checkChoices(value any) error {
	if len(a.Choices) == 0 {
		return nil
	}
	items, ok := value.([]any)
	if !ok {
		items = []any{value}
	}
	for _, item := range items {
		text := fmt.Sprint(item)
		if slices.Contains(a.Choices, text) {
			continue
		}
		hint := "choose one of " + strings.Join(a.Choices, ", ")
		if near := nearest.Hint(text, a.Choices); near != "" && !a.Secret {
			hint = near
		}
		return fmt.Errorf("%s is not allowed; %s", a.shown(item), hint)
	}
	return nil
}

// kindName completes the sentence "... is not a".
func kindName(kind Kind) string {
	switch kind {
	case String:
		return "text"
	case Integer:
		return "whole number"
	case Boolean:
		return "boolean (true, false, yes, no)"
	case Dict:
		return "dictionary"
	case Mode:
		return `file mode (write it as text: "0644")`
	case Duration:
		return "duration (seconds as a number, or text such as 90s, 5m)"
	default:
		return string(kind)
	}
}

// errKind says that a value is of another kind altogether.
var errKind = errors.New("wrong kind")

func convert(kind Kind, value any) (any, error) {
	switch kind {
	case String, Path:
		return toText(value)
	case Integer:
		return toInteger(value)
	case Number:
		return toNumber(value)
	case Boolean:
		return toBoolean(value)
	case List:
		return toList(value)
	case Dict:
		return toDict(value)
	case Mode:
		return toMode(value)
	case Duration:
		return toDuration(value)
	default:
		return value, nil
	}
}

// toText refuses fractions and booleans: YAML turned 1.10 into 1.1 and no into false before anyone could ask what was meant.
func toText(value any) (any, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return nil, errors.New("a number, where text is needed: write it in quotes, since 1.10 without quotes is 1.1")
	case bool:
		return nil, errors.New("a boolean, where text is needed: write it in quotes")
	default:
		return nil, errKind
	}
}

func toInteger(value any) (any, error) {
	switch v := value.(type) {
	case int64:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), nil
		}
	case string:
		if i, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
			return i, nil
		}
	}
	return nil, errKind
}

func toNumber(value any) (any, error) {
	switch v := value.(type) {
	case int64:
		return float64(v), nil
	case float64:
		return v, nil
	case string:
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
	}
	return nil, errKind
}

func toBoolean(value any) (any, error) {
	switch v := value.(type) {
	case bool:
		return v, nil
	case int64:
		if v == 0 || v == 1 {
			return v == 1, nil
		}
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "yes", "on", "true", "y", "t", "1":
			return true, nil
		case "no", "off", "false", "n", "f", "0":
			return false, nil
		}
	}
	return nil, errKind
}

// toList takes a text for a list of what stands between its commas, as Ansible does.
func toList(value any) (any, error) {
	switch v := value.(type) {
	case []any:
		return v, nil
	case string:
		parts := strings.Split(v, ",")
		items := make([]any, len(parts))
		for i, part := range parts {
			items[i] = strings.TrimSpace(part)
		}
		return items, nil
	case int64, float64:
		return []any{v}, nil
	default:
		return nil, errKind
	}
}

func toDict(value any) (any, error) {
	switch v := value.(type) {
	case *expression.Map:
		return v, nil
	case expression.Mapping:
		m := expression.NewMap()
		for _, key := range v.Keys() {
			item, _ := v.Get(key)
			if err, failed := item.(error); failed {
				return nil, err
			}
			m.Set(key, item)
		}
		return m, nil
	case string:
		if decoded, err := expression.DecodeJSON([]byte(v)); err == nil {
			if m, ok := decoded.(*expression.Map); ok {
				return m, nil
			}
		}
	}
	return nil, errKind
}

// toMode reads permission bits. A whole number is what YAML made of an octal literal (0644 is 420); one that reads like a mode
// but was written without the leading zero (644) is refused, since it would set quite other bits.
func toMode(value any) (any, error) {
	switch v := value.(type) {
	case int64:
		digits := strconv.FormatInt(v, 10)
		if v > 0o777 && len(digits) == 3 && !strings.ContainsAny(digits, "89") {
			return nil, fmt.Errorf(`a decimal number: write the mode as text, "0%s"`, digits)
		}
		if v >= 0 && v <= 0o7777 {
			return uint32(v), nil
		}
	case string:
		text := strings.TrimPrefix(strings.TrimSpace(v), "0o")
		if bits, err := strconv.ParseUint(text, 8, 32); err == nil && bits <= 0o7777 {
			return uint32(bits), nil
		}
		if strings.ContainsAny(v, "=+-") {
			return nil, errors.New(`symbolic modes are not in the language: write the octal form as text, "0644"`)
		}
	}
	return nil, errKind
}

// longestDuration bounds what a task may wait for; longer is a mistyped unit.
const longestDuration = 30 * 24 * time.Hour

func toDuration(value any) (any, error) {
	var d time.Duration
	switch v := value.(type) {
	case int64:
		if v < 0 || v > int64(longestDuration/time.Second) {
			return nil, errRange
		}
		d = time.Duration(v) * time.Second
	case float64:
		if !(v >= 0 && v <= longestDuration.Seconds()) {
			return nil, errRange
		}
		d = time.Duration(v * float64(time.Second))
	case string:
		text := strings.TrimSpace(v)
		if seconds, err := strconv.ParseFloat(text, 64); err == nil {
			return toDuration(seconds)
		}
		parsed, err := time.ParseDuration(text)
		if err != nil {
			return nil, errKind
		}
		d = parsed
	default:
		return nil, errKind
	}
	if d < 0 || d > longestDuration {
		return nil, errRange
	}
	return d, nil
}

var errRange = errors.New("a duration must be between 0 and 30 days")

// show quotes a value for a message, shortened.
func show(value any) string {
	const most = 60
	text := fmt.Sprint(expression.ToGo(value))
	switch value.(type) {
	case string:
		text = strconv.Quote(text)
	case []any:
		text = "a list"
	case expression.Mapping:
		text = "a dictionary"
	}
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return text
}
