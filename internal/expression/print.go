// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"strconv"
	"strings"
)

// String writes the expression with parentheses around every operation. Parsing that text gives the same expression.
func (e *Expression) String() string {
	var b strings.Builder
	printNode(&b, e.root)
	return b.String()
}

func printNode(b *strings.Builder, n node) {
	switch n := n.(type) {
	case *constant:
		printConstant(b, n.value)
	case *name:
		b.WriteString(n.name)
	case *list:
		printRow(b, "[", n.items, "]")
	case *dict:
		b.WriteByte('{')
		for i := range n.keys {
			printNode(b, n.keys[i])
			b.WriteString(": ")
			printNode(b, n.values[i])
			b.WriteString(", ")
		}
		b.WriteByte('}')
	case *unary:
		printAround(b, n.op+" ", n.operand)
	case *binary:
		printJoined(b, []node{n.left, n.right}, []string{n.op})
	case *concat:
		printJoined(b, n.parts, nil)
	case *comparison:
		printJoined(b, n.operands, n.ops)
	case *conditional:
		printConditional(b, n)
	default:
		printAccess(b, n)
	}
}

func printAccess(b *strings.Builder, n node) {
	switch n := n.(type) {
	case *attribute:
		printAround(b, "", n.of)
		b.WriteString("." + n.name)
	case *index:
		printAround(b, "", n.of)
		printRow(b, "[", []node{n.key}, "]")
	case *slice:
		printAround(b, "", n.of)
		printSlice(b, n)
	case *call:
		if function, ok := n.callee.(*name); ok {
			b.WriteString(function.name)
		} else {
			printNode(b, n.callee)
		}
		printArguments(b, n.arguments)
	case *filterCall:
		b.WriteByte('(')
		printAround(b, "", n.operand)
		b.WriteString("|" + n.filter.name)
		printArguments(b, n.arguments)
		b.WriteByte(')')
	case *testCall:
		b.WriteByte('(')
		printAround(b, "", n.operand)
		b.WriteString(" is " + n.test.name)
		printArguments(b, n.arguments)
		b.WriteByte(')')
	}
}

func printAround(b *strings.Builder, before string, n node) {
	b.WriteByte('(')
	b.WriteString(before)
	printNode(b, n)
	b.WriteByte(')')
}

func printRow(b *strings.Builder, open string, items []node, end string) {
	b.WriteString(open)
	for i, item := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		printNode(b, item)
	}
	b.WriteString(end)
}

// printJoined writes operands with the operators between them; without operators they are joined by ~.
func printJoined(b *strings.Builder, operands []node, ops []string) {
	b.WriteByte('(')
	for i, operand := range operands {
		switch {
		case i > 0 && ops == nil:
			b.WriteString(" ~ ")
		case i > 0:
			b.WriteString(" " + ops[i-1] + " ")
		}
		printAround(b, "", operand)
	}
	b.WriteByte(')')
}

func printConditional(b *strings.Builder, n *conditional) {
	b.WriteByte('(')
	printAround(b, "", n.yes)
	b.WriteString(" if ")
	printAround(b, "", n.condition)
	if n.no != nil {
		b.WriteString(" else ")
		printAround(b, "", n.no)
	}
	b.WriteByte(')')
}

func printSlice(b *strings.Builder, n *slice) {
	b.WriteByte('[')
	for i, part := range []node{n.low, n.high, n.step} {
		if i > 0 {
			b.WriteByte(':')
		}
		if part != nil {
			printNode(b, part)
		}
	}
	b.WriteByte(']')
}

func printArguments(b *strings.Builder, args arguments) {
	printRow(b, "(", args.positional, "")
	for i, keyword := range args.names {
		if i > 0 || len(args.positional) > 0 {
			b.WriteString(", ")
		}
		b.WriteString(keyword + "=")
		printNode(b, args.named[i])
	}
	b.WriteByte(')')
}

func printConstant(b *strings.Builder, value any) {
	switch v := value.(type) {
	case nil:
		b.WriteString("none")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case float64:
		text := floatText(v)
		if mantissa, exponent, ok := strings.Cut(text, "e"); ok && !strings.Contains(mantissa, ".") {
			text = mantissa + ".0e" + exponent
		}
		b.WriteString(text)
	case string:
		b.WriteByte('\'')
		for _, r := range v {
			switch {
			case r == '\'' || r == '\\':
				b.WriteString(`\` + string(r))
			case r < ' ':
				fmt.Fprintf(b, `\x%02x`, r)
			default:
				b.WriteRune(r)
			}
		}
		b.WriteByte('\'')
	default:
		fmt.Fprint(b, v)
	}
}
