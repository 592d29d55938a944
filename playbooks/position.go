// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"strings"
	"unicode"

	"drover/internal/expression"
	"drover/internal/yaml"
)

// A mistake in an expression is found in the text that YAML made of a scalar. To say where it stands in the file, the text is
// laid beside the source again: quotes, escapes, folding and indentation have moved everything.

// scalarStart returns where the first character of a scalar's text stands.
func (p *parser) scalarStart(n *yaml.Node) expression.Position {
	return p.locate(n, 1, 1)
}

// locate turns a line and column within a scalar's text, both from 1, into a place in the file.
func (p *parser) locate(n *yaml.Node, line, column int) expression.Position {
	at := n.Position
	cursor := p.cursor(n)
	if cursor == nil {
		return at
	}
	l, c := 1, 1
	for _, r := range n.Text {
		if l == line && c == column {
			return cursor.find(r)
		}
		cursor.pass(r)
		if r == '\n' {
			l, c = l+1, 1
		} else {
			c++
		}
	}
	return cursor.position()
}

// cursor walks over the source of one scalar.
type cursor struct {
	lines  [][]rune
	quote  rune // " or ', | for a block, 0 for a plain scalar
	line   int  // from 0
	column int  // from 0
	file   string
}

func (p *parser) cursor(n *yaml.Node) *cursor {
	if n.Line < 1 || n.Line > len(p.lines) {
		return nil
	}
	c := &cursor{lines: p.lines, line: n.Line - 1, column: n.Column - 1, file: p.file}
	c.skipProperties()
	mark, ok := c.peek()
	switch {
	case !n.Quoted || !ok:
	case mark == '|' || mark == '>':
		c.quote, c.line, c.column = '|', c.line+1, 0
	case mark == '"' || mark == '\'':
		c.quote, c.column = mark, c.column+1
	}
	return c
}

// skipProperties steps over a tag or an anchor in front of the scalar.
func (c *cursor) skipProperties() {
	for {
		r, ok := c.peek()
		if !ok || r != '!' && r != '&' {
			return
		}
		for ok && !unicode.IsSpace(r) {
			c.column++
			r, ok = c.peek()
		}
		for ok && unicode.IsSpace(r) {
			c.advance()
			r, ok = c.peek()
		}
	}
}

// peek returns the character under the cursor, a newline at the end of a line, and false behind the file.
func (c *cursor) peek() (rune, bool) {
	if c.line >= len(c.lines) {
		return 0, false
	}
	if c.column >= len(c.lines[c.line]) {
		return '\n', true
	}
	return c.lines[c.line][c.column], true
}

func (c *cursor) advance() {
	if c.line < len(c.lines) && c.column >= len(c.lines[c.line]) {
		c.line, c.column = c.line+1, 0
		return
	}
	c.column++
}

func (c *cursor) position() expression.Position {
	return expression.Position{File: c.file, Line: min(c.line, len(c.lines)-1) + 1, Column: c.column + 1}
}

// find moves to the source of the text's next character and returns its place.
func (c *cursor) find(r rune) expression.Position {
	if !unicode.IsSpace(r) {
		for s, ok := c.peek(); ok && unicode.IsSpace(s); s, ok = c.peek() {
			c.advance()
		}
	}
	return c.position()
}

// pass moves behind the source of one character of the text.
func (c *cursor) pass(r rune) {
	source, ok := c.peek()
	if !ok {
		return
	}
	switch {
	case c.quote == '"' && source == '\\':
		c.passEscape()
	case unicode.IsSpace(r):
		if unicode.IsSpace(source) {
			c.advance()
		}
	default:
		c.find(r)
		if s, ok := c.peek(); ok && s == '\\' && c.quote == '"' {
			c.passEscape()
			return
		}
		c.advance()
		if s, _ := c.peek(); r == '\'' && s == '\'' && c.quote == '\'' {
			c.advance()
		}
	}
}

// passEscape moves behind an escape sequence of a double-quoted scalar.
func (c *cursor) passEscape() {
	c.advance()
	kind, _ := c.peek()
	c.advance()
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[kind]
	for range digits {
		c.advance()
	}
}

// splitLines splits a file as YAML counts lines: also a lone carriage return and Unicode's line ends begin a new one.
func splitLines(data []byte) [][]rune {
	ends := strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")
	var lines [][]rune
	for line := range strings.SplitSeq(ends.Replace(string(data)), "\n") {
		lines = append(lines, []rune(line))
	}
	return lines
}
