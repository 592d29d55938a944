// SPDX-License-Identifier: MPL-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// node is the part of /v1/node/ID that is watched.
type node struct {
	ID, Name, Status, SchedulingEligibility string

	Drivers map[string]struct{ Detected, Healthy bool }
	Events  []struct {
		Message   string
		Timestamp time.Time
	}
}

// askNodes asks any server that answers.
func (w *Watch) askNodes(ctx context.Context) (map[string]node, error) {
	var problems []error
	for _, host := range w.lab.Hosts() {
		if !host.IsServer() {
			continue
		}
		nodes, err := w.nodesFrom(ctx, host.Name)
		if err == nil {
			return nodes, nil
		}
		problems = append(problems, err)
	}
	return nil, fmt.Errorf("no server tells about its nodes: %w", errors.Join(problems...))
}

func (w *Watch) nodesFrom(ctx context.Context, server string) (map[string]node, error) {
	var list []node
	if err := w.lab.Call(ctx, server, "GET", "/v1/nodes", nil, &list); err != nil {
		return nil, err
	}
	nodes := map[string]node{}
	for _, stub := range list {
		var full node
		if err := w.lab.Call(ctx, server, "GET", "/v1/node/"+stub.ID, nil, &full); err != nil {
			return nil, err
		}
		nodes[full.Name] = full
	}
	return nodes, nil
}

// changedNodes finds what happened to the nodes in between.
func changedNodes(before, after map[string]node) (missed, changed []string) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was, is := before[name], after[name]
		known := map[string]bool{}
		for _, e := range was.Events {
			known[e.Message+e.Timestamp.String()] = true
		}
		for _, e := range is.Events {
			if strings.Contains(strings.ToLower(e.Message), "heartbeat missed") && !known[e.Message+e.Timestamp.String()] {
				missed = append(missed, name+": "+e.Message)
			}
		}
		if was.ID != is.ID || was.Status != is.Status || was.SchedulingEligibility != is.SchedulingEligibility {
			changed = append(changed, fmt.Sprintf("%s: was %s %s %s, is %s %s %s", name,
				was.ID, was.Status, was.SchedulingEligibility, is.ID, is.Status, is.SchedulingEligibility))
		}
		for _, driver := range slices.Sorted(maps.Keys(was.Drivers)) {
			if was.Drivers[driver] != is.Drivers[driver] {
				changed = append(changed, fmt.Sprintf("%s: driver %s was %+v, is %+v", name, driver, was.Drivers[driver], is.Drivers[driver]))
			}
		}
	}
	return missed, changed
}
