// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strconv"
	"strings"
)

// Batches cuts the clients of a plan, in its order, into groups that are upgraded together: one canary first, then as many as
// size says (a number, or a percentage of all clients to upgrade, rounded down, at least one) and never more than perDatacenter of
// one datacenter at once. Hosts that need nothing take no room. The result holds how many hosts each batch has.
func Batches(steps []Step, size string, perDatacenter int) ([]int, error) {
	total := 0
	for _, step := range steps {
		if step.batched() && step.Action == ActionUpgrade {
			total++
		}
	}
	limit, err := batchLimit(size, total)
	if err != nil {
		return nil, err
	}
	if perDatacenter < 1 {
		return nil, fmt.Errorf("clients at once in one datacenter: %d is less than 1", perDatacenter)
	}
	var (
		batches []int
		hosts   int // of the batch being filled
		working int // those of them that are upgraded
		inDC    = map[string]int{}
	)
	full := func(step Step) bool {
		room := limit
		if len(batches) == 0 {
			room = 1
		}
		return working >= room || inDC[step.Datacenter] >= perDatacenter
	}
	for _, step := range steps {
		if !step.batched() {
			continue
		}
		if step.Action == ActionUpgrade {
			if full(step) {
				batches = append(batches, hosts)
				hosts, working = 0, 0
				clear(inDC)
			}
			working++
			inDC[step.Datacenter]++
		}
		hosts++
	}
	if hosts > 0 {
		batches = append(batches, hosts)
	}
	return batches, nil
}

// batched tells whether the host goes in batches: one that is a server too goes with the servers.
func (s Step) batched() bool { return s.Role == "client" }

func batchLimit(size string, total int) (int, error) {
	text, percent := strings.CutSuffix(strings.TrimSpace(size), "%")
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || percent && number > 100 {
		return 0, fmt.Errorf("clients at once: %q is neither a number of hosts nor a percentage such as 10%%", size)
	}
	if percent {
		return max(1, total*number/100), nil
	}
	return number, nil
}
