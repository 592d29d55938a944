// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/internal/lab"
)

// rollingWriter registers a job as often as it can with each of the servers, as somebody outside would: one that does not answer keeps nobody
// from asking another.
type rollingWriter struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	last    time.Time
	longest time.Duration // between two that succeeded, whichever server took them
	written int
}

func (r *rig) writeJobs(hosts []string) *rollingWriter {
	ctx, stop := context.WithCancel(r.t.Context())
	w := &rollingWriter{stop: stop, last: time.Now()}
	for _, host := range hosts {
		w.done.Go(func() {
			for ctx.Err() == nil {
				if r.register(host, "w-"+host) == nil {
					w.note(1)
				}
				select {
				case <-ctx.Done():
				case <-time.After(600 * time.Millisecond):
				}
			}
		})
	}
	return w
}

func (w *rollingWriter) note(written int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest, w.last = max(w.longest, time.Since(w.last)), time.Now()
	w.written += written
}

// end says how long no job could be registered.
func (w *rollingWriter) end(t testing.TB) {
	t.Helper()
	w.stop()
	w.done.Wait()
	w.note(0)
	t.Logf("%d registrations, the longest time without one %s", w.written, w.longest.Round(time.Millisecond))
	if w.longest > 10*time.Second || w.written < 20 {
		t.Errorf("%d registrations, and none for %s", w.written, w.longest)
	}
}

// wantRolled checks the end state of a migration in turn.
func (r *rig) wantRolled() {
	t := r.t
	t.Helper()
	servers, err := r.raftServers("s1")
	if err != nil || len(servers) != 3 {
		t.Fatalf("raft: %+v, %v", servers, err)
	}
	for _, host := range []string{"s1", "s2", "s3"} {
		id := strings.TrimSpace(r.onHost(host, "cat", "/opt/nomad/server/node-id"))
		i := slices.IndexFunc(servers, func(s raftServer) bool { return s.ID == id })
		if i < 0 || !servers[i].Voter || servers[i].RaftProtocol != "3" || servers[i].Node != host+".global" {
			t.Errorf("%s with id %s: raft has %+v", host, id, servers)
		}
		state, err := r.raftState(host)
		if err != nil || state.Stats.Raft.Protocol != "3" || state.Stats.Raft.Peers != "2" {
			t.Errorf("%s says %+v, %v", host, state, err)
		}
		r.onHost(host, "grep", "-q", "raft_protocol    = 3", raftConfig)
	}
	var report struct{ Healthy bool }
	if err := r.lab.Call(t.Context(), "s1", "GET", "/v1/operator/autopilot/health", nil, &report); err != nil || !report.Healthy {
		t.Errorf("autopilot: %+v, %v", report, err)
	}
	pids := r.mainPIDs()
	wantAnswer(t, r.run("raft-v3", "--check"), exitOK, "Nothing to do.")
	r.wantUntouched(pids)
}

// TestLabRaftRolling migrates three servers while jobs are written.
func TestLabRaftRolling(t *testing.T) {
	t.Parallel() // nearly all of it is waiting for gossip
	r := newRig(t, lab.Options{Servers: 3, Version: raftVersion, RaftProtocol: 2, ACL: true, MTLS: true}, "drover")
	leader, followers := r.roles()
	wantAnswer(t, r.run("raft-v3", "--check"), exitChanges, "3 servers, one at a time, the leader last", "3. "+leader+", leader", raftConfig+":4:", "30 to 60 s")
	wantAnswer(t, r.run("raft-v3", "--yes", "--limit", followers[0]), exitRefused, "--limit leaves it out")
	writer := r.writeJobs([]string{"s1", "s2", "s3"})
	a := r.run("raft-v3", "--yes")
	writer.end(t)
	wantAnswer(t, a, exitOK)
	r.wantRolled()
	r.wantLetGo(a, leader)
	t.Logf("took %s", a.took.Round(time.Second))
}

// wantLetGo checks that the leader was the last, and that the others had let go of each server before it was started again: of the last one
// the members only.
func (r *rig) wantLetGo(a answer, leader string) {
	r.t.Helper()
	if strings.Contains(a.err, "although the others have not let it go") {
		r.t.Errorf("a server was started too early: %s", a)
	}
	order := r.startOrder()
	if order[2] != leader {
		r.t.Errorf("%s led and was to be the last; the order was %v", leader, order)
	}
	for i, host := range order {
		address, err := r.lab.Host(host)
		if err != nil {
			r.t.Fatal(err)
		}
		started := r.logged(host, "Started nomad.service")
		var left, gone []float64
		for _, other := range []string{order[(i+1)%3], order[(i+2)%3]} {
			left = append(left, r.logged(other, "serf: EventMemberLeave: "+host+".global")...)
			gone = append(gone, r.logged(other, "removed peer, stopping replication: peer="+address.Address.String()+":")...)
		}
		if len(started) != 2 || len(left) == 0 || len(gone) == 0 {
			r.t.Fatalf("%s was started at %v, it left at %v and was removed from raft at %v", host, started, left, gone)
		}
		again := started[1]
		if slices.Min(left) > again || (host != leader) != (slices.Min(gone) < again) {
			r.t.Errorf("%s was started again at %f; it had left at %f and was removed from raft at %f", host, again, left, gone)
		}
	}
}

