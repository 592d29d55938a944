// SPDX-License-Identifier: MPL-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
)

// An upgrade begins with a server that went down this very moment, while it led and the others have not elected another yet.
func TestLabStoppedServer(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3}, "drover")
	leader, _ := r.roles()
	r.onHost(leader, "systemctl", "stop", "nomad")
	a := r.run("plan", "--to", newVersion)
	wantAnswer(t, a, exitChanges, leader+": this server is down; it is repaired first")
	if !strings.Contains(a.err, "in case an election is under way") {
		t.Errorf("it did not wait for an election: %s", a)
	}
	wantAnswer(t, r.upgrade(), exitOK)
	r.wantRepaired()
}

// The same with one that raft has dropped since: it has no vote until it is back for a while, and until then no other is stopped.
func TestLabDroppedServer(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3}, "drover")
	r.onHost("s1", "systemctl", "stop", "nomad")
	r.eventually("raft to drop s1", 2*time.Minute, func() bool {
		votes := r.suffrage("s2")
		_, there := votes["s1"]
		return len(votes) == 2 && !there
	})
	wantAnswer(t, r.upgrade("--limit", "s2"), exitRefused, "s1 is down, and raft has dropped it")
	a := r.run("plan", "--to", newVersion)
	wantAnswer(t, a, exitChanges, "s1: this server is down, and raft has dropped it; it is repaired first")
	if strings.Contains(a.out, "--accept-outage") {
		t.Errorf("an outage is offered for want of patience:\n%s", a.out)
	}
	wantAnswer(t, r.upgrade(), exitOK)
	r.wantRepaired()
}

// wantRepaired is a cluster of three servers that all vote, with the new version.
func (r *rig) wantRepaired() {
	r.t.Helper()
	r.wantVersion(newVersion)
	votes := r.suffrage("s2")
	for _, host := range []string{"s1", "s2", "s3"} {
		r.wantRuns(host, newVersion)
		if !votes[host] {
			r.t.Errorf("%s has no vote", host)
		}
	}
	r.wantNothingLeft()
}
