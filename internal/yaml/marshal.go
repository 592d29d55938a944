// SPDX-License-Identifier: MPL-2.0

package yaml

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"drover/internal/expression"
)

// Marshal writes a value of package expression as YAML, so that Parse, and Ansible, read the same value again.
// Mappings keep their order; an undefined value is an error.
func Marshal(value any) ([]byte, error) {
	node, err := newResolver().encode(value, 0)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return b.Bytes(), nil
}

func plain(tag, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}

func (r *resolver) encode(value any, depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("write YAML: nested deeper than %d levels", maxDepth)
	}
	switch v := value.(type) {
	case nil:
		return plain("!!null", "null"), nil
	case bool:
		return plain("!!bool", strconv.FormatBool(v)), nil
	case int64:
		return plain("!!int", strconv.FormatInt(v, 10)), nil
	case float64:
		return plain("!!float", floatText(v)), nil
	case string:
		return r.text(v), nil
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v {
			encoded, err := r.encode(item, depth+1)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, encoded)
		}
		return node, nil
	case expression.Mapping:
		return r.encodeMapping(v, depth)
	case expression.Undefined:
		return nil, fmt.Errorf("write YAML: %w", &expression.UndefinedError{Undefined: v})
	case error:
		return nil, fmt.Errorf("write YAML: %w", v)
	}
	return nil, fmt.Errorf("write YAML: a value of type %T is unknown", value)
}

func (r *resolver) encodeMapping(m expression.Mapping, depth int) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, key := range m.Keys() {
		item, _ := m.Get(key)
		encoded, err := r.encode(item, depth+1)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, r.text(key), encoded)
	}
	return node, nil
}

// text quotes whatever YAML 1.1 would read as another type, beyond what the library quotes itself.
func (r *resolver) text(s string) *yaml.Node {
	node := plain("!!str", s)
	_, isText := r.value(s).(string)
	// The library loses lines of a block that begins with white space.
	brokenBlock := strings.Contains(s, "\n") && strings.ContainsRune(" \t\n", rune(s[0]))
	if !isText || brokenBlock || s == "<<" || s == "=" || r.sexagesimal.MatchString(s) || r.timestamp.MatchString(s) {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// floatText writes a float so that YAML 1.1 reads a float: with a dot, and with a sign in its exponent.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return ".inf"
	case math.IsInf(f, -1):
		return "-.inf"
	case math.IsNaN(f):
		return ".nan"
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if size := math.Abs(f); f != 0 && (size >= 1e16 || size < 1e-4) {
		text = strconv.FormatFloat(f, 'e', -1, 64)
		if !strings.Contains(text, ".") {
			text = strings.Replace(text, "e", ".0e", 1)
		}
		return text
	}
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
