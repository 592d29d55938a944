// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/lab"
)

// Clients that are drained for their upgrade, and clients that new hosts take the place of. Each part builds on what the one before has left.
func TestLabDrain(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Clients: 3, Plain: 2, Job: true, ACL: true, MTLS: true}, "drover")
	plain := r.withoutPlain()
	r.migrateQuickly()
	if a := r.upgrade("--servers"); a.code != 0 {
		t.Fatalf("upgrade of the server: %s", a)
	}
	r.eligibility("c1", false)
	r.eligibility("c2", false)
	r.settle("c3")
	r.sub("a drain that finds no room is cancelled, with the reason", (*rig).drainHeld)
	r.sub("somebody else's drain is left alone", (*rig).drainOfAnother)
	r.sub("in place no allocation moves", (*rig).clientInPlace)
	r.eligibility("c1", true)
	r.sub("a run that dies while it drains is continued by the same command", (*rig).drainKilled)
	r.sub("the next run changes nothing", (*rig).drainedAlready)
	r.sub("new clients take the place of old ones", func(r *rig) { r.clientsReplaced(plain) })
	r.sub("an agent that is there is not installed over", func(r *rig) { r.installRefused(plain) })
}

// withoutPlain takes the hosts without Nomad out of the inventory, where an upgrade would refuse them.
func (r *rig) withoutPlain() (lines string) {
	r.t.Helper()
	text, err := os.ReadFile(r.inventory)
	if err != nil {
		r.t.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), "[plain]\n")
	plain, after, ended := strings.Cut(after, "\n\n")
	if !found || !ended || strings.Count(plain, "ansible_host") != 2 {
		r.t.Fatalf("the inventory has changed: %s", text)
	}
	if err := os.WriteFile(r.inventory, []byte(before+after), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return plain
}

// drainNode is a client as the servers see it, with its last drain.
type drainNode struct {
	ID, Name, Status, SchedulingEligibility, Version string
	Drain                                            bool
	LastDrain                                        *struct {
		Status string
		Meta   map[string]string
	}
}

func (r *rig) drainNodes() map[string]drainNode {
	r.t.Helper()
	var list []drainNode
	if err := r.lab.Call(r.t.Context(), "s1", "GET", "/v1/nodes", nil, &list); err != nil {
		r.t.Fatal(err)
	}
	nodes := map[string]drainNode{}
	for _, node := range list {
		nodes[node.Name] = node
	}
	return nodes
}

// practiceAlloc is an allocation of the lab's job, as the servers list it.
type practiceAlloc struct {
	ID, NodeName, ClientStatus, DesiredStatus string
	DeploymentStatus                          *struct{ Healthy *bool }
}

// practice are the allocations that run.
func (r *rig) practice() []practiceAlloc {
	r.t.Helper()
	var list []practiceAlloc
	if err := r.lab.Call(r.t.Context(), "s1", "GET", "/v1/job/practice/allocations", nil, &list); err != nil {
		r.t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(a practiceAlloc) bool { return a.ClientStatus != "running" || a.DesiredStatus != "run" })
}

// running are the allocations that run, by host.
func (r *rig) running() map[string][]string {
	r.t.Helper()
	found := map[string][]string{}
	for _, alloc := range r.practice() {
		found[alloc.NodeName] = append(found[alloc.NodeName], alloc.ID)
	}
	for _, ids := range found {
		slices.Sort(ids)
	}
	return found
}

// settle waits until all allocations are known to be healthy, as a drain wants it before it moves the first one, and until those of a host that
// have been stopped have no process any more.
func (r *rig) settle(host string) {
	r.t.Helper()
	r.eventually("9 healthy allocations, those of "+host+" alone in having processes there", time.Minute, func() bool {
		healthy, here := 0, []string{}
		for _, alloc := range r.practice() {
			if alloc.DeploymentStatus == nil || alloc.DeploymentStatus.Healthy == nil || !*alloc.DeploymentStatus.Healthy {
				continue
			}
			healthy++
			if alloc.NodeName == host {
				here = append(here, alloc.ID)
			}
		}
		tasks, err := r.lab.Tasks(host)
		if err != nil {
			r.t.Fatal(err)
		}
		found := map[string]bool{}
		for _, task := range tasks {
			found[task.Alloc] = true
		}
		slices.Sort(here)
		return healthy == 9 && slices.Equal(here, slices.Sorted(maps.Keys(found)))
	})
}

