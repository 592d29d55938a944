// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"slices"
	"strings"

	"drover/internal/nearest"
)

// maxDepth bounds the recursion of the parser, and with it that of the evaluator.
const maxDepth = 150

// fewNames is how many names a message may list.
const fewNames = 5

type parser struct {
	*source
	registry *registry
	tokens   []token
	next     int
	depth    int
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) take() token {
	t := p.tokens[p.next]
	if t.kind != endToken {
		p.next++
	}
	return t
}

// isNext reports whether the next token is the operator or keyword.
func (p *parser) isNext(text string) bool {
	t := p.peek()
	return (t.kind == operatorToken || t.kind == nameToken) && t.text == text
}

func (p *parser) skip(text string) bool {
	if p.isNext(text) {
		p.next++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if p.skip(text) {
		return nil
	}
	return p.fail(p.peek().offset, "%q is expected here, not %s", text, p.peek().describe())
}

func (p *parser) end() error {
	t := p.peek()
	if t.kind == endToken {
		return nil
	}
	err := p.fail(t.offset, "the expression should end here, not go on with %s", t.describe())
	switch t.text {
	case "=":
		err.Hint = "write == to compare"
	case "{":
		err.Hint = "an expression is written without braces here"
	}
	return err
}

// enter counts one level of nesting; the caller must leave it again.
func (p *parser) enter() error {
	p.depth++
	if p.depth > maxDepth {
		return p.fail(p.peek().offset, "the expression is nested deeper than %d levels", maxDepth)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) expression() (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	left, err := p.or()
	if err != nil {
		return nil, err
	}
	for chain := 0; p.isNext("if"); chain++ {
		if chain > maxDepth {
			return nil, p.fail(p.peek().offset, "too many inline ifs")
		}
		offset := p.take().offset
		condition, err := p.or()
		if err != nil {
			return nil, err
		}
		c := &conditional{at: at(offset), condition: condition, yes: left}
		if p.skip("else") {
			if c.no, err = p.expression(); err != nil {
				return nil, err
			}
		}
		left = c
	}
	return left, nil
}

// chain parses operands of one level joined by operators of that level, from left to right.
func (p *parser) chain(operand func() (node, error), ops ...string) (node, error) {
	left, err := operand()
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		t := p.peek()
		if t.kind != operatorToken && t.kind != nameToken || !slices.Contains(ops, t.text) {
			return left, nil
		}
		if n > maxDepth {
			return nil, p.fail(t.offset, "more than %d operators in a row", maxDepth)
		}
		p.next++
		right, err := operand()
		if err != nil {
			return nil, err
		}
		left = &binary{at: at(t.offset), op: t.text, left: left, right: right}
	}
}

func (p *parser) or() (node, error)  { return p.chain(p.and, "or") }
func (p *parser) and() (node, error) { return p.chain(p.not, "and") }

func (p *parser) not() (node, error) {
	if !p.isNext("not") {
		return p.comparison()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	offset := p.take().offset
	operand, err := p.not()
	if err != nil {
		return nil, err
	}
	return &unary{at: at(offset), op: "not", operand: operand}, nil
}

func (p *parser) comparison() (node, error) {
	first, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &comparison{at: at(first.start()), operands: []node{first}}
	for {
		op, ok := p.comparisonOperator()
		if !ok {
			break
		}
		operand, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops = append(c.ops, op)
		c.operands = append(c.operands, operand)
	}
	if len(c.ops) == 0 {
		return first, nil
	}
	return c, nil
}

func (p *parser) comparisonOperator() (string, bool) {
	t := p.peek()
	switch {
	case t.kind == operatorToken && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text):
		p.next++
		return t.text, true
	case p.skip("in"):
		return "in", true
	case p.isNext("not") && p.tokens[p.next+1].kind == nameToken && p.tokens[p.next+1].text == "in":
		p.next += 2
		return "not in", true
	}
	return "", false
}

func (p *parser) sum() (node, error) { return p.chain(p.concat, "+", "-") }

func (p *parser) concat() (node, error) {
	first, err := p.product()
	if err != nil || !p.isNext("~") {
		return first, err
	}
	c := &concat{at: at(first.start()), parts: []node{first}}
	for p.skip("~") {
		part, err := p.product()
		if err != nil {
			return nil, err
		}
		c.parts = append(c.parts, part)
	}
	return c, nil
}

func (p *parser) product() (node, error) { return p.chain(p.power, "*", "/", "//", "%") }

// power goes from left to right, as in Jinja2 and unlike Python.
func (p *parser) power() (node, error) {
	return p.chain(func() (node, error) { return p.unary(true) }, "**")
}

// unary parses a sign before a value; a filter applies to the value together with its sign.
func (p *parser) unary(withFilters bool) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var result node
	var err error
	if t := p.peek(); t.kind == operatorToken && (t.text == "-" || t.text == "+") {
		p.next++
		operand, err := p.unary(false)
		if err != nil {
			return nil, err
		}
		result = &unary{at: at(t.offset), op: t.text, operand: operand}
	} else if result, err = p.primary(); err != nil {
		return nil, err
	}
	if result, err = p.postfix(result); err != nil || !withFilters {
		return result, err
	}
	return p.filters(result)
}

