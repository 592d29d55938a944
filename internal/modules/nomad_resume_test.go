// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"slices"
	"strings"
	"testing"

	"drover/internal/nomad"
	"drover/internal/wire"
)

func TestNomadSwapTakesUpWhatAnEarlierRunLeft(t *testing.T) {
	upgraded := func(a *fakeAgent) { a.disk, a.version = "1.11.0", "1.11.0" }
	dead := func(a *fakeAgent) { upgraded(a); a.running, a.pid = false, 0 }
	tests := map[string]struct {
		host  string
		state string
		now   func(*fakeAgent)
		want  []string // operations that must come
		not   string   // one that must not
		err   string
	}{
		"a client that registered meanwhile":        {"c1", wire.SwapDone, upgraded, []string{"swap_settle"}, "swap_commit", ""},
		"a client that is dead and never did":       {"c1", wire.SwapDone, func(a *fakeAgent) { dead(a); a.broken = true }, []string{"swap_revert", "swap_settle"}, "swap_commit", "old binary and the client's state are back"},
		"a client that did, and is dead now":        {"c1", wire.SwapDone, dead, []string{"swap_settle", "swap_commit"}, "swap_revert", ""},
		"a client whose new agent was slow to come": {"c1", wire.SwapFailed, upgraded, []string{"swap_settle"}, "swap_revert", ""},
		"a client that went back by itself":         {"c1", wire.SwapReverted, func(*fakeAgent) {}, []string{"swap_settle", "swap_commit"}, "swap_revert", ""},
		"a client that nobody touched":              {"c1", wire.SwapUntouched, func(*fakeAgent) {}, []string{"swap_settle", "swap_commit"}, "swap_revert", ""},
		"a server":                                  {"s1", wire.SwapDone, upgraded, []string{"swap_settle"}, "swap_commit", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, 3, 1)
			a := c.agent(test.host)
			c.factsOfAll()
			c.staged("1.11.0")
			test.now(a)
			a.left = []wire.SwapOutcome{
				{ID: "older", Unit: "nomad.service", Version: "1.10.5", State: wire.SwapUntouched},
				{ID: "left", Unit: "nomad.service", Version: "1.11.0", State: test.state, NewPID: a.pid},
				{ID: "other", Unit: "other.service", Version: "1.11.0", State: wire.SwapFailed},
			}
			_, err := c.do(t.Context(), test.host, "nomad_swap", toNew)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			log := slices.DeleteFunc(slices.Clone(a.log), func(op string) bool { return !strings.HasPrefix(op, "swap_") || strings.HasPrefix(op, "swap_prepare") })
			for _, want := range test.want {
				if !slices.Contains(log, want) {
					t.Errorf("no %s in %v", want, log)
				}
			}
			if slices.Contains(log, test.not) {
				t.Errorf("%s in %v", test.not, log)
			}
			if slices.ContainsFunc(a.left, func(o wire.SwapOutcome) bool { return o.ID == "left" }) {
				t.Errorf("not closed: %v", a.left)
			}
			if !slices.ContainsFunc(a.left, func(o wire.SwapOutcome) bool { return o.ID == "other" }) {
				t.Error("the swap of another unit was closed")
			}
			if !slices.ContainsFunc(c.said, func(line string) bool { return strings.Contains(line, "found the swap to 1.11.0 of an earlier run") }) {
				t.Errorf("not said: %v", c.said)
			}
		})
	}
}

// TestAnUnfinishedHostIsNotClean makes the plan, which would end a run at once, see what is left to be closed.
func TestAnUnfinishedHostIsNotClean(t *testing.T) {
	for _, host := range []string{"s1", "c1"} {
		c := newFakeCluster(t, 1, 1)
		for _, a := range c.agents {
			a.disk, a.version = "1.11.0", "1.11.0"
		}
		c.agent(host).left = []wire.SwapOutcome{{ID: "left", Unit: "nomad.service", Version: "1.11.0", State: wire.SwapDone}}
		c.factsOfAll()
		result := c.must("s1", "nomad_preflight", toNew)
		if verdict, _ := result.Data.Get("verdict"); verdict != nomad.VerdictChanges {
			t.Errorf("%s: verdict %v: %s", host, verdict, result.Message)
		}
	}
}

func TestCrashLooping(t *testing.T) {
	tests := map[string]struct {
		unit wire.UnitState
		want bool
	}{
		"runs":                           {wire.UnitState{ActiveState: "active"}, false},
		"runs, after a restart":          {wire.UnitState{ActiveState: "active", NRestarts: 3}, false},
		"reads its state, Type=notify":   {wire.UnitState{ActiveState: "activating", SubState: "start"}, false},
		"was restarted, and starts":      {wire.UnitState{ActiveState: "activating", SubState: "start", NRestarts: 1}, true},
		"waits for its next start":       {wire.UnitState{ActiveState: "activating", SubState: "auto-restart"}, true},
		"was told to stop, and does not": {wire.UnitState{ActiveState: "deactivating", SubState: "stop-sigterm"}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := crashLooping(test.unit); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// TestASlowServerIsNotDown asks nobody about a server that is down, and everybody about one that only starts slowly.
func TestASlowServerIsNotDown(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.factsOfAll()
	c.staged("1.11.0")
	c.agent("s1").alive, c.agent("s1").starting = false, true
	refused(t, c, "the agent runs but does not answer")
}

// TestAServerThatComesUpIsAskedForItsFlags lets somebody start a server between the look at it and the preparation.
func TestAServerThatComesUpIsAskedForItsFlags(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	a := c.agent("s1")
	c.factsOfAll()
	c.staged("1.11.0")
	a.running, a.pid = false, 0
	a.prepared = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !a.running {
			a.running, a.pid, a.leave = true, 4711, nomad.LeaveFlags{OnInterrupt: true}
		}
	}
	c.must("s1", "nomad_swap", toNew)
	if !slices.Contains(a.log, "swap_prepare TERM") {
		t.Errorf("log %v", a.log)
	}
}
