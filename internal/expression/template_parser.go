// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"strings"

	"drover/internal/nearest"
)

// templateParser cuts a text into parts; i is the offset of what comes next.
type templateParser struct {
	*source
	i     int
	depth int
	// strip says that the tag before asked for the white space behind it to go.
	strip bool
	// afterBlock says that a block tag came before, whose newline goes too.
	afterBlock bool
}

func parseTemplate(s *source) (*Template, error) {
	if err := s.checkSize(); err != nil {
		return nil, err
	}
	t := &Template{source: s, newlines: newlines(s.text)}
	trimmed := *s
	trimmed.text = strings.TrimSuffix(s.text, "\n")
	p := &templateParser{source: &trimmed}
	body, ended, err := p.body(0)
	if err != nil {
		return nil, err
	}
	if ended != nil {
		return nil, p.strayTag(ended)
	}
	t.body = body
	return t, nil
}

// newlines counts the newlines at the end of a text.
func newlines(text string) int { return len(text) - len(strings.TrimRight(text, "\n")) }

// tag is the inside of a `{% %}`: its first word and a parser for the rest.
type tag struct {
	word   string
	offset int
	*parser
}

// knownTags are the tags that may be written; the second half only ends or divides others.
var knownTags = [...]string{"if", "for", "set", "raw", "elif", "else", "endif", "endfor", "endset", "endraw"}

func (p *templateParser) strayTag(t *tag) error {
	err := p.fail(t.offset, "unexpected tag %q", t.word)
	known := false
	for _, word := range knownTags {
		known = known || word == t.word
	}
	if !known {
		err.Message = "unknown tag " + `"` + t.word + `"`
		err.Hint = nearest.Hint(t.word, knownTags[:])
	}
	return err
}

// body reads parts until the end or until a tag that does not begin anything, which it returns.
func (p *templateParser) body(opened int) ([]part, *tag, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, nil, p.fail(opened, "blocks are nested deeper than %d levels", maxDepth)
	}
	defer func() { p.depth-- }()
	var body []part
	for p.i < len(p.text) {
		if text := p.plain(); text != "" {
			body = append(body, plainText(text))
		}
		if p.i == len(p.text) {
			break
		}
		next, ended, err := p.tag()
		if err != nil || ended != nil {
			return body, ended, err
		}
		if next != nil {
			body = append(body, next)
		}
	}
	return body, nil, nil
}

// plain reads the text up to the next tag and applies the trim marks on both of its sides.
func (p *templateParser) plain() string {
	rest := p.text[p.i:]
	end := len(rest)
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == '{' && (rest[i+1] == '{' || rest[i+1] == '%' || rest[i+1] == '#') {
			end = i
			break
		}
	}
	text := rest[:end]
	p.i += end
	if p.strip {
		text = strings.TrimLeft(text, whitespace)
	} else if p.afterBlock {
		text = strings.TrimPrefix(text, "\n")
	}
	p.strip, p.afterBlock = false, false
	if end+2 < len(rest) && rest[end+2] == '-' {
		text = strings.TrimRight(text, whitespace)
	}
	return text
}

const whitespace = " \t\r\n\f\v"

// tag reads one `{{ }}`, `{% %}` or `{# #}`. It returns a part, or a tag that ends the current body.
func (p *templateParser) tag() (part, *tag, error) {
	start := p.i
	inner := start + 2
	if inner < len(p.text) && (p.text[inner] == '-' || p.text[inner] == '+') {
		inner++
	}
	switch p.text[start+1] {
	case '#':
		return nil, nil, p.comment(start, inner)
	case '{':
		value, err := p.output(start, inner)
		return value, nil, err
	}
	tokens, after, trim, err := p.lex(inner, "%}")
	if err != nil {
		return nil, nil, p.unclosed(err, start)
	}
	p.i, p.strip, p.afterBlock = after, trim == '-', trim != '+'
	t := &tag{offset: tokens[0].offset, parser: &parser{source: p.source, registry: builtin, tokens: tokens}}
	if tokens[0].kind != nameToken {
		return nil, nil, p.fail(t.offset, "the name of a tag is expected here, not %s", tokens[0].describe())
	}
	t.word = t.take().text
	switch t.word {
	case "if":
		part, err := p.branch(t)
		return part, nil, err
	case "for":
		part, err := p.loop(t)
		return part, nil, err
	case "set":
		part, err := p.set(t)
		return part, nil, err
	case "raw":
		part, err := p.raw(t)
		return part, nil, err
	}
	return nil, t, nil
}

// unclosed puts the place of a tag into the error about its missing end.
func (p *templateParser) unclosed(err error, start int) error {
	var e *Error
	if errors.As(err, &e) && strings.Contains(e.Message, "never closed: \"") {
		e.Position = p.position(start)
	}
	return err
}

func (p *templateParser) comment(start, inner int) error {
	end := strings.Index(p.text[inner:], "#}")
	if end < 0 {
		return p.fail(start, "this comment is never closed: \"#}\" is missing")
	}
	p.strip = end > 0 && p.text[inner+end-1] == '-'
	p.afterBlock = true
	p.i = inner + end + 2
	return nil
}

