// SPDX-License-Identifier: MPL-2.0

package yaml

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"drover/internal/expression"
)

// converter turns the library's nodes into ours.
type converter struct {
	file     string
	resolver *resolver
	warnings []Warning
	nodes    int
	aliased  int
	open     []*yaml.Node // the aliases that are being resolved
}

func (c *converter) at(n *yaml.Node) expression.Position {
	return expression.Position{File: c.file, Line: n.Line, Column: n.Column}
}

func (c *converter) fail(n *yaml.Node, format string, args ...any) *Error {
	return &Error{Position: c.at(n), Message: fmt.Sprintf(format, args...)}
}

// node converts one node; key is the name under which it stands, for warnings.
func (c *converter) node(n *yaml.Node, key string, depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, c.fail(n, "nested deeper than %d levels", maxDepth)
	}
	if c.nodes++; c.nodes > maxNodes {
		return nil, c.fail(n, "the file has more than %d values", maxNodes)
	}
	if len(c.open) > 0 {
		if c.aliased++; c.aliased > maxAliased {
			return nil, c.fail(n, "aliases stand for more than %d values", maxAliased)
		}
	}
	if n.Kind == yaml.AliasNode {
		return c.alias(n, key, depth)
	}
	result := &Node{Position: c.at(n)}
	if err := c.tag(n, result); err != nil {
		return nil, err
	}
	switch n.Kind {
	case yaml.SequenceNode:
		result.Kind = Sequence
		for _, item := range n.Content {
			converted, err := c.node(item, key, depth+1)
			if err != nil {
				return nil, err
			}
			result.Items = append(result.Items, converted)
		}
		return result, nil
	case yaml.MappingNode:
		return result, c.mapping(n, result, depth)
	case yaml.ScalarNode:
		return result, c.scalar(n, result, key)
	}
	return nil, c.fail(n, "this cannot be read")
}

func (c *converter) alias(n *yaml.Node, key string, depth int) (*Node, error) {
	if slices.Contains(c.open, n.Alias) {
		return nil, c.fail(n, "the alias *%s contains itself", n.Value)
	}
	c.open = append(c.open, n.Alias)
	defer func() { c.open = c.open[:len(c.open)-1] }()
	return c.node(n.Alias, key, depth+1)
}

// tag accepts the tags that mean no more than the value's own type, and refuses the others by name.
func (c *converter) tag(n *yaml.Node, result *Node) error {
	if n.Style&yaml.TaggedStyle == 0 {
		return nil
	}
	result.Tag = n.Tag
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!seq", "!!map", "!", "!unsafe":
		return nil
	case "!vault", "!vault-encrypted":
		err := c.fail(n, "values encrypted with ansible-vault (!vault) are not supported yet")
		err.Hint = "decrypt the value, or pass it with -e @FILE"
		return err
	}
	return c.fail(n, "unknown tag %s", n.Tag)
}

func (c *converter) scalar(n *yaml.Node, result *Node, key string) error {
	result.Text = n.Value
	result.Quoted = n.Style&(yaml.LiteralStyle|yaml.FoldedStyle|yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	tag := ""
	if result.Tag != "" {
		tag = n.ShortTag()
	}
	switch {
	case tag == "!!str" || tag == "!" || tag == "!unsafe" || result.Quoted && tag == "":
		result.Value = n.Value
		return nil
	case tag == "!!float":
		f, ok := float(n.Value)
		if !ok {
			return c.fail(n, "%q is not a float", n.Value)
		}
		result.Value = f
		return nil
	}
	result.Value = c.resolver.value(n.Value)
	if tag != "" {
		return c.checkTag(n, tag, result.Value)
	}
	if message := c.resolver.surprise(key, n.Value, result.Value); message != "" {
		c.warnings = append(c.warnings, Warning{result.Position, message})
	}
	return nil
}

func (c *converter) checkTag(n *yaml.Node, tag string, value any) error {
	fits := false
	switch value.(type) {
	case nil:
		fits = tag == "!!null"
	case bool:
		fits = tag == "!!bool"
	case int64:
		fits = tag == "!!int"
	}
	if !fits {
		return c.fail(n, "%q is not what its tag %s says", n.Value, n.Tag)
	}
	return nil
}

// mapping converts entries, refuses a key that comes twice, and applies `<<`.
func (c *converter) mapping(n *yaml.Node, result *Node, depth int) error {
	result.Kind = Mapping
	seen := map[string]*Node{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			merges = append(merges, n.Content[i+1])
			continue
		}
		key, err := c.key(n.Content[i], depth)
		if err != nil {
			return err
		}
		name := keyText(key)
		if first := seen[name]; first != nil {
			return c.fail(n.Content[i], "the key %q comes twice: it is also in line %d", name, first.Line)
		}
		seen[name] = key
		value, err := c.node(n.Content[i+1], name, depth+1)
		if err != nil {
			return err
		}
		result.Pairs = append(result.Pairs, Pair{key, value})
	}
	for _, merge := range merges {
		if err := c.merge(merge, result, seen, depth); err != nil {
			return err
		}
	}
	return nil
}

func isMerge(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0
}

func (c *converter) key(n *yaml.Node, depth int) (*Node, error) {
	key, err := c.node(n, "", depth+1)
	if err != nil {
		return nil, err
	}
	if key.Kind == Scalar {
		return key, nil
	}
	failure := c.fail(n, "a %s cannot be a key", key.Kind)
	if key.Kind == Mapping {
		// `{{ x }}` is a dictionary in a dictionary for YAML; the first brace stands before this one.
		failure.Column = max(failure.Column-1, 1)
		failure.Hint = `a value that begins with {{ must be in quotes: "{{ x }}"`
	}
	return nil, failure
}

// merge adds the entries behind `<<` whose keys are not there yet.
func (c *converter) merge(n *yaml.Node, result *Node, seen map[string]*Node, depth int) error {
	from, err := c.node(n, "", depth+1)
	if err != nil {
		return err
	}
	sources := []*Node{from}
	if from.Kind == Sequence {
		sources = from.Items
	}
	for _, source := range sources {
		if source.Kind != Mapping {
			return c.fail(n, "<< merges dictionaries, not a %s", source.Kind)
		}
		for _, pair := range source.Pairs {
			if seen[pair.Name()] == nil {
				seen[pair.Name()] = pair.Key
				result.Pairs = append(result.Pairs, pair)
			}
		}
	}
	return nil
}

// keyText returns a key as text; a key of another type is known by Python's text for it.
func keyText(key *Node) string {
	switch v := key.Value.(type) {
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	case nil:
		return "None"
	case int64:
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(key.Text)
}
