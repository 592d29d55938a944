// SPDX-License-Identifier: MPL-2.0

package inventory_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"drover/internal/expression"
	"drover/inventory"

	"github.com/google/go-cmp/cmp"
)

// golden is what testdata/golden.py writes: the answers of ansible-core.
type golden struct {
	Cases map[string]struct {
		Sources     []string                  `json:"sources"`
		PlaybookDir string                    `json:"playbook_dir"`
		Groups      map[string][]string       `json:"groups"`
		Children    map[string][]string       `json:"children"`
		Vars        map[string]map[string]any `json:"vars"`
		Patterns    map[string]any            `json:"patterns"`
		GroupNames  map[string][]string       `json:"group_names"`
	} `json:"cases"`
}

// different lists the answers that differ on purpose, with the reason.
var different = map[string]map[string]string{
	"values": {"v": "an infinite number cannot be written as JSON, so it stays text"},
}

func TestAnswersOfAnsible(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var want golden
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for name, c := range want.Cases {
		t.Run(name, func(t *testing.T) {
			inv := load(t, c.PlaybookDir, c.Sources...)
			for group, hosts := range c.Groups {
				got, ok := inv.Group(group)
				if !ok {
					t.Errorf("group %s is missing", group)
				}
				if diff := cmp.Diff(hosts, names(got)); diff != "" {
					t.Errorf("hosts of %s (-ansible +drover):\n%s", group, diff)
				}
			}
			if got := inv.Groups().Len(); got != len(c.Groups) {
				t.Errorf("%d groups, Ansible has %d", got, len(c.Groups))
			}
			compareChildren(t, inv, c.Children)
			for host, vars := range c.Vars {
				h, ok := inv.Host(host)
				if !ok {
					t.Errorf("host %s is missing", host)
					continue
				}
				if diff := cmp.Diff(vars, ansibleForm(inv.Vars(h)), ignoreKeys(different[name])); diff != "" {
					t.Errorf("variables of %s (-ansible +drover):\n%s", host, diff)
				}
				if diff := cmp.Diff(c.GroupNames[host], append([]string{}, inv.GroupNames(h)...)); diff != "" {
					t.Errorf("group_names of %s (-ansible +drover):\n%s", host, diff)
				}
			}
			for pattern, answer := range c.Patterns {
				comparePattern(t, inv, pattern, answer)
			}
		})
	}
}

func compareChildren(t *testing.T, inv *inventory.Inventory, children map[string][]string) {
	t.Helper()
	list := expression.ToGo(inv.List()).(map[string]any)
	for group, want := range children {
		got := []string{}
		if entry, ok := list[group].(map[string]any); ok {
			if names, ok := entry["children"].([]any); ok {
				for _, name := range names {
					got = append(got, name.(string))
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("children of %s (-ansible +drover):\n%s", group, diff)
		}
	}
}

func comparePattern(t *testing.T, inv *inventory.Inventory, pattern string, answer any) {
	t.Helper()
	got, _, err := inv.Match(pattern)
	want, isList := answer.([]any)
	var none *inventory.NoHostsError
	switch {
	case !isList && err == nil:
		t.Errorf("pattern %q: %v, Ansible says %v", pattern, names(got), answer)
	case isList && len(want) == 0 && !errors.As(err, &none):
		t.Errorf("pattern %q: %v, %v; Ansible finds no host", pattern, names(got), err)
	case isList && len(want) > 0:
		if err != nil {
			t.Errorf("pattern %q: %v; Ansible finds %v", pattern, err, want)
		}
		if diff := cmp.Diff(want, anys(names(got))); diff != "" {
			t.Errorf("pattern %q (-ansible +drover):\n%s", pattern, diff)
		}
	}
}

// ansibleForm writes a value as golden.py does: floats apart from integers.
func ansibleForm(value any) any {
	switch v := value.(type) {
	case *expression.Map:
		m := map[string]any{}
		for key, item := range v.All() {
			m[key] = ansibleForm(item)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = ansibleForm(item)
		}
		return list
	case int64:
		return float64(v) // as encoding/json reads the golden file
	case float64:
		text := strconv.FormatFloat(v, 'f', -1, 64)
		if v == math.Trunc(v) {
			text += ".0"
		}
		return map[string]any{"float": text}
	}
	return value
}

func ignoreKeys(keys map[string]string) cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool {
		index, ok := p.Last().(cmp.MapIndex)
		if !ok {
			return false
		}
		_, ignored := keys[index.Key().String()]
		return ignored
	}, cmp.Ignore())
}

func load(t *testing.T, playbookDir string, sources ...string) *inventory.Inventory {
	t.Helper()
	options := inventory.Options{}
	for _, source := range sources {
		if _, err := os.Stat(filepath.Join("testdata", source)); err == nil {
			source = filepath.Join("testdata", source)
		}
		options.Sources = append(options.Sources, source)
	}
	if playbookDir != "" {
		options.PlaybookDir = filepath.Join("testdata", playbookDir)
	}
	inv, _, err := inventory.Load(options)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func names(hosts []*inventory.Host) []string {
	list := []string{}
	for _, host := range hosts {
		list = append(list, host.Name)
	}
	return list
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, item := range list {
		out[i] = item
	}
	return out
}
