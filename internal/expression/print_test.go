// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// sameTree compares trees without their places.
func sameTree() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreTypes(at(0)),
		cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b *entry) bool { return a == b }),
		cmp.AllowUnexported(constant{}, name{}, list{}, dict{}, unary{}, binary{}, concat{}, comparison{}, conditional{},
			attribute{}, index{}, slice{}, call{}, filterCall{}, testCall{}, arguments{}),
	}
}

// printedAgain fails when the text of an expression does not parse to the same expression.
func printedAgain(t rapid.TB, source string) {
	t.Helper()
	first, err := ParseExpression(source, Position{"a", 1, 1})
	if err != nil {
		t.Fatalf("parse %q: %v", source, err)
	}
	printed := first.String()
	second, err := ParseExpression(printed, Position{"b", 1, 1})
	if err != nil {
		t.Fatalf("%q is printed as %q, which cannot be parsed: %v", source, printed, err)
	}
	if diff := cmp.Diff(first.root, second.root, sameTree()); diff != "" {
		t.Fatalf("%q is printed as %q, which is another expression:\n%s", source, printed, diff)
	}
}

// drawExpression makes the text of a random expression that parses.
func drawExpression(t *rapid.T, depth int) string {
	if depth == 0 {
		return rapid.SampledFrom([]string{"x", "name", "1", "2.5", "1e30", "true", "none", "'a'", `'it\'s\\'`, `"\n"`, "[]", "{}", "()", "range(3)"}).Draw(t, "leaf")
	}
	inner := func() string { return drawExpression(t, rapid.IntRange(0, depth-1).Draw(t, "depth")) }
	paren := func() string { return "(" + inner() + ")" }
	op := func(ops ...string) string { return rapid.SampledFrom(ops).Draw(t, "operator") }
	switch rapid.IntRange(0, 14).Draw(t, "form") {
	case 0:
		return paren() + op("+", "-", "*", "/", "//", "%", "**", " and ", " or ", "~") + paren()
	case 1:
		return paren() + op("==", "!=", "<", "<=", ">", ">=", " in ", " not in ") + paren() + op("<", "==", " in ") + paren()
	case 2:
		return op("not ", "-", "+") + paren()
	case 3:
		return paren() + op(".name", ".0", "[1]", "['k']", "[1:]", "[:-1]", "[::2]", "[a:b:c]", ".upper()", ".get('x', 1)")
	case 4:
		return paren() + op("|upper", "|default('x', boolean=true)", "|map('upper')|list", "|join(',')", "|int + 1")
	case 5:
		return paren() + op(" is defined", " is not none", " is divisibleby 3", " is version('1', '<')", " is in [1]", " is match 'a' and x")
	case 6:
		return paren() + " if " + paren() + op("", " else 1")
	case 7:
		return "[" + inner() + ", " + inner() + "]"
	case 8:
		return "{'k': " + inner() + ", 1: " + inner() + "}"
	case 9:
		return "(" + inner() + ",)"
	case 10:
		return "a ~ b ~ " + paren()
	case 11:
		return "1 + 2 * x ** 2 - " + paren()
	case 12:
		return "not x is defined or " + paren()
	case 13:
		return "-x.y[0] | abs"
	default:
		return "'a' 'b'"
	}
}

func TestPrintProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		printedAgain(t, drawExpression(t, rapid.IntRange(0, 5).Draw(t, "depth")))
	})
}

func TestPrintCorpus(t *testing.T) {
	for _, line := range readLines(t, "expressions.txt", "##") {
		if _, err := ParseExpression(line, Position{}); err == nil {
			printedAgain(t, line)
		}
	}
}

func TestPrint(t *testing.T) {
	for _, tt := range []struct{ source, want string }{
		{"1 + 2 * 3", "((1) + (((2) * (3))))"},
		{"-1 | abs", "(((- 1))|abs())"},
		{"not x is defined", "(not ((x) is defined()))"},
		{"2 ** 3 ** 2", "((((2) ** (3))) ** (2))"},
		{"a ~ 'b' | upper", "((a) ~ ((('b')|upper())))"},
	} {
		e, err := ParseExpression(tt.source, Position{})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.String(); got != tt.want {
			t.Errorf("%q is printed as %s, want %s", tt.source, got, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	e, err := ParseExpression("a.b + c['d'] | default(e) ~ lookup('env', f) ~ a", Position{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(e.Names()), "[a c e f]"; got != want {
		t.Errorf("names of the expression %s, want %s", got, want)
	}
	template, err := ParseTemplate("{{ a }}{% for x in b if x > c %}{{ x }}{{ loop.index }}{{ d }}{% endfor %}{% set e = f %}{{ e }}{{ x }}", Position{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(template.Names()), "[a b c d f x]"; got != want {
		t.Errorf("names of the template %s, want %s", got, want)
	}
}

func TestPositions(t *testing.T) {
	for _, tt := range []struct{ source, want string }{
		{"a {{ b | nope }}", "t.yml:5:17:"},
		{"a\nbc {{ nope() }}", "t.yml:6:7:"},
		{"ü {{ 'x' + 1 }}", "t.yml:5:17:"},
		{"{% if 1 %}", "t.yml:5:11:"},
		{"x {{ y", "t.yml:5:10:"},
		{"{% iff x %}", "t.yml:5:11:"},
	} {
		template, err := ParseTemplate(tt.source, Position{"t.yml", 5, 8})
		if err == nil {
			_, err = template.Render(t.Context(), Variables{}, Budget{})
		}
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want one at %s", tt.source, err, tt.want)
		}
	}
}