func (p *templateParser) output(start, inner int) (part, error) {
	tokens, after, trim, err := p.lex(inner, "}}")
	if err != nil {
		return nil, p.unclosed(err, start)
	}
	p.i, p.strip = after, trim == '-'
	expr := &parser{source: p.source, registry: builtin, tokens: tokens}
	value, err := expr.expression()
	if err != nil {
		return nil, err
	}
	return &output{value}, expr.end()
}

func (p *templateParser) branch(t *tag) (part, error) {
	b := &branch{}
	opened := t.offset
	for {
		if t.word != "else" {
			condition, err := t.expression()
			if err != nil {
				return nil, err
			}
			b.conditions = append(b.conditions, condition)
		}
		if err := t.end(); err != nil {
			return nil, err
		}
		body, next, err := p.body(opened)
		if err != nil {
			return nil, err
		}
		b.bodies = append(b.bodies, body)
		switch {
		case next == nil:
			return nil, p.fail(opened, "this if is never closed: {%% endif %%} is missing")
		case next.word == "endif":
			return b, next.end()
		case t.word == "else" || next.word != "elif" && next.word != "else":
			return nil, p.strayTag(next)
		}
		t = next
	}
}

func (p *templateParser) loop(t *tag) (part, error) {
	l := &loop{at: at(t.offset)}
	var err error
	if l.targets, err = t.targets("in"); err != nil {
		return nil, err
	}
	if err := t.expect("in"); err != nil {
		return nil, err
	}
	// The `if` behind a loop filters its items, so the list itself cannot be an inline if without parentheses.
	if l.over, err = t.or(); err != nil {
		return nil, err
	}
	if t.skip("if") {
		if l.condition, err = t.expression(); err != nil {
			return nil, err
		}
	}
	if t.isNext("recursive") {
		return nil, p.fail(t.peek().offset, "recursive loops are not supported")
	}
	if err := t.end(); err != nil {
		return nil, err
	}
	var next *tag
	if l.body, next, err = p.body(t.offset); err != nil {
		return nil, err
	}
	if next != nil && next.word == "else" {
		if err := next.end(); err != nil {
			return nil, err
		}
		if l.otherwise, next, err = p.body(t.offset); err != nil {
			return nil, err
		}
	}
	switch {
	case next == nil:
		return nil, p.fail(t.offset, "this for is never closed: {%% endfor %%} is missing")
	case next.word != "endfor":
		return nil, p.strayTag(next)
	}
	return l, next.end()
}

// targets reads `a` or `a, b`, up to the word that follows them.
func (t *tag) targets(until string) ([]string, error) {
	var targets []string
	parenthesis := t.skip("(")
	for {
		v := t.take()
		if v.kind != nameToken || v.text == until {
			return nil, t.fail(v.offset, "the name of a variable is expected here, not %s", v.describe())
		}
		if t.isNext(".") {
			return nil, t.fail(v.offset, "only plain variables can be set here")
		}
		targets = append(targets, v.text)
		if !t.skip(",") {
			break
		}
	}
	if parenthesis {
		return targets, t.expect(")")
	}
	return targets, nil
}

func (p *templateParser) set(t *tag) (part, error) {
	targets, err := t.targets("=")
	if err != nil {
		return nil, err
	}
	if t.skip("=") {
		value, err := t.expression()
		if err != nil {
			return nil, err
		}
		return &assignment{at(t.offset), targets, value}, t.end()
	}
	if err := t.end(); err != nil {
		return nil, err
	}
	if len(targets) != 1 {
		return nil, p.fail(t.offset, "a set block sets one variable")
	}
	body, next, err := p.body(t.offset)
	switch {
	case err != nil:
		return nil, err
	case next == nil:
		return nil, p.fail(t.offset, "this set is never closed: {%% endset %%} is missing")
	case next.word != "endset":
		return nil, p.strayTag(next)
	}
	return &blockAssignment{targets[0], body}, next.end()
}

// raw takes everything up to {% endraw %} as it is.
func (p *templateParser) raw(t *tag) (part, error) {
	if err := t.end(); err != nil {
		return nil, err
	}
	for i := p.i; ; i += 2 {
		next := strings.Index(p.text[i:], "{%")
		if next < 0 {
			return nil, p.fail(t.offset, "this raw is never closed: {%% endraw %%} is missing")
		}
		i += next
		inner, trimLeft := strings.CutPrefix(p.text[i+2:], "-")
		inner, found := strings.CutPrefix(strings.TrimLeft(inner, whitespace), "endraw")
		inner = strings.TrimLeft(inner, whitespace)
		trimmed, trimRight := strings.CutPrefix(inner, "-")
		if !found || !strings.HasPrefix(trimmed, "%}") {
			continue
		}
		content := p.text[p.i:i]
		if p.strip {
			content = strings.TrimLeft(content, whitespace)
		} else {
			content = strings.TrimPrefix(content, "\n")
		}
		if trimLeft {
			content = strings.TrimRight(content, whitespace)
		}
		p.i = len(p.text) - len(trimmed) + len("%}")
		p.strip, p.afterBlock = trimRight, true
		return plainText(content), nil
	}
}
