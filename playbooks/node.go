// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/yaml"
)

// parser reads one file. It goes on after a mistake, so that all of them are told at once.
type parser struct {
	findings
	file    string
	lines   [][]rune
	modules []modules.Module
}

func newParser(file string, data []byte, table []modules.Module) *parser {
	return &parser{file: file, lines: splitLines(data), modules: table}
}

// maxDepth bounds how deep blocks and values may be nested.
const maxDepth = 60

// document returns the root of the file's only document, nil after a mistake.
func (p *parser) document(data []byte) *yaml.Node {
	root := p.optionalDocument(data)
	if root == nil && len(p.problems) == 0 {
		p.refuse(p.start(), "", "the file is empty")
	}
	return root
}

func (p *parser) start() expression.Position {
	return expression.Position{File: p.file, Line: 1, Column: 1}
}

// optionalDocument is document for a file that may be empty, whose root is nil then.
func (p *parser) optionalDocument(data []byte) *yaml.Node {
	if len(data) > largestFile {
		p.refuse(p.start(), "", "the file is larger than %d MiB", largestFile>>20)
		return nil
	}
	documents, warnings, err := yaml.Parse(p.file, data)
	for _, warning := range warnings {
		p.warn(warning.Position, "%s", warning.Message)
	}
	switch {
	case err != nil:
		p.refuseError(p.start(), err)
	case len(documents) > 1:
		p.refuse(documents[1].Position, "write one file for each", "the file holds more than one YAML document")
	case len(documents) == 1:
		return documents[0]
	}
	return nil
}

// entry is one key of a dictionary with its value.
type entry struct {
	name  string
	key   *yaml.Node
	value *yaml.Node
}

// entries returns a dictionary's entries in order.
func entries(n *yaml.Node) []entry {
	list := make([]entry, len(n.Pairs))
	for i, pair := range n.Pairs {
		list[i] = entry{pair.Name(), pair.Key, pair.Value}
	}
	return list
}

// items returns the items of a list, or the node itself where one item stands for a list.
func items(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.Sequence {
		return []*yaml.Node{n}
	}
	return n.Items
}
