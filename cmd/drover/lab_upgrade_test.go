// SPDX-License-Identifier: MPL-2.0

package main

import (
	"maps"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
	"drover/internal/lab/watch"
)

// The main job: three servers and three clients, watched from outside; then again, which must change nothing.
func TestLabUpgrade(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 3, Job: true}, "drover")
	r.upgradeUnfelt()
	r.secondRunChangesNothing()
}

// The same where nothing is easy: ACL and mTLS, a sudo password, a jump host.
func TestLabUpgradeGuarded(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 3, Job: true, ACL: true, MTLS: true, Jump: true}, "operator")
	r.upgradeUnfelt()
	r.secondRunChangesNothing()
}

func (r *rig) upgradeUnfelt() {
	t := r.t
	t.Helper()
	var a answer
	report := r.watched(func() { a = r.upgrade() })
	if a.code != 0 {
		t.Fatalf("upgrade: %s", a)
	}
	r.wantVersion(newVersion)
	for _, problem := range report.Problems() {
		t.Error(problem)
	}
	if len(report.Absences) != len(r.agentHosts()) {
		t.Errorf("%d agents were restarted, not %d: %v", len(report.Absences), len(r.agentHosts()), report.Absences)
	}
	if report.Tasks == 0 {
		t.Error("no task of an allocation was watched")
	}
	for host, count := range report.Samples {
		if count < 20 {
			t.Errorf("%s was sampled only %d times", host, count)
		}
	}
	wantLeaderLast(t, report, a)
	t.Logf("upgrade took %s; term %d -> %d", a.took, report.TermBefore, report.TermAfter)
	for _, absence := range report.Absences {
		t.Logf("%s: away %s, heartbeat %s after the stop, budget %s", absence.Host, absence.Gap(), absence.Heartbeat.Sub(absence.Gone), absence.Budget)
	}
}

// wantLeaderLast compares the order of the stops with what the survey said about the leader.
func wantLeaderLast(t testing.TB, report *watch.Report, a answer) {
	t.Helper()
	var servers []string
	for _, absence := range report.Absences {
		if strings.HasPrefix(absence.Host, "s") {
			servers = append(servers, absence.Host)
		}
	}
	if len(servers) != 3 {
		return // told already
	}
	if !strings.Contains(a.out, servers[2]) || !strings.Contains(a.out, "leader") {
		t.Errorf("the run does not say that %s, done last, led the cluster:\n%s", servers[2], a.out)
	}
}

func (r *rig) secondRunChangesNothing() {
	t := r.t
	t.Helper()
	before := r.mainPIDs()
	a := r.upgrade()
	if a.code != 0 {
		t.Fatalf("second run: %s", a)
	}
	if strings.Contains(a.out, "changed: [") {
		t.Errorf("the second run changed something: %s", a)
	}
	if after := r.mainPIDs(); !maps.Equal(before, after) {
		t.Errorf("the second run restarted agents: %v became %v", before, after)
	}
	if !strings.Contains(a.out+a.err, "nothing to do") {
		t.Errorf("the second run does not say that there is nothing to do: %s", a)
	}
}

// eventually polls a condition of the real world, which has no event to wait on.
func (r *rig) eventually(what string, limit time.Duration, done func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			r.t.Fatalf("gave up after %s waiting for %s", limit, what)
		case <-tick.C:
		}
	}
}

// A watcher that could not turn red would prove nothing.
func TestLabWatcherTurnsRed(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 2, Job: true}, "drover")
	// First, since after an election the servers wait 300 s for a client that has not sent a heartbeat yet.
	t.Run("a start that takes too long", func(t *testing.T) {
		r.dropIn("c2", "[Service]\nExecStartPre=/bin/sleep 40\n")
		report := r.watched(func() {
			r.onHost("c2", "systemctl", "restart", "nomad")
			r.eventually("c2 to be ready again", time.Minute, func() bool {
				return r.lab.Call(t.Context(), "c2", "GET", "/v1/agent/health", nil, nil) == nil
			})
		})
		wantProblem(t, report, "a heartbeat was missed")
	})
	t.Run("tasks killed with the agent", func(t *testing.T) {
		r.dropIn("c1", "[Service]\nKillMode=control-group\nTimeoutStopSec=5\n")
		report := r.watched(func() { r.onHost("c1", "systemctl", "restart", "nomad") })
		wantProblem(t, report, "a task changed")
	})
	t.Run("two servers stopped at once", func(t *testing.T) {
		report := r.watched(func() {
			r.onHost("s2", "systemctl", "stop", "nomad")
			r.onHost("s3", "systemctl", "stop", "nomad")
			led := func() bool {
				var leader string
				return r.lab.Call(t.Context(), "s1", "GET", "/v1/status/leader", nil, &leader) == nil && leader != ""
			}
			// They stay away until the cluster has felt it: a shorter time than a sample takes would prove nothing.
			r.eventually("s1 to be without a leader", time.Minute, func() bool { return !led() })
			r.onHost("s2", "systemctl", "start", "nomad")
			r.onHost("s3", "systemctl", "start", "nomad")
			r.eventually("a leader", time.Minute, led)
		})
		wantProblem(t, report, "two servers were out of service at once")
	})
}

func (r *rig) dropIn(host, text string) {
	r.t.Helper()
	r.onHost(host, "mkdir", "-p", "/etc/systemd/system/nomad.service.d")
	r.onHost(host, "sh", "-c", "printf '%s' '"+text+"' > /etc/systemd/system/nomad.service.d/test.conf && systemctl daemon-reload")
}

func wantProblem(t *testing.T, report *watch.Report, want string) {
	t.Helper()
	for _, problem := range report.Problems() {
		if strings.Contains(problem, want) {
			return
		}
	}
	t.Errorf("the watcher did not notice: want %q, got %q", want, report.Problems())
}