// migrateQuickly shortens how long a replacement must be healthy before the next allocation moves.
func (r *rig) migrateQuickly() {
	r.t.Helper()
	var job map[string]any
	if err := r.lab.Call(r.t.Context(), "s1", "GET", "/v1/job/practice", nil, &job); err != nil {
		r.t.Fatal(err)
	}
	for _, group := range job["TaskGroups"].([]any) {
		group.(map[string]any)["Migrate"] = map[string]any{"MaxParallel": 1, "HealthCheck": "task_states", "MinHealthyTime": time.Second, "HealthyDeadline": time.Minute}
	}
	if err := r.lab.Call(r.t.Context(), "s1", "PUT", "/v1/jobs", map[string]any{"Job": job}, nil); err != nil {
		r.t.Fatal(err)
	}
}

// eligibility sets it by hand.
func (r *rig) eligibility(host string, eligible bool) {
	r.t.Helper()
	word := map[bool]string{true: "eligible", false: "ineligible"}[eligible]
	path := "/v1/node/" + r.drainNodes()[host].ID + "/eligibility"
	if err := r.lab.Call(r.t.Context(), "s1", "PUT", path, map[string]any{"Eligibility": word}, nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) upgradeClients(more ...string) []string {
	return append([]string{"upgrade-clients", "--to", newVersion, "--binary", r.binary, "--drain", "--yes"}, more...)
}

// wantNode compares a client with what it should be: version, eligibility, and whether it is being drained.
func (r *rig) wantNode(host, version, eligibility string, draining bool) {
	r.t.Helper()
	node := r.drainNodes()[host]
	got := fmt.Sprintln(node.Version, node.SchedulingEligibility, node.Drain)
	if diff := cmp.Diff(fmt.Sprintln(version, eligibility, draining), got); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", host, diff)
	}
}

// wantSaid checks how a command ended, and its words.
func (r *rig) wantSaid(a answer, code int, words ...string) {
	r.t.Helper()
	if a.code != code {
		r.t.Errorf("exit code %d, want %d", a.code, code)
	}
	for _, word := range words {
		if !strings.Contains(a.out+a.err, word) {
			r.t.Errorf("it does not say %q", word)
		}
	}
	if r.t.Failed() {
		r.t.Log(a)
	}
}

// drainHeld drains the only client that is eligible.
func (r *rig) drainHeld() {
	pids := r.pidsOf("c3")
	a := r.run(r.upgradeClients("--limit", "c3", "--drain-timeout", "6s")...)
	r.wantSaid(a, exitFailed, "allocations left: practice.", "practice.raw[", "another client for it was not found", "the drain was cancelled, and the client is eligible again")
	r.wantNode("c3", oldVersion, "eligible", false)
	if diff := cmp.Diff(pids, r.pidsOf("c3")); diff != "" {
		r.t.Errorf("the agent was restarted (-before +after):\n%s", diff)
	}
	r.settle("c3") // Nomad has stopped one allocation of each group for the move, without a place to move it to
}

