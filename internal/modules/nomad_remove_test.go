// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// removing is a cluster of six servers, s1 to s3 old and s4 to s6 new; s1 leads.
func removing(t *testing.T) (*fakeCluster, map[string]any) {
	t.Helper()
	c := newFakeCluster(t, 6, 0)
	for i, a := range c.agents {
		a.leader = i == 0
		if i > 2 {
			a.version, a.disk = "1.11.0", "1.11.0"
		}
	}
	c.factsOfAll()
	return c, map[string]any{"version": "1.11.0", "old": []any{"s1", "s2", "s3"}, "new": []any{"s4", "s5", "s6"}, "timeout": "2s"}
}

func (c *fakeCluster) stopped() []string {
	var names []string
	for _, a := range c.agents {
		if !a.running {
			names = append(names, a.name)
		}
	}
	return names
}

// As many old servers go as there are too many, the leader last, each taken out before it is stopped.
func TestNomadRemoveServer(t *testing.T) {
	c, args := removing(t)
	result := c.must("s4", "nomad_remove_server", args)
	if diff := cmp.Diff([]string{"s2", "s3", "s1"}, c.removals); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"s1", "s2", "s3"}, c.stopped()); diff != "" {
		t.Errorf("stopped (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"s4"}, c.transfers); diff != "" || !result.Changed {
		t.Errorf("changed %t, transfers (-want +got):\n%s", result.Changed, diff)
	}
	for _, name := range []string{"s1", "s2", "s3"} {
		if !c.agent(name).farewell {
			t.Errorf("gossip was not told of %s", name)
		}
	}
	args["state"] = "gone"
	c.must("s4", "nomad_remove_server", args)
	delete(args, "state")
	if again := c.must("s4", "nomad_remove_server", args); again.Changed || len(c.removals) != 3 {
		t.Errorf("the second time: %s, removals %v", again.Message, c.removals)
	}
}

func TestNomadRemoveServerAsManyAsHaveCome(t *testing.T) {
	c, args := removing(t)
	for _, name := range []string{"s5", "s6"} {
		c.agent(name).server, c.agent(name).running = false, false
	}
	c.factsOfAll()
	c.must("s4", "nomad_remove_server", args)
	if diff := cmp.Diff([]string{"s2"}, c.removals); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
}

// A run that was killed has left a server that was taken out and runs, and one that is stopped.
func TestNomadRemoveServerGoesOn(t *testing.T) {
	c, args := removing(t)
	c.agent("s2").removed = true
	c.agent("s3").removed, c.agent("s3").running = true, false
	c.must("s4", "nomad_remove_server", args)
	if diff := cmp.Diff([]string{"s1"}, c.removals); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"s1", "s2", "s3"}, c.stopped()); diff != "" {
		t.Errorf("stopped (-want +got):\n%s", diff)
	}
}

func TestNomadRemoveServerRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(c *fakeCluster, args map[string]any)
		want   string
	}{
		"a voter that is silent":      {func(c *fakeCluster, _ map[string]any) { c.agent("s5").alive = false }, "s5: the server does not answer for itself"},
		"a voter that lags":           {func(c *fakeCluster, _ map[string]any) { c.agent("s5").applied = 10 }, "s5: it has applied index 10"},
		"a voter out of contact":      {func(c *fakeCluster, _ map[string]any) { c.agent("s5").contact = "3s" }, "s5: it has not heard from the leader"},
		"no leader":                   {func(c *fakeCluster, _ map[string]any) { c.agent("s1").leader = false }, "no server says that it leads"},
		"it would be its own removal": {func(_ *fakeCluster, args map[string]any) { args["old"] = []any{"s4"} }, "run this on one that stays"},
		"two of six, three are silent": {func(c *fakeCluster, args map[string]any) {
			silence(c, "s3", "s5", "s6")
			args["accept_down"] = []any{"s3", "s5", "s6"}
		}, "and the cluster needs 3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, args := removing(t)
			args["timeout"] = 0.3
			test.change(c, args)
			_, err := c.do(t.Context(), "s4", "nomad_remove_server", args)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if len(c.removals) > 0 || slices.ContainsFunc(c.agents, func(a *fakeAgent) bool { return !a.running }) {
				t.Errorf("removed %v, stopped %v", c.removals, c.stopped())
			}
		})
	}
}

// Before 1.9 a server may hold the only copy of a key.
func TestNomadRemoveServerKeepsTheKeys(t *testing.T) {
	for name, test := range map[string]struct {
		version string
		keys    []string // of a new server
		want    string
	}{
		"it has them":          {"1.8.4", []string{"/k/0001.aead.nks.json", "/k/0002.aead.nks.json"}, ""},
		"it lacks one":         {"1.8.4", []string{"/k/0001.aead.nks.json"}, "s5: its keystore lacks the key 0002 of s2"},
		"the keys are in raft": {"1.9.0", []string{"/k/0001.aead.nks.json"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, args := removing(t)
			for _, a := range c.agents {
				a.keys = []string{"/k/0001.nks.json", "/k/0002.nks.json"}
				if a.version == "1.10.5" {
					a.version, a.disk = test.version, test.version
				}
			}
			c.agent("s5").keys = test.keys
			c.factsOfAll()
			args["timeout"] = 0.5
			_, err := c.do(t.Context(), "s4", "nomad_remove_server", args)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || len(c.removals) > 0):
				t.Errorf("removed %v, error %v, want %q", c.removals, err, test.want)
			}
		})
	}
}

func silence(c *fakeCluster, names ...string) {
	for _, name := range names {
		c.agent(name).alive = false
	}
}
