// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/lab"
)

// Two of three servers lose their power for good.
func TestLabRecover(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 1, Job: true}, "operator")
	tasks := r.tasks()
	r.sub("a healthy cluster is left alone", (*rig).recoverRefused)
	r.sub("one of three is left", (*rig).recoverOne)
	r.sub("run again, it changes nothing", func(r *rig) {
		before := r.mainPID("s1")
		wantAnswer(r.t, r.recover("s1"), exitOK, "There is nothing to recover: s1 leads")
		r.wantUntouched(before)
	})
	r.wantTasks(tasks)
}

// All servers are stopped, and two of them go on.
func TestLabRecoverTogether(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 1, Job: true}, "drover")
	tasks := r.tasks()
	r.sub("drover is killed before one of three was reached", (*rig).recoverUnreached)
	r.sub("all stopped, two recovered together", (*rig).recoverTwo)
	r.sub("one host cannot do its part", (*rig).recoverHeld)
	r.sub("drover is killed while all are stopped", (*rig).recoverKilled)
	r.sub("one of two is left", (*rig).recoverOneOfTwo)
	r.wantTasks(tasks)
}

// Servers on raft protocol 2 without a leader get protocol 3 with the new raft configuration: peers.json names them by their node ids.
func TestLabRecoverProtocol2(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 1, Job: true, Version: raftVersion, RaftProtocol: 2}, "drover")
	tasks := r.tasks()
	r.stopServers("s2", "s3")
	r.eventually("s1 to lead nobody", time.Minute, func() bool {
		state, err := r.raftState("s1")
		return err == nil && state.Stats.Raft.State != "Leader"
	})
	wantAnswer(t, r.run("raft-v3", "--check"), exitRefused, "drover recover")
	r.sub("one host cannot do its part", func(r *rig) {
		r.stopServers("s1")
		r.recoverHeldOn("s2", func() {
			for _, host := range []string{"s1", "s2"} {
				if set := r.onHost(host, "grep", "raft_protocol", raftConfig); !strings.Contains(set, "= 2") {
					r.t.Errorf("%s was left with %s", host, set)
				}
			}
		})
	})
	r.sub("all stopped, two recovered together", func(r *rig) {
		r.stopServers("s1", "s2")
		a := r.recover("s1:s2")
		r.t.Log(a)
		wantAnswer(r.t, a, exitOK, "leads; raft's configuration is exactly the 2 survivors", "raft_protocol 2 becomes 3")
		r.wantRecovered("s1", "s2")
		for _, host := range []string{"s1", "s2"} {
			if set := r.onHost(host, "grep", "raft_protocol", raftConfig); !strings.Contains(set, "= 3") {
				r.t.Errorf("%s has %s", host, set)
			}
		}
	})
	r.wantTasks(tasks)
}

func (r *rig) recover(survivors string, more ...string) answer {
	r.t.Helper()
	return r.run(append([]string{"recover", "--limit", survivors, "--yes", "--timeout", "2"}, more...)...)
}

// wantRecovered checks that a server leads with these voters and no others, that the job and its allocations are there, and the file is gone.
func (r *rig) wantRecovered(hosts ...string) {
	r.t.Helper()
	var voters []string
	for _, host := range hosts {
		if _, err := os.Stat(r.path(host, "opt/nomad/server/raft/peers.json")); !os.IsNotExist(err) {
			r.t.Errorf("%s has a peers.json: %v", host, err)
		}
	}
	servers, err := r.raftServers(hosts[0])
	if err != nil {
		r.t.Fatal(err)
	}
	leads := 0
	for _, server := range servers {
		name, _, _ := strings.Cut(server.Node, ".")
		if server.Voter && server.ID != server.Address {
			voters = append(voters, name)
		}
		if server.Leader {
			leads++
		}
	}
	slices.Sort(voters)
	if diff := cmp.Diff(hosts, voters); diff != "" || leads != 1 {
		r.t.Errorf("%d leaders, voters (-want +got):\n%s", leads, diff)
	}
	if jobs := r.jobIDs(hosts[0]); !slices.Equal(jobs, []string{"practice"}) {
		r.t.Errorf("jobs: %v", jobs)
	}
}

// backupsOf are the copies of server/ on a host.
func (r *rig) backupsOf(host string) int {
	r.t.Helper()
	return len(strings.Fields(r.onHost(host, "sh", "-c", "ls -d /opt/nomad/server.drover-backup-* 2>/dev/null || true")))
}

