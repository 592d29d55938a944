// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wire"
)

func TestLookFailure(t *testing.T) {
	lost := func(err error) error { return fmt.Errorf("ask: %w", &Unreachable{Host: "c1", Err: err}) }
	tests := map[string]struct {
		err  error
		want nomad.LookFailure
	}{
		"no connection": {lost(errors.New("connect to 10.0.0.1:22: no answer")), nomad.LookFailure{Kind: "unreachable", Text: "connect to 10.0.0.1:22: no answer"}},
		"an obstacle": {
			lost(&Obstacle{Kind: ObstacleSudoWrong, What: "sudo refused the password", Remedy: "check -K"}),
			nomad.LookFailure{Kind: "sudo_wrong", Text: "sudo refused the password", Remedy: "check -K"},
		},
		"an obstacle on the way": {
			lost(fmt.Errorf("jump host j1: %w", &Obstacle{Kind: ObstacleHostKeyUnknown, What: "the key is unknown", Remedy: "give --accept-new"})),
			nomad.LookFailure{Kind: "host_key_unknown", Text: "jump host j1: the key is unknown", Remedy: "give --accept-new"},
		},
		"what the agent says": {
			fmt.Errorf("look at nomad.service: %w", &wire.Error{Kind: wire.KindInvalid, Message: "it is masked", Hint: "systemctl unmask nomad.service"}),
			nomad.LookFailure{Kind: "other", Text: "look at nomad.service: it is masked", Remedy: "systemctl unmask nomad.service"},
		},
		"another run": {
			&wire.Error{Kind: wire.KindLocked, Message: "held by ann"},
			nomad.LookFailure{Kind: "locked", Text: "held by ann", Remedy: "wait until that run has ended"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, lookFailure(test.err)); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClientThatWasDownBeforeIsNotCountedAsOurFailure(t *testing.T) {
	for status, counted := range map[string]bool{"down": false, "ready": true} {
		t.Run("before: "+status, func(t *testing.T) {
			c := newFakeCluster(t, 1, 1)
			c.factsOfAll()
			client := c.agent("c1")
			client.version, client.disk, client.status = "1.11.0", "1.11.0", "down"
			version, err := nomad.ParseVersion("1.11.0")
			if err != nil {
				t.Fatal(err)
			}
			before := swapFact{Version: version, Settled: true, Node: &nomad.Node{ID: "node-c1", Status: status, Eligibility: "eligible"}}
			c.facts["c1"].Set(factSwap, expression.FromGo(before))
			result, err := c.do(t.Context(), "c1", "nomad_client_ready", map[string]any{"version": "1.11.0", "timeout": "300ms"})
			switch {
			case counted && err == nil:
				t.Error("a client that was ready and is down now is no failure")
			case !counted && (err != nil || !strings.Contains(result.Message, "it was not before the upgrade either, so that this is not counted as a failure")):
				t.Errorf("%v, %+v", err, result)
			}
		})
	}
}

func TestPlanTellsHowClientsWere(t *testing.T) {
	c := newFakeCluster(t, 3, 2)
	c.agent("c2").status = "disconnected"
	c.factsOfAll()
	result := c.must("s1", "nomad_preflight", map[string]any{"version": "1.11.0"})
	text, err := json.Marshal(expression.ToGo(result.Data))
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Plan nomad.Plan }
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if words := nomad.Words(got.Plan.Warnings); !strings.Contains(words, "c2: the servers see this client as disconnected") {
		t.Error(words)
	}
	if diff := cmp.Diff([]nomad.Batch{{Hosts: []string{"c1"}, Size: 1}, {Hosts: []string{"c2"}, Size: 1}}, got.Plan.Batches); diff != "" {
		t.Error(diff)
	}
}

func TestClientThatIsDownIsStartedWithTheNewVersion(t *testing.T) {
	c := newFakeCluster(t, 3, 1)
	c.agent("c1").running, c.agent("c1").pid = false, 0
	c.factsOfAll()
	c.staged("1.11.0")
	c.must("c1", "nomad_allocs", map[string]any{"state": "record"})
	if message := c.must("c1", "nomad_swap", map[string]any{"version": "1.11.0", "timeout": "2s"}).Message; message != "an agent that does not run to 1.11.0, away for 300 ms" {
		t.Error(message)
	}
	c.must("c1", "nomad_client_ready", map[string]any{"version": "1.11.0"})
	c.must("c1", "nomad_allocs", map[string]any{"state": "verified"})
}
