// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFromGo(t *testing.T) {
	type point struct {
		Y int `json:"y"`
		X int `json:"x,omitempty"`
	}
	for _, tt := range []struct {
		name    string
		in, out any
	}{
		{"int", 3, int64(3)},
		{"uint8", uint8(3), int64(3)},
		{"large uint", uint64(math.MaxUint64), float64(math.MaxUint64)},
		{"number", json.Number("3"), int64(3)},
		{"number with a point", json.Number("3.0"), 3.0},
		{"texts", []string{"a"}, []any{"a"}},
		{"map is sorted", map[string]any{"b": 1, "a": []int{2}}, MapOf("a", []any{int64(2)}, "b", int64(1))},
		{"struct keeps its order", &point{Y: 1, X: 2}, MapOf("y", 1, "x", 2)},
		{"raw JSON", json.RawMessage(`{"z": 1, "a": null}`), MapOf("z", 1, "a", nil)},
		{"time", time.Unix(0, 0).UTC(), "1970-01-01T00:00:00Z"},
		{"named text", time.Month(1).String(), "January"},
		{"nil map", map[string]string(nil), NewMap()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.out, FromGo(tt.in), cmp.AllowUnexported(Map{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestToGo(t *testing.T) {
	got := ToGo([]any{MapOf("a", 1), Undefined{Name: "x"}, "s"})
	want := []any{map[string]any{"a": int64(1)}, nil, "s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestMap(t *testing.T) {
	m := MapOf("b", 1, "c", MapOf("z", nil))
	m.Set("b", 3)
	m.Set("d", Undefined{Name: "x"})
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(data), `{"b":3,"c":{"z":null},"d":null}`; got != want {
		t.Errorf("JSON %s, want %s", got, want)
	}
	var again Map
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if want := []string{"b", "c", "d"}; !slices.Equal(again.Keys(), want) {
		t.Errorf("keys %v, want %v", again.Keys(), want)
	}
	c := m.Clone()
	c.Set("e", 1)
	if m.Len() != 3 || c.Len() != 4 {
		t.Errorf("a change of the copy reached the map: %v and %v", m.Keys(), c.Keys())
	}
	var empty *Map
	if _, ok := empty.Get("x"); ok || empty.Len() != 0 || empty.Keys() != nil {
		t.Error("a nil map is not empty")
	}
}

func TestDocs(t *testing.T) {
	for _, doc := range slices.Concat(Filters(), Tests()) {
		if doc.Text == "" || doc.Signature == "" {
			t.Errorf("%s is not documented", doc.Name)
		}
	}
}
