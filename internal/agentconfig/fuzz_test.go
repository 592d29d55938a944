// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl"
)

// decoded is a configuration as Nomad's own decoder reads it, one line per value. ok is false where the decoder does not take it; it
// panics on numbers that do not fit.
func decoded(text []byte) (lines map[string]int, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	var root map[string]any
	if err := hcl.Unmarshal(text, &root); err != nil {
		return nil, false
	}
	lines = map[string]int{}
	collect(root, nil, lines)
	return lines, true
}

func collect(value any, at []string, into map[string]int) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			collect(v[key], append(at[:len(at):len(at)], key), into)
		}
	case []map[string]any:
		for _, element := range v {
			collect(element, at, into)
		}
	case []any:
		if len(v) > 0 {
			if _, is := v[0].(map[string]any); is {
				for _, element := range v {
					collect(element, at, into)
				}
				return
			}
		}
		into[fmt.Sprintf("%q = %v", at, v)]++
	default:
		into[fmt.Sprintf("%q = %v", at, v)]++
	}
}

// others are the lines of all keys but one.
func others(lines map[string]int, path Path) map[string]int {
	rest := map[string]int{}
	prefix := strings.ToLower(fmt.Sprintf("%q = ", []string(path)))
	for line, n := range lines {
		if !strings.HasPrefix(strings.ToLower(line), prefix) {
			rest[line] = n
		}
	}
	return rest
}

// FuzzSet holds every edit that succeeds to the promise: as Nomad's own decoder reads the result, nothing differs but the one key, and
// that one has the value; the bytes around the splice are as they were; a second time there is nothing to do; and taking
// the key out again reaches nothing else either.
func FuzzSet(f *testing.F) {
	for i, e := range corpus() {
		f.Add(e.before, e.key, fmt.Sprint(e.want), uint8(i))
	}
	f.Fuzz(func(t *testing.T, text, key, word string, kind uint8) {
		path, err := ParsePath(key)
		if err != nil {
			return
		}
		values := []any{3, true, false, 0, word, []any{word, "b"}}
		v, err := ValueOf(values[int(kind)%len(values)])
		if err != nil {
			return
		}
		before := []byte(text)
		after, err := Set(before, path, v)
		if err != nil {
			return
		}
		check(t, before, after, path)
		parsed, err := Parse(after)
		if err != nil {
			t.Fatalf("%q became %q: %v", before, after, err)
		}
		if last, ok := parsed.Last(path); !ok || !last.Value.Equal(v) {
			t.Fatalf("%q became %q: %s is %v, want %v", before, after, path, last.Value, v)
		}
		if again, err := Set(after, path, v); err != nil || string(again) != string(after) {
			t.Fatalf("%q became %q, then %q, %v", before, after, again, err)
		}
		if without, err := Unset(after, path); err == nil {
			check(t, after, without, path)
			if parsed, err := Parse(without); err != nil || len(parsed.All(path)) > 0 {
				t.Fatalf("%q without %s became %q, %v", after, path, without, err)
			}
		}
		_ = Hide(after)
	})
}

func check(t *testing.T, before, after []byte, path Path) {
	t.Helper()
	old, ok := decoded(before)
	if !ok {
		return
	}
	now, ok := decoded(after)
	if !ok && mixed(after, path) {
		return
	}
	if !ok {
		t.Fatalf("%q became %q, which Nomad's decoder does not take", before, after)
	}
	if was, is := others(old, path), others(now, path); !maps.Equal(was, is) {
		t.Fatalf("%q became %q for %s: %v became %v", before, after, path, was, is)
	}
}

// mixed tells whether a key is set more than once with different kinds of values, which the decoder takes into structures but not into maps.
func mixed(text []byte, path Path) bool {
	f, err := Parse(text)
	if err != nil {
		return false
	}
	kinds := map[Kind]bool{}
	for _, e := range f.All(path) {
		kinds[e.Value.Kind] = true
	}
	return len(kinds) > 1
}

// FuzzEdits holds the edits of an agent with two files and a command line to the same: the key has the value then, and in each file
// nothing differs but the key.
func FuzzEdits(f *testing.F) {
	f.Add("server { raft_protocol = 2 }", "server { raft_protocol = 0 }", "", raft, uint8(0))
	f.Add("leave_on_terminate = true", `{"leave_on_terminate": true}`, "-region eu", "leave_on_terminate", uint8(2))
	f.Add("client { meta { a = \"x\" } }", "client {}", "-dc x -raft-protocol=2", "client.meta.a", uint8(4))
	f.Add("vault { enabled = true }", "", "-vault-enabled", "vault.enabled", uint8(2))
	f.Fuzz(func(t *testing.T, first, second, flags, key string, kind uint8) {
		path, err := ParsePath(key)
		if err != nil {
			return
		}
		values := []any{3, true, false, 0, "x", "", []any{"a"}}
		want, err := ValueOf(values[int(kind)%len(values)])
		if err != nil {
			t.Fatal(err)
		}
		sources := []Source{{"/d/a.hcl", []byte(first)}, {"/d/b.hcl", []byte(second)}}
		argv := append([]string{"nomad", "agent"}, strings.Fields(flags)...)
		edits, err := Edits(sources, argv, path, &want)
		if err != nil {
			return
		}
		for _, e := range edits {
			at := slices.IndexFunc(sources, func(s Source) bool { return s.Path == e.Path })
			if string(sources[at].Text) != string(e.Before) {
				t.Fatalf("%s was %q before, not %q", e.Path, sources[at].Text, e.Before)
			}
			check(t, e.Before, e.After, path)
			sources[at].Text = e.After
		}
		all, err := Occurrences(sources, argv, path)
		if err != nil {
			t.Fatal(err)
		}
		if decides, ok := Deciding(all, path); !ok || !decides.Value.Equal(want) {
			t.Fatalf("%q became %q: %+v decides, want %v", []string{first, second}, sources, decides, want)
		}
		if again, err := Edits(sources, argv, path, &want); err != nil || len(again) > 0 {
			t.Fatalf("a second time: %+v, %v", again, err)
		}
	})
}
