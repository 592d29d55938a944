// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
)

// Undefined is the value of a name or a key that does not exist; it is not None.
type Undefined struct {
	Name string // the first part that is missing: "x", or "b" of `a.b.c`
	Of   string // what lacks it, for messages: "" for a variable, else a type such as "dict"
	Hint string // replaces the usual message when it is set
	// Empty is set for an inline if without an else: in text it stands for nothing, anywhere else it is an error.
	Empty bool
}

func (u Undefined) reason() string {
	switch {
	case u.Hint != "":
		return u.Hint
	case u.Of != "":
		return fmt.Sprintf("%q is undefined: the %s has no such attribute or item", u.Name, u.Of)
	default:
		return fmt.Sprintf("%q is undefined", u.Name)
	}
}

// Mapping is a dictionary. A value that is an error fails the evaluation that asks for it, which lets a caller
// compute values (the variables of another host) only when they are used.
type Mapping interface {
	Get(key string) (any, bool)
	Keys() []string
}

// get reads a key and turns an error value into an error.
func get(m Mapping, key string) (any, bool, error) {
	value, ok := m.Get(key)
	if err, failed := value.(error); failed {
		return nil, false, err
	}
	return value, ok, nil
}

// typeName returns Python's name for the type of a value.
func typeName(value any) string {
	switch value.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case []any:
		return "list"
	case Mapping:
		return "dict"
	case Undefined:
		return "Undefined"
	default:
		return fmt.Sprintf("%T", value)
	}
}

// truth is Python's bool().
func truth(value any) (bool, error) {
	switch v := value.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	case float64:
		return v != 0, nil
	case string:
		return v != "", nil
	case []any:
		return len(v) > 0, nil
	case Mapping:
		return len(v.Keys()) > 0, nil
	case Undefined:
		return false, &UndefinedError{v}
	default:
		return false, fmt.Errorf("a value of type %T cannot be used in an expression", value)
	}
}

// firstUndefined finds an undefined value anywhere inside plain lists and maps.
func firstUndefined(value any) (Undefined, bool) {
	switch v := value.(type) {
	case Undefined:
		return v, true
	case []any:
		for _, item := range v {
			if u, ok := firstUndefined(item); ok {
				return u, true
			}
		}
	case *Map:
		for _, item := range v.All() {
			if u, ok := firstUndefined(item); ok {
				return u, true
			}
		}
	}
	return Undefined{}, false
}

// FromGo turns Go data into values of this package: any integer becomes int64, maps become *Map in the order of their
// sorted keys, structs go through their JSON form. Values of this package are returned as they are.
func FromGo(value any) any {
	switch v := value.(type) {
	case nil, bool, int64, float64, string, Undefined, Mapping, error:
		return v
	case int:
		return int64(v)
	case []string:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = item
		}
		return list
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = FromGo(item)
		}
		return list
	case json.Number:
		return fromNumber(v)
	case []byte:
		return string(v)
	}
	if marshaler, ok := value.(json.Marshaler); ok {
		return fromJSON(marshaler)
	}
	return fromReflected(reflect.ValueOf(value))
}

// fromJSON converts by way of JSON; what has no JSON form becomes an error, which fails the evaluation that uses it.
func fromJSON(value any) any {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("convert %T: %w", value, err)
	}
	decoded, err := DecodeJSON(data)
	if err != nil {
		return fmt.Errorf("convert %T: %w", value, err)
	}
	return decoded
}

func fromNumber(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	f, err := n.Float64()
	if err != nil && !math.IsInf(f, 0) {
		return n.String()
	}
	return f
}

func fromReflected(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if u := v.Uint(); u <= math.MaxInt64 {
			return int64(u)
		}
		return float64(v.Uint())
	case reflect.Float32:
		return v.Float()
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			return fromMap(v)
		}
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = FromGo(v.Index(i).Interface())
		}
		return list
	}
	return fromJSON(v.Interface())
}

func fromMap(v reflect.Value) any {
	keys := make([]string, 0, v.Len())
	for _, key := range v.MapKeys() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	m := NewMap()
	for _, key := range keys {
		m.Set(key, FromGo(v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key())).Interface()))
	}
	return m
}

// ToGo turns a value into plain Go data: mappings become map[string]any, undefined values become nil.
func ToGo(value any) any {
	switch v := value.(type) {
	case Undefined:
		return nil
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = ToGo(item)
		}
		return list
	case Mapping:
		m := map[string]any{}
		for _, key := range v.Keys() {
			item, _ := v.Get(key)
			m[key] = ToGo(item)
		}
		return m
	default:
		return v
	}
}

var errOverflow = errors.New("integer overflow: the result does not fit in 64 bits")