func (p *parser) primary() (node, error) {
	t := p.take()
	switch t.kind {
	case nameToken:
		return p.nameOrConstant(t)
	case stringToken:
		content := t.text
		for p.peek().kind == stringToken {
			content += p.take().text
		}
		return &constant{at(t.offset), content}, nil
	case integerToken, floatToken:
		return &constant{at(t.offset), t.number}, nil
	case operatorToken:
		switch t.text {
		case "(":
			return p.parenthesis(t)
		case "[":
			items, err := p.items("]")
			return &list{at(t.offset), items}, err
		case "{":
			return p.dict(t)
		}
	}
	err := p.fail(t.offset, "a value is expected here, not %s", t.describe())
	return nil, err
}

// reserved are the words that Jinja2 does not take for a variable.
var reserved = [...]string{"and", "or", "not", "is", "in", "if", "else", "elif"}

func (p *parser) nameOrConstant(t token) (node, error) {
	switch t.text {
	case "true", "True":
		return &constant{at(t.offset), true}, nil
	case "false", "False":
		return &constant{at(t.offset), false}, nil
	case "none", "None":
		return &constant{at(t.offset), nil}, nil
	}
	if slices.Contains(reserved[:], t.text) {
		return nil, p.fail(t.offset, "a value is expected here, not the word %q", t.text)
	}
	return &name{at(t.offset), t.text}, nil
}

// parenthesis parses `(x)`, and a tuple, which is a list here.
func (p *parser) parenthesis(open token) (node, error) {
	if p.skip(")") {
		return &list{at: at(open.offset)}, nil
	}
	first, err := p.expression()
	if err != nil {
		return nil, err
	}
	if !p.isNext(",") {
		return first, p.expect(")")
	}
	p.next++
	rest, err := p.items(")")
	return &list{at(open.offset), append([]node{first}, rest...)}, err
}

func (p *parser) items(end string) ([]node, error) {
	var items []node
	for !p.skip(end) {
		if len(items) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
			if p.skip(end) {
				break
			}
		}
		item, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func (p *parser) dict(open token) (node, error) {
	d := &dict{at: at(open.offset)}
	for !p.skip("}") {
		if len(d.keys) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
			if p.skip("}") {
				break
			}
		}
		key, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.expect(":"); err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys, d.values = append(d.keys, key), append(d.values, value)
	}
	return d, nil
}

