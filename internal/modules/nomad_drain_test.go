// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/nomad"
	"drover/internal/wire"
)

// fakeDrain is a client's drain as the servers have it.
type fakeDrain struct {
	eligibility string
	draining    bool
	last        map[string]any
	events      []any
	allocs      []map[string]any
	// stuck drains never move an allocation.
	stuck    bool
	requests []map[string]any
	purges   int // requests to forget the node
}

func fakeAlloc(name, kind string) map[string]any {
	return map[string]any{
		"ID": "aaaaaaaa-" + name, "Name": name, "JobID": "web", "Namespace": "default", "TaskGroup": "cache", "ClientStatus": "running", "DesiredStatus": "run",
		"Job": map[string]any{"Type": kind},
	}
}

// withDrains gives the client c1 a drain of its own: an eligible client with two allocations and one of a system job.
func withDrains(t *testing.T) (*fakeCluster, *fakeDrain) {
	t.Helper()
	c := newFakeCluster(t, 1, 2)
	d := &fakeDrain{eligibility: nomad.Eligible, allocs: []map[string]any{fakeAlloc("web.cache[0]", "service"), fakeAlloc("web.cache[1]", "service"), fakeAlloc("log.all[0]", "system")}}
	c.drains = map[string]*fakeDrain{"c1": d}
	c.factsOfAll()
	return c, d
}

// drainAPI answers what is asked about clients that have a fakeDrain. Each question moves one allocation on.
func (c *fakeCluster) drainAPI(w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1/job/web/evaluations") && c.drains != nil {
		answer(w, []any{map[string]any{"Status": "blocked", "ModifyIndex": 7, "FailedTGAllocs": map[string]any{"cache": map[string]any{"NodesEvaluated": 0}}}})
		return true
	}
	name, rest, _ := strings.Cut(strings.TrimPrefix(path, "/v1/node/node-"), "/")
	d := c.drains[name]
	if d == nil || !strings.HasPrefix(path, "/v1/node/") {
		return false
	}
	switch rest {
	case "allocations":
		answer(w, d.allocs)
		d.step()
	case "drain":
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		d.update(body)
		answer(w, map[string]any{"NodeModifyIndex": 1})
	case "purge":
		d.purges++
		answer(w, map[string]any{"NodeModifyIndex": 1})
	default:
		node := map[string]any{
			"ID": "node-" + name, "Name": name, "Status": "ready", "SchedulingEligibility": d.eligibility, "Drain": d.draining, "Events": d.events,
			"Attributes": map[string]string{"nomad.version": c.agent(name).version}, "Drivers": c.agent(name).drivers,
		}
		if d.last != nil {
			node["LastDrain"] = d.last
		}
		answer(w, node)
	}
	return true
}

// update is what the servers do with a request to drain or to stop draining (updateNodeDrainImpl, Nomad 1.10.5).
func (d *fakeDrain) update(body map[string]any) {
	d.requests = append(d.requests, body)
	spec, meta := body["DrainSpec"], body["Meta"]
	switch {
	case spec != nil && !d.draining:
		d.last = map[string]any{"Meta": meta, "Status": "draining", "UpdatedAt": time.Now().UTC().Truncate(time.Second)}
	case spec == nil && d.draining:
		d.last["Status"] = "canceled"
		if meta != nil {
			d.last["Meta"] = meta
		}
	}
	d.draining = spec != nil
	if spec != nil {
		d.eligibility = nomad.Ineligible
	} else if body["MarkEligible"] == true {
		d.eligibility = nomad.Eligible
	}
}

func (d *fakeDrain) step() {
	if !d.draining || d.stuck {
		return
	}
	for _, alloc := range d.allocs {
		if alloc["ClientStatus"] == "running" {
			alloc["ClientStatus"], alloc["DesiredStatus"] = "complete", "stop"
			return
		}
	}
	d.draining, d.last["Status"] = false, "complete"
}

func TestNomadDrainAndRestore(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ prior string }{"eligible": {nomad.Eligible}, "ineligible before": {nomad.Ineligible}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, d := withDrains(t)
			d.eligibility = test.prior
			result := c.must("c1", "nomad_drain", map[string]any{"state": "drained"})
			if !result.Changed || d.draining || d.eligibility != nomad.Ineligible || !strings.Contains(result.Message, "drained of 3 allocations; it was "+test.prior) {
				t.Errorf("%q; %+v", result.Message, d)
			}
			want := map[string]any{nomad.DrainRun: "r", nomad.DrainPrior: test.prior}
			if diff := cmp.Diff(want, d.requests[0]["Meta"]); diff != "" {
				t.Error(diff)
			}
			if said := strings.Join(c.said, "; "); !strings.Contains(said, "2 of 3 allocations left: web.cache[1], log.all[0]") {
				t.Error(said)
			}
			if got := c.must("c1", "nomad_drain", map[string]any{"state": "restored"}); d.eligibility != test.prior || got.Changed != (test.prior == nomad.Eligible) {
				t.Errorf("restored: %+v, %q", d, got.Message)
			}
			requests := len(d.requests)
			if c.must("c1", "nomad_drain", map[string]any{"state": "restored"}).Changed || len(d.requests) != requests {
				t.Error("the second time something was changed")
			}
		})
	}
}

