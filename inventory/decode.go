// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"fmt"

	"drover/internal/expression"

	"gopkg.in/yaml.v3"
)

// node is a YAML value with its place: pairs of a dictionary, items of a list, or a scalar.
type node struct {
	at     expression.Position
	pairs  []pair
	items  []*node
	scalar any
}

type pair struct {
	key   string
	at    expression.Position
	value *node
}

func (n *node) empty() bool { return n.pairs == nil && n.items == nil && n.scalar == nil }

func (n *node) kind() string {
	switch {
	case n.items != nil:
		return "a list"
	case n.pairs != nil:
		return "a dictionary"
	}
	return fmt.Sprintf("%q", fmt.Sprint(n.scalar))
}

// plain is the value without places.
func (n *node) plain() any {
	switch {
	case n.pairs != nil:
		m := expression.NewMap()
		for _, p := range n.pairs {
			m.Set(p.key, p.value.plain())
		}
		return m
	case n.items != nil:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.plain()
		}
		return list
	}
	return n.scalar
}

func decode(file string, data []byte) (*node, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(document.Content) == 0 {
		return nil, nil
	}
	return convert(file, document.Content[0])
}

func convert(file string, from *yaml.Node) (*node, error) {
	n := &node{at: expression.Position{File: file, Line: from.Line, Column: from.Column}}
	switch from.Kind {
	case yaml.MappingNode:
		n.pairs = []pair{}
		for i := 0; i < len(from.Content); i += 2 {
			value, err := convert(file, from.Content[i+1])
			if err != nil {
				return nil, err
			}
			key := from.Content[i]
			n.pairs = append(n.pairs, pair{key.Value, expression.Position{File: file, Line: key.Line, Column: key.Column}, value})
		}
	case yaml.SequenceNode:
		n.items = []*node{}
		for _, item := range from.Content {
			value, err := convert(file, item)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, value)
		}
	default:
		var value any
		if err := from.Decode(&value); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, from.Line, err)
		}
		n.scalar = expression.FromGo(value)
	}
	return n, nil
}
