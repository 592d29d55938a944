// SPDX-License-Identifier: MPL-2.0

package main

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/lab"
)

// A fleet as it is found: c1 is ineligible, c2 drains, c4's agent was stopped by somebody and c5 is off the network. None of
// it is the upgrade's doing, none of it is changed by it, and a run that dies on the way is continued by the same command.
func TestLabFleetAsFound(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 5, Job: true}, "drover")
	r.disturb()
	tasks := r.tasksOf("c1", "c2", "c3")
	r.sub("the plan records how clients are", (*rig).planRecords)
	r.sub("a run that dies half-way is continued by the same command", func(r *rig) {
		r.diesAndContinues()
		r.wantAsFound()
		if diff := cmp.Diff(tasks, r.tasksOf("c1", "c2", "c3")); diff != "" {
			r.t.Errorf("processes of allocations (-before +after):\n%s", diff)
		}
	})
	r.sub("the client that was skipped is done when it is back", (*rig).skippedClientFollows)
}

// foundNode is a client as the servers see it.
type foundNode struct {
	ID, Name, Status, SchedulingEligibility, Version string
	Drain                                            bool
}

func (r *rig) foundNodes() map[string]foundNode {
	r.t.Helper()
	var list []foundNode
	if err := r.lab.Call(r.t.Context(), "s1", "GET", "/v1/nodes", nil, &list); err != nil {
		return nil // a server that restarts has nothing to say
	}
	nodes := map[string]foundNode{}
	for _, node := range list {
		nodes[node.Name] = node
	}
	return nodes
}

// tasksOf are the processes of the allocations of some clients.
func (r *rig) tasksOf(hosts ...string) map[string]uint64 {
	r.t.Helper()
	found := r.tasks()
	maps.DeleteFunc(found, func(name string, _ uint64) bool {
		for _, host := range hosts {
			if strings.HasPrefix(name, host+" ") {
				return false
			}
		}
		return true
	})
	return found
}

// pidsOf are the agents' processes of some hosts.
func (r *rig) pidsOf(hosts ...string) map[string]int {
	r.t.Helper()
	pids := map[string]int{}
	for _, host := range hosts {
		maps.Copy(pids, r.mainPID(host))
	}
	return pids
}

// disturb brings the clients into the states of a fleet that has a life of its own.
func (r *rig) disturb() {
	t := r.t
	t.Helper()
	call := func(path string, in any) {
		if err := r.lab.Call(t.Context(), "s1", "PUT", path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	clients := r.foundNodes()
	call("/v1/node/"+clients["c1"].ID+"/eligibility", map[string]any{"Eligibility": "ineligible"})
	// A drain waits for batch jobs until its deadline, so that this one keeps it from ending.
	call("/v1/jobs", map[string]any{"Job": map[string]any{
		"ID": "pinned", "Name": "pinned", "Type": "batch", "Datacenters": []string{"dc1"},
		"Constraints": []any{map[string]any{"LTarget": "${node.unique.name}", "RTarget": "c2", "Operand": "="}},
		"TaskGroups": []any{map[string]any{"Name": "pinned", "Count": 1, "Tasks": []any{map[string]any{
			"Name": "sleep", "Driver": "raw_exec", "Config": map[string]any{"command": "/bin/sleep", "args": []string{"infinity"}},
			"Resources": map[string]any{"CPU": 20, "MemoryMB": 16},
		}}}},
	}})
	r.eventually("the pinned allocation to run", time.Minute, func() bool { return r.pinned() == "running" })
	call("/v1/node/"+clients["c2"].ID+"/drain", map[string]any{"DrainSpec": map[string]any{"Deadline": int64(time.Hour)}})
	r.onHost("c4", "systemctl", "stop", "nomad")
	if err := r.lab.Cut(t.Context(), "c5"); err != nil {
		t.Fatal(err)
	}
	all, nodes := 3*r.lab.Options().Clients+1, map[string]foundNode{}
	defer func() {
		if t.Failed() {
			t.Logf("processes of allocations: %v; clients: %+v", r.tasksOf("c1", "c2", "c3"), nodes)
		}
	}()
	r.eventually("the servers to miss c4 and c5, and the allocations to be where they can stay", 90*time.Second, func() bool {
		nodes = r.foundNodes()
		return nodes["c4"].Status == "down" && nodes["c5"].Status == "down" && nodes["c2"].Drain && len(r.tasksOf("c2")) == 1 && len(r.tasksOf("c1", "c2", "c3")) == all
	})
}

func (r *rig) pinned() string {
	var allocations []struct{ ClientStatus string }
	if r.lab.Call(r.t.Context(), "s1", "GET", "/v1/job/pinned/allocations", nil, &allocations) != nil || len(allocations) != 1 {
		return ""
	}
	return allocations[0].ClientStatus
}

func (r *rig) planRecords() {
	before := r.pidsOf("c1", "c2", "c3", "s1", "s2", "s3")
	a := r.run("plan", "--to", newVersion, "--binary", r.binary, "--timeout", "2", "--skip-unreachable")
	r.t.Log(a)
	wantAnswer(r.t, a, exitChanges, "c1: is ineligible; it stays so", "c2: is draining; its drain is not touched", "c4: this client is down", "c5", "--skip-unreachable")
	r.wantUntouched(before)
}

// diesAndContinues kills drover after the first server, and runs the same command again.
func (r *rig) diesAndContinues() {
	_, followers := r.roles()
	first := followers[0]
	s := r.beginUpgrade("--skip-unreachable", "--timeout", "2")
	r.awaitRestart(first)
	s.kill()
	r.wantRuns(first, newVersion)
	r.healthy()
	done := r.mainPID(first)
	a := r.upgrade("--skip-unreachable", "--timeout", "2")
	r.t.Log(a)
	wantAnswer(r.t, a, exitUnreachable, first, "already "+newVersion, "c5 was not upgraded", "c4")
	r.wantUntouched(done)
	for _, host := range []string{"s1", "s2", "s3", "c1", "c2", "c3", "c4"} {
		r.wantRuns(host, newVersion)
	}
}

// wantAsFound checks that the clients are to the servers what they were, where nobody else has changed it.
func (r *rig) wantAsFound() {
	r.t.Helper()
	nodes := r.foundNodes()
	for host, want := range map[string]foundNode{
		"c1": {Status: "ready", SchedulingEligibility: "ineligible"},
		"c2": {Status: "ready", SchedulingEligibility: "ineligible", Drain: true},
		"c3": {Status: "ready", SchedulingEligibility: "eligible"},
		"c5": {Status: "down", SchedulingEligibility: "eligible"},
	} {
		got := nodes[host]
		if got.Status != want.Status || got.SchedulingEligibility != want.SchedulingEligibility || got.Drain != want.Drain {
			r.t.Errorf("%s is %+v, want %+v", host, got, want)
		}
	}
	if now := r.pinned(); now != "running" {
		r.t.Errorf("the allocation of the draining client is %q", now)
	}
}

func (r *rig) skippedClientFollows() {
	if err := r.lab.Heal(r.t.Context(), "c5"); err != nil {
		r.t.Fatal(err)
	}
	r.ready("c5", oldVersion)
	before := r.pidsOf("s1", "s2", "s3", "c1", "c2", "c3", "c4")
	a := r.upgrade()
	r.t.Log(a)
	wantAnswer(r.t, a, exitOK, "c5")
	r.wantUntouched(before)
	r.wantVersion(newVersion)
}
