// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"
	jsonparser "github.com/hashicorp/hcl/json/parser"
)

// leaf is a value as Nomad's parser finds it. Blocks are there only when they are empty.
type leaf struct {
	path  Path
	value Value
}

func (l leaf) same(other leaf) bool {
	return slices.Equal(l.path, other.path) && l.value.Kind == other.value.Kind && l.value.Text == other.value.Text &&
		slices.Equal(l.value.List, other.value.List)
}

// onlyDiffers parses both texts with Nomad's parser and says where more than the one key differs, or that it has not become what it
// should be (nil: gone).
func onlyDiffers(before, after []byte, path Path, want *Value) error {
	old, err := leaves(before, path)
	if err != nil {
		return fmt.Errorf("Nomad's parser does not take it as it is: %w", err)
	}
	now, err := leaves(after, path)
	if err != nil {
		return errors.New("with the change it would not be a configuration file any more")
	}
	for len(old) > 0 && len(now) > 0 && old[0].same(now[0]) {
		old, now = old[1:], now[1:]
	}
	for len(old) > 0 && len(now) > 0 && old[len(old)-1].same(now[len(now)-1]) {
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	for _, l := range slices.Concat(old, now) {
		if !l.path.Equal(path) {
			return fmt.Errorf("the change would reach %s too", l.path)
		}
	}
	switch {
	case len(old) > 1 || len(now) > 1:
		return errors.New("the change would reach more than one place")
	case want == nil && len(now) == 0:
		return nil
	case want != nil && len(now) == 1 && now[0].value.Equal(*want):
		return nil
	}
	return errors.New("the change would not take effect")
}

// leaves lists the values of a file in order. Empty blocks that the path leads through are left out: they may come to hold something.
func leaves(text []byte, path Path) ([]leaf, error) {
	parse := parser.ParseDontErrorOnDuplicateKeys
	if isJSON(text) {
		parse = jsonparser.Parse
	}
	file, err := parse(text)
	if err != nil {
		return nil, errors.New("it cannot be parsed")
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, errors.New("it is not an object")
	}
	var found []leaf
	var walk func(list *ast.ObjectList, prefix Path)
	walk = func(list *ast.ObjectList, prefix Path) {
		for _, it := range list.Items {
			at := slices.Clone(prefix)
			for _, key := range it.Keys {
				at = append(at, plainText(key.Token))
			}
			object, ok := it.Val.(*ast.ObjectType)
			switch {
			case !ok:
				found = append(found, leaf{at, plainValue(it.Val)})
			case len(object.List.Items) > 0:
				walk(object.List, at)
			case !path.startsWith(0, at):
				found = append(found, leaf{at, Value{Kind: Block}})
			}
		}
	}
	walk(list, nil)
	return found, nil
}

func plainText(t token.Token) string {
	if t.JSON && t.Type == token.STRING {
		if text, err := strconv.Unquote(t.Text); err == nil {
			return text
		}
		return t.Text
	}
	return tokenText(t)
}

func plainValue(node ast.Node) Value {
	switch n := node.(type) {
	case *ast.LiteralType:
		return Value{Kind: tokenKind(n.Token.Type), Text: plainText(n.Token)}
	case *ast.ListType:
		list := Value{Kind: List}
		for _, element := range n.List {
			if literal, ok := element.(*ast.LiteralType); ok {
				list.List = append(list.List, plainText(literal.Token))
			} else {
				list.List = append(list.List, describe(element))
			}
		}
		return list
	}
	return Value{Kind: Block}
}

// describe writes what a list holds besides literals, to be compared.
func describe(node ast.Node) string {
	switch n := node.(type) {
	case *ast.ObjectType:
		var parts []string
		for _, it := range n.List.Items {
			var keys []string
			for _, key := range it.Keys {
				keys = append(keys, strconv.Quote(plainText(key.Token)))
			}
			parts = append(parts, strings.Join(keys, " ")+describe(it.Val))
		}
		return "{" + strings.Join(parts, ";") + "}"
	case *ast.ListType:
		var parts []string
		for _, element := range n.List {
			parts = append(parts, describe(element))
		}
		return "[" + strings.Join(parts, ";") + "]"
	}
	return plainValue(node).String()
}