// drainOfAnother has somebody drain a client, which never ends because nothing else is eligible.
func (r *rig) drainOfAnother() {
	drain := "/v1/node/" + r.drainNodes()["c3"].ID + "/drain"
	begin := map[string]any{"DrainSpec": map[string]any{"Deadline": time.Hour}, "Meta": map[string]string{"who": "alice"}}
	if err := r.lab.Call(r.t.Context(), "s1", "PUT", drain, begin, nil); err != nil {
		r.t.Fatal(err)
	}
	// What a drain has begun to move is moved even if the drain is cancelled then, a second later or so (Nomad 1.10.5).
	r.eventually("one allocation of each group to be stopped", time.Minute, func() bool { return len(r.running()["c3"]) == 1 })
	pids := r.pidsOf("c1", "c2", "c3")
	a := r.run(r.upgradeClients()...)
	r.wantSaid(a, exitRefused, "Refused, and nothing was touched", "somebody else (who: alice)", "--limit 'all:!c3'")
	// The playbook by itself is as careful.
	a = r.run("run", "upgrade-clients", "-e", "drain=true version="+newVersion+" binary="+r.binary)
	r.wantSaid(a, exitRefused, "somebody else (who: alice)", "it was left as it is")
	r.wantNode("c3", oldVersion, "ineligible", true)
	if who := r.drainNodes()["c3"].LastDrain.Meta["who"]; who != "alice" {
		r.t.Errorf("the drain is %q's now", who)
	}
	if diff := cmp.Diff(pids, r.pidsOf("c1", "c2", "c3")); diff != "" {
		r.t.Errorf("agents were restarted (-before +after):\n%s", diff)
	}
	if err := r.lab.Call(r.t.Context(), "s1", "PUT", drain, map[string]any{"DrainSpec": nil, "MarkEligible": true}, nil); err != nil {
		r.t.Fatal(err)
	}
	r.settle("c3")
}

// clientInPlace upgrades one client without draining it.
func (r *rig) clientInPlace() {
	tasks := r.tasksOf("c3")
	a := r.run("upgrade-clients", "--to", newVersion, "--binary", r.binary, "--yes", "--limit", "c3")
	r.wantSaid(a, exitOK)
	r.wantNode("c3", newVersion, "eligible", false)
	if diff := cmp.Diff(tasks, r.tasksOf("c3")); diff != "" {
		r.t.Errorf("tasks (-before +after):\n%s", diff)
	}
}

// drainKilled kills drover as soon as its drain has begun; the command is given again. c3 has the version already.
func (r *rig) drainKilled() {
	before := r.running()
	s := r.begin(r.upgradeClients()...)
	r.eventually("c1 to be drained", 2*time.Minute, func() bool { return r.drainNodes()["c1"].Drain })
	s.kill()
	node := r.drainNodes()["c1"]
	if node.LastDrain == nil || node.LastDrain.Meta["drover_run"] == "" || node.LastDrain.Meta["drover_prior"] != "eligible" {
		r.t.Errorf("the drain says nothing of the run: %+v", node.LastDrain)
	}
	a := r.run(r.upgradeClients("--batch", "2")...)
	r.wantSaid(a, exitOK)
	r.wantNode("c1", newVersion, "eligible", false)
	r.wantNode("c2", newVersion, "ineligible", false) // as before
	r.wantNode("c3", newVersion, "eligible", false)
	r.eventually("all allocations to run", time.Minute, func() bool { return len(slices.Concat(slices.Collect(maps.Values(r.running()))...)) == 9 })
	after := r.running()
	if len(after["c2"]) > 0 {
		r.t.Errorf("c2 was ineligible before and runs %v now", after["c2"])
	}
	for _, id := range before["c1"] {
		if slices.Contains(after["c1"], id) {
			r.t.Errorf("allocation %.8s never left c1", id)
		}
	}
	for _, id := range before["c3"] {
		if !slices.Contains(after["c3"], id) {
			r.t.Errorf("allocation %.8s has left c3, which had the version already", id)
		}
	}
	r.t.Logf("the second run took %s", a.took)
}