func TestNomadDrainLeavesSystemJobs(t *testing.T) {
	t.Parallel()
	c, d := withDrains(t)
	d.allocs = d.allocs[2:]
	d.stuck = true
	result := c.must("c1", "nomad_drain", map[string]any{"state": "checked"})
	if result.Changed || len(d.requests) > 0 {
		t.Errorf("checking has changed something: %+v", d)
	}
	d.allocs[0]["ClientStatus"], d.stuck = "running", false
	c.must("c1", "nomad_drain", map[string]any{"state": "drained", "ignore_system_jobs": true})
	if spec := d.requests[0]["DrainSpec"].(map[string]any); spec["IgnoreSystemJobs"] != true || spec["Deadline"] != 0.0 {
		t.Errorf("drain %v", spec)
	}
	d.allocs[0]["ClientStatus"] = "running"
	if _, err := c.do(t.Context(), "c1", "nomad_stop", nil); err == nil || !strings.Contains(err.Error(), "1 allocations are left on the client (log.all[0])") {
		t.Errorf("stop with an allocation left: %v", err)
	}
}

// What Nomad is told to do with the allocations is what the task says, and without a word nothing is stopped by force.
func TestNomadDrainSpec(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args map[string]any
		want map[string]any
	}{
		"nothing said":          {nil, map[string]any{"Deadline": 0.0, "IgnoreSystemJobs": false}},
		"a deadline":            {map[string]any{"deadline": "1m"}, map[string]any{"Deadline": float64(time.Minute), "IgnoreSystemJobs": false}},
		"a deadline in seconds": {map[string]any{"deadline": 90.0}, map[string]any{"Deadline": float64(90 * time.Second), "IgnoreSystemJobs": false}},
		"system jobs stay":      {map[string]any{"ignore_system_jobs": true}, map[string]any{"Deadline": 0.0, "IgnoreSystemJobs": true}},
		"both":                  {map[string]any{"deadline": "1m", "ignore_system_jobs": true}, map[string]any{"Deadline": float64(time.Minute), "IgnoreSystemJobs": true}},
		"by force":              {map[string]any{"force": true}, map[string]any{"Deadline": -1.0, "IgnoreSystemJobs": false}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, d := withDrains(t)
			args := map[string]any{"state": "drained"}
			maps.Copy(args, test.args)
			c.must("c1", "nomad_drain", args)
			if len(d.requests) != 1 {
				t.Fatalf("%d requests: %v", len(d.requests), d.requests)
			}
			if diff := cmp.Diff(test.want, d.requests[0]["DrainSpec"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNomadDrainThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	close(closed)
	tests := map[string]struct {
		interrupted <-chan struct{}
		kind        string
		says        []string
	}{
		"no room":     {nil, "service", []string{"the drain is not done after 100ms: 2 allocations were left", "web.cache[0] (aaaaaaaa): another client for it was not found: no other client is eligible"}},
		"a batch job": {nil, "batch", []string{"it is of a batch job"}},
		"interrupted": {closed, "service", []string{"interrupted while 2 allocations were left"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, d := withDrains(t)
			c.interrupted, d.stuck, d.allocs = test.interrupted, true, d.allocs[:2]
			d.allocs[0]["Job"] = map[string]any{"Type": test.kind}
			_, err := c.do(t.Context(), "c1", "nomad_drain", map[string]any{"state": "drained", "timeout": 0.1})
			if err == nil {
				t.Fatal("no error")
			}
			for _, words := range append(test.says, "the drain was cancelled, and the client is eligible again") {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("it does not say %q: %v", words, err)
				}
			}
			if d.draining || d.eligibility != nomad.Eligible || d.last["Meta"].(map[string]any)[nomad.DrainRestored] != "true" {
				t.Errorf("left as %+v", d)
			}
		})
	}
}

func TestNomadDrainOfAnother(t *testing.T) {
	t.Parallel()
	c, d := withDrains(t)
	d.draining, d.eligibility, d.stuck = true, nomad.Ineligible, true
	d.last = map[string]any{"Status": "draining", "Meta": map[string]any{"who": "alice"}}
	for _, state := range []string{"drained", "checked"} {
		_, err := c.do(t.Context(), "c1", "nomad_drain", map[string]any{"state": state})
		var refused refusal
		if err == nil || !asRefusal(err, &refused) || !strings.Contains(err.Error(), "who: alice") {
			t.Errorf("%s: %v", state, err)
		}
	}
	if c.must("c1", "nomad_drain", map[string]any{"state": "restored"}).Changed || len(d.requests) > 0 {
		t.Errorf("it was touched: %v", d.requests)
	}
}

func asRefusal(err error, into *refusal) bool {
	r, ok := err.(refusal) //nolint:errorlint // a refusal is what a module returns, unwrapped
	*into = r
	return ok
}

// TestNomadDrainOfADeadRun holds that what a run that was killed has drained is taken up, at each point where it can have died.
func TestNomadDrainOfADeadRun(t *testing.T) {
	t.Parallel()
	meta := map[string]any{nomad.DrainRun: "dead", nomad.DrainPrior: nomad.Eligible}
	tests := map[string]struct {
		draining bool
		status   string
	}{"while it drained": {true, "draining"}, "when it had drained": {false, "complete"}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, d := withDrains(t)
			d.draining, d.eligibility = test.draining, nomad.Ineligible
			d.last = map[string]any{"Status": test.status, "Meta": meta, "UpdatedAt": time.Now()}
			c.must("c1", "nomad_drain", map[string]any{"state": "drained"})
			c.must("c1", "nomad_drain", map[string]any{"state": "restored"})
			if d.eligibility != nomad.Eligible || d.draining {
				t.Errorf("left as %+v", d)
			}
		})
	}
	t.Run("when the client was upgraded", func(t *testing.T) {
		t.Parallel()
		c, d := withDrains(t)
		d.eligibility, d.last = nomad.Ineligible, map[string]any{"Status": "complete", "Meta": meta, "UpdatedAt": time.Now()}
		if c.must("c1", "nomad_drain", map[string]any{"state": "drained", "version": "1.10.5"}).Changed || len(d.requests) > 0 {
			t.Errorf("drained again: %v", d.requests)
		}
		c.must("c1", "nomad_drain", map[string]any{"state": "restored"})
		if d.eligibility != nomad.Eligible {
			t.Errorf("left as %+v", d)
		}
	})
	t.Run("when somebody has decided since", func(t *testing.T) {
		t.Parallel()
		c, d := withDrains(t)
		d.eligibility, d.last = nomad.Ineligible, map[string]any{"Status": "complete", "Meta": meta, "UpdatedAt": time.Now().Add(-time.Hour)}
		d.events = []any{map[string]any{"Message": "Node marked as ineligible for scheduling", "Timestamp": time.Now()}}
		if c.must("c1", "nomad_drain", map[string]any{"state": "restored"}).Changed || d.eligibility != nomad.Ineligible {
			t.Errorf("left as %+v", d)
		}
	})
}

