// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/expression"
)

// scope is a fixed set of variables.
type scope map[string]any

func (s scope) Lookup(name string) (any, bool) {
	value, ok := s[name]
	return value, ok
}

func parseOne(t *testing.T, text string) *Task {
	t.Helper()
	playbook, _, err := Parse("p.yml", []byte("- hosts: all\n  tasks:\n"+text), Options{Modules: testModules()})
	if err != nil {
		t.Fatal(err)
	}
	return playbook.Plays[0].Tasks[0]
}

func TestRender(t *testing.T) {
	task := parseOne(t, `
  - debug:
      msg:
        text: "v{{ version }}"
        native: "{{ servers }}"
        list: [1, "{{ servers | length }}", yes, null, 1.5]
`)
	got, err := task.Args["msg"].Render(context.Background(), scope{"version": "1.2", "servers": []any{"a", "b"}}, expression.Budget{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"text": "v1.2", "native": []any{"a", "b"},
		"list": []any{int64(1), int64(2), true, nil, 1.5},
	}
	if diff := cmp.Diff(want, expression.ToGo(got)); diff != "" {
		t.Error(diff)
	}
}

func TestRenderNamesThePlace(t *testing.T) {
	task := parseOne(t, "  - debug:\n      msg: \"a {{ missing }}\"\n")
	_, err := task.Args["msg"].Render(context.Background(), scope{}, expression.Budget{})
	if err == nil || !strings.Contains(err.Error(), "p.yml:4:") || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v", err)
	}
}

func TestParseExtraVars(t *testing.T) {
	readFile := func(name string) ([]byte, error) {
		if name != "vars.yml" {
			return nil, os.ErrNotExist
		}
		return []byte("n: 3\nlist: [yes, \"{{ n }}\"]\n"), nil
	}
	tests := []struct {
		name string
		args []string
		want map[string]any
		err  string
	}{
		{"pairs are text", []string{"n=3 flag=true", "empty="}, map[string]any{"n": "3", "flag": "true", "empty": ""}, ""},
		{"quotes", []string{`a="x y" b='z'`}, map[string]any{"a": "x y", "b": "z"}, ""},
		{"a template keeps its spaces", []string{"a={{ b }}-c"}, map[string]any{"a": "{{ b }}-c"}, ""},
		{"JSON carries types", []string{`{"n": 3, "list": [true]}`}, map[string]any{"n": int64(3), "list": []any{true}}, ""},
		{"YAML carries types", []string{`{n: 3, on: yes}`}, nil, `"True" cannot be the name`},
		{"a file", []string{"@vars.yml"}, map[string]any{"n": int64(3), "list": []any{true, "{{ n }}"}}, ""},
		{"the later wins", []string{"n=1", "@vars.yml", "n=2"}, map[string]any{"n": "2", "list": []any{true, "{{ n }}"}}, ""},
		{"no such file", []string{"@other.yml"}, nil, "read extra vars"},
		{"no value", []string{"secret-word"}, nil, "write name=value"},
		{"open quote", []string{`a="b`}, nil, "not closed"},
		{"bad template", []string{"a={{ b | lenght }}"}, nil, `did you mean "length"?`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseExtraVars(test.args, readFile)
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if err != nil && strings.Contains(err.Error(), "secret-word") {
				t.Errorf("the error shows the argument: %v", err)
			}
			if diff := cmp.Diff(test.want, expression.ToGo(got)); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseVariables(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "comment": "# nothing\n", "null": "---\n"} {
		t.Run(name, func(t *testing.T) {
			v, err := ParseVariables("v.yml", []byte(text))
			if err != nil || v == nil || len(v.Pairs) != 0 || v.Form != FormDict {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
	_, err := ParseVariables("v.yml", []byte("a: 1\nb-c: 2\nd: '{{ e | nope }}'\n"))
	var problems *Problems
	if !errors.As(err, &problems) || len(problems.List) != 2 || problems.List[1].Position.String() != "v.yml:3:12" {
		t.Errorf("error %v", err)
	}
	if _, err := ParseVariables("v.yml", []byte("- a\n")); err == nil {
		t.Error("a list is taken for variables")
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	_, _, err := Load(t.TempDir()+"/none.yml", Options{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
