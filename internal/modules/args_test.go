// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"drover/internal/expression"
)

func TestConvert(t *testing.T) {
	tests := []struct {
		name  string
		kind  Kind
		value any
		want  any
		err   string
	}{
		{"text", String, "a", "a", ""},
		{"number as text", String, int64(7), "7", ""},
		{"fraction as text", String, 1.1, nil, "in quotes, since 1.10 without quotes is 1.1"},
		{"boolean as text", String, false, nil, "in quotes"},
		{"list as text", String, []any{"a"}, nil, "a list is not a text"},
		{"integer", Integer, int64(3), int64(3), ""},
		{"integer in text", Integer, "3", int64(3), ""},
		{"integer in a float", Integer, 3.0, int64(3), ""},
		{"fraction as integer", Integer, 3.5, nil, "3.5 is not a whole number"},
		{"boolean as integer", Integer, true, nil, "not a whole number"},
		{"number in text", Number, "2.5", 2.5, ""},
		{"not a number", Number, "nan", nil, "not a number"},
		{"yes", Boolean, "Yes", true, ""},
		{"off", Boolean, "off", false, ""},
		{"one", Boolean, int64(1), true, ""},
		{"two", Boolean, int64(2), nil, "not a boolean"},
		{"list", List, []any{int64(1)}, []any{int64(1)}, ""},
		{"list in text", List, "a, b", []any{"a", "b"}, ""},
		{"dictionary as list", List, expression.NewMap(), nil, "a dictionary is not a list"},
		{"dictionary in JSON", Dict, `{"a": 1}`, expression.MapOf("a", 1), ""},
		{"text as dictionary", Dict, "a=1", nil, "not a dictionary"},
		{"mode", Mode, "0644", uint32(0o644), ""},
		{"mode with sticky bit", Mode, "1777", uint32(0o1777), ""},
		{"mode as YAML's octal", Mode, int64(0o755), uint32(0o755), ""},
		{"decimal mode", Mode, int64(755), nil, `write the mode as text, "0755"`},
		{"symbolic mode", Mode, "u+x", nil, "symbolic modes"},
		{"mode with a nine", Mode, "0694", nil, "not a file mode"},
		{"seconds", Duration, int64(90), 90 * time.Second, ""},
		{"half a second", Duration, 0.5, 500 * time.Millisecond, ""},
		{"seconds in text", Duration, "90", 90 * time.Second, ""},
		{"minutes", Duration, "1m30s", 90 * time.Second, ""},
		{"negative duration", Duration, "-5s", nil, "between 0 and 30 days"},
		{"endless duration", Duration, 1e300, nil, "between 0 and 30 days"},
		{"any", Any, 1.5, 1.5, ""},
		{"undefined", Any, expression.Undefined{Name: "x"}, nil, `"x" is undefined`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			arg := Arg{Name: "a", Kind: test.kind}
			got, err := arg.Convert(test.value)
			if !matches(err, test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(expression.Map{})); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// matches reports whether an error has the wanted text; an empty one wants no error.
func matches(err error, want string) bool {
	if err == nil {
		return want == ""
	}
	return want != "" && strings.Contains(err.Error(), want)
}

func TestConvertNeverPanics(t *testing.T) {
	kinds := []Kind{String, Integer, Number, Boolean, Path, List, Dict, Mode, Duration, Any, Raw}
	rapid.Check(t, func(t *rapid.T) {
		arg := Arg{Name: "a", Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		value := rapid.OneOf(
			rapid.Map(rapid.String(), func(s string) any { return s }),
			rapid.Map(rapid.Int64(), func(i int64) any { return i }),
			rapid.Map(rapid.Float64(), func(f float64) any { return f }),
			rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		).Draw(t, "value")
		converted, err := arg.Convert(value)
		if err != nil {
			return
		}
		if d, ok := converted.(time.Duration); ok && (d < 0 || d > longestDuration) {
			t.Fatalf("%v became %s", value, d)
		}
	})
}

func sample() *Module {
	return &Module{
		Name: "sample", Exclusive: [][]string{{"src", "content"}},
		Args: []Arg{
			{Name: "dest", Kind: Path, Required: true, Aliases: []string{"path"}},
			{Name: "src", Kind: Path},
			{Name: "content", Kind: String, Secret: true},
			{Name: "state", Kind: String, Default: "present", Choices: []string{"present", "absent"}},
			{Name: "retries", Kind: Integer, Default: 3},
			{Name: "key", Kind: Integer, Secret: true},
		},
	}
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name   string
		values map[string]any
		want   map[string]any
		err    string
	}{
		{
			"alias and defaults",
			map[string]any{"path": "/a"},
			map[string]any{"dest": "/a", "state": "present", "retries": int64(3)},
			"",
		},
		{
			"none is not given",
			map[string]any{"dest": "/a", "retries": nil},
			map[string]any{"dest": "/a", "state": "present", "retries": int64(3)},
			"",
		},
		{"unknown", map[string]any{"dest": "/a", "contnet": "x"}, nil, `has no argument "contnet"; did you mean "content"?`},
		{"missing", nil, nil, "needs the argument dest"},
		{"required and none", map[string]any{"dest": nil}, nil, "needs the argument dest"},
		{"twice", map[string]any{"dest": "/a", "path": "/b"}, nil, "given twice"},
		{"exclusive", map[string]any{"dest": "/a", "src": "b", "content": "c"}, nil, "give only one of src and content"},
		{"choice", map[string]any{"dest": "/a", "state": "absnet"}, nil, `did you mean "absent"?`},
		{"a secret is not shown", map[string]any{"dest": "/a", "key": "hunter2"}, nil, "the given value is not a whole number"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args, err := sample().Decode(test.values)
			if !matches(err, test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, args.values); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOpenModuleKeepsOtherNames(t *testing.T) {
	module := sample()
	module.Open = true
	args, err := module.Decode(map[string]any{"dest": "/a", "leader": true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"dest", "leader", "retries", "state"}, args.Names()); diff != "" {
		t.Error(diff)
	}
}