// logged are the times, in seconds since 1970, of the lines with these words in the journal of a host's Nomad.
func (r *rig) logged(host, words string) []float64 {
	r.t.Helper()
	var times []float64
	for line := range strings.Lines(r.onHost(host, "journalctl", "-u", "nomad", "-o", "short-unix", "--no-pager")) {
		if !strings.Contains(line, words) {
			continue
		}
		at, err := strconv.ParseFloat(strings.Fields(line)[0], 64)
		if err != nil {
			r.t.Fatal(err)
		}
		times = append(times, at)
	}
	return times
}

// TestLabRaftRollingCombined migrates servers that are clients too: no allocation may notice.
func TestLabRaftRollingCombined(t *testing.T) {
	t.Parallel() // nearly all of it is waiting for gossip
	r := newRig(t, lab.Options{Servers: 3, Combined: true, Version: raftVersion, RaftProtocol: 2, Job: true}, "drover")
	tasks := r.tasks()
	writer := r.writeJobs([]string{"s1", "s2", "s3"})
	a := r.run("raft-v3", "--yes")
	writer.end(t)
	wantAnswer(t, a, exitOK, "is a client too")
	r.wantRolled()
	r.wantTasks(tasks)
	t.Logf("took %s", a.took.Round(time.Second))
}

// TestLabRaftRollingKilled kills drover at one boundary of a task after the other, in one migration: each run goes on where the one before
// was killed, and is killed at the next boundary of those that it has before itself.
func TestLabRaftRollingKilled(t *testing.T) {
	t.Parallel() // nearly all of it is waiting for gossip
	r := newRig(t, lab.Options{Servers: 3, Version: raftVersion, RaftProtocol: 2}, "drover")
	writer := r.writeJobs([]string{"s1", "s2", "s3"})
	const task = "Restart it"
	known := map[string]bool{}
	for round := 1; ; round++ {
		boundary, killed := r.killedAtNew(known, task)
		t.Logf("%d: killed after %s; the hosts: %s", round, boundary, r.rollingState())
		if !killed {
			if !strings.HasSuffix(boundary, "code 0") {
				t.Fatalf("the run %s", boundary)
			}
			break
		}
		if round > 30 {
			t.Fatal("it does not get to its end")
		}
	}
	writer.end(t)
	wantAnswer(t, r.again(), exitOK)
	r.wantRolled()
}

// killedAtNew runs raft-v3 and kills it at the first boundary that no run was killed at.
func (r *rig) killedAtNew(known map[string]bool, task string) (string, bool) {
	r.t.Helper()
	s := r.begin("raft-v3", "--yes", "--output", "json")
	for end := time.Now().Add(8 * time.Minute); time.Now().Before(end); {
		for _, boundary := range r.boundaries(s) {
			if known[boundary] {
				continue
			}
			known[boundary] = true
			// After the beginning of the long task it is the stop that makes a difference.
			if strings.Contains(boundary, task) && strings.HasPrefix(boundary, "host_start") {
				r.awaitStopped(s)
			}
			s.kill()
			return boundary, true
		}
		select {
		case <-s.done:
			if s.command.ProcessState.ExitCode() == exitLocked {
				return r.killedAtNew(known, task)
			}
			return fmt.Sprintf("ended with code %d", s.command.ProcessState.ExitCode()), false
		case <-time.After(20 * time.Millisecond):
		}
	}
	r.t.Fatal("raft-v3 does not end")
	return "", false
}

// awaitStopped waits until a server has been stopped, or the run has ended.
func (r *rig) awaitStopped(s *started) {
	r.t.Helper()
	r.eventually("a server to be stopped", time.Minute, func() bool {
		select {
		case <-s.done:
			return true
		default:
		}
		for _, host := range []string{"s1", "s2", "s3"} {
			if pid, err := r.lab.AgentPID(host); err != nil || pid == 0 {
				return true
			}
		}
		return false
	})
}

// rollingState is what the hosts look like.
func (r *rig) rollingState() string {
	var words []string
	for _, host := range []string{"s1", "s2", "s3"} {
		state, err := r.raftState(host)
		how := "protocol " + state.Stats.Raft.Protocol
		if err != nil {
			how = strings.TrimSpace(r.onHost(host, "sh", "-c", "tail -qn1 /var/lib/drover/swap/*/*/steps.jsonl 2>/dev/null | grep -o '\"name\":\"[a-z ]*' | tail -n1; true"))
		}
		words = append(words, host+" "+how)
	}
	return strings.Join(words, ", ")
}
