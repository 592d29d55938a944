// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/event"
	"drover/internal/lab"
	"drover/internal/nomad"
)

// Hosts that are server and client go with the servers, the leader last, must be well as both, and keep their tasks.
func TestLabCombined(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Combined: true, Job: true}, "drover")
	leader, followers := r.roles()
	order := append(followers, leader)
	if diff := cmp.Diff(order, r.planned()); diff != "" {
		t.Errorf("the plan's order (-want +got):\n%s", diff)
	}
	tasks := r.tasks()
	var a answer
	report := r.watched(func() { a = r.upgrade("--output", "json") })
	wantAnswer(t, a, exitOK)
	wantOrder(t, report, order...)
	for _, problem := range report.Problems() {
		t.Error(problem)
	}
	if report.Tasks != len(tasks) {
		t.Errorf("%d tasks were watched, of %d", report.Tasks, len(tasks))
	}
	var want []string
	for _, host := range order {
		want = append(want, host+" nomad_swap", host+" nomad_server_healthy", host+" nomad_client_ready")
	}
	if diff := cmp.Diff(want, done(t, a, "nomad_swap", "nomad_server_healthy", "nomad_client_ready")); diff != "" {
		t.Errorf("what was done, in order (-want +got):\n%s", diff)
	}
	r.wantTasks(tasks)
	r.wantNothingLeft()
	for _, host := range order {
		r.wantRuns(host, newVersion)
		r.ready(host, newVersion)
	}
	r.secondRunChangesNothing()
}

// done lists on which host which of the modules succeeded, in order, as --output json has it.
func done(t testing.TB, a answer, modules ...string) []string {
	t.Helper()
	var found []string
	for line := range strings.Lines(a.out) {
		var e event.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Kind == event.HostResult && e.Status == event.OK && slices.Contains(modules, e.Module) {
			found = append(found, e.Host+" "+e.Module)
		}
	}
	return found
}

// planned are the hosts that a plan would upgrade, in its order.
func (r *rig) planned(more ...string) []string {
	r.t.Helper()
	var hosts []string
	for _, step := range r.plan(more...).Steps {
		if step.Action == nomad.ActionUpgrade {
			hosts = append(hosts, step.Host)
		}
	}
	return hosts
}

func (r *rig) plan(more ...string) nomad.Plan {
	r.t.Helper()
	a := r.run(append([]string{"plan", "--to", newVersion, "--output", "json"}, more...)...)
	var plan nomad.Plan
	if err := json.Unmarshal([]byte(a.out), &plan); err != nil {
		r.t.Fatalf("%v: %s", err, a)
	}
	return plan
}

// A single server has no quorum to lose. Its client would drain itself on the unit's SIGINT.
func TestLabOneServer(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Clients: 1, Job: true, LeaveOnInterrupt: true, DrainOnShutdown: true}, "drover")
	tasks := r.tasks()
	a := r.run("plan", "--to", newVersion)
	wantAnswer(t, a, exitChanges, "s1 is the only server that votes: the control plane pauses", "stopped with SIGTERM")
	wantAnswer(t, r.upgrade(), exitOK)
	r.wantVersion(newVersion)
	for _, host := range r.agentHosts() {
		r.wantRuns(host, newVersion)
		r.wantStoppedBy(host, "terminated")
	}
	r.wantTasks(tasks)
	r.wantNothingLeft()
}

// Five servers, of which one is dead for a while and another has no vote.
func TestLabFiveServers(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 5, LeaveOnTerminate: true}, "drover")
	up := time.Now()
	r.sub("a dead server is named and accepted", (*rig).acceptedDead)
	r.sub("a server that does not vote goes first and stays as it is", func(r *rig) { r.nonVoter(up) })
	r.sub("the rest is upgraded, the leader last, and gives the server its vote meanwhile", (*rig).promotedMeanwhile)
}

// suffrage is who votes, by address, as a server's raft configuration has it.
func (r *rig) suffrage(host string) map[string]bool {
	r.t.Helper()
	var raft struct {
		Servers []struct {
			Node  string
			Voter bool
		}
	}
	if err := r.lab.Call(r.t.Context(), host, "GET", "/v1/operator/raft/configuration", nil, &raft); err != nil {
		return nil
	}
	votes := map[string]bool{}
	for _, server := range raft.Servers {
		name, _, _ := strings.Cut(server.Node, ".")
		votes[name] = server.Voter
	}
	return votes
}

// stabilization sets how long autopilot waits before it gives a server its vote.
func (r *rig) stabilization(host, time string) {
	r.t.Helper()
	var settings map[string]any
	if err := r.lab.Call(r.t.Context(), host, "GET", "/v1/operator/autopilot/configuration", nil, &settings); err != nil {
		r.t.Fatal(err)
	}
	settings["ServerStabilizationTime"] = time
	if err := r.lab.Call(r.t.Context(), host, "PUT", "/v1/operator/autopilot/configuration", settings, nil); err != nil {
		r.t.Fatal(err)
	}
}