// drainedAlready runs the same once more.
func (r *rig) drainedAlready() {
	pids, allocs := r.pidsOf("c1", "c2", "c3"), r.running()
	a := r.run(r.upgradeClients()...)
	r.wantSaid(a, exitOK)
	if strings.Contains(a.out, "changed: [") {
		r.t.Errorf("it changed something: %s", a)
	}
	if diff := cmp.Diff(pids, r.pidsOf("c1", "c2", "c3")); diff != "" {
		r.t.Errorf("agents were restarted (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(allocs, r.running()); diff != "" {
		r.t.Errorf("allocations (-before +after):\n%s", diff)
	}
}

// clientsReplaced puts h1 and h2, which have no Nomad, in the place of c1 and c2. One run is killed while it installs, the next while it drains c1.
func (r *rig) clientsReplaced(plain string) {
	text, err := os.ReadFile(r.inventory)
	if err != nil {
		r.t.Fatal(err)
	}
	there := *r
	there.inventory = filepath.Join(r.t.TempDir(), "replace.ini")
	if err := os.WriteFile(there.inventory, append(text, "\n[new_clients]\n"+plain+"\n\n[old_clients]\nc1\nc2\n"...), 0o600); err != nil {
		r.t.Fatal(err)
	}
	replace := []string{"replace-clients", "--to", newVersion, "--binary", r.binary, "--purge", "--yes"}
	s := there.begin(replace...)
	r.eventually("the binary to be on h1", time.Minute, func() bool {
		_, err := os.Stat(r.path("h1", "usr/local/bin/nomad"))
		return err == nil
	})
	s.kill()
	if _, there := r.drainNodes()["h1"]; there {
		r.t.Error("h1 is a client already, so that nothing of its installation was left to do")
	}
	s = there.begin(replace...)
	r.eventually("c1 to be drained", 2*time.Minute, func() bool { return r.drainNodes()["c1"].Drain })
	s.kill()
	r.wantSaid(s.end(r.t, time.Second), -1, "New clients, configured like c1")
	a := there.run(replace...)
	r.wantSaid(a, exitOK, "h1: runs "+newVersion+" already")
	r.wantNode("h1", newVersion, "eligible", false)
	r.wantNode("h2", newVersion, "eligible", false)
	for _, host := range []string{"c1", "c2"} {
		if state := r.onHost(host, "sh", "-c", "systemctl is-active nomad; systemctl is-enabled nomad; true"); !strings.Contains(state, "disabled") || strings.HasPrefix(state, "active") {
			r.t.Errorf("%s is %q", host, state)
		}
		if node, there := r.drainNodes()[host]; there {
			r.t.Errorf("the servers still know %s: %+v", host, node)
		}
	}
	r.eventually("all allocations to run", time.Minute, func() bool { return len(slices.Concat(slices.Collect(maps.Values(r.running()))...)) == 9 })
	for host := range r.running() {
		if host == "c1" || host == "c2" {
			r.t.Errorf("allocations run on %s", host)
		}
	}
	r.t.Logf("replacing took %s", a.took)
	pids := r.pidsOf("h1", "h2", "c3")
	a = there.run(replace...)
	r.wantSaid(a, exitOK)
	if strings.Contains(a.out, "changed: [") || !maps.Equal(pids, r.pidsOf("h1", "h2", "c3")) {
		r.t.Errorf("the second run changed something: %s", a)
	}
}

// include adds lines to the inventory.
func (r *rig) include(lines string) {
	r.t.Helper()
	text, err := os.ReadFile(r.inventory)
	if err == nil {
		err = os.WriteFile(r.inventory, append(text, "\n[included]\n"+lines+"\n"...), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// installRefused tries to install other things than those that are there.
func (r *rig) installRefused(plain string) {
	r.include(plain)
	install := func(host, more string) answer {
		return r.run("run", r.playbook(fmt.Sprintf("- hosts: %s\n  become: true\n  tasks:\n    - nomad_install:\n        %s\n", host, more)))
	}
	pids := r.pidsOf("h1")
	a := install("h1", "{version: "+oldVersion+", from: c3, binary: /dev/null}")
	r.wantSaid(a, exitRefused, "nomad.service is there already with the version "+newVersion)
	a = install("h1", "{version: "+newVersion+", from: c3, set: {data_dir: /srv/nomad}}")
	r.wantSaid(a, exitRefused, "is there already with the data directory /opt/nomad")
	a = r.run("run", r.playbook("- hosts: c3\n  become: true\n  tasks:\n    - nomad_stop:\n"))
	r.wantSaid(a, exitRefused, "the client is eligible, and only a drained one is stopped")
	a = r.run("run", r.playbook("- hosts: s1\n  become: true\n  tasks:\n    - nomad_stop:\n"))
	r.wantSaid(a, exitRefused, "this is a server; nothing was stopped")
	if diff := cmp.Diff(pids, r.pidsOf("h1")); diff != "" {
		r.t.Errorf("the agent was restarted (-before +after):\n%s", diff)
	}
}
