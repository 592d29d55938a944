// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
)

// Map is a dictionary with text keys that keeps the order in which keys were first set, as Python's dict does. The
// zero value and nil are empty maps; a nil *Map cannot be set.
type Map struct {
	keys   []string
	values map[string]any
}

// NewMap returns an empty map.
func NewMap() *Map { return &Map{} }

// MapOf returns a map of alternating keys and values; a key that is not a string is a programmer's mistake and panics.
func MapOf(pairs ...any) *Map {
	m := NewMap()
	for i := 0; i+1 < len(pairs); i += 2 {
		m.Set(pairs[i].(string), FromGo(pairs[i+1]))
	}
	return m
}

// Get returns the value of a key.
func (m *Map) Get(key string) (any, bool) {
	if m == nil {
		return nil, false
	}
	value, ok := m.values[key]
	return value, ok
}

// Set adds a key at the end, or replaces its value where it stands. A value of another Go type goes through FromGo.
func (m *Map) Set(key string, value any) {
	if _, list := value.([]any); !list {
		value = FromGo(value)
	}
	if m.values == nil {
		m.values = map[string]any{}
	}
	if _, ok := m.values[key]; !ok {
		m.keys = append(m.keys, key)
	}
	m.values[key] = value
}

// Keys returns the keys in order; the slice must not be changed.
func (m *Map) Keys() []string {
	if m == nil {
		return nil
	}
	return m.keys
}

// Len returns the number of keys.
func (m *Map) Len() int {
	if m == nil {
		return 0
	}
	return len(m.keys)
}

// All iterates over keys and values in order.
func (m *Map) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, key := range m.Keys() {
			if !yield(key, m.values[key]) {
				return
			}
		}
	}
}

// Clone returns a copy that can be changed on its own; the values are shared.
func (m *Map) Clone() *Map {
	c := &Map{keys: slices.Clone(m.Keys()), values: make(map[string]any, m.Len())}
	for key, value := range m.All() {
		c.values[key] = value
	}
	return c
}

// MarshalJSON writes the keys in their order; an undefined value becomes null.
func (m *Map) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, key := range m.Keys() {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		value := m.values[key]
		if _, undefined := value.(Undefined); undefined {
			value = nil
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads an object, keeping the order of its keys.
func (m *Map) UnmarshalJSON(data []byte) error {
	value, err := DecodeJSON(data)
	if err != nil {
		return err
	}
	decoded, ok := value.(*Map)
	if !ok {
		return &json.UnmarshalTypeError{Value: typeName(value)}
	}
	*m = *decoded
	return nil
}