// postfix parses `.name`, `.0`, `[...]` and `(...)` behind a value.
func (p *parser) postfix(of node) (node, error) {
	for n := 0; ; n++ {
		t := p.peek()
		if t.kind != operatorToken || t.text != "." && t.text != "[" && t.text != "(" {
			return of, nil
		}
		if n > maxDepth {
			return nil, p.fail(t.offset, "more than %d accesses in a row", maxDepth)
		}
		p.next++
		var err error
		switch t.text {
		case ".":
			of, err = p.attribute(of)
		case "[":
			of, err = p.subscript(of, t)
		case "(":
			of, err = p.call(of, t)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) attribute(of node) (node, error) {
	t := p.take()
	switch t.kind {
	case nameToken:
		return &attribute{at(t.offset), of, t.text}, nil
	case integerToken:
		return &index{at(t.offset), of, &constant{at(t.offset), t.number}}, nil
	}
	return nil, p.fail(t.offset, "a name is expected behind the dot, not %s", t.describe())
}

func (p *parser) subscript(of node, open token) (node, error) {
	var parts [3]node
	colons := 0
	for !p.isNext("]") {
		if p.skip(":") {
			if colons++; colons > 2 {
				return nil, p.fail(open.offset, "a slice has at most three parts")
			}
			continue
		}
		if parts[colons] != nil {
			return nil, p.expect("]")
		}
		var err error
		if parts[colons], err = p.expression(); err != nil {
			return nil, err
		}
	}
	p.next++
	if colons > 0 {
		return &slice{at(open.offset), of, parts[0], parts[1], parts[2]}, nil
	}
	if parts[0] == nil {
		return nil, p.fail(open.offset, "an index is missing between the brackets")
	}
	return &index{at(open.offset), of, parts[0]}, nil
}

func (p *parser) arguments() (arguments, error) {
	var args arguments
	for first := true; !p.skip(")"); first = false {
		if !first {
			if err := p.expect(","); err != nil {
				return args, err
			}
			if p.skip(")") {
				break
			}
		}
		keyword := ""
		if t := p.peek(); t.kind == nameToken && p.tokens[p.next+1].text == "=" && p.tokens[p.next+1].kind == operatorToken {
			keyword = t.text
			p.next += 2
			if slices.Contains(args.names, keyword) {
				return args, p.fail(t.offset, "the argument %q is given twice", keyword)
			}
		}
		value, err := p.expression()
		if err != nil {
			return args, err
		}
		if keyword == "" {
			if len(args.named) > 0 {
				return args, p.fail(value.start(), "an argument without a name cannot follow one with a name")
			}
			args.positional = append(args.positional, value)
			continue
		}
		args.names, args.named = append(args.names, keyword), append(args.named, value)
	}
	return args, nil
}

// call checks that what is called exists: a function by its name, or a method of a value.
func (p *parser) call(callee node, open token) (node, error) {
	switch c := callee.(type) {
	case *name:
		if !slices.Contains(p.registry.functionNames(), c.name) {
			return nil, p.unknown(c.start(), "function", c.name, p.registry.functionNames())
		}
	case *attribute:
		if !slices.Contains(methodNames(), c.name) {
			return nil, p.unknown(c.start(), "method", c.name, methodNames())
		}
	default:
		return nil, p.fail(open.offset, "only functions and methods can be called")
	}
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	if function, ok := callee.(*name); ok && function.name == "lookup" {
		if err := p.checkLookup(function.start(), args); err != nil {
			return nil, err
		}
	}
	return &call{at(open.offset), callee, args}, nil
}

// checkLookup refuses what no lookup answers, as far as that shows before anything runs: what to look up may be computed.
func (p *parser) checkLookup(offset int, args arguments) error {
	known := p.registry.lookupNames()
	if len(args.positional) > 0 {
		what, ok := args.positional[0].(*constant)
		if ok && !slices.ContainsFunc(known, func(name string) bool { return what.value == name }) {
			return p.unknown(what.start(), "lookup", fmt.Sprint(what.value), known)
		}
	}
	if len(args.names) > 0 {
		return p.fail(args.named[0].start(), "lookup has no argument %q", args.names[0])
	}
	if len(args.positional) != 2 {
		return p.fail(offset, "lookup takes what to look up (%s) and one name, not %d arguments", strings.Join(known, ", "), len(args.positional))
	}
	return nil
}

// unknown refuses a name with the one that was probably meant, or where none is near, with all that there are, if they are few.
func (p *parser) unknown(offset int, what, name string, known []string) *Error {
	err := p.fail(offset, "unknown %s %q", what, name)
	if err.Hint = nearest.Hint(name, known); err.Hint == "" && len(known) <= fewNames {
		err.Hint = "there is " + strings.Join(known, ", ")
	}
	return err
}
