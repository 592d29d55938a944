// SPDX-License-Identifier: MPL-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
)

// Two servers have no vote to spare, and with leave_on_interrupt and KillSignal=SIGINT a plain stop would make a server leave
// and the client drain itself.
func TestLabTwoServers(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 2, Clients: 1, Job: true, LeaveOnInterrupt: true, DrainOnShutdown: true}, "drover")
	tasks := r.tasks()
	r.sub("two servers are not upgraded", (*rig).twoRefused)
	r.sub("a dead server is repaired even without a leader", (*rig).deadRepaired)
	r.sub("with an outage accepted, after a backup, by a signal that is safe", func(r *rig) {
		r.outageAccepted()
		r.wantTasks(tasks)
		r.wantNothingLeft()
	})
}

func (r *rig) twoRefused() {
	before := r.mainPIDs()
	a := r.upgrade()
	wantAnswer(r.t, a, exitRefused, "two servers have no spare vote", "--accept-outage")
	leader, followers := r.roles()
	for _, host := range []string{followers[0], leader} {
		a = r.run("run", r.swapPlaybook(host, r.binary, "timeout: 2"))
		wantAnswer(r.t, a, exitRefused, "["+host+"]: FAILED! => the server was not stopped", "stopping it would leave 1 of 2 voters, and the cluster needs 2", "--accept-outage")
	}
	r.wantUntouched(before)
}

// stopSafely stops an agent by a signal that does not make it leave.
func (r *rig) stopSafely(host string) {
	r.t.Helper()
	r.onHost(host, "sh", "-c", `dir=/run/systemd/system/nomad.service.d; mkdir -p $dir && printf '[Service]\nKillSignal=SIGTERM\n' > $dir/test.conf &&
systemctl daemon-reload && systemctl stop nomad && rm $dir/test.conf && systemctl daemon-reload`)
}

func (r *rig) deadRepaired() {
	leader, followers := r.roles()
	r.stopSafely(followers[0])
	r.eventually("the other to lose its leadership", 20*time.Second, func() bool { return !r.leads(leader) })
	before := r.mainPID(leader)
	a := r.run("run", r.swapPlaybook(leader, r.binary, "timeout: 2"))
	wantAnswer(r.t, a, exitRefused, "["+leader+"]: FAILED! => the server was not stopped", "no server says that it leads")
	a = r.run("run", r.swapPlaybook(followers[0], r.binary, "timeout: 20"))
	wantAnswer(r.t, a, exitOK)
	r.wantRuns(followers[0], newVersion)
	r.wantUntouched(before)
	r.roles()
}

// mainPID is the process of one host's agent.
func (r *rig) mainPID(host string) map[string]int {
	r.t.Helper()
	pid, err := r.lab.AgentPID(host)
	if err != nil {
		r.t.Fatal(err)
	}
	return map[string]int{host: pid}
}

func (r *rig) outageAccepted() {
	old := ""
	for _, host := range r.lab.Status(r.t.Context()) {
		if host.Role == lab.Server && host.Nomad == oldVersion {
			old = host.Name
		}
	}
	r.healthy()
	wantAnswer(r.t, r.upgrade("--accept-outage"), exitOK)
	r.wantVersion(newVersion)
	for _, host := range []string{old, "c1"} {
		r.wantRuns(host, newVersion)
		r.wantStoppedBy(host, "terminated")
	}
	if out := r.onHost(old, "sh", "-c", "ls -d /opt/nomad/server.drover-*/raft/raft.db"); out == "" {
		r.t.Error("server/ was not backed up before the outage")
	}
}

// Where both flags are set no signal is safe. The cluster has ACL on and sudo asks for a password, so that there are
// secrets to give away.
func TestLabNoSafeSignal(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 1, Job: true, ACL: true, LeaveOnInterrupt: true, LeaveOnTerminate: true, DrainOnShutdown: true}, "operator")
	tasks := r.tasks()
	seen := r.watchSecrets()
	r.sub("refused with the ways out", (*rig).noSafeSignal)
	r.sub("a server is allowed to leave, and votes again", (*rig).leaveAllowed)
	r.sub("the others are killed, the leader last", func(r *rig) {
		r.killed()
		r.wantTasks(tasks)
		r.wantNothingLeft()
	})
	r.sub("no secret was in the open", func(r *rig) { r.wantSecrets(seen) })
}

func (r *rig) noSafeSignal() {
	before := r.mainPIDs()
	a := r.upgrade()
	wantAnswer(r.t, a, exitRefused, "leave_on_interrupt and leave_on_terminate set", "neither SIGINT nor SIGTERM",
		"the flags of the running process count, so that an edit of the configuration cannot help this stop", "--allow-leave", "--stop-signal KILL")
	_, followers := r.roles()
	a = r.run("run", r.swapPlaybook(followers[0], r.binary, "timeout: 2"))
	wantAnswer(r.t, a, exitRefused, "nothing was stopped", "--allow-leave", "--stop-signal KILL")
	// An edit of the configuration and a reload do not change what the running process does.
	r.onHost(followers[0], "sh", "-c", "sed -i 's/^leave_on_.*/# &/' /etc/nomad.d/nomad.hcl && systemctl reload nomad")
	a = r.run("run", r.swapPlaybook(followers[0], r.binary, "timeout: 2"))
	wantAnswer(r.t, a, exitRefused, "nothing was stopped", "the flags of the running process count")
	r.onHost(followers[0], "sh", "-c", "sed -i 's/^# leave_on/leave_on/' /etc/nomad.d/nomad.hcl && systemctl reload nomad")
	r.wantUntouched(before)
}

func (r *rig) leaveAllowed() {
	_, followers := r.roles()
	a := r.run("run", r.swapPlaybook(followers[0], r.binary, "allow_leave: true\n        timeout: 45"))
	wantAnswer(r.t, a, exitOK)
	r.wantRuns(followers[0], newVersion)
	r.wantStoppedBy(followers[0], "interrupt")
	// It has left and come back, so the module has waited until raft counts its vote again.
	r.wantNothingLeft()
}

// killed upgrades the rest. Leadership has landed on the upgraded server before, and must go back to an old one.
func (r *rig) killed() {
	upgraded := ""
	for _, host := range r.lab.Status(r.t.Context()) {
		if host.Role == lab.Server && host.Nomad == newVersion {
			upgraded = host.Name
		}
	}
	r.healthy()
	if leader, _ := r.roles(); leader != upgraded {
		if err := r.transfer(leader, upgraded); err != nil {
			r.t.Fatal(err)
		}
	}
	untouched := r.mainPID(upgraded)
	var a answer
	report := r.watched(func() { a = r.upgrade("--stop-signal", "KILL", "-vv") })
	if err := os.WriteFile(filepath.Join(r.state, outputFile), []byte(a.out+a.err), 0o600); err != nil {
		r.t.Fatal(err)
	}
	wantAnswer(r.t, a, exitOK, "leadership landed on an upgraded server while old ones remain")
	r.wantUntouched(untouched)
	r.wantVersion(newVersion)
	if len(report.Absences) != 3 {
		r.t.Errorf("absences: %+v", report.Absences)
	}
	for host := range maps.Keys(r.mainPIDs()) {
		r.wantNoDropIn(host)
		if host == upgraded {
			continue
		}
		if log := r.onHost(host, "journalctl", "-u", "nomad", "--no-pager", "-o", "cat"); !strings.Contains(log, "status=9/KILL") {
			r.t.Errorf("%s was not stopped by SIGKILL", host)
		}
	}
}