func TestNomadStop(t *testing.T) {
	tests := map[string]struct {
		host   string
		change func(c *fakeCluster, d *fakeDrain)
		want   string
	}{
		"a server":     {"s1", func(*fakeCluster, *fakeDrain) {}, "this is a server"},
		"eligible":     {"c1", func(*fakeCluster, *fakeDrain) {}, "the client is eligible"},
		"draining":     {"c1", func(_ *fakeCluster, d *fakeDrain) { d.draining, d.eligibility = true, nomad.Ineligible }, "the client is being drained"},
		"not emptied":  {"c1", func(_ *fakeCluster, d *fakeDrain) { d.eligibility = nomad.Ineligible }, "3 allocations are left"},
		"tasks go on":  {"c1", func(c *fakeCluster, d *fakeDrain) { d.emptied(c, wire.AllocProcess{PID: 7, Task: "web"}) }, "7 of task web"},
		"all is empty": {"c1", func(c *fakeCluster, d *fakeDrain) { d.emptied(c) }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, d := withDrains(t)
			test.change(c, d)
			_, err := c.do(t.Context(), test.host, "nomad_stop", map[string]any{"timeout": 0.1})
			stopped := slices.Contains(c.agent(test.host).log, "unit_control")
			switch {
			case test.want == "" && (err != nil || !stopped):
				t.Errorf("not stopped: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || stopped):
				t.Errorf("error %v, want %q; stopped: %t", err, test.want, stopped)
			}
		})
	}
}

// emptied makes a client drained, with task processes that have stayed.
func (d *fakeDrain) emptied(c *fakeCluster, left ...wire.AllocProcess) {
	d.eligibility, d.allocs = nomad.Ineligible, nil
	c.agent("c1").process = left
}

// The servers are told to forget a node only where the task says so, and never by a check.
func TestNomadStopPurges(t *testing.T) {
	tests := map[string]struct {
		args  map[string]any
		check bool
		want  int
	}{
		"nothing said":       {nil, false, 0},
		"purge: false":       {map[string]any{"purge": false}, false, 0},
		"purge: true":        {map[string]any{"purge": true}, false, 1},
		"purge: true, check": {map[string]any{"purge": true}, true, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, d := withDrains(t)
			d.emptied(c)
			c.check = test.check
			result := c.must("c1", "nomad_stop", test.args)
			if d.purges != test.want {
				t.Errorf("%d requests to purge, want %d", d.purges, test.want)
			}
			if says := strings.Contains(result.Message, "forg"); says != (test.args["purge"] == true) {
				t.Errorf("it says %q", result.Message)
			}
		})
	}
}

// A client that is refused is not forgotten either: its node is what the servers know of its allocations.
func TestNomadStopPurgesNoneThatIsRefused(t *testing.T) {
	t.Parallel()
	c, d := withDrains(t)
	d.eligibility = nomad.Ineligible
	if _, err := c.do(t.Context(), "c1", "nomad_stop", map[string]any{"purge": true}); err == nil || d.purges > 0 {
		t.Errorf("error %v, %d requests to purge", err, d.purges)
	}
}
