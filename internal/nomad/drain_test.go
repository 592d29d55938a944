// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPendingDrain holds that only what a drain of drover's has left is drover's to restore.
func TestPendingDrain(t *testing.T) {
	ended := time.Date(2026, 3, 1, 3, 0, 7, 0, time.UTC)
	ours := map[string]string{DrainRun: "r1", DrainPrior: Eligible}
	after := func(d time.Duration, message string) []nodeEvent {
		return []nodeEvent{{"Node registered", ended.Add(-time.Hour)}, {message, ended.Add(d)}}
	}
	tests := map[string]struct {
		draining    bool
		eligibility string
		drain       Drain
		events      []nodeEvent
		want        bool
	}{
		"never drained":                 {false, Eligible, Drain{}, nil, false},
		"ineligible, never drained":     {false, Ineligible, Drain{}, nil, false},
		"ours goes on":                  {true, Ineligible, Drain{Status: DrainDraining, Meta: ours}, nil, true},
		"ours is complete":              {false, Ineligible, Drain{Status: DrainComplete, UpdatedAt: ended, Meta: ours}, after(0, "Node drain complete"), true},
		"ours was restored":             {false, Eligible, Drain{Status: DrainComplete, UpdatedAt: ended, Meta: ours}, nil, false},
		"ours was cancelled":            {false, Ineligible, Drain{Status: DrainCanceled, UpdatedAt: ended, Meta: ours}, nil, false},
		"somebody made it ineligible":   {false, Ineligible, Drain{Status: DrainComplete, UpdatedAt: ended, Meta: ours}, after(time.Minute, "Node marked as ineligible for scheduling"), false},
		"it was ineligible long before": {false, Ineligible, Drain{Status: DrainComplete, UpdatedAt: ended, Meta: ours}, after(-time.Minute, "Node marked as ineligible for scheduling"), true},
		"somebody else's goes on":       {true, Ineligible, Drain{Status: DrainDraining, Meta: map[string]string{"who": "alice"}}, nil, false},
		"somebody else's is complete":   {false, Ineligible, Drain{Status: DrainComplete, UpdatedAt: ended}, nil, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			node := Node{Draining: test.draining, Eligibility: test.eligibility, LastDrain: test.drain}
			node.LastDrain.Overruled = overruled(test.drain, test.events)
			if got := node.Pending(); got != test.want {
				t.Errorf("pending: %t, want %t", got, test.want)
			}
		})
	}
}

func TestDrainWho(t *testing.T) {
	tests := map[string]struct {
		drain Drain
		want  string
	}{
		"drover":       {Drain{Meta: map[string]string{DrainRun: "r1"}}, "drover's run r1"},
		"nobody known": {Drain{}, "somebody else"},
		"words": {
			Drain{Meta: map[string]string{"who": "alice", "message": "disk"}, StartedAt: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)},
			"somebody else (message: disk, who: alice) at 2026-03-01T03:00:00Z",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.drain.Who(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPlacementWords(t *testing.T) {
	tests := map[string]struct {
		failure placementFailure
		want    string
	}{
		"nobody": {placementFailure{}, "no other client is eligible for it"},
		"filtered": {
			placementFailure{NodesEvaluated: 3, NodesFiltered: 3, ConstraintFiltered: map[string]int{"missing drivers": 2, "${attr.kernel.name} = windows": 1}},
			"3 other clients were looked at, 3 do not fulfil a condition (${attr.kernel.name} = windows, missing drivers)",
		},
		"exhausted": {
			placementFailure{NodesEvaluated: 2, NodesExhausted: 2, DimensionExhausted: map[string]int{"memory": 2}},
			"2 other clients were looked at, 2 have no room (memory)",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.failure.words()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReplacement(t *testing.T) {
	to, old := version("1.11.0"), version("1.10.5")
	server := HostFacts{Host: "s1", Role: "server", Server: true, Running: true, Answers: true, VersionRunning: to}
	client := func(host string, v Version) HostFacts {
		return HostFacts{Host: host, Role: "client", Client: true, Running: true, Answers: true, VersionRunning: v, VersionDisk: v, NodeID: "id-" + host, Datacenter: "dc1"}
	}
	empty := HostFacts{Host: "h1", Role: "none", Problem: "there is no unit nomad.service on this host"}
	stopped := client("h1", to)
	stopped.Running, stopped.Answers = false, false
	tests := map[string]struct {
		hosts []HostFacts
		nodes []NodeSummary
		lost  map[string]LookFailure
		want  string // verdict
		says  []string
	}{
		"new for old":              {[]HostFacts{server, empty, client("c1", old)}, nil, nil, VerdictChanges, []string{"h1: has no Nomad yet", "c1: is drained, stopped and disabled", "batch 1: c1"}},
		"installed already":        {[]HostFacts{server, stopped, client("c1", old)}, nil, nil, VerdictChanges, []string{"h1: is installed and does not run"}},
		"another version is there": {[]HostFacts{server, client("h1", old), client("c1", old)}, nil, nil, VerdictRefused, []string{"h1: it runs Nomad 1.10.5 already"}},
		"an old server":            {[]HostFacts{{Host: "s1", Role: "server", Server: true, Answers: true, VersionRunning: old}, empty, client("c1", old)}, nil, nil, VerdictRefused, []string{"s1: this server runs 1.10.5, and a client must not be newer"}},
		"no server":                {[]HostFacts{empty, client("c1", old)}, nil, nil, VerdictRefused, []string{"no server of the cluster answers"}},
		"drained by another": {
			[]HostFacts{server, empty, client("c1", old)},
			[]NodeSummary{{ID: "id-c1", Name: "c1", Status: "ready", Drain: true, LastDrain: &Drain{Meta: map[string]string{"who": "alice"}}}},
			nil,
			VerdictRefused,
			[]string{"c1: somebody else (who: alice) is draining it"},
		},
		"a new host is lost": {[]HostFacts{server, client("c1", old)}, nil, map[string]LookFailure{"h1": {Text: "no route"}}, VerdictRefused, []string{"h1: nothing is known of it: no route"}},
		"the model is a server": {
			[]HostFacts{server, empty, {Host: "c1", Role: "server", Server: true, Running: true, Answers: true, VersionRunning: to}},
			nil, nil,
			VerdictRefused,
			[]string{"c1: it is to be the model for new clients", "c1: this host is a server"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			survey := Survey{Hosts: test.hosts, Nodes: test.nodes, NodesAsked: true, Unreachable: test.lost}
			r := NewClientReplacement(survey, to, ReplaceOptions{New: []string{"h1"}, Old: []string{"c1"}, From: "c1"})
			if r.Verdict() != test.want {
				t.Errorf("verdict %s, want %s", r.Verdict(), test.want)
			}
			page := r.Page()
			for _, words := range test.says {
				if !strings.Contains(page, words) {
					t.Errorf("the page does not say %q:\n%s", words, page)
				}
			}
		})
	}
	r := NewClientReplacement(Survey{Hosts: []HostFacts{server, empty}}, to, ReplaceOptions{New: []string{"h1"}, Old: []string{"h1"}})
	if !strings.Contains(r.Page(), "h1: it is in new_clients and in old_clients") {
		t.Error(r.Page())
	}
}
