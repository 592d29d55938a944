// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBatchSizes(t *testing.T) {
	tests := []struct {
		name   string
		serial []any
		total  int
		want   []int
	}{
		{"no serial", nil, 5, []int{5}},
		{"no hosts", nil, 0, nil},
		{"zero means all", []any{int64(0)}, 3, []int{3}},
		{"one at a time", []any{int64(1)}, 3, []int{1, 1, 1}},
		{"remainder", []any{int64(2)}, 5, []int{2, 2, 1}},
		{"more than there are", []any{int64(9)}, 2, []int{2}},
		{"text", []any{"2"}, 3, []int{2, 1}},
		{"1% of 10 is at least one", []any{"1%"}, 3, []int{1, 1, 1}},
		{"1% of 200", []any{"1%"}, 5, []int{1, 1, 1, 1, 1}},
		{"10% of 10", []any{"10%"}, 10, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"10% of 25", []any{"10%"}, 25, []int{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1}},
		{"33% of 10", []any{"33%"}, 10, []int{3, 3, 3, 1}},
		{"33% of 100", []any{"33%"}, 100, []int{33, 33, 33, 1}},
		{"99% of 10", []any{"99%"}, 10, []int{9, 1}},
		{"99% of 100", []any{"99%"}, 100, []int{99, 1}},
		{"100%", []any{"100%"}, 7, []int{7}},
		{"canary then the rest", []any{int64(1), "30%"}, 10, []int{1, 3, 3, 3}},
		{"list runs out of hosts", []any{int64(1), int64(5), int64(10)}, 3, []int{1, 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := batchSizes(test.serial, test.total)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadSerialIsRefused(t *testing.T) {
	for _, value := range []any{int64(-1), "0%", "101%", "-5%", "x", "x%", "", true, 1.5, nil} {
		if size, err := batchSize(value, 10); err == nil {
			t.Errorf("serial %v gave %d", value, size)
		}
	}
}

func TestOrder(t *testing.T) {
	hosts := []string{"c", "a", "b"}
	tests := map[string][]string{
		"":                  {"c", "a", "b"},
		"inventory":         {"c", "a", "b"},
		"reverse_inventory": {"b", "a", "c"},
		"sorted":            {"a", "b", "c"},
		"reverse_sorted":    {"c", "b", "a"},
		"leader_last":       {"c", "a", "b"},
	}
	for order, want := range tests {
		if diff := cmp.Diff(want, arrange(hosts, order, 1)); diff != "" {
			t.Errorf("order %q: %s", order, diff)
		}
	}
	many := []string{"1", "2", "3", "4", "5", "6", "7", "8"}
	shuffled := arrange(many, "shuffle", 7)
	if slices.Equal(shuffled, many) || !slices.Equal(shuffled, arrange(many, "shuffle", 7)) {
		t.Errorf("shuffle: %v", shuffled)
	}
	slices.Sort(shuffled)
	if diff := cmp.Diff(many, shuffled); diff != "" {
		t.Errorf("shuffle lost hosts: %s", diff)
	}
}

func TestTags(t *testing.T) {
	type words = []string
	tests := []struct {
		name             string
		tags, only, skip words
		want             bool
	}{
		{"nothing asked", nil, nil, nil, true},
		{"nothing asked, tagged", words{"a"}, nil, nil, true},
		{"never", words{"never", "a"}, nil, nil, false},
		{"never, asked by its other tag", words{"never", "a"}, words{"a"}, nil, true},
		{"never, asked", words{"never"}, words{"never"}, nil, true},
		{"never is not tagged", words{"never", "a"}, words{"tagged"}, nil, false},
		{"asked", words{"a"}, words{"a", "b"}, nil, true},
		{"not asked", words{"a"}, words{"b"}, nil, false},
		{"untagged, another asked", nil, words{"b"}, nil, false},
		{"untagged asked", nil, words{"untagged"}, nil, true},
		{"tagged asked", words{"a"}, words{"tagged"}, nil, true},
		{"tagged asked, has none", nil, words{"tagged"}, nil, false},
		{"always", words{"always"}, words{"b"}, nil, true},
		{"always, skipped", words{"always"}, words{"b"}, words{"always"}, false},
		{"skipped", words{"a"}, nil, words{"a"}, false},
		{"skip wins", words{"a", "b"}, words{"a"}, words{"b"}, false},
		{"skip tagged", words{"a"}, nil, words{"tagged"}, false},
		{"skip untagged", nil, nil, words{"untagged"}, false},
		{"skip all", words{"a"}, nil, words{"all"}, false},
		{"skip all but always", words{"always"}, nil, words{"all"}, true},
		{"skip all and always", words{"always"}, nil, words{"all", "always"}, false},
	}
	for _, test := range tests {
		if got := chosen(test.tags, test.only, test.skip); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
}
