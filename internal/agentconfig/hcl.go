// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"bytes"
	"errors"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	hclstrconv "github.com/hashicorp/hcl/hcl/strconv"
	"github.com/hashicorp/hcl/hcl/token"
)

// parseHCL builds the tree of an HCL1 file. The library takes the carriage returns out before it counts, so its offsets are
// mapped back.
func parseHCL(text []byte) (*block, error) {
	file, err := parser.ParseDontErrorOnDuplicateKeys(text)
	if err != nil {
		// The parser's words are left out, since they may quote a secret.
		var at *parser.PosError
		if errors.As(err, &at) {
			return nil, &SyntaxError{Line: at.Pos.Line, Column: at.Pos.Column, Reason: "this is not HCL"}
		}
		return nil, &SyntaxError{Reason: "this is not HCL"}
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, &SyntaxError{Reason: "this is not HCL"}
	}
	r := hclReader{breaks: carriageReturns(text)}
	root := &block{open: -1, close: len(text)}
	return root, r.items(root, list, 1)
}

// carriageReturns are the offsets, in the text without them, of the line ends that had one.
func carriageReturns(text []byte) []int {
	var breaks []int
	for at := 0; ; {
		next := bytes.Index(text[at:], []byte("\r\n"))
		if next < 0 {
			return breaks
		}
		breaks = append(breaks, at+next-len(breaks))
		at += next + 2
	}
}

type hclReader struct{ breaks []int }

// offset maps an offset of the library to one of the text.
func (r *hclReader) offset(n int) int { return n + sort.SearchInts(r.breaks, n) }

func (r *hclReader) items(into *block, list *ast.ObjectList, depth int) error {
	if depth > maximumDepth {
		return &SyntaxError{Line: list.Pos().Line, Column: list.Pos().Column, Reason: "its blocks are too deep"}
	}
	for _, from := range list.Items {
		if len(from.Keys) == 0 {
			return &SyntaxError{Line: from.Val.Pos().Line, Reason: "this has no key"}
		}
		it := &item{start: r.offset(from.Pos().Offset)}
		for _, key := range from.Keys {
			it.keys = append(it.keys, tokenText(key.Token))
			it.keyEnd = r.offset(key.Pos().Offset + len(key.Token.Text))
		}
		if err := r.value(&it.value, from.Val, depth); err != nil {
			return err
		}
		it.end = it.value.end
		into.items = append(into.items, it)
	}
	return nil
}

func (r *hclReader) value(into *value, node ast.Node, depth int) error {
	into.start = r.offset(node.Pos().Offset)
	switch n := node.(type) {
	case *ast.ObjectType:
		into.end = r.offset(n.Rbrace.Offset) + 1
		into.Kind, into.block = Block, &block{open: into.start, close: into.end - 1}
		return r.items(into.block, n.List, depth+1)
	case *ast.ListType:
		into.end, into.Kind = r.offset(n.Rbrack.Offset)+1, List
		return r.list(into, n, depth)
	case *ast.LiteralType:
		into.Value = Value{Kind: tokenKind(n.Token.Type), Text: tokenText(n.Token)}
		into.end = r.offset(n.Pos().Offset + len(strings.TrimSuffix(n.Token.Text, "\n")))
	}
	return nil
}

func (r *hclReader) list(into *value, list *ast.ListType, depth int) error {
	if depth > maximumDepth {
		return &SyntaxError{Line: list.Pos().Line, Column: list.Pos().Column, Reason: "its lists are too deep"}
	}
	for _, node := range list.List {
		var element value
		if err := r.value(&element, node, depth+1); err != nil {
			return err
		}
		into.add(element)
	}
	return nil
}

// add takes a value into a list.
func (v *value) add(element value) {
	switch {
	case element.block != nil:
		v.blocks = append(v.blocks, element.block)
	case element.Kind == List:
		v.blocks = append(v.blocks, element.blocks...)
	default:
		v.List = append(v.List, element.Text)
	}
}

func tokenKind(t token.Type) Kind {
	switch t {
	case token.BOOL:
		return Bool
	case token.NUMBER, token.FLOAT:
		return Number
	}
	return String
}

// tokenText is a token's text without quotation marks. The library's own function panics on what it cannot convert.
func tokenText(t token.Token) string {
	switch t.Type {
	case token.STRING:
		if text, err := hclstrconv.Unquote(t.Text); err == nil {
			return text
		}
	case token.HEREDOC:
		_, text, _ := strings.Cut(t.Text, "\n")
		end := strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n')
		return text[:end+1]
	}
	return t.Text
}
