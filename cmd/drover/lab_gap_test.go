// SPDX-License-Identifier: MPL-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
)

// Law 4: what happens between stop and start depends on nothing outside of the host. One server and three clients
// that may be stopped by SIGINT only, so that each swap also has a drop-in to clean up.
func TestLabGap(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Clients: 3, Job: true, KillSignal: "SIGTERM", LeaveOnTerminate: true}, "drover")
	tasks := r.tasks()
	for _, step := range []struct {
		name string
		run  func(*rig)
	}{
		{"a client whose new binary does not come up gets its old one back, and the run ends", (*rig).clientReverted},
		{"the network is cut in the gap, on the only server", (*rig).cutInGap},
		{"drover, agent and transaction are killed together in the gap", (*rig).bastionKilledInGap},
		{"the agent on the host is killed in the gap", (*rig).agentKilledInGap},
		{"the transaction itself is killed in the gap", (*rig).swapKilledInGap},
	} {
		r.sub(step.name, func(r *rig) {
			step.run(r)
			r.wantTasks(tasks)
			r.wantNothingLeft()
		})
	}
	r.sub("the next run changes nothing", func(r *rig) {
		before := r.mainPIDs()
		wantAnswer(r.t, r.upgrade(), exitOK, "nothing to do")
		r.wantUntouched(before)
	})
}

// wantNothingLeft checks what a leave or a drain would have changed.
func (r *rig) wantNothingLeft() {
	r.t.Helper()
	var members struct {
		Members []struct{ Name, Status string }
	}
	r.eventually("the members", 30*time.Second, func() bool {
		return r.lab.Call(r.t.Context(), "s1", "GET", "/v1/agent/members", nil, &members) == nil
	})
	for _, member := range members.Members {
		if member.Status != "alive" {
			r.t.Errorf("%s is %s", member.Name, member.Status)
		}
	}
	var raft struct{ Servers []struct{ Voter bool } }
	if err := r.lab.Call(r.t.Context(), "s1", "GET", "/v1/operator/raft/configuration", nil, &raft); err != nil {
		r.t.Error(err)
	}
	for _, server := range raft.Servers {
		if !server.Voter {
			r.t.Errorf("a server does not vote: %+v", raft.Servers)
		}
	}
	if len(raft.Servers) != r.lab.Options().Servers {
		r.t.Errorf("%d servers take part in raft", len(raft.Servers))
	}
	var nodes []struct {
		Name, Status, SchedulingEligibility string
		Drain                               bool
	}
	if err := r.lab.Call(r.t.Context(), "s1", "GET", "/v1/nodes", nil, &nodes); err != nil {
		r.t.Error(err)
	}
	for _, node := range nodes {
		if node.Drain || node.SchedulingEligibility != "eligible" {
			r.t.Errorf("node %+v has drained itself", node)
		}
	}
}

// wantStoppedBy reads in the agent's own log which signal it was sent last.
func (r *rig) wantStoppedBy(host, signal string) {
	r.t.Helper()
	log := r.onHost(host, "journalctl", "-u", "nomad", "--no-pager", "-o", "cat")
	last := ""
	for line := range strings.Lines(log) {
		if _, what, ok := strings.Cut(line, "Caught signal: "); ok {
			last = strings.TrimSpace(what)
		}
	}
	if last != signal {
		r.t.Errorf("%s: the agent was stopped by %q, want %q", host, last, signal)
	}
}

func (r *rig) clientReverted() {
	before := r.mainPIDs()
	state := r.onHost("c1", "sh", "-c", "stat -c %i /opt/nomad/client/state.db")
	a := r.run("upgrade", "--to", newVersion, "--binary", r.standIn(), "--yes", "--clients")
	wantAnswer(r.t, a, exitFailed, "[c1]: FAILED! => swapping Nomad to "+newVersion+" did not succeed", "the old binary runs again", "last lines of nomad.service", "the stand-in's line 30")
	if lines := strings.Count(a.out+a.err, "the stand-in's line"); lines < 10 || lines > 20 {
		r.t.Errorf("%d lines of the unit's journal are shown, want the last 20 with those of systemd: %s", lines, a)
	}
	if now := r.onHost("c1", "sh", "-c", "stat -c %i /opt/nomad/client/state.db"); now == state {
		r.t.Error("the client's state was not brought back from its copy")
	}
	delete(before, "c1")
	r.wantUntouched(before)
	r.wantRuns("c1", oldVersion)
	r.ready("c1", oldVersion)
}

// ready waits until the servers know a client's version.
func (r *rig) ready(host, version string) {
	r.t.Helper()
	r.eventually(host+" to be ready with "+version, time.Minute, func() bool {
		var nodes []struct{ Name, Status, Version string }
		if r.lab.Call(r.t.Context(), "s1", "GET", "/v1/nodes", nil, &nodes) != nil {
			return false
		}
		for _, node := range nodes {
			if node.Name == host {
				return node.Status == "ready" && node.Version == version
			}
		}
		return false
	})
}

func (r *rig) cutInGap() {
	g := r.holdGap("s1")
	s := r.beginUpgrade("--servers")
	g.await()
	if err := r.lab.Cut(r.t.Context(), "s1"); err != nil {
		r.t.Fatal(err)
	}
	g.release()
	r.wantRuns("s1", newVersion)
	r.wantStoppedBy("s1", "interrupt")
	if err := r.lab.Heal(r.t.Context(), "s1"); err != nil {
		r.t.Fatal(err)
	}
	wantAnswer(r.t, s.end(r.t, 2*time.Minute), exitOK, "s1 is the only server that votes: the control plane pauses")
}

// bastionKilledInGap kills drover, and everything of it on the host, the transaction included.
func (r *rig) bastionKilledInGap() {
	g := r.holdGap("c1")
	s := r.beginUpgrade()
	g.await()
	s.kill()
	r.killOnHost("c1", "drover-agent")
	g.release()
	r.wantRuns("c1", newVersion)
	r.wantStoppedBy("c1", "interrupt")
	r.ready("c1", newVersion)
}

func (r *rig) agentKilledInGap() {
	g := r.holdGap("c2")
	c1, c3 := r.mainPIDs()["c1"], r.mainPIDs()["c3"]
	s := r.beginUpgrade()
	g.await()
	r.killOnHost("c2", "drover-agent-")
	g.release()
	a := s.end(r.t, time.Minute)
	wantAnswer(r.t, a, exitUnreachable, "c2")
	r.wantRuns("c2", newVersion)
	r.wantStoppedBy("c2", "interrupt")
	r.ready("c2", newVersion)
	r.wantUntouched(map[string]int{"c1": c1, "c3": c3})
}

func (r *rig) swapKilledInGap() {
	g := r.holdGap("c3")
	s := r.beginUpgrade()
	g.await()
	r.killOnHost("c3", " swap ")
	g.release()
	a := s.end(r.t, 2*time.Minute)
	wantAnswer(r.t, a, exitOK)
	r.wantRuns("c3", newVersion)
	r.wantStoppedBy("c3", "interrupt")
	r.wantVersion(newVersion)
}
