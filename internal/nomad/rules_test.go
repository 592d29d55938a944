// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"drover/internal/wire"
)

func TestSafeSignal(t *testing.T) {
	const (
		sigint  = int(syscall.SIGINT)
		sigterm = int(syscall.SIGTERM)
		sighup  = int(syscall.SIGHUP)
		sigquit = int(syscall.SIGQUIT)
		sigkill = int(syscall.SIGKILL)
		refused = "refused"
	)
	tests := []struct {
		interrupt, terminate bool
		killSignal           int
		want                 string
	}{
		{false, false, sigint, wire.StopUnit},
		{false, false, sigterm, wire.StopUnit},
		{false, false, sighup, wire.StopINT},
		{true, false, sigint, wire.StopTERM},
		{true, false, sigterm, wire.StopUnit},
		{true, false, sighup, wire.StopTERM},
		{false, true, sigint, wire.StopUnit},
		{false, true, sigterm, wire.StopINT},
		{false, true, sighup, wire.StopINT},
		{true, true, sigint, refused},
		{true, true, sigterm, refused},
		{true, true, sighup, refused},
		{false, false, sigquit, wire.StopINT}, // Nomad has no handler: Go would write all stacks and exit with 2
		{true, false, sigquit, wire.StopTERM},
		{true, true, sigquit, refused},
		{false, false, sigkill, wire.StopINT}, // a unit that kills is stopped better
		{false, true, sigkill, wire.StopINT},
		{true, true, sigkill, wire.StopKILL}, // what the unit does anyway
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("int=%t term=%t kill=%d", test.interrupt, test.terminate, test.killSignal), func(t *testing.T) {
			flags := LeaveFlags{OnInterrupt: test.interrupt, OnTerminate: test.terminate}
			got, problems := SafeSignal(flags, test.killSignal, SignalOptions{})
			if len(problems) > 0 {
				got = refused
				for _, words := range []string{"running process", "--allow-leave", "--stop-signal KILL"} {
					if !strings.Contains(Words(problems), words) {
						t.Errorf("refusal lacks %q: %s", words, Words(problems))
					}
				}
			}
			if got != test.want {
				t.Errorf("signal = %q, want %q", got, test.want)
			}
			if got, problems := SafeSignal(flags, test.killSignal, SignalOptions{Stop: wire.StopKILL}); got != wire.StopKILL || problems != nil {
				t.Errorf("KILL asked for: %q, %v", got, problems)
			}
			_, problems = SafeSignal(flags, test.killSignal, SignalOptions{AllowLeave: true})
			if (len(problems) > 0) != (test.want == refused) {
				t.Errorf("leave without retry_join: %v", problems)
			}
			if _, problems := SafeSignal(flags, test.killSignal, SignalOptions{AllowLeave: true, RetryJoin: true}); problems != nil {
				t.Errorf("leave with retry_join: %v", problems)
			}
			got, problems = SafeSignal(flags, test.killSignal, SignalOptions{AllowLeave: true, RetryJoin: true, Client: true})
			if words := Words(problems); (words != "") != (test.want == refused) || strings.Contains(words, "--allow-leave") || test.want != refused && got != test.want {
				t.Errorf("a client is let go as little as without --allow-leave: %q, %s", got, words)
			}
		})
	}
}

func TestVersionProblems(t *testing.T) {
	tests := []struct {
		from, to string
		contains string
	}{
		{"1.10.5", "1.11.0", ""},
		{"1.11.3", "2.0.5", ""},
		{"1.10.0", "2.0.5", ""},
		{"1.9.0", "2.0.5", "spans 3 minor versions"},
		{"1.8.0", "1.11.0", "spans 3 minor versions"},
		{"0.12.0", "1.0.1", ""},
		{"1.11.0", "1.10.5", "downgrades"},
		{"1.11.0", "1.11.0-rc.1", "downgrades"},
		{"1.10.5", "1.11.0+ent", "edition"},
		{"1.11.0+ent", "1.11.3", "its version is written like 1.11.3+ent"},
		{"1.9.7", "2.0.5", "upgrade to the latest 1.10 first, or accept the risk with --allow-unsupported-skip"},
		{"1.2.6", "2.0.5", "the latest of 1.4 (not 1.4.0), then 1.6, then 1.8, then 1.10 first"},
		{"1.3.5", "1.8.0", "the latest of 1.4 (not 1.4.0), then 1.6 first"},
		{"1.10.5", "99.99.99", "no version like 99.99.99 is known"},
		{"1.10.5", "1.99.0", "no version like 1.99.0 is known"},
		{"2.11.0", "3.0.0", ""},
		{"0.12.3", "1.3.0", "the latest of 1.0, then 1.2 first"},
	}
	for _, test := range tests {
		t.Run(test.from+" to "+test.to, func(t *testing.T) {
			words := Words(versionProblems(version(test.from), version(test.to), VersionOptions{}))
			if (test.contains == "") != (words == "") || !strings.Contains(words, test.contains) {
				t.Errorf("problems = %q, want %q", words, test.contains)
			}
		})
	}
	if problems := versionProblems(version("1.2.6"), version("1.11.0"), VersionOptions{AllowUnsupportedSkip: true}); problems != nil {
		t.Errorf("accepted skip: %v", problems)
	}
}

