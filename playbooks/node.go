// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"gopkg.in/yaml.v3"

	"drover/internal/expression"
	"drover/internal/modules"
)

// parser reads one file. It goes on after a mistake, so that all of them are told at once.
type parser struct {
	findings
	file    string
	lines   [][]rune
	modules []modules.Module
}

// maxDepth bounds how deep blocks and values may be nested.
const maxDepth = 60

func (p *parser) at(n *yaml.Node) expression.Position {
	return expression.Position{File: p.file, Line: n.Line, Column: n.Column}
}

// entry is one key of a dictionary with its value.
type entry struct {
	name  string
	key   *yaml.Node
	value *yaml.Node
}

// entries returns a dictionary's entries in order; a key that is given twice or is no text is refused and left out.
func (p *parser) entries(n *yaml.Node) []entry {
	seen := map[string]bool{}
	var list []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], dereference(n.Content[i+1])
		if key.Kind != yaml.ScalarNode {
			p.refuse(p.at(key), bracesHint(key), "a key must be text, not %s", describe(key))
			continue
		}
		if seen[key.Value] {
			p.refuse(p.at(key), "", "%q is given twice", key.Value)
			continue
		}
		seen[key.Value] = true
		list = append(list, entry{key.Value, key, value})
	}
	return list
}

// bracesHint recognises `key: {{ x }}` without quotes, which YAML takes for a dictionary in a dictionary.
func bracesHint(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 {
		return `a value that begins with {{ must be in quotes: "{{ ... }}"`
	}
	return ""
}

func dereference(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && n.Alias != nil && i < maxDepth; i++ {
		n = n.Alias
	}
	return n
}

// items returns the items of a list, or the node itself where one item stands for a list.
func items(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	list := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		list[i] = dereference(item)
	}
	return list
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// describe names a node's type for a message.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a dictionary"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "a boolean"
	case "!!int", "!!float":
		return "a number"
	}
	return "text"
}

// scalar returns a scalar's value: nil, bool, int64, float64 or string.
func (p *parser) scalar(n *yaml.Node) any {
	var value any
	if err := n.Decode(&value); err != nil {
		p.refuse(p.at(n), "", "%v", err)
		return nil
	}
	return expression.FromGo(value)
}
