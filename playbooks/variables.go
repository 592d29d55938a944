// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"errors"
	"fmt"
	"strings"

	"drover/internal/expression"
	"drover/internal/yaml"
)

// ParseVariables reads a file of variables (vars_files, -e @file): a dictionary, whose templates stay templates. An empty file
// has no variables.
func ParseVariables(name string, data []byte) (*Value, error) {
	p := newParser(name, data, nil)
	empty := &Value{At: p.start(), Form: FormDict}
	root := p.optionalDocument(data)
	if root == nil || root.IsNull() {
		return empty, p.err()
	}
	if root.Kind != yaml.Mapping {
		p.refuse(root.Position, "write `name: value` lines", "a file of variables must be a dictionary, not %s", root.Describe())
		return empty, p.err()
	}
	v := p.variables(entry{name: "vars", key: root, value: root})
	return v, p.err()
}

// ParseExtraVars reads the values of -e: `key=value` pairs, which are text; a YAML or JSON dictionary; or @file. Later ones win.
// A text with a template in it is checked and stays a text, as in an inventory.
func ParseExtraVars(args []string, readFile func(name string) ([]byte, error)) (*expression.Map, error) {
	vars := expression.NewMap()
	for _, arg := range args {
		parsed, err := parseExtra(strings.TrimSpace(arg), readFile)
		if err != nil {
			return nil, err
		}
		for _, pair := range parsed.Pairs {
			vars.Set(pair.Key, pair.Value.Source())
		}
	}
	return vars, nil
}

func parseExtra(arg string, readFile func(name string) ([]byte, error)) (*Value, error) {
	if name, ok := strings.CutPrefix(arg, "@"); ok {
		data, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("read extra vars: %w", err)
		}
		return ParseVariables(name, data)
	}
	if strings.HasPrefix(arg, "{") {
		return ParseVariables("-e", []byte(arg))
	}
	words, err := splitWords(arg)
	if err != nil {
		return nil, fmt.Errorf("-e: %w", err)
	}
	v := &Value{Form: FormDict}
	at := expression.Position{File: "-e", Line: 1, Column: 1}
	for _, word := range words {
		key, text, ok := strings.Cut(word.text, "=")
		if !ok || !isIdentifier(key) {
			return nil, errors.New("-e: write name=value (in quotes where there are spaces), a dictionary in braces, or @file")
		}
		value := &Value{At: at, Static: unquote(text)}
		if expression.IsTemplate(unquote(text)) {
			template, err := expression.ParseTemplate(unquote(text), at)
			if err != nil {
				return nil, err
			}
			value.Form, value.Template, value.Static = FormTemplate, template, nil
		}
		v.Pairs = append(v.Pairs, Pair{Key: key, At: at, Value: value})
	}
	return v, nil
}