func TestRaftProblems(t *testing.T) {
	tests := map[string]struct {
		protocol, set int
		to            string
		contains      string
	}{
		"protocol 3":                            {3, 0, "1.4.2", ""},
		"protocol 2 to 1.4":                     {2, 2, "1.4.2", "start with protocol 3 only"},
		"protocol 2, not configured, to 1.3":    {2, 0, "1.3.5", "a migration of its own"},
		"protocol 2, configured, to 1.3":        {2, 2, "1.3.5", ""},
		"protocol 2, not configured, below 1.3": {2, 0, "1.2.16", ""},
		"unknown protocol":                      {0, 0, "1.4.2", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			words := Words(raftProblems(HostFacts{Server: true, RaftProtocol: test.protocol, RaftProtocolSet: test.set}, version(test.to)))
			if (test.contains == "") != (words == "") || !strings.Contains(words, test.contains) || words != "" && !strings.Contains(words, "drover raft-v3") {
				t.Errorf("problems = %q, want %q", words, test.contains)
			}
		})
	}
}

func TestParseVersionOutput(t *testing.T) {
	for text, want := range map[string]string{
		"Nomad v1.2.6 (abc)\n": "1.2.6", "Nomad v1.11.0+ent\nBuildDate x": "1.11.0+ent", "Nomad v2.0.0-beta.1": "2.0.0-beta.1",
	} {
		got, err := ParseVersionOutput(text)
		if err != nil || got.String() != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "Consul v1.2.3", "Nomad vx"} {
		if _, err := ParseVersionOutput(text); err == nil {
			t.Errorf("%q accepted", text)
		}
	}
}

func TestLeadership(t *testing.T) {
	old, target := version("1.10.5"), version("1.11.0")
	server := func(host string, v Version, leads bool) ServerState {
		return ServerState{Host: host, ID: "id-" + host, Version: v, Leader: leads, Voter: true, Protocol: 3}
	}
	tests := []struct {
		name     string
		servers  []ServerState
		stopping string
		to       string // "" when nothing moves
		drifted  bool
	}{
		{"follower stops", []ServerState{server("a", old, false), server("b", old, false), server("c", old, true)}, "a", "", false},
		{"leader stops while others are old", []ServerState{server("a", old, true), server("b", old, false), server("c", target, false)}, "a", "b", false},
		{"old leader is the last", []ServerState{server("a", target, false), server("b", target, false), server("c", old, true)}, "c", "a", false},
		{"drifted to an upgraded one", []ServerState{server("a", target, true), server("b", old, false), server("c", old, false)}, "b", "c", true},
		{"drifted, only the stopping one is old", []ServerState{server("a", target, true), server("b", target, false), server("c", old, false)}, "c", "", false},
		{"single server", []ServerState{server("a", old, true)}, "a", "", false},
		{"all done", []ServerState{server("a", target, true), server("b", target, false)}, "", "", false},
		{"no leader", []ServerState{server("a", old, false), server("b", old, false)}, "a", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			move, needed := Leadership(test.servers, target, test.stopping)
			if needed != (test.to != "") || move.To.Host != test.to || move.Drifted != test.drifted {
				t.Errorf("move = %+v, %t", move, needed)
			}
			if move.Impossible != "" {
				t.Errorf("impossible: %s", move.Impossible)
			}
		})
	}
	move, _ := Leadership([]ServerState{server("a", version("1.5.0"), false), server("b", version("1.3.0"), true)}, version("1.5.0"), "b")
	if !strings.Contains(move.Impossible, "1.7.0") {
		t.Errorf("old leader can transfer: %+v", move)
	}
}

func TestOrderPutsTheLeaderLast(t *testing.T) {
	servers := []ServerState{{Host: "a", Leader: true, Voter: true}, {Host: "c", Voter: true}, {Host: "b", Voter: true}, {Host: "d"}, {Host: "e", Voter: true, Down: true}}
	var names []string
	for _, s := range Order(servers) {
		names = append(names, s.Host)
	}
	if got := strings.Join(names, " "); got != "e d b c a" {
		t.Errorf("order = %s", got)
	}
}
