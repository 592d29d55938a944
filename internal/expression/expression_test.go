// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fixture is the scope of the tests.
func fixture() Variables {
	return Variables{
		"n":      7,
		"name":   "nomad",
		"numstr": "10",
		"yes":    true,
		"none_v": nil,
		"list":   []any{3, 1, 2},
		"hosts":  []any{MapOf("name", "s1", "up", true), MapOf("name", "s2", "up", false)},
		"reg":    MapOf("rc", 0, "stdout", "ok", "changed", true, "failed", false),
		"groups": MapOf("servers", []any{"s1", "s2", "s3"}),
	}
}

func evaluate(t *testing.T, src string) (any, error) {
	t.Helper()
	e, err := ParseExpression(src, Position{"play.yml", 3, 9})
	if err != nil {
		return nil, err
	}
	return e.Evaluate(t.Context(), fixture(), Budget{})
}

func TestEvaluate(t *testing.T) {
	for _, tt := range []struct {
		src  string
		want any
	}{
		{"1 + 2 * 3", int64(7)},
		{"-7 // 2", int64(-4)},
		{"-7 % 3", int64(2)},
		{"7 / 2", 3.5},
		{"2 ** 10", int64(1024)},
		{"2 ** -1", 0.5},
		{"-1 | abs", int64(1)},
		{"true == 1", true},
		{"'1' == 1", false},
		{"1 < n < 10", true},
		{"not missing is defined", true},
		{"missing is not defined and n == 7", true},
		{"a.b.c | default('x')", "x"},
		{"groups['nope'] | default([]) | length", int64(0)},
		{"none_v | default('x')", nil},
		{"none_v | default('x', true)", "x"},
		{"('a' if yes else 'b') ~ 'c'", "ac"},
		{"[1 if yes else 2]", []any{int64(1)}},
		{"'a' 'b'", "ab"},
		{"not not yes", true},
		{"- -1", int64(1)},
		{"n is divisibleby 7", true},
		{"n is odd and yes", true},
		{"name[-1]", "d"},
		{"name[1:3]", "om"},
		{"name[::-1]", "damon"},
		{"list | sort", []any{int64(1), int64(2), int64(3)}},
		{"hosts | selectattr('up') | map(attribute='name') | list", []any{"s1"}},
		{"hosts | rejectattr('up', 'equalto', true) | map(attribute='name') | first", "s2"},
		{"reg is changed and reg is succeeded", true},
		{"'1.10.5' is version('1.9', '>')", true},
		{"name is match('NO', ignorecase=true)", true},
		{`'a1b22' | regex_replace('([0-9]+)', '<\\1>')`, "a<1>b<22>"},
		{`'nomad v1.10.5' | regex_search('v(\d+)\.(\d+)', '\\1', '\\2')`, []any{"1", "10"}},
		{"{'a': 1} | combine({'b': 2}) | to_json", `{"a": 1, "b": 2}`},
		{`'a"b\\c\'d\n\r\t' | to_json`, `"a\"b\\c'd\n\r\t"`},
		{`['a"b\\c\'d\n\r\t'] | string`, `['a"b\\c\'d\n\r\t']`},
		{"'%s-%03d' | format(name, n)", "nomad-007"},
		{"range(3) | list", []any{int64(0), int64(1), int64(2)}},
		{"groups.servers.0", "s1"},
		{"'s2' in groups['servers']", true},
		{"list | map('string') | join(',')", "3,1,2"},
		{"'a,b'.split(',') | last", "b"},
	} {
		t.Run(tt.src, func(t *testing.T) {
			got, err := evaluate(t, tt.src)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(FromGo(tt.want), got, cmp.AllowUnexported(Map{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ src, want string }{
		{"'a' + 1", "play.yml:3:13: + does not work between str and int"},
		{"numstr > 3", "comparing does not work between str and int"},
		{"name | lenght", `play.yml:3:16: unknown filter "lenght"; did you mean "length"?`},
		{"name is defind", `unknown test "defind"; did you mean "defined"?`},
		{"name | changed", "it is a test: write `is changed`"},
		{"lokup('env', 'X')", `unknown function "lokup"; did you mean "lookup"?`},
		{"now()", `play.yml:3:9: unknown function "now"; there is dict, lookup, range`},
		{"q('env', 'X')", `unknown function "q"; there is dict, lookup, range`},
		{"query('env', 'X')", `unknown function "query"`},
		{"lookup('fiel', 'X')", `play.yml:3:16: unknown lookup "fiel"; did you mean "file"?`},
		{"lookup('pipe', 'date')", `unknown lookup "pipe"; there is env, file`},
		{"lookup(1, 'date')", `unknown lookup "1"`},
		{"lookup('env', 'X', default='y')", `lookup has no argument "default"`},
		{"lookup('env', 'X', 'Y')", `lookup takes what to look up (env, file) and one name, not 3 arguments`},
		{"lookup()", "not 0 arguments"},
		{"name.uper()", `unknown method "uper"; did you mean "upper"?`},
		{"list | map('stirng')", `unknown filter "stirng"; did you mean "string"?`},
		{"list | select('od')", `unknown test "od"; did you mean "odd"?`},
		{"name | default(bolean=true)", `filter "default" has no argument "bolean"; did you mean "boolean"?`},
		{"name | replace('a')", `filter "replace" needs the argument "new"`},
		{"missing", `"missing" is undefined`},
		{"a.b.c", `"a" is undefined`},
		{"reg.nope == 1", `"nope" is undefined: the dict has no such attribute or item`},
		{"1 // 0", "division by zero"},
		{"1 % 0", "division by zero"},
		{"9223372036854775807 + 1", "integer overflow"},
		{"'a' * 3000000000", "budget"},
		{"range(100000000)", "budget"},
		{"name = 'x'", "write == to compare"},
		{"{{ name }}", "expected"},
		{"name is match('(?=x)')", "lookahead"},
		{"(1", "expected"},
		{"'abc", "never closed"},
		{strings.Repeat("(", 400) + "1" + strings.Repeat(")", 400), "nested deeper"},
		{"[missing]", `"missing" is undefined`},
	} {
		t.Run(tt.src[:min(len(tt.src), 40)], func(t *testing.T) {
			_, err := evaluate(t, tt.src)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestEvaluateBool(t *testing.T) {
	for _, tt := range []struct {
		src, want string
		yes       bool
	}{
		{"n > 3", "", true},
		{"n < 3", "", false},
		{"n", "a condition must be true or false, but this is of type int", false},
		{"name", "| bool", false},
		{"list", "| length > 0", false},
		{"missing", "undefined", false},
	} {
		t.Run(tt.src, func(t *testing.T) {
			e, err := ParseExpression(tt.src, Position{"play.yml", 3, 9})
			if err != nil {
				t.Fatal(err)
			}
			yes, err := e.EvaluateBool(t.Context(), fixture(), Budget{})
			if yes != tt.yes || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("EvaluateBool = %v, %v; want %v, %q", yes, err, tt.yes, tt.want)
			}
		})
	}
}

func TestRender(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      any
	}{
		{"static", "plain text", "plain text"},
		{"native", "{{ n }}", int64(7)},
		{"native text stays text", "{{ numstr }}", "10"},
		{"joined", "{{ n }}-{{ name }}", "7-nomad"},
		{"not exactly one", " {{ n }}", " 7"},
		{"none alone", "{{ none_v }}", nil},
		{"none inside", "[{{ none_v }}]", "[]"},
		{"list inside", "x={{ list }}", "x=[3, 1, 2]"},
		{"dict closes", "{{ {'a': {'b': 1}}.a.b }}", int64(1)},
		{"if", "{% if n > 3 %}big{% elif n %}small{% else %}zero{% endif %}", "big"},
		{"for", "{% for x in list %}{{ loop.index }}:{{ x }}{% if not loop.last %},{% endif %}{% endfor %}", "1:3,2:1,3:2"},
		{"for with if and else", "{% for x in list if x > 9 %}{{ x }}{% else %}none{% endfor %}", "none"},
		{"for pairs", "{% for k, v in reg.items() %}{{ k }}={{ v }} {% endfor %}", "rc=0 stdout=ok changed=True failed=False "},
		{"set", "{% set x = n + 1 %}{{ x }}!", "8!"},
		{"raw", "{% raw %}{{ no }}{% endraw %}{{ n }}", "{{ no }}7"},
		{"comment", "a{# {{ never }} #}b", "ab"},
		{"trim", "a  {{- n -}}  b", "a7b"},
		{"trim blocks", "{% if yes %}\nx\n{% endif %}\ny", "x\ny"},
		{"raw backslash in output", `{{ 'a\nb' }}`, `a\nb`},
		{"escape in a statement", `{% if 'a\tb' == "a\x09b" %}same{% endif %}`, "same"},
		{"trailing newline of text", "{{ name }}\n", "nomad\n"},
		{"trailing newline of a value", "{{ n }}\n", int64(7)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			template, err := ParseTemplate(tt.src, Position{"x.j2", 1, 1})
			if err != nil {
				t.Fatal(err)
			}
			got, err := template.Render(t.Context(), fixture(), Budget{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
