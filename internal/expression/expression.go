// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"context"
	"fmt"
	"slices"
)

// Expression is a parsed expression; it can be evaluated by many at once.
type Expression struct {
	source *source
	root   node
}

// ParseExpression parses an expression without braces, as `when`, `until` and `that` hold it. The position is that of
// its first character. Unlike inside the {{ }} of a playbook's value, a backslash in a string begins an escape, as it
// does in Ansible: a pattern for digits is written '\\d' there, or '\d', which is no known escape and stays as it is.
func ParseExpression(src string, at Position) (*Expression, error) {
	return parseExpression(&source{text: src, at: at})
}

func parseExpression(s *source) (*Expression, error) {
	if err := s.checkSize(); err != nil {
		return nil, err
	}
	tokens, _, _, err := s.lex(0, "")
	if err != nil {
		return nil, err
	}
	p := &parser{source: s, registry: builtin, tokens: tokens}
	root, err := p.expression()
	if err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return &Expression{source: s, root: root}, nil
}

// maxSource bounds a source text, in bytes.
const maxSource = 4 << 20

func (s *source) checkSize() error {
	if len(s.text) > maxSource {
		return s.fail(0, "the text is longer than %d MiB", maxSource>>20)
	}
	return nil
}

// Position returns where the expression begins.
func (e *Expression) Position() Position { return e.source.at }

// Source returns the text that was parsed.
func (e *Expression) Source() string { return e.source.text }

// Evaluate returns the expression's value. An undefined value, also inside a list or a map, is an error; see
// IsUndefined.
func (e *Expression) Evaluate(ctx context.Context, scope Scope, budget Budget) (any, error) {
	ev := newEvaluation(ctx, scope, budget, e.source)
	value, err := ev.eval(e.root)
	if err != nil {
		return nil, err
	}
	return value, ev.locate(e.root, complete(value))
}

// complete refuses a result with an undefined value in it.
func complete(value any) error {
	if u, ok := firstUndefined(value); ok {
		return &UndefinedError{u}
	}
	return nil
}

// EvaluateBool returns the answer of a condition. As in Ansible 2.19, a value that is not true or false is an error.
func (e *Expression) EvaluateBool(ctx context.Context, scope Scope, budget Budget) (bool, error) {
	value, err := e.Evaluate(ctx, scope, budget)
	if err != nil {
		return false, err
	}
	yes, ok := value.(bool)
	if !ok {
		return false, &Error{
			Position: e.source.at,
			Message:  fmt.Sprintf("a condition must be true or false, but this is of type %s", typeName(value)),
			Hint:     conditionHint(value),
		}
	}
	return yes, nil
}

func conditionHint(value any) string {
	switch value.(type) {
	case string:
		return "compare it, or convert it with `| bool`"
	case []any, Mapping:
		return "write `| length > 0`"
	case nil:
		return "write `is not none`"
	}
	return "compare it, as in `> 0`"
}

// Names returns the variables that the expression uses, in order of their first use.
func (e *Expression) Names() []string {
	var found []string
	walkNames(e.root, func(n *name) {
		if !slices.Contains(found, n.name) {
			found = append(found, n.name)
		}
	})
	return found
}

// walkNames visits the variables of an expression; the names of called functions are none.
func walkNames(n node, visit func(*name)) {
	if variable, ok := n.(*name); ok {
		visit(variable)
		return
	}
	parts := children(n)
	if c, ok := n.(*call); ok {
		if _, function := c.callee.(*name); function {
			parts = parts[1:]
		}
	}
	for _, part := range parts {
		walkNames(part, visit)
	}
}
