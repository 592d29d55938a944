// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// replacing is a cluster of three servers, the last of which leads, with three hosts without Nomad.
func replacing() (Survey, ServerReplaceOptions) {
	s := survey()
	s.Addresses = map[string]string{}
	for i := range 3 {
		s.Hosts = append(s.Hosts, HostFacts{Host: fmt.Sprintf("h%d", i+1), Role: "none", Unit: "nomad.service"})
	}
	return s, ServerReplaceOptions{New: []string{"h1", "h2", "h3"}, Old: []string{"s1", "s2", "s3"}, From: "s1"}
}

func TestServerReplacement(t *testing.T) {
	s, options := replacing()
	r := NewServerReplacement(s, version("1.11.0"), options)
	if r.Verdict() != VerdictChanges {
		t.Fatalf("verdict %s: %s", r.Verdict(), Words(r.Problems))
	}
	want := []string{"h1 joins: 4 voters", "s1 goes: 3 voters", "h2 joins: 4 voters", "s2 goes: 3 voters", "h3 joins: 4 voters", "s3 goes: 3 voters"}
	if diff := cmp.Diff(want, r.Sequence); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(r.Page(), "leadership moves away from s3 before it goes") {
		t.Error(r.Page())
	}
}

// What a run that was killed has left is gone on with.
func TestServerReplacementContinues(t *testing.T) {
	s, options := replacing()
	h1 := HostFacts{Host: "h1", Unit: "nomad.service", Running: true, ExeCurrent: true, VersionDisk: version("1.11.0")}
	servers := append(slices.Clone(s.Hosts[2].RaftServers), RaftServer{ID: "id-h1", Address: "10.0.0.11:4647", Voter: true})
	before := slices.Clone(servers)
	h1.SetView(AgentView{Version: version("1.11.0"), Server: true, Region: "global", NodeName: "h1", ServerID: "id-h1", RPC: "10.0.0.11:4647", Raft: Raft{State: Follower, Protocol: 3, Servers: servers[1:]}})
	s.Hosts[5] = h1
	// s1 was taken out, and runs.
	s.Hosts[0].RaftServers = before
	s.Raft.Servers = append(s.Raft.Servers[1:], RaftMember{RaftServer: servers[3], Node: "h1.global", Protocol: 3})
	r := NewServerReplacement(s, version("1.11.0"), options)
	if r.Verdict() != VerdictChanges {
		t.Fatalf("verdict %s: %s", r.Verdict(), Words(r.Problems))
	}
	want := []string{"s1 is stopped; it has no vote", "h2 joins: 4 voters", "s2 goes: 3 voters", "h3 joins: 4 voters", "s3 goes: 3 voters"}
	if diff := cmp.Diff(want, r.Sequence); diff != "" {
		t.Error(diff)
	}
	// Stopped too.
	s.Hosts[0] = HostFacts{Host: "s1", Unit: "nomad.service", Role: "server", Server: true, Region: "global", NodeName: "s1", VersionDisk: version("1.10.5")}
	r = NewServerReplacement(s, version("1.11.0"), options)
	if r.Verdict() != VerdictChanges || r.Old[0].Reason != "is gone already" {
		t.Errorf("verdict %s, %+v: %s", r.Verdict(), r.Old[0], Words(r.Problems))
	}
}

func TestServerReplacementRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(s *Survey, o *ServerReplaceOptions)
		want   string
	}{
		"too few":            {func(_ *Survey, o *ServerReplaceOptions) { o.New = o.New[:2] }, "2 new servers are too few to take the places of 3"},
		"none":               {func(_ *Survey, o *ServerReplaceOptions) { o.New, o.Old = nil, nil }, "no new server is named"},
		"in both":            {func(_ *Survey, o *ServerReplaceOptions) { o.New = append(o.New, "s1") }, "s1: it is in new_servers and in old_servers"},
		"a client among old": {func(_ *Survey, o *ServerReplaceOptions) { o.Old[0] = "c1" }, "c1: this host is a client"},
		"a client among new": {func(_ *Survey, o *ServerReplaceOptions) { o.New[0] = "c1" }, "c1: this host is a client"},
		"a downgrade":        {func(s *Survey, _ *ServerReplaceOptions) { s.Hosts[0].VersionRunning = version("1.11.2") }, "s1: runs 1.11.2, which is newer than 1.11.0"},
		"a long way":         {func(s *Survey, _ *ServerReplaceOptions) { s.Hosts[0].VersionRunning = version("1.7.3") }, "s1: 1.7.3 to 1.11.0 spans 4 minor versions"},
		"another edition":    {func(s *Survey, _ *ServerReplaceOptions) { s.Hosts[0].VersionRunning = version("1.10.5+ent") }, "s1: runs the enterprise edition (ent) and the new binary is the community edition"},
		"raft protocol 2":    {func(s *Survey, _ *ServerReplaceOptions) { s.Hosts[0].RaftProtocol = 2 }, "s1: uses raft protocol 2"},
		"no leader":          {func(s *Survey, _ *ServerReplaceOptions) { s.Hosts[2].Leader = false }, "no server says that it leads"},
		"a server elsewhere": {func(s *Survey, _ *ServerReplaceOptions) { s.Hosts = s.Hosts[1:] }, "not in the inventory"},
		"a silent voter":     {func(s *Survey, o *ServerReplaceOptions) { s.Hosts[0].Answers = false; o.Old = o.Old[1:] }, "the voter s1 does not answer"},
		"a host cut off":     {func(s *Survey, _ *ServerReplaceOptions) { s.lose("h1", noSSH()) }, "h1: nothing is known of it"},
		"an old one cut off": {func(s *Survey, _ *ServerReplaceOptions) { s.lose("s1", noSSH()) }, "--accept-down"},
		"installed elsewhere": {func(s *Survey, _ *ServerReplaceOptions) {
			s.Hosts[5].Role, s.Hosts[5].VersionDisk = "server", version("1.10.5")
		}, "h1: an agent of version 1.10.5 is installed here"},
		"something in the data directory": {func(_ *Survey, o *ServerReplaceOptions) {
			o.Occupied = map[string]string{"h2": "/opt/nomad/server"}
		}, "h2: the data directory /opt/nomad is not empty (/opt/nomad/server)"},
		"a voter that is down": {func(s *Survey, o *ServerReplaceOptions) {
			s.Hosts[1].Running, s.Hosts[1].Answers = false, false
			o.New, o.Old = []string{"h1", "s2"}, []string{"s1", "s3"}
		}, "s2: a server of this cluster with version 1.10.5 is installed here, and does not run (take it out of new_servers"},
		"of another cluster": {func(s *Survey, _ *ServerReplaceOptions) {
			s.Hosts[5].Running, s.Hosts[5].Server, s.Hosts[5].Answers, s.Hosts[5].VersionRunning = true, true, true, version("1.11.0")
			s.Hosts[5].RaftServers = []RaftServer{{ID: "other", Address: "10.9.9.9:4647", Voter: true}}
		}, "h1: a server of another cluster runs here"},
		"no such model": {func(_ *Survey, o *ServerReplaceOptions) { o.From = "c1" }, "c1: it is to be the model for new servers"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, options := replacing()
			test.change(&s, &options)
			r := NewServerReplacement(s, version("1.11.0"), options)
			if words := Words(r.Problems); r.Verdict() != VerdictRefused || !strings.Contains(words, test.want) {
				t.Errorf("verdict %s, problems:\n%s\nwant %q", r.Verdict(), strings.ReplaceAll(words, "; ", "\n"), test.want)
			}
		})
	}
}

