// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
)

// rollingWriter registers a job as often as it can, as somebody outside would.
type rollingWriter struct {
	stop    context.CancelFunc
	done    chan struct{}
	longest time.Duration // between two that succeeded
	written int
}

func (r *rig) writeJobs(hosts []string) *rollingWriter {
	ctx, stop := context.WithCancel(r.t.Context())
	w := &rollingWriter{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		last := time.Now()
		for n := 0; ctx.Err() == nil; n++ {
			if r.register(hosts[n%len(hosts)], fmt.Sprintf("w%d", n%5)) == nil {
				w.longest = max(w.longest, time.Since(last))
				w.written++
				last = time.Now()
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
		w.longest = max(w.longest, time.Since(last))
	}()
	return w
}

// end says how long no job could be registered.
func (w *rollingWriter) end(t testing.TB) {
	t.Helper()
	w.stop()
	<-w.done
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
	r := newRig(t, lab.Options{Servers: 3, Version: raftVersion, RaftProtocol: 2}, "drover")
	leader, followers := r.roles()
	wantAnswer(t, r.run("raft-v3", "--check"), exitChanges, "3 servers, one at a time, the leader last", "3. "+leader+", leader", raftConfig+":4:", "30 to 60 s")
	wantAnswer(t, r.run("raft-v3", "--yes", "--limit", followers[0]), exitRefused, "--limit leaves it out")
	writer := r.writeJobs([]string{"s1", "s2", "s3"})
	a := r.run("raft-v3", "--yes")
	writer.end(t)
	wantAnswer(t, a, exitOK)
	r.wantRolled()
	t.Logf("took %s", a.took.Round(time.Second))
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
