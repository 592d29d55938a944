// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"slices"
	"strings"

	"drover/internal/nearest"
)

// filters parses any row of `| filter` and `is test` behind a value.
func (p *parser) filters(operand node) (node, error) {
	for n := 0; ; n++ {
		t := p.peek()
		if n > maxDepth {
			return nil, p.fail(t.offset, "more than %d filters in a row", maxDepth)
		}
		var err error
		switch {
		case t.kind == operatorToken && t.text == "|":
			p.next++
			operand, err = p.filter(operand)
		case t.kind == nameToken && t.text == "is":
			p.next++
			operand, err = p.test(operand)
		case t.kind == operatorToken && t.text == "(":
			return nil, p.fail(t.offset, "only functions and methods can be called")
		default:
			return operand, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// pluginName reads a name that may carry Ansible's prefix, as in `ansible.builtin.bool`.
func (p *parser) pluginName(kind string) (string, int, error) {
	t := p.take()
	if t.kind != nameToken {
		return "", 0, p.fail(t.offset, "the name of a %s is expected here, not %s", kind, t.describe())
	}
	full := t.text
	for p.isNext(".") && p.tokens[p.next+1].kind == nameToken {
		p.next++
		full += "." + p.take().text
	}
	return strings.TrimPrefix(strings.TrimPrefix(full, "ansible.builtin."), "ansible.legacy."), t.offset, nil
}

func (p *parser) filter(operand node) (node, error) {
	name, offset, err := p.pluginName("filter")
	if err != nil {
		return nil, err
	}
	var args arguments
	if p.skip("(") {
		if args, err = p.arguments(); err != nil {
			return nil, err
		}
	}
	filter, err := p.lookup("filter", name, offset)
	if err != nil {
		return nil, err
	}
	if err := p.check(filter, offset, args); err != nil {
		return nil, err
	}
	return &filterCall{at(offset), operand, filter, args}, nil
}

// test parses what follows `is`; a single argument may be written without parentheses.
func (p *parser) test(operand node) (node, error) {
	negated := p.skip("not")
	name, offset, err := p.pluginName("test")
	if err != nil {
		return nil, err
	}
	var args arguments
	if p.skip("(") {
		args, err = p.arguments()
	} else if p.bareArgument() {
		var argument node
		if argument, err = p.primary(); err == nil {
			argument, err = p.postfix(argument)
		}
		args.positional = []node{argument}
	}
	if err != nil {
		return nil, err
	}
	test, err := p.lookup("test", name, offset)
	if err != nil {
		return nil, err
	}
	if err := p.check(test, offset, args); err != nil {
		return nil, err
	}
	var result node = &testCall{at(offset), operand, test, args}
	if negated {
		result = &unary{at: at(offset), op: "not", operand: result}
	}
	return result, nil
}

func (p *parser) bareArgument() bool {
	t := p.peek()
	switch t.kind {
	case nameToken:
		return !slices.Contains([]string{"else", "or", "and", "is", "if", "in", "not"}, t.text)
	case stringToken, integerToken, floatToken:
		return true
	case operatorToken:
		return t.text == "[" || t.text == "{"
	}
	return false
}

func (p *parser) lookup(kind, name string, offset int) (*entry, error) {
	table := p.registry.filters
	if kind == "test" {
		table = p.registry.tests
	}
	if found, ok := table[name]; ok {
		return found, nil
	}
	err := p.fail(offset, "unknown %s %q", kind, name)
	err.Hint = nearest.Hint(name, names(table))
	if _, ok := p.registry.tests[name]; ok && kind == "filter" {
		err.Hint = "it is a test: write `is " + name + "`"
	}
	if _, ok := p.registry.filters[name]; ok && kind == "test" {
		err.Hint = "it is a filter: write `| " + name + "`"
	}
	return nil, err
}

// check holds the arguments of a filter or test against its parameters, so that mistakes show when a file is loaded.
func (p *parser) check(e *entry, offset int, args arguments) error {
	if message, hint := e.mismatch(len(args.positional), args.names); message != "" {
		return &Error{Position: p.position(offset), Message: message, Hint: hint}
	}
	if len(args.positional) == 0 || e.applies == nil {
		return nil
	}
	kind, nth := e.applies()
	if nth >= len(args.positional) {
		return nil
	}
	inner, ok := args.positional[nth].(*constant)
	if !ok {
		return nil
	}
	if name, ok := inner.value.(string); ok {
		_, err := p.lookup(kind, strings.TrimPrefix(name, "ansible.builtin."), inner.start())
		return err
	}
	return nil
}