// A host that cannot be reached is named once, and no way on that this command has not.
func TestServerReplacementNamesNoFlagOfOthers(t *testing.T) {
	s, options := replacing()
	s.lose("h1", noSSH())
	s.lose("c2", LookFailure{Kind: LookNoSystemd, Text: "no systemd", Remedy: "go on without it with --limit '!c2'"})
	s.Unreachable["x1"] = noSSH()
	options.Old = append(options.Old, "x1")
	options.New = append(options.New, "h4")
	r := NewServerReplacement(s, version("1.11.0"), options)
	words := Words(r.Problems)
	for _, host := range []string{"h1: ", "c2: ", "x1: "} {
		if strings.Count(words, host) != 1 {
			t.Errorf("%s is not told of once: %s", host, words)
		}
	}
	if strings.Contains(words, "--skip-unreachable") || strings.Contains(words, "--limit") {
		t.Error(words)
	}
}

func TestServerReplacementAcceptsOnlyDeadServers(t *testing.T) {
	tests := map[string]struct{ name, want string }{
		"nobody":            {"s33", `--accept-down names s33, and the cluster has no such server (name a server of the cluster by its host, its node or its raft id; did you mean "s3"?)`},
		"alive":             {"s2", "--accept-down names s2, and s2 is alive: it answers"},
		"alive, by address": {"10.0.0.2:4647", "--accept-down names 10.0.0.2:4647, and s2 is alive: it answers"},
		"alive, by id":      {"id-2", "--accept-down names id-2, and s2 is alive: it answers"},
		"no server yet":     {"h1", "--accept-down names h1, and the cluster has no such server"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, options := replacing()
			options.Down = []string{test.name}
			r := NewServerReplacement(s, version("1.11.0"), options)
			if words := Words(r.Problems); r.Verdict() != VerdictRefused || strings.Count(words, test.want) != 1 {
				t.Errorf("verdict %s: %s", r.Verdict(), words)
			}
		})
	}
}

func TestServerReplacementByABadRelease(t *testing.T) {
	tests := map[string]struct{ from, target string }{
		"withdrawn": {"1.9.1", "1.9.2"}, "crashes old servers": {"1.3.9", "1.4.0"}, "also where the old ones run it": {"1.7.0", "1.7.0"},
	}
	for name, test := range tests {
		s, options := replacing()
		for i := range s.Hosts[:5] {
			s.Hosts[i].VersionRunning, s.Hosts[i].VersionDisk = version(test.from), version(test.from)
		}
		r := NewServerReplacement(s, version(test.target), options)
		if words := Words(r.Problems); r.Verdict() != VerdictRefused || !strings.Contains(words, test.target+" is a bad release") {
			t.Errorf("%s: verdict %s: %s", name, r.Verdict(), words)
		}
	}
}

// A server that burned down is taken out with its name, and nothing is asked of its host.
func TestServerReplacementOfADeadServer(t *testing.T) {
	s, options := replacing()
	s.lose("s1", noSSH())
	s.Addresses["s1"] = "10.0.0.1"
	options.Old, options.New, options.From, options.Down = []string{"s1"}, []string{"h1"}, "s2", []string{"s1"}
	r := NewServerReplacement(s, version("1.10.5"), options)
	if r.Verdict() != VerdictChanges || !strings.Contains(r.Page(), "s1: accepted as dead: is only taken out") {
		t.Errorf("verdict %s: %s\n%s", r.Verdict(), Words(r.Problems), r.Page())
	}
}