// quietFor is how long a server stays without a vote. Autopilot takes no notice of the time before the leader has led for a tenth
// more than that (raft-autopilot 0.1.6, ServerStabilizationTime), and in Nomad's community edition nothing else withholds a vote.
const quietFor = 45 * time.Second

// nonVoter makes one server leave and come back into a cluster that gives no votes, as read replicas have none.
func (r *rig) nonVoter(up time.Time) {
	leader, followers := r.roles()
	quiet, next := followers[3], followers[2]
	// The upgrade must not take longer than that, so the binary is there before.
	r.must("run", r.stagePlaybook(quiet+":"+next, r.binary))
	r.stabilization(leader, quietFor.String())
	r.eventually("autopilot to have looked long enough", quietFor, func() bool { return time.Since(up) > quietFor*11/10 })
	r.onHost(quiet, "sh", "-c", "systemctl kill -s TERM nomad; while systemctl is-active -q nomad; do sleep 0.1; done")
	r.eventually("autopilot to forget "+quiet, time.Minute, func() bool { return !r.autopilotKnows(leader, quiet) })
	r.onHost(quiet, "systemctl", "start", "nomad")
	var before map[string]bool
	r.eventually(quiet+" to be back without a vote", time.Minute, func() bool {
		before = r.suffrage(leader)
		voter, known := before[quiet]
		return known && !voter && len(before) == 5
	})
	if diff := cmp.Diff([]string{quiet, next, leader}, r.planned()); diff != "" {
		r.t.Errorf("the plan's order (-want +got):\n%s", diff)
	}
	var a answer
	report := r.watched(func() { a = r.upgrade("--limit", quiet+","+next) })
	after := r.suffrage(leader)
	wantAnswer(r.t, a, exitOK)
	wantOrder(r.t, report, quiet, next)
	for _, problem := range report.Problems() {
		r.t.Error(problem)
	}
	if !maps.Equal(before, after) {
		r.t.Errorf("suffrage was %v, is %v", before, after)
	}
	r.wantRuns(quiet, newVersion)
	r.wantRuns(next, newVersion)
}

// autopilotKnows tells whether autopilot keeps a server's record, by which one that has just left would be stable since it first came.
func (r *rig) autopilotKnows(leader, host string) bool {
	r.t.Helper()
	var health struct{ Servers []struct{ Name string } }
	if err := r.lab.Call(r.t.Context(), leader, "GET", "/v1/operator/autopilot/health", nil, &health); err != nil {
		return true
	}
	return len(health.Servers) == 0 || slices.ContainsFunc(health.Servers, func(s struct{ Name string }) bool {
		name, _, _ := strings.Cut(s.Name, ".")
		return name == host
	})
}

// promotedMeanwhile upgrades the leader, whose successor gives a server its vote as soon as it leads.
func (r *rig) promotedMeanwhile() {
	before := r.mainPIDs()
	leader, _ := r.roles()
	var a answer
	report := r.watched(func() { a = r.upgrade() })
	wantAnswer(r.t, a, exitOK)
	wantOrder(r.t, report, leader)
	delete(before, leader)
	r.wantUntouched(before)
	r.wantVersion(newVersion)
	r.healthy()
}

// acceptedDead upgrades two of five servers while another is dead.
func (r *rig) acceptedDead() {
	_, followers := r.roles()
	dead, limit := followers[0], followers[0]+","+followers[1]
	if err := r.lab.Kill(r.t.Context(), dead); err != nil {
		r.t.Fatal(err)
	}
	before := map[string]int{}
	for _, host := range r.agentHosts() {
		if host != dead {
			maps.Copy(before, r.mainPID(host))
		}
	}
	wantAnswer(r.t, r.run("plan", "--to", newVersion, "--timeout", "3", "--skip-unreachable"), exitRefused, dead, "--accept-down")
	wantAnswer(r.t, r.upgrade("--timeout", "3", "--limit", limit), exitRefused, dead, "--accept-down")
	r.wantUntouched(before)
	r.eventually("gossip to notice that "+dead+" is dead", time.Minute, func() bool {
		var gossip struct{ Members []nomad.Member }
		err := r.lab.Call(r.t.Context(), followers[1], "GET", "/v1/agent/members", nil, &gossip)
		return err == nil && !slices.ContainsFunc(gossip.Members, func(m nomad.Member) bool { return m.Name == dead+".global" && m.Status == "alive" })
	})
	wantAnswer(r.t, r.upgrade("--timeout", "3", "--limit", limit, "--accept-down", dead), exitOK, dead)
	delete(before, followers[1])
	r.wantUntouched(before)
	r.wantRuns(followers[1], newVersion)
	if err := r.lab.Boot(r.t.Context(), dead); err != nil {
		r.t.Fatal(err)
	}
	r.eventually(dead+" to be back", time.Minute, func() bool { _, err := r.self(dead); return err == nil })
	r.healthy()
	wantAnswer(r.t, r.upgrade("--limit", dead), exitOK)
	r.wantUntouched(before)
	r.wantRuns(dead, newVersion)
}
