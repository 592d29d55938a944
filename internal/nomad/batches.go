// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Batch is a group of clients that are upgraded together.
type Batch struct {
	Hosts []string `json:"hosts"` // to upgrade, in order
	// Size counts the clients that the batch spans, those included that need nothing: they are in the play too.
	Size int `json:"size"`
}

// Defaults of Batches.
const (
	defaultBatch         = "10%"
	defaultPerDatacenter = 5
)

// Batches cuts the clients of a plan, in its order, into groups that are upgraded together: one canary first, then as many as
// size says (a number, or a percentage of all clients to upgrade, rounded down, at least one; "" is 10%) and never more than
// perDatacenter (0: 5) of one datacenter at once. Hosts that need nothing take no room.
func Batches(steps []Step, size string, perDatacenter int) ([]Batch, error) {
	total := 0
	for _, step := range steps {
		if step.batched() && step.Action == ActionUpgrade {
			total++
		}
	}
	limit, err := batchLimit(cmp.Or(size, defaultBatch), total)
	if err != nil {
		return nil, err
	}
	if perDatacenter = cmp.Or(perDatacenter, defaultPerDatacenter); perDatacenter < 1 {
		return nil, fmt.Errorf("clients at once in one datacenter: %d is less than 1", perDatacenter)
	}
	batches := []Batch{}
	filling := Batch{Hosts: []string{}}
	inDC := map[string]int{}
	full := func(step Step) bool {
		room := limit
		if len(batches) == 0 {
			room = 1
		}
		return len(filling.Hosts) >= room || inDC[step.Datacenter] >= perDatacenter
	}
	for _, step := range steps {
		if !step.batched() {
			continue
		}
		if step.Action == ActionUpgrade {
			if full(step) {
				batches = append(batches, filling)
				filling = Batch{Hosts: []string{}}
				clear(inDC)
			}
			filling.Hosts = append(filling.Hosts, step.Host)
			inDC[step.Datacenter]++
		}
		filling.Size++
	}
	if filling.Size > 0 {
		batches = append(batches, filling)
	}
	return batches, nil
}

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
