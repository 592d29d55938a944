// SPDX-License-Identifier: MPL-2.0

package yaml

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/expression"
)

func parseOne(t *testing.T, text string) *Node {
	t.Helper()
	nodes, _, err := Parse("f.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 1 {
		t.Fatalf("%d documents, want 1", len(nodes))
	}
	return nodes[0]
}

// TestScalars holds plain scalars to what Ansible makes of them.
func TestScalars(t *testing.T) {
	for _, tt := range []struct {
		text string
		want any
	}{
		{"yes", true},
		{"No", false},
		{"ON", true},
		{"off", false},
		{"true", true},
		{"y", "y"},
		{"yEs", "yEs"},
		{"'yes'", "yes"},
		{`"on"`, "on"},
		{"~", nil},
		{"null", nil},
		{"", nil},
		{"12", int64(12)},
		{"-3", int64(-3)},
		{"+3", int64(3)},
		{"1_000", int64(1000)},
		{"0644", int64(420)},
		{"0o644", "0o644"},
		{"0x1F", int64(31)},
		{"0b11", int64(3)},
		{"08", "08"},
		{"1e3", "1e3"},
		{"1.5e3", "1.5e3"},
		{"1.5e+3", 1500.0},
		{"1.10", 1.1},
		{"1.", 1.0},
		{".5", 0.5},
		{".inf", math.Inf(1)},
		{"-.INF", math.Inf(-1)},
		{"1.10.5", "1.10.5"},
		{"12:30:45", "12:30:45"},
		{"2026-01-02", "2026-01-02"},
		{"10.0.0.1", "10.0.0.1"},
		{"99999999999999999999", "99999999999999999999"},
		{"!!str 12", "12"},
		{"!unsafe '{{ x }}'", "{{ x }}"},
		{"!!int '12'", int64(12)},
		{"!!float 3", 3.0},
		{"|-\n  yes", "yes"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got := parseOne(t, "k: "+tt.text+"\n").Get("k").Decode()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	got := parseOne(t, "b: [1, {c: x}]\na: &x {d: 1, e: 2}\nm: {<<: *x, d: 3}\n80: http\n")
	want := expression.MapOf(
		"b", []any{1, expression.MapOf("c", "x")},
		"a", expression.MapOf("d", 1, "e", 2),
		"m", expression.MapOf("d", 3, "e", 2),
		"80", "http")
	if diff := cmp.Diff(want, got.Decode(), cmp.AllowUnexported(expression.Map{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestPositions(t *testing.T) {
	root := parseOne(t, "- hosts: all\n  when: \"x\"\n  body: |\n    text\n")
	play := root.Items[0]
	for _, tt := range []struct {
		name      string
		got       expression.Position
		line, col int
	}{
		{"value", play.Get("hosts").Position, 1, 10},
		{"quoted value", play.Get("when").Position, 2, 9},
		{"block value", play.Get("body").Position, 3, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if want := (expression.Position{File: "f.yml", Line: tt.line, Column: tt.col}); tt.got != want {
				t.Errorf("position %v, want %v", tt.got, want)
			}
		})
	}
	if pair, ok := play.Find("when"); !ok || pair.Key.Position.String() != "f.yml:2:3" {
		t.Errorf("key at %v, want f.yml:2:3", pair.Key.Position)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"braces", "a: 1\nkey: {{ x }}\n", `f.yml:2:6: a dictionary cannot be a key; a value that begins with {{ must be in quotes: "{{ x }}"`},
		{"braces and more", "a: 1\nkey: {{ x }}/y\n", `must be in quotes`},
		{"duplicate", "a: 1\nb: 2\na: 3\n", `f.yml:3:1: the key "a" comes twice: it is also in line 1`},
		{"duplicate by type", "1: a\n'1': b\n", "comes twice"},
		{"vault", "a: !vault |\n  x\n", "f.yml:1:4: values encrypted with ansible-vault (!vault) are not supported yet"},
		{"tag", "a: !thing x\n", "f.yml:1:4: unknown tag !thing"},
		{"tab", "a:\n\tb: 1\n", "f.yml:2:1: found character that cannot start any token; indent with spaces"},
		{"not text", "a: 1\nb: \xff\n", "f.yml:2:1: the file is not UTF-8"},
		{"deep", strings.Repeat("[", 200) + strings.Repeat("]", 200), "nested deeper"},
		{"key", "[a]: 1\n", "a list cannot be a key"},
		{"merge", "a: {<<: 1}\n", "<< merges dictionaries"},
		{"unclosed", "a: [1\n", "f.yml:"},
		{"bad float", "a: !!float x\n", "not a float"},
		{"loop", "a: &a [*a]\n", "contains itself"},
		{"bomb", bomb(), "aliases stand for more than 100000 values"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Parse("f.yml", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// bomb is a small file that aliases blow up.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 10; i++ {
		now, before := string(rune('0'+i)), string(rune('0'+i-1))
		b.WriteString("a" + now + ": &a" + now + " [" + strings.Repeat("*a"+before+", ", 9) + "*a" + before + "]\n")
	}
	return b.String()
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"nomad_version: 1.10", "f.yml:1:16: the version 1.10 is read as the number 1.1; put it in quotes"},
		{"nomad_version: '1.10'", ""},
		{"load: 1.10", ""},
		{"mode: 0644", "0644 is octal and read as the number 420"},
		{"mode: 644", "the mode 644 is a decimal number"},
		{"at: 12:30:45", "12:30:45 is kept as text"},
		{"ok: 12", ""},
	} {
		t.Run(tt.text, func(t *testing.T) {
			_, warnings, err := Parse("f.yml", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(warnings) > 0 {
				got = warnings[0].String()
			}
			if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("warning %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMarshal(t *testing.T) {
	value := expression.MapOf("z", 1, "a", []any{nil, true, "yes", "1e3", "1.10", 1.5, 1e20, "12:30", "0644", ""}, "no", expression.NewMap())
	text, err := Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(value, parseOne(t, string(text)).Decode(), cmp.AllowUnexported(expression.Map{})); diff != "" {
		t.Errorf("the value changed on its way through %s (-want +got)\n%s", text, diff)
	}
	if _, err := Marshal([]any{expression.Undefined{Name: "x"}}); err == nil {
		t.Error("an undefined value was written")
	}
}

func TestFilter(t *testing.T) {
	value := expression.MapOf("b", []any{1, "yes"}, "a", nil)
	text, err := Filter("to_nice_yaml", value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a: null\nb:\n  - 1\n  - \"yes\"\n", text); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	again, err := Filter("from_yaml", text)
	if diff := cmp.Diff(any(expression.MapOf("a", nil, "b", []any{1, "yes"})), again, cmp.AllowUnexported(expression.Map{})); err != nil || diff != "" {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
	if _, err := Filter("from_yaml", "a: 1\na: 2"); err == nil || !strings.Contains(err.Error(), "line 2 of the text") {
		t.Errorf("error %v, want one about line 2", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a: 1", "- {{ x }}", "a: &a [*a]", "a: !vault x", "? [a]\n: b", "<<: {a: 1}", "a: |\n  b\n", "\t", "a: \"\\n x\"", "- 1.5e+3\n- 0644\n- 2026-01-02"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		nodes, _, err := Parse("f.yml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yml:") {
				t.Errorf("the error %q has no place", err)
			}
			return
		}
		if bytes.Count(data, []byte("*")) > 8 {
			return // what aliases blow up takes too long to compare
		}
		for _, node := range nodes {
			value := node.Decode()
			text, err := Marshal(value)
			if err != nil {
				t.Fatalf("write %#v: %v", value, err)
			}
			again, _, err := Parse("f.yml", text)
			if err != nil || len(again) != 1 {
				t.Fatalf("%q was written as %q, which cannot be read: %v", data, text, err)
			}
			if diff := cmp.Diff(value, again[0].Decode(), cmp.AllowUnexported(expression.Map{}), cmp.Comparer(sameFloat)); diff != "" {
				t.Fatalf("%q was written as %q (-want +got)\n%s", data, text, diff)
			}
		}
	})
}

func sameFloat(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
