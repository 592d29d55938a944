// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func clients(datacenters string) []Step {
	var steps []Step
	for i, dc := range strings.Split(datacenters, "") {
		action := ActionUpgrade
		if dc == "-" {
			action = ActionNone
		}
		steps = append(steps, Step{Host: fmt.Sprint("c", i), Role: "client", Action: action, Datacenter: dc})
	}
	return steps
}

func TestBatches(t *testing.T) {
	for name, test := range map[string]struct {
		datacenters, size string
		perDC             int
		want              []int
	}{
		"a canary and the rest one by one":    {"aaa", "10%", 5, []int{1, 1, 1}},
		"half at once":                        {"aaaaa", "50%", 5, []int{1, 2, 2}},
		"all at once, but not in one place":   {"aaaaaaaaaaaa", "100%", 5, []int{1, 5, 5, 1}},
		"two datacenters hold twice as many":  {"ababababab", "100%", 3, []int{1, 6, 3}},
		"a number":                            {"aaaaa", "3", 5, []int{1, 3, 1}},
		"hosts that are done take no room":    {"-a-aa-", "2", 5, []int{3, 3}},
		"nothing to do":                       {"--", "10%", 5, []int{2}},
		"one percent of three is one":         {"aaa", "1%", 5, []int{1, 1, 1}},
		"ninety-nine percent of three is two": {"aaa", "99%", 5, []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			steps := append([]Step{{Host: "s1", Role: "server", Action: ActionUpgrade}}, clients(test.datacenters)...)
			got, err := Batches(steps, test.size, test.perDC)
			if err != nil {
				t.Fatal(err)
			}
			sizes := make([]int, len(got))
			for i, batch := range got {
				sizes[i] = batch.Size
			}
			if diff := cmp.Diff(test.want, sizes); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	}
	for _, size := range []string{" ", "0", "-1", "x", "101%", "0%"} {
		if _, err := Batches(clients("a"), size, 1); err == nil {
			t.Errorf("a batch size of %q was taken", size)
		}
	}
}

func TestBatchesKeepTheirLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := clients(rapid.StringMatching("[abc-]{1,40}").Draw(t, "datacenters"))
		limit, perDC := rapid.IntRange(1, 8).Draw(t, "limit"), rapid.IntRange(1, 6).Draw(t, "perDC")
		batches, err := Batches(steps, fmt.Sprint(limit), perDC)
		if err != nil {
			t.Fatal(err)
		}
		for i, batch := range batches {
			working, inDC := 0, map[string]int{}
			for _, step := range steps[:batch.Size] {
				if step.Action == ActionUpgrade {
					working++
					inDC[step.Datacenter]++
				}
			}
			if working != len(batch.Hosts) {
				t.Fatalf("batch %d names %q and works on %d hosts", i, batch.Hosts, working)
			}
			steps = steps[batch.Size:]
			if i == 0 && working > 1 || working > limit {
				t.Fatalf("batch %d works on %d hosts", i, working)
			}
			for dc, count := range inDC {
				if count > perDC {
					t.Fatalf("batch %d works on %d hosts of %s", i, count, dc)
				}
			}
		}
		if len(steps) != 0 {
			t.Fatalf("%d hosts are in no batch", len(steps))
		}
	})
}
