// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/internal/nomad"
	"drover/internal/wire"
)

// refused runs nomad_swap on s1 with a short limit and expects that nothing was stopped.
func refused(t *testing.T, c *fakeCluster, want string) {
	t.Helper()
	_, err := c.do(t.Context(), "s1", "nomad_swap", map[string]any{"version": "1.11.0", "timeout": 0.4})
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if log := c.agent("s1").log; slices.Contains(log, "swap_commit") {
		t.Errorf("the server was stopped: %v", log)
	}
}

func TestNomadSwapKeepsTheQuorum(t *testing.T) {
	tests := map[string]struct {
		change func(c *fakeCluster)
		want   string
	}{
		"another is down":      {func(c *fakeCluster) { c.agent("s2").alive = false }, "does not answer for itself"},
		"another lost contact": {func(c *fakeCluster) { c.agent("s2").contact = "1.5s" }, "not heard from the leader"},
		"another is behind":    {func(c *fakeCluster) { c.agent("s2").applied = 49 }, "applied index 49"},
		"no leader":            {func(c *fakeCluster) { c.agent("s3").leader = false }, "no server says that it leads"},
		"lost after preparing": {func(c *fakeCluster) {
			c.agent("s1").prepared = func() { c.mu.Lock(); c.agent("s2").alive = false; c.mu.Unlock() }
		}, "does not answer for itself"},
		"leaves on all signals": {func(c *fakeCluster) { c.agent("s1").leave = nomad.LeaveFlags{OnInterrupt: true, OnTerminate: true} }, "--allow-leave"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, 3, 0)
			c.factsOfAll()
			c.staged("1.11.0")
			test.change(c)
			refused(t, c, test.want)
		})
	}
}

func TestNomadSwapPreparesAgainWhenAskingTookTooLong(t *testing.T) {
	s := &swap{cluster: newCluster(&Call{Name: "s1"})}
	if _, err := s.commit(t.Context(), wire.SwapPrepareResult{}, time.Now().Add(-commitWithin-time.Millisecond)); !errors.Is(err, errPermissionOld) {
		t.Errorf("an old permission was used: %v", err)
	}
}

func TestNomadSwapSendsASafeSignal(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.agent("s1").leave = nomad.LeaveFlags{OnInterrupt: true}
	c.factsOfAll()
	c.staged("1.11.0")
	c.must("s1", "nomad_swap", toNew)
	if log := c.agent("s1").log; !slices.Contains(log, "swap_prepare TERM") {
		t.Errorf("log %v", log)
	}
}

func TestNomadSwapMovesDriftedLeadershipBack(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.factsOfAll()
	c.staged("1.11.0")
	c.must("s1", "nomad_swap", toNew)
	c.agent("s1").leader, c.agent("s3").leader = true, false
	c.must("s2", "nomad_swap", toNew)
	if !slices.Equal(c.transfers, []string{"s3"}) {
		t.Errorf("transfers %v", c.transfers)
	}
	if !slices.ContainsFunc(c.said, func(line string) bool { return strings.Contains(line, "landed on an upgraded server") }) {
		t.Errorf("not said: %v", c.said)
	}
}

func TestNomadSwapMovesLeadershipThatCameToItWhileItPrepared(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.factsOfAll()
	c.staged("1.11.0")
	a := c.agent("s1")
	once := false
	a.prepared = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !once {
			once, a.leader, c.agent("s3").leader = true, true, false
		}
	}
	c.must("s1", "nomad_swap", toNew)
	if len(c.transfers) != 1 {
		t.Errorf("it stopped as leader: transfers %v, log %v", c.transfers, a.log)
	}
}

// TestNomadSwapAsksServersThatTheRunLeavesOut upgrades the leader alone, as --limit does: the votes of the others count, and
// leadership moves to one of them first.
func TestNomadSwapAsksServersThatTheRunLeavesOut(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.run.Sightings = NewSightings()
	c.must("s3", "nomad_facts", nil)
	if message := c.must("s3", "nomad_preflight", map[string]any{"version": "1.11.0", "hosts": []any{"s3"}}).Message; !strings.Contains(message, "1 of 3 hosts to upgrade") {
		t.Error(message)
	}
	c.staged("1.11.0")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.do(ctx, "s3", "nomad_swap", toNew); err != nil {
		t.Fatal(err)
	}
	if len(c.transfers) != 1 || c.transfers[0] == "s3" {
		t.Errorf("transfers %v: the old leader stopped first", c.transfers)
	}
	if c.must("s3", "nomad_snapshot", toNew).Changed {
		t.Error("a snapshot for servers that the run leaves alone")
	}
}

