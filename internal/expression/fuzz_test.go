// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzTemplate looks for text that panics, or that takes longer or more memory than its budget allows.
func FuzzTemplate(f *testing.F) {
	for _, file := range []string{"testdata/expressions.txt", "testdata/templates.txt"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSuffix(line, "\n")
			f.Add(line)
			f.Add("{{ " + line + " }}")
		}
	}
	scope := MapOf("n", 7, "name", "nomad", "list", []any{3, 1, 2}, "map", MapOf("a", 1, "b", []any{"x"}), "nil", nil)
	budget := Budget{Steps: 20_000, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, source string) {
		started := time.Now()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if e, err := ParseExpression(source, Position{"f", 1, 1}); err == nil {
			if _, err := e.Evaluate(t.Context(), scope, budget); err != nil {
				mustHavePlace(t, err)
			}
		} else {
			mustHavePlace(t, err)
		}
		if template, err := ParseTemplate(source, Position{"f", 1, 1}); err == nil {
			if _, err := template.Render(t.Context(), scope, budget); err != nil {
				mustHavePlace(t, err)
			}
		} else {
			mustHavePlace(t, err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
			t.Errorf("%d MiB were allocated for a budget of 1 MiB", used>>20)
		}
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func mustHavePlace(t *testing.T, err error) {
	t.Helper()
	var located *Error
	if !errors.As(err, &located) || located.Line < 1 || located.Column < 1 || located.File == "" {
		t.Errorf("the error %q has no place", err)
	}
}

func TestBudget(t *testing.T) {
	for _, source := range []string{
		"'a' * 3000000000", "[1] * 3000000000", "3000000000 * 'a'", "range(100000000)", "'%10000s' * 1000000 % 1",
		"'a'.zfill(3000000000)", "('a' * 100000).replace('a', 'b' * 100000)", "('a,' * 1000000).split(',')",
		"range(2000) | map('string') | map('replace', '', 'x' * 1000) | list", "'a' * 1000000 ~ 'b' * 1000000 ~ 'c' * 1000000",
		"range(3000) | difference(range(3000, 6000))", "('x' * 1000000) | list", "10 ** 10 ** 10",
	} {
		t.Run(source, func(t *testing.T) {
			e, err := ParseExpression(source, Position{"f", 1, 1})
			if err != nil {
				t.Fatal(err)
			}
			_, err = e.Evaluate(t.Context(), nil, Budget{Steps: 100_000, Bytes: 1 << 20})
			if !errors.Is(err, ErrBudget) && !errors.Is(err, errOverflow) {
				t.Errorf("error %v, want one about the budget", err)
			}
		})
	}
}

func TestLoopBudget(t *testing.T) {
	template, err := ParseTemplate("{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}x{% endfor %}{% endfor %}{% endfor %}", Position{"f", 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := template.Render(t.Context(), nil, Budget{}); !errors.Is(err, ErrBudget) {
		t.Errorf("error %v, want one about the budget", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := template.Render(ctx, nil, Budget{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// scopeOfErrors fails for the variables of which it knows only an error.
type scopeOfErrors map[string]any

func (s scopeOfErrors) Lookup(name string) (any, bool) { value, ok := s[name]; return value, ok }

func (s scopeOfErrors) Call(_ context.Context, function string, positional []any, named *Map) (any, error) {
	return MapOf("function", function, "positional", positional, "named", named), nil
}

func TestScope(t *testing.T) {
	broken := errors.New("loop between variables")
	scope := scopeOfErrors{"broken": broken, "later": Undefined{Name: "inner"}, "host": scopeMapping{"x": broken, "y": int64(1)}}
	for _, tt := range []struct {
		source string
		want   any
		err    error
	}{
		{source: "broken | default('x')", err: broken},
		{source: "later | default('x')", want: "x"},
		{source: "later is defined", want: false},
		{source: "host.y", want: int64(1)},
		{source: "host.x", err: broken},
		{source: "host.z is defined", want: false},
		{source: "lookup('env', 'HOME')", want: MapOf("function", "lookup", "positional", []any{"env", "HOME"}, "named", MapOf())},
		{source: "lookup('e' ~ 'nv', 'HOME')", want: MapOf("function", "lookup", "positional", []any{"env", "HOME"}, "named", MapOf())},
	} {
		t.Run(tt.source, func(t *testing.T) {
			e, err := ParseExpression(tt.source, Position{"f", 1, 1})
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Evaluate(t.Context(), scope, Budget{})
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Map{})); tt.err == nil && diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	e, err := ParseExpression("later + 1", Position{"f", 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Evaluate(t.Context(), scope, Budget{})
	if u, ok := IsUndefined(err); !ok || u.Name != "inner" {
		t.Errorf("IsUndefined(%v) = %v, %v; want inner", err, u, ok)
	}
}

// scopeMapping is a dictionary whose values are made on demand.
type scopeMapping map[string]any

func (m scopeMapping) Get(key string) (any, bool) { value, ok := m[key]; return value, ok }
func (m scopeMapping) Keys() []string             { return []string{"x", "y"} }