func (r *rig) recoverRefused() {
	before := r.mainPIDs()
	wantAnswer(r.t, r.recover("s1"), exitRefused, "there is nothing to recover", "with a quorum of its 3 voters", "nothing was touched")
	grouped := inventoried(func(text string) string { return text + "\n[survivors]\ns2\n" })(r)
	a := grouped.run("recover", "--check")
	wantAnswer(r.t, a, exitRefused, "s2 1.10.5", "there is nothing to recover")
	if strings.Contains(a.out, "s1  1.10.5") {
		r.t.Errorf("servers outside of the group count as survivors: %s", a)
	}
	r.wantUntouched(before)
}

func (r *rig) recoverOne() {
	t := r.t
	for _, host := range []string{"s2", "s3"} {
		if err := r.lab.Kill(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("s1 to notice", 30*time.Second, func() bool { return !r.leads("s1") })
	before := r.mainPID("s1")
	a := r.recover("s1:s2")
	wantAnswer(t, a, exitRefused, "s2: it is named as a survivor, and nothing is known of it", "--limit 'all:!s2'")
	a = r.run("recover", "--limit", "s1", "--check", "--timeout", "2")
	t.Log(a)
	wantAnswer(t, a, exitChanges, "s1 1.10.5", "acknowledged writes that only the lost servers had", "1 of 3 voters survive")
	r.wantUntouched(before)
	a = r.recover("s1")
	t.Log(a)
	wantAnswer(t, a, exitOK, "s1 leads; raft's configuration is exactly this one server", "/opt/nomad/server.drover-backup-")
	r.wantRecovered("s1")
	if n := r.backupsOf("s1"); n != 1 {
		t.Errorf("%d copies of server/", n)
	}
}

func (r *rig) stopServers(hosts ...string) {
	r.t.Helper()
	for _, host := range hosts {
		r.onHost(host, "systemctl", "stop", "nomad")
	}
}

func (r *rig) recoverTwo() {
	r.stopServers("s1", "s2")
	a := r.recover("s1:s2")
	wantAnswer(r.t, a, exitRefused, "s3: its agent runs, and it is not among the survivors", "name it as a survivor too")
	r.stopServers("s3")
	a = r.recover("s1:s2")
	r.t.Log(a)
	wantAnswer(r.t, a, exitOK, "leads; raft's configuration is exactly the 2 survivors", "s3: its agent does not run, and it will not be in the new raft configuration")
	r.wantRecovered("s1", "s2")
	if n, m := r.backupsOf("s1"), r.backupsOf("s2"); n != 1 || m != 1 {
		r.t.Errorf("%d and %d copies of server/", n, m)
	}
}

// recoverHeld keeps one server from getting its peers.json: nothing of the new raft configuration is left on either, and both run as before.
func (r *rig) recoverHeld() {
	r.stopServers("s1", "s2")
	r.recoverHeldOn("s2", func() {
		r.eventually("the servers to lead as before", 40*time.Second, func() bool { return len(r.jobIDs("s1")) > 0 && len(r.jobIDs("s2")) > 0 })
		r.wantRecovered("s1", "s2")
	})
}

// recoverHeldOn has the recovery of s1 and s2, which do not run, fail on one of them, and starts that one again.
func (r *rig) recoverHeldOn(host string, after func()) {
	r.t.Helper()
	// A directory has the name that the file will have, and is made when the hosts have been made ready.
	r.dropIn(host, "[Service]\nExecStopPost=/bin/sh -c \"test ! -e /run/hold-recovery || mkdir -p /opt/nomad/server/raft/peers.json\"\n")
	r.onHost(host, "systemctl", "start", "nomad")
	r.onHost(host, "touch", "/run/hold-recovery")
	r.awaitAPI(host)
	a := r.recover("s1:s2")
	r.t.Log(a)
	wantAnswer(r.t, a, exitFailed, "not all survivors could be stopped and copied", host, "the others were started again as they were")
	r.onHost(host, "sh", "-c", "rm /run/hold-recovery; rm -rf /etc/systemd/system/nomad.service.d; systemctl daemon-reload; rmdir /opt/nomad/server/raft/peers.json; systemctl start nomad")
	after()
}

func (r *rig) awaitAPI(host string) {
	r.t.Helper()
	r.eventually(host+" to answer", 30*time.Second, func() bool {
		_, err := r.self(host)
		return err == nil
	})
}

// recoverKilled kills drover when both servers are stopped, one of them not yet ready to be started: they come up by themselves, and the same
// command finds them well.
func (r *rig) recoverKilled() {
	t := r.t
	r.stopServers("s1", "s2")
	r.onHost("s2", "systemctl", "start", "nomad")
	r.awaitAPI("s2")
	g := r.holdGap("s2")
	args := []string{"recover", "--limit", "s1:s2", "--yes", "--timeout", "2", "--pause", "8"}
	s := r.begin(args...)
	g.await()
	r.eventually("s1 to wait", 10*time.Second, func() bool {
		steps := r.swapRecord("s1")
		return strings.Contains(steps, `"paused"`) && !strings.Contains(steps, `"starting"`)
	})
	s.kill()
	for _, host := range []string{"s1", "s2"} {
		if state := strings.TrimSpace(r.onHost(host, "sh", "-c", "systemctl is-active nomad || true")); state == "active" {
			t.Errorf("%s is %s when drover was killed", host, state)
		}
	}
	g.release()
	r.eventually("the servers to come up by themselves", 40*time.Second, func() bool { return len(r.jobIDs("s1")) > 0 && len(r.jobIDs("s2")) > 0 })
	r.onHost("s2", "sh", "-c", "rm -rf /etc/systemd/system/nomad.service.d; systemctl daemon-reload")
	r.wantRecovered("s1", "s2")
	before := r.pidsOf("s1", "s2")
	a := r.run(args...)
	t.Log(a)
	wantAnswer(t, a, exitOK, "An earlier recovery has got this far", "leads; raft's configuration is exactly the 2 survivors")
	r.wantUntouched(before)
	wantAnswer(t, r.run(args...), exitOK, "There is nothing to recover")
}

// recoverUnreached leaves the state of a recovery of three that was killed when two had their peers.json and the third had nothing: two lead by
// themselves when their pause is over, and the same command starts the third.
func (r *rig) recoverUnreached() {
	t := r.t
	r.stopServers("s1", "s2", "s3")
	r.onHost("s3", "systemctl", "start", "nomad")
	r.awaitAPI("s3")
	g := r.holdGap("s3")
	args := []string{"recover", "--limit", "s1:s2:s3", "--yes", "--timeout", "2", "--pause", "8"}
	s := r.begin(args...)
	g.await()
	for _, host := range []string{"s1", "s2"} {
		r.eventually(host+" to wait", 10*time.Second, func() bool { return strings.Contains(r.swapRecord(host), `"paused"`) })
	}
	s.kill()
	// What s3 was told is taken away from it, as if it had never heard of it.
	r.onHost("s3", "sh", "-c", "systemctl stop --no-block 'drover-swap-*'; systemctl kill -s KILL 'drover-swap-*'; rm -rf /var/lib/drover/swap/nomad.service")
	g.release()
	r.eventually("s3 to have stopped", 10*time.Second, func() bool {
		return strings.TrimSpace(r.onHost("s3", "sh", "-c", "systemctl is-active nomad || true")) != "deactivating"
	})
	r.onHost("s3", "sh", "-c", "rm -rf /etc/systemd/system/nomad.service.d /run/systemd/system/nomad.service.d; systemctl daemon-reload; systemctl stop nomad; rm -f /opt/nomad/server/raft/peers.json")
	r.eventually("the others to lead by themselves", 40*time.Second, func() bool { return len(r.jobIDs("s1")) > 0 && len(r.jobIDs("s2")) > 0 })
	before := r.pidsOf("s1", "s2")
	a := r.run(args...)
	t.Log(a)
	wantAnswer(t, a, exitOK, "s3 does not run, and an earlier recovery has not reached it", "leads; raft's configuration is exactly the 3 survivors")
	r.wantUntouched(before)
	r.wantRecovered("s1", "s2", "s3")
	wantAnswer(t, r.run(args...), exitOK, "There is nothing to recover")
	r.stopServers("s3")
	wantAnswer(t, r.run(args...), exitOK, "There is nothing to recover", "s3: its agent does not run", "systemctl start nomad.service")
	r.onHost("s3", "systemctl", "start", "nomad")
	r.awaitAPI("s3")
	for _, host := range []string{"s1", "s2", "s3"} {
		if n := r.backupsOf(host); n != 1 {
			t.Errorf("%s has %d copies of server/", host, n)
		}
		r.onHost(host, "sh", "-c", "rm -rf /opt/nomad/server.drover-backup-*")
	}
}

func (r *rig) recoverOneOfTwo() {
	if err := r.lab.Kill(r.t.Context(), "s2"); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("s1 to notice", 30*time.Second, func() bool { return !r.leads("s1") })
	a := r.recover("s1")
	r.t.Log(a)
	wantAnswer(r.t, a, exitOK, "no acknowledged write: every majority of the 2 voters has a survivor in it", "s1 leads; raft's configuration is exactly this one server")
	r.wantRecovered("s1")
}