// TestNomadSwapGivesUpItsWaitWhenInterrupted holds that what waits for a permission to stop does not stop anything after the
// person has asked for the end.
func TestNomadSwapGivesUpItsWaitWhenInterrupted(t *testing.T) {
	c := newFakeCluster(t, 3, 1)
	c.factsOfAll()
	c.staged("1.11.0")
	c.agent("s2").alive, c.agent("c1").beat = false, time.Now().Add(-time.Hour)
	interrupted := make(chan struct{})
	close(interrupted)
	c.interrupted = interrupted
	for _, name := range []string{"s1", "c1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.do(ctx, name, "nomad_swap", toNew); err == nil || !strings.Contains(err.Error(), "was not stopped: interrupted while waiting") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNomadSwapStopsOneServerAtATime runs two servers of one batch, as a playbook without serial does.
func TestNomadSwapStopsOneServerAtATime(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.run.Turn = NewTurn()
	c.factsOfAll()
	c.staged("1.11.0")
	inside, most, both := 0, 0, make(chan struct{})
	for _, name := range []string{"s1", "s2"} {
		c.agent(name).prepared = func() {
			c.mu.Lock()
			inside++
			if most = max(most, inside); inside == 2 {
				close(both)
			}
			c.mu.Unlock()
			select {
			case <-both:
			case <-time.After(300 * time.Millisecond):
			}
		}
		c.agent(name).committed = func() { inside-- }
	}
	var group sync.WaitGroup
	for _, name := range []string{"s1", "s2"} {
		group.Go(func() {
			if _, err := c.do(t.Context(), name, "nomad_swap", toNew); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	group.Wait()
	if most != 1 {
		t.Errorf("%d servers were between the question and the stop at once", most)
	}
}

// TestNomadSwapStopsNoServerAfterOneOfUnknownState loses the connection to a server in its commit: it may still answer, and
// stop a moment later.
func TestNomadSwapStopsNoServerAfterOneOfUnknownState(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.run.Turn = NewTurn()
	c.factsOfAll()
	c.staged("1.11.0")
	c.agent("s2").lostInCommit = true
	if _, err := c.do(t.Context(), "s2", "nomad_swap", toNew); err == nil || !strings.Contains(err.Error(), "ends by itself on the host") {
		t.Errorf("error %v", err)
	}
	refused(t, c, "how the stop of s2 ended is not known")
}

func TestNomadSwapRepairsADownServer(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.factsOfAll()
	c.agent("s1").running, c.agent("s1").pid = false, 0
	c.factsOfAll()
	c.staged("1.11.0")
	if !c.must("s1", "nomad_swap", toNew).Changed {
		t.Error("not repaired")
	}
}

func TestNomadSwapBacksUpBeforeAnAcceptedOutage(t *testing.T) {
	c := newFakeCluster(t, 2, 0)
	c.factsOfAll()
	c.staged("1.11.0")
	refused(t, c, "would leave 1 of 2")
	c.must("s1", "nomad_swap", map[string]any{"version": "1.11.0", "accept_outage": true})
	log := strings.Join(c.agent("s1").log, " ")
	if !strings.Contains(log, "run swap_prepare  swap_commit") || !slices.Equal(c.agent("s1").ran, []string{"mv", "-T", "--", "/opt/nomad/server.drover-r.partial", "/opt/nomad/server.drover-r"}) {
		t.Errorf("log %s, ran %v", log, c.agent("s1").ran)
	}
}

func TestNomadSwapTakesNoBrokenCopyForABackup(t *testing.T) {
	c := newFakeCluster(t, 2, 0)
	c.factsOfAll()
	c.staged("1.11.0")
	c.agent("s1").copyFails = true
	_, err := c.do(t.Context(), "s1", "nomad_swap", map[string]any{"version": "1.11.0", "accept_outage": true})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v", err)
	}
	if ran := c.agent("s1").ran; ran[0] != "cp" || ran[len(ran)-1] != "/opt/nomad/server.drover-r.partial" {
		t.Errorf("the copy has the backup's name: %v", ran)
	}
}

func TestNomadSwapTakesABrokenClientBack(t *testing.T) {
	c := newFakeCluster(t, 1, 1)
	c.agent("c1").broken = true
	c.factsOfAll()
	c.staged("1.11.0")
	_, err := c.do(t.Context(), "c1", "nomad_swap", toNew)
	if err == nil || !strings.Contains(err.Error(), "old binary and the client's state are back") || !strings.Contains(err.Error(), "last words") {
		t.Errorf("error %v", err)
	}
	if log := c.agent("c1").log; !slices.Contains(log, "swap_revert") || c.agent("c1").version != "1.10.5" {
		t.Errorf("log %v", log)
	}
}

func TestNomadSwapWaitsForTheHeartbeat(t *testing.T) {
	c := newFakeCluster(t, 1, 2)
	c.factsOfAll()
	c.staged("1.11.0")
	// A gap of 9 s needs a budget of 27 s, which TTL 15 s and grace 10 s never give, so the next heartbeat counts.
	c.must("c2", "nomad_swap", toNew)
	var record swapFact
	newCluster(&Call{Fleet: c}).readFact("c2", factSwap, &record)
	record.Gap = 9000
	c.facts["c2"].Set(factSwap, factMapValue(record))
	c.agent("c1").beat = time.Now().Add(-14 * time.Second)
	time.AfterFunc(300*time.Millisecond, func() { c.mu.Lock(); c.agent("c1").beat = time.Now(); c.mu.Unlock() })
	c.must("c1", "nomad_swap", toNew)
	if !slices.ContainsFunc(c.said, func(line string) bool { return strings.Contains(line, "waiting for its next heartbeat") }) {
		t.Errorf("did not wait: %v", c.said)
	}
}

func factMapValue(value any) any { v, _ := factMap("x", value).Get("x"); return v }
