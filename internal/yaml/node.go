// SPDX-License-Identifier: MPL-2.0

package yaml

import (
	"iter"

	"drover/internal/expression"
)

// Kind tells what a node holds.
type Kind int

// The kinds of nodes.
const (
	Scalar Kind = iota
	Sequence
	Mapping
)

// String returns the word for a kind that messages use.
func (k Kind) String() string {
	switch k {
	case Sequence:
		return "list"
	case Mapping:
		return "dictionary"
	default:
		return "value"
	}
}

// Node is one value of a YAML file with its place. Aliases have been resolved and merge keys applied.
type Node struct {
	Kind Kind
	expression.Position
	Value  any    // of a scalar: nil, bool, int64, float64 or string
	Text   string // of a scalar: as it is written, without quotes
	Quoted bool   // of a scalar: in quotes, or a block behind | or >
	Tag    string // an explicit tag such as !unsafe, else empty
	Items  []*Node
	Pairs  []Pair
}

// Pair is one entry of a mapping.
type Pair struct{ Key, Value *Node }

// Name returns a key as text.
func (p Pair) Name() string { return keyText(p.Key) }

// All iterates over the entries of a mapping in their order.
func (n *Node) All() iter.Seq2[*Node, *Node] {
	return func(yield func(key, value *Node) bool) {
		for _, pair := range n.Pairs {
			if !yield(pair.Key, pair.Value) {
				return
			}
		}
	}
}

// Get returns the value of a key of a mapping, nil where there is none.
func (n *Node) Get(key string) *Node {
	if pair, ok := n.Find(key); ok {
		return pair.Value
	}
	return nil
}

// Find returns the entry of a key of a mapping.
func (n *Node) Find(key string) (Pair, bool) {
	if n == nil {
		return Pair{}, false
	}
	for _, pair := range n.Pairs {
		if pair.Name() == key {
			return pair, true
		}
	}
	return Pair{}, false
}

// Keys returns the names of a mapping's keys in their order.
func (n *Node) Keys() []string {
	names := make([]string, len(n.Pairs))
	for i, pair := range n.Pairs {
		names[i] = pair.Name()
	}
	return names
}

// IsNull reports whether the node is an empty or null scalar.
func (n *Node) IsNull() bool { return n.Kind == Scalar && n.Value == nil }

// Describe returns what a node is, for messages: "a list", "a dictionary", "an int".
func (n *Node) Describe() string {
	if n.Kind != Scalar {
		return "a " + n.Kind.String()
	}
	switch n.Value.(type) {
	case nil:
		return "nothing"
	case bool:
		return "a bool"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	default:
		return "text"
	}
}

// Decode returns the node as a value of package expression; mappings become *expression.Map in the order of the file.
func (n *Node) Decode() any {
	switch n.Kind {
	case Sequence:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = item.Decode()
		}
		return list
	case Mapping:
		m := expression.NewMap()
		for _, pair := range n.Pairs {
			m.Set(pair.Name(), pair.Value.Decode())
		}
		return m
	default:
		return n.Value
	}
}
