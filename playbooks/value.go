// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"drover/internal/expression"
	"drover/internal/yaml"
)

// value reads any YAML value with the templates in it.
func (p *parser) value(n *yaml.Node) *Value { return p.valueAt(n, 0) }

func (p *parser) valueAt(n *yaml.Node, depth int) *Value {
	v := &Value{At: n.Position}
	if depth > maxDepth {
		p.refuse(v.At, "", "values are nested deeper than %d levels", maxDepth)
		return v
	}
	switch n.Kind {
	case yaml.Sequence:
		v.Form = FormList
		for _, item := range n.Items {
			v.Items = append(v.Items, p.valueAt(item, depth+1))
		}
	case yaml.Mapping:
		v.Form = FormDict
		for _, e := range entries(n) {
			if expression.IsTemplate(e.name) {
				p.refuse(e.key.Position, "", "a template as a key is not in the language yet")
				continue
			}
			v.Pairs = append(v.Pairs, Pair{Key: e.name, At: e.key.Position, Value: p.valueAt(e.value, depth+1)})
		}
	default:
		p.scalarValue(n, v)
	}
	return v
}

func (p *parser) scalarValue(n *yaml.Node, v *Value) {
	v.Static = n.Value
	text, ok := v.Static.(string)
	if !ok || n.Tag == "!unsafe" || !expression.IsTemplate(text) {
		return
	}
	if template := p.template(n); template != nil {
		v.Form, v.Template, v.Static = FormTemplate, template, nil
	}
}

// template parses the text of a scalar; nil after a mistake.
func (p *parser) template(n *yaml.Node) *expression.Template {
	template, err := expression.ParseTemplate(n.Text, p.scalarStart(n))
	if err != nil {
		p.refuseWithin(n, 0, func(at expression.Position) error {
			_, err := expression.ParseTemplate(n.Text, at)
			return err
		})
		return nil
	}
	return template
}

// expression parses an expression without braces that begins at an offset (in characters) of a scalar's text; nil after a
// mistake.
func (p *parser) expression(n *yaml.Node, source string, skipped int) *expression.Expression {
	e, err := expression.ParseExpression(source, p.locate(n, 1, 1+skipped))
	if err != nil {
		p.refuseWithin(n, skipped, func(at expression.Position) error {
			_, err := expression.ParseExpression(source, at)
			return err
		})
		return nil
	}
	return e
}

// refuseWithin records the mistake that parse finds in a scalar's text, at its place in the file.
func (p *parser) refuseWithin(n *yaml.Node, skipped int, parse func(expression.Position) error) {
	err := parse(expression.Position{Line: 1, Column: 1})
	var mistake *expression.Error
	if !errors.As(err, &mistake) {
		p.refuse(n.Position, "", "%v", err)
		return
	}
	line, column := mistake.Line, mistake.Column
	if line == 1 {
		column += skipped
	}
	placed := *mistake
	placed.Position = p.locate(n, line, column)
	p.problems = append(p.problems, &placed)
}

// conditions reads `when` and its like: an expression without braces or a list of them, all of which must hold.
func (p *parser) conditions(n *yaml.Node, keyword string) []*expression.Expression {
	var list []*expression.Expression
	for _, item := range items(n) {
		if e := p.condition(item, keyword); e != nil {
			list = append(list, e)
		}
	}
	return list
}

func (p *parser) condition(n *yaml.Node, keyword string) *expression.Expression {
	if n.Kind != yaml.Scalar || n.IsNull() {
		p.refuse(n.Position, "", "%s must be an expression, not %s", keyword, n.Describe())
		return nil
	}
	source, skipped := n.Text, 0
	switch literal := n.Value.(type) {
	case bool:
		source = strconv.FormatBool(literal)
	case string:
		source, skipped = p.withoutBraces(n, keyword)
	}
	if strings.TrimSpace(source) == "" {
		p.refuse(n.Position, "", "%s is empty", keyword)
		return nil
	}
	return p.expression(n, source, skipped)
}

// withoutBraces takes the braces off `when: "{{ x }}"`, as Ansible does with a warning.
func (p *parser) withoutBraces(n *yaml.Node, keyword string) (source string, skipped int) {
	trimmed := strings.TrimSpace(n.Text)
	inner, ok := strings.CutPrefix(trimmed, "{{")
	if !ok {
		return n.Text, 0
	}
	inner, ok = strings.CutSuffix(inner, "}}")
	if !ok || strings.Contains(inner, "{{") || strings.Contains(inner, "}}") {
		return n.Text, 0
	}
	p.warn(n.Position, "%s is an expression already: write it without {{ }}", keyword)
	lead := len(n.Text) - len(strings.TrimLeft(n.Text, " \t\r\n"))
	space := len(inner) - len(strings.TrimLeft(inner, " "))
	return strings.TrimSpace(inner), lead + len("{{") + space
}

// Render evaluates the templates of a value for one host: texts, numbers and booleans, []any, *expression.Map.
func (v *Value) Render(ctx context.Context, scope expression.Scope, budget expression.Budget) (any, error) {
	switch v.Form {
	case FormTemplate:
		return v.Template.Render(ctx, scope, budget)
	case FormList:
		list := make([]any, len(v.Items))
		for i, item := range v.Items {
			rendered, err := item.Render(ctx, scope, budget)
			if err != nil {
				return nil, err
			}
			list[i] = rendered
		}
		return list, nil
	case FormDict:
		m := expression.NewMap()
		for _, pair := range v.Pairs {
			rendered, err := pair.Value.Render(ctx, scope, budget)
			if err != nil {
				return nil, err
			}
			m.Set(pair.Key, rendered)
		}
		return m, nil
	default:
		return v.Static, nil
	}
}

// Source returns the value with its templates as the text that was written.
func (v *Value) Source() any {
	switch v.Form {
	case FormTemplate:
		return v.Template.Source()
	case FormList:
		list := make([]any, len(v.Items))
		for i, item := range v.Items {
			list[i] = item.Source()
		}
		return list
	case FormDict:
		m := expression.NewMap()
		for _, pair := range v.Pairs {
			m.Set(pair.Key, pair.Value.Source())
		}
		return m
	default:
		return v.Static
	}
}

// IsStatic reports whether the value has no template in it, so that it is the same for every host.
func (v *Value) IsStatic() bool {
	for _, item := range v.Items {
		if !item.IsStatic() {
			return false
		}
	}
	for _, pair := range v.Pairs {
		if !pair.Value.IsStatic() {
			return false
		}
	}
	return v.Form != FormTemplate
}

// constant returns what a static value renders to; false when there is a template in it.
func (v *Value) constant() (any, bool) {
	if !v.IsStatic() {
		return nil, false
	}
	value, err := v.Render(context.Background(), nil, expression.Budget{})
	return value, err == nil
}

// Text returns the value as it was written where it is a single text or template, for listings: `install {{ version }}`.
func (v *Value) Text() string {
	switch {
	case v == nil:
		return ""
	case v.Form == FormTemplate:
		return v.Template.Source()
	}
	if text, ok := v.Static.(string); ok {
		return text
	}
	return ""
}
