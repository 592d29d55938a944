// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"drover/internal/lab"
)

// Two federated regions in one inventory: the authoritative one first, servers before clients in each, seen by when the hosts'
// own systemd started the agents.
func TestLabFederation(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 2, Clients: 2, Job: true, Regions: []string{"west", "east"}}, "drover")
	r.sub("the plan shows both regions", func(r *rig) {
		a := r.run("plan", "--to", newVersion)
		wantAnswer(r.t, a, exitChanges, "in 2 legs", "Leg 1 of 2: to 1.11.0, region west", "Leg 2 of 2: to 1.11.0, region east", "Nothing stands in the way")
		var plan struct {
			Legs []struct {
				Region string
				Hosts  []string
			}
		}
		a = r.run("plan", "--to", newVersion, "--output", "json")
		if err := json.Unmarshal([]byte(a.out), &plan); err != nil || len(plan.Legs) != 2 {
			r.t.Fatalf("%v: %s", err, a)
		}
		if got := plan.Legs[1]; got.Region != "east" || !slices.Equal(got.Hosts, []string{"s2", "c2"}) {
			r.t.Errorf("the second leg is %+v", got)
		}
	})
	r.sub("no region is begun when the one before failed", func(r *rig) {
		before := r.mainPIDs()
		r.onHost("c1", "sh", "-c", "echo 'client {' > /etc/nomad.d/torn.hcl")
		defer r.onHost("c1", "rm", "/etc/nomad.d/torn.hcl")
		wantAnswer(r.t, r.upgrade(), exitRefused, "c1", "rejects the configuration", "the leg to 1.11.0, region west did not end well, and no other was begun")
		if after := r.mainPIDs(); !maps.Equal(before, after) {
			r.t.Errorf("agents were restarted: %v became %v", before, after)
		}
	})
	r.sub("one region at a time", func(r *rig) {
		a := r.upgrade()
		if a.code != 0 {
			r.t.Fatalf("upgrade: %s", a)
		}
		r.wantVersion(newVersion)
		if got := r.startOrder(); !slices.Equal(got, []string{"s1", "c1", "s2", "c2"}) {
			r.t.Errorf("agents were started in the order %v: %s", got, a)
		}
		for _, region := range []string{"west", "east"} {
			if !strings.Contains(a.out, "nomad-"+region+".snapshot") {
				r.t.Errorf("no snapshot of region %s was taken: %s", region, a)
			}
		}
		manifests, err := filepath.Glob(filepath.Join(r.state, "drover", "runs", "*", "events.jsonl"))
		if err != nil || len(manifests) != 3 {
			r.t.Errorf("the leg that failed and the two that did not are not three runs on record: %q, %v", manifests, err)
		}
	})
	r.sub("a second run changes nothing", (*rig).secondRunChangesNothing)
	r.sub("both regions are well", func(r *rig) { r.must("health", "--verify", newVersion) })
}

// startOrder is the hosts in the order in which their agents were started last. All share this machine's clock.
func (r *rig) startOrder() []string {
	r.t.Helper()
	started := map[string]int{}
	for _, host := range r.agentHosts() {
		text := r.onHost(host, "systemctl", "show", "-P", "ExecMainStartTimestampMonotonic", "nomad")
		at, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			r.t.Fatal(err)
		}
		started[host] = at
	}
	return slices.SortedFunc(slices.Values(r.agentHosts()), func(a, b string) int { return cmp.Compare(started[a], started[b]) })
}
