// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/agentconfig"
)

const (
	raftID      = "99dc4ce5-397e-39a9-f002-0bf8f0a659ba"
	raftAddress = "10.0.0.1:4647"
)

func raftVersionOf(t *testing.T, text string) Version {
	t.Helper()
	v, err := ParseVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// raftServerOf is a server of protocol 2, alone and leading.
func raftServerOf(t *testing.T) RaftEvidence {
	t.Helper()
	old := raftVersionOf(t, "1.2.6")
	source := agentconfig.Source{Path: "/etc/nomad.d/server.hcl", Text: []byte("server {\n  raft_protocol = 2\n}\n")}
	three := agentconfig.Value{Kind: agentconfig.Number, Text: "3"}
	edits, err := agentconfig.Edits([]agentconfig.Source{source}, nil, RaftProtocolKey(), &three)
	if err != nil {
		t.Fatal(err)
	}
	protocols, err := agentconfig.Occurrences([]agentconfig.Source{source}, nil, RaftProtocolKey())
	if err != nil {
		t.Fatal(err)
	}
	return RaftEvidence{
		Facts: HostFacts{
			Host: "s1", Running: true, Answers: true, Server: true, Leader: true, VersionRunning: old, VersionDisk: old, ExeCurrent: true,
			DataDir: "/opt/nomad", ServerID: raftID, RPC: raftAddress, RaftProtocol: 2, RaftServers: []RaftServer{{raftAddress, raftAddress, true}},
		},
		NodeID: raftID, Store: true, PeersInfo: true, Address: raftAddress, Protocols: protocols, Edits: edits,
	}
}

func migratedServer(e *RaftEvidence) {
	e.Facts.RaftProtocol, e.Facts.RaftServers, e.Edits = 3, []RaftServer{{raftID, raftAddress, true}}, nil
	e.Protocols = nil
}

func silent(e *RaftEvidence) {
	e.Facts.Running, e.Facts.Answers, e.Facts.Leader = false, false, false
	e.Facts.RaftServers, e.Facts.RaftProtocol = nil, 0
}

func TestRaftSingle(t *testing.T) {
	tests := map[string]struct {
		change  func(*RaftEvidence)
		options RaftOptions
		action  string
		problem string
	}{
		"protocol 2":              {func(*RaftEvidence) {}, RaftOptions{}, ActionMigrate, ""},
		"done":                    {migratedServer, RaftOptions{}, ActionNone, ""},
		"done, a file still says": {func(e *RaftEvidence) { edits := e.Edits; migratedServer(e); e.Edits = edits }, RaftOptions{}, ActionFinish, ""},
		"no leader": {func(e *RaftEvidence) {
			e.Facts.Leader, e.Facts.RaftProtocol, e.Edits = false, 3, nil
		}, RaftOptions{}, ActionRescue, ""},
		"another id used up": {func(e *RaftEvidence) {
			e.Facts.Leader, e.Facts.RaftServers = false, []RaftServer{{"nobody", raftAddress, true}}
		}, RaftOptions{}, ActionRescue, ""},
		"not running":   {silent, RaftOptions{}, ActionRescue, ""},
		"crash-looping": {func(e *RaftEvidence) { silent(e); e.Facts.CrashLooping = true }, RaftOptions{}, ActionRescue, ""},
		"does not answer": {func(e *RaftEvidence) {
			silent(e)
			e.Facts.Running = true
		}, RaftOptions{}, ActionRefused, "--stop-signal KILL"},
		"does not answer, and is to be killed": {func(e *RaftEvidence) {
			silent(e)
			e.Facts.Running, e.Sole = true, true
		}, RaftOptions{StopSignal: "KILL"}, ActionRescue, ""},
		"does not answer, with no record of gossip": {func(e *RaftEvidence) {
			silent(e)
			e.Facts.Running = true
		}, RaftOptions{StopSignal: "KILL"}, ActionRefused, "server/serf/snapshot) is missing"},
		"does not answer, with others in its files": {func(e *RaftEvidence) {
			silent(e)
			e.Facts.Running, e.Others = true, []string{"gossip knew s2.global"}
		}, RaftOptions{StopSignal: "KILL"}, ActionRefused, "gossip knew s2.global"},
		"refuses the token, and has no leader": {func(e *RaftEvidence) {
			silent(e)
			e.Facts.Running, e.Sole, e.Speaks = true, true, true
		}, RaftOptions{}, ActionRescue, ""},
		"refuses the token, and names a leader": {func(e *RaftEvidence) {
			silent(e)
			e.Facts.Running, e.Sole, e.Leads = true, true, raftAddress
		}, RaftOptions{StopSignal: "KILL"}, ActionRefused, "agent:read"},
		"several by raft": {func(e *RaftEvidence) {
			e.Facts.RaftServers = append(e.Facts.RaftServers, RaftServer{"10.0.0.2:4647", "10.0.0.2:4647", true})
		}, RaftOptions{}, ActionRefused, "10.0.0.2:4647"},
		"several by evidence": {func(e *RaftEvidence) { silent(e); e.Others = []string{"it joins 10.0.0.2"} }, RaftOptions{}, ActionRefused, "it joins 10.0.0.2"},
		"no peers.info":       {func(e *RaftEvidence) { e.PeersInfo = false }, RaftOptions{}, ActionRefused, "peers.info is missing"},
		"no data":             {func(e *RaftEvidence) { e.Store = false }, RaftOptions{}, ActionRefused, "raft.db"},
		"no id":               {func(e *RaftEvidence) { e.NodeID = "" }, RaftOptions{}, ActionRefused, "node-id is missing"},
		"a torn id":           {func(e *RaftEvidence) { e.NodeID = "99dc4ce5" }, RaftOptions{}, ActionRefused, "is no id"},
		"another id":          {func(e *RaftEvidence) { e.Facts.ServerID = "other" }, RaftOptions{}, ActionRefused, "the running agent has the id other"},
		"no address":          {func(e *RaftEvidence) { e.Address, e.AddressProblem = "", "a template" }, RaftOptions{}, ActionRefused, "--rpc-address"},
		"a leftover":          {func(e *RaftEvidence) { e.Peers = []byte("[]") }, RaftOptions{}, ActionRefused, "--replace-peers-json"},
		"a leftover to go":    {func(e *RaftEvidence) { e.Peers = []byte("[]") }, RaftOptions{ReplacePeers: true}, ActionMigrate, ""},
		"a leftover that is right": {func(e *RaftEvidence) {
			e.Peers = PeersFile(e.Peer())
		}, RaftOptions{}, ActionMigrate, ""},
		"too far":       {func(*RaftEvidence) {}, RaftOptions{Target: raftVersionOf(t, "1.10.5")}, ActionRefused, "spans 8 minor versions"},
		"far enough":    {func(*RaftEvidence) {}, RaftOptions{Target: raftVersionOf(t, "1.10.5"), VersionOptions: VersionOptions{AllowUnsupportedSkip: true}}, ActionMigrate, ""},
		"a bad release": {func(*RaftEvidence) {}, RaftOptions{Target: raftVersionOf(t, "1.4.0")}, ActionRefused, "1.4.0 is a bad release"},
		"a bad release, far": {
			func(*RaftEvidence) {}, RaftOptions{Target: raftVersionOf(t, "1.9.2"), VersionOptions: VersionOptions{AllowUnsupportedSkip: true}}, ActionRefused, "use 1.9.3",
		},
		"a 2 elsewhere": {func(e *RaftEvidence) {
			e.Protocols = append(e.Protocols, agentconfig.Occurrence{File: "/etc/nomad.d/a.hcl", Line: 1, Column: 2, Value: agentconfig.Value{Kind: agentconfig.Number, Text: "2"}})
		}, RaftOptions{Target: raftVersionOf(t, "1.4.1")}, ActionRefused, "/etc/nomad.d/a.hcl:1:2 sets raft_protocol = 2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := raftServerOf(t)
			test.change(&e)
			step, problems := RaftSingle(e, test.options)
			if words := Words(problems); step.Action != test.action || test.problem == "" && words != "" || !strings.Contains(words, test.problem) {
				t.Errorf("%s with %q, want %s with %q", step.Action, words, test.action, test.problem)
			}
		})
	}
}

// raftClusterOf are n servers of protocol 2, of which the first leads.
func raftClusterOf(t *testing.T, n int) []RaftEvidence {
	t.Helper()
	one := raftServerOf(t)
	var all []RaftEvidence
	var raft []RaftServer
	for i := range n {
		address := strings.Replace(raftAddress, ".1:", "."+string(rune('1'+i))+":", 1)
		raft = append(raft, RaftServer{address, address, true})
	}
	for i := range n {
		e := one
		e.Facts.Host, e.Facts.Leader = "s"+string(rune('1'+i)), i == 0
		e.Address, e.Facts.RPC, e.Facts.RaftServers = raft[i].Address, raft[i].Address, raft
		e.NodeID = strings.Replace(raftID, "9", string(rune('1'+i)), 1)
		e.Facts.ServerID = e.NodeID
		all = append(all, e)
	}
	return all
}

func TestRaftPlanMode(t *testing.T) {
	of := func(n int) []RaftEvidence { return raftClusterOf(t, n) }
	if p := NewRaftPlan(Survey{}, of(1), RaftOptions{}); p.Mode != RaftModeSingle || p.Verdict() != VerdictChanges {
		t.Errorf("one: %+v", p)
	}
	if p := NewRaftPlan(Survey{}, of(2), RaftOptions{}); p.Verdict() != VerdictRefused || !strings.Contains(Words(p.Problems), "two servers") {
		t.Errorf("two: %+v", p)
	}
	two := of(2)
	for i := range two {
		f := &two[i].Facts
		f.RaftProtocol, two[i].Edits, two[i].Protocols = 3, nil, nil
		f.RaftServers = []RaftServer{{two[0].NodeID, two[0].Address, true}, {two[1].NodeID, two[1].Address, true}}
	}
	if p := NewRaftPlan(Survey{}, two, RaftOptions{}); p.Verdict() != VerdictClean || len(p.Steps) != 2 {
		t.Errorf("two that are done: %s %s", p.Verdict(), Words(p.Problems))
	}
	p := NewRaftPlan(Survey{}, of(3), RaftOptions{})
	var order []string
	for _, step := range p.Steps {
		order = append(order, step.Host)
	}
	if diff := cmp.Diff([]string{"s2", "s3", "s1"}, order); diff != "" || p.Mode != RaftModeRolling || p.Verdict() != VerdictChanges {
		t.Errorf("three: %s %s", diff, Words(p.Problems))
	}
	if p := NewRaftPlan(Survey{}, of(3)[:2], RaftOptions{}); p.Verdict() != VerdictRefused || !strings.Contains(Words(p.Problems), "no host of the inventory") {
		t.Errorf("two of three: %s", Words(p.Problems))
	}
	if p := NewRaftPlan(Survey{}, of(3), RaftOptions{Target: raftVersionOf(t, "1.4.1")}); p.Verdict() != VerdictRefused {
		t.Errorf("three with a version: %+v", p)
	}
	// Half done: s2 is stopped, and raft has let it go.
	half := of(3)
	silent(&half[1])
	whole := half[0].Facts.RaftServers
	for _, i := range []int{0, 2} {
		half[i].Facts.RaftServers = []RaftServer{whole[0], whole[2]}
	}
	if p := NewRaftPlan(Survey{}, half, RaftOptions{}); p.Mode != RaftModeRolling || p.Verdict() != VerdictChanges || p.Steps[0].Host != "s2" {
		t.Errorf("half done: %+v", p)
	}
}

func TestRaftPlanWithADeadServer(t *testing.T) {
	unreachable := func(host, address string) Survey {
		return Survey{Unreachable: map[string]LookFailure{host: {Kind: LookUnreachable, Text: "no route"}}, Addresses: map[string]string{host: address}}
	}
	for name, test := range map[string]struct {
		servers int
		survey  Survey
		down    []string
		want    string // "": it is planned
	}{
		"one of five, not accepted":           {5, unreachable("s5", "10.0.0.5"), nil, "--accept-down s5"},
		"one of five, accepted":               {5, unreachable("s5", "10.0.0.5"), []string{"s5"}, ""},
		"one of five, accepted by address":    {5, Survey{}, []string{"10.0.0.5:4647"}, ""},
		"another is accepted":                 {5, unreachable("s5", "10.0.0.5"), []string{"s4"}, "s5: cannot be looked at"},
		"accepted, and known by another name": {5, unreachable("s5", "192.0.2.5"), []string{"s5"}, "no host of the inventory"},
		"one of four":                         {4, unreachable("s4", "10.0.0.4"), []string{"s4"}, "1 of 4 voters are dead: while another one is stopped 2 are left, and the cluster needs 3 (bring it back first, or take what is gone for good out"},
		"one of three":                        {3, unreachable("s3", "10.0.0.3"), []string{"s3"}, "1 of 3 voters are dead"},
		"one of two":                          {2, unreachable("s2", "10.0.0.2"), []string{"s2"}, "the cluster has two servers"},
	} {
		t.Run(name, func(t *testing.T) {
			evidence := raftClusterOf(t, test.servers)
			p := NewRaftPlan(test.survey, evidence[:len(evidence)-1], RaftOptions{Down: test.down})
			words := Words(p.Problems)
			if (p.Verdict() == VerdictRefused) != (test.want != "") || !strings.Contains(words, test.want) {
				t.Errorf("%s: %q, want %q", p.Verdict(), words, test.want)
			}
			if test.want == "" && (p.Mode != RaftModeRolling || len(p.Steps) != 4 || !strings.Contains(Words(p.Warnings), "-peer-address=10.0.0.5:4647")) {
				t.Errorf("%s with %d steps: %s", p.Mode, len(p.Steps), Words(p.Warnings))
			}
		})
	}
	survey := unreachable("s5", "10.0.0.5")
	survey.Raft.Servers = []RaftMember{{RaftServer: RaftServer{"10.0.0.5:4647", "10.0.0.5:4647", true}, Node: "s5.global"}}
	survey.Members = []Member{{Name: "s5.global", Status: "alive"}}
	if p := NewRaftPlan(survey, raftClusterOf(t, 5)[:4], RaftOptions{Down: []string{"s5"}}); !strings.Contains(Words(p.Problems), "s5 is alive") {
		t.Errorf("accepted and alive: %s", Words(p.Problems))
	}
	// Only one is left to be seen: that does not make it a server that is alone.
	alone := raftClusterOf(t, 3)[:1]
	silent(&alone[0])
	if p := NewRaftPlan(Survey{Unreachable: map[string]LookFailure{"s2": {}, "s3": {}}}, alone, RaftOptions{Down: []string{"s2", "s3"}}); p.Mode == RaftModeSingle || p.Verdict() != VerdictRefused {
		t.Errorf("two of three dead: %q %s", p.Mode, p.Verdict())
	}
}

func TestRaftPlanToAVersion(t *testing.T) {
	e := raftServerOf(t)
	plan := func(to string, survey Survey, options RaftOptions) RaftPlan {
		options.Target, options.AllowUnsupportedSkip = raftVersionOf(t, to), true
		e.Facts.Settings = survey.Hosts[0].Settings
		survey.Hosts[0] = e.Facts
		return NewRaftPlan(survey, []RaftEvidence{e}, options)
	}
	plain := func() Survey { return Survey{Hosts: []HostFacts{{}}} }
	if p := plan("1.4.1", plain(), RaftOptions{}); p.Verdict() != VerdictChanges {
		t.Errorf("1.4.1: %s", Words(p.Problems))
	}
	if p := plan("1.3.10", plain(), RaftOptions{}); p.Verdict() != VerdictChanges || !strings.Contains(Words(p.Warnings), "1.3.10 has a known fault") {
		t.Errorf("1.3.10: %s; %s", Words(p.Problems), Words(p.Warnings))
	}
	old := plain()
	old.Hosts[0].Settings = []Setting{{Key: "datacenter", Value: "dc*", File: "/etc/nomad.d/nomad.hcl"}, {Key: "server.raft_protocol", Value: "2", File: "/etc/nomad.d/server.hcl"}}
	p := plan("1.6.1", old, RaftOptions{})
	if words := Words(p.Problems); !strings.Contains(words, "a * in the datacenter") || strings.Contains(words, "raft_protocol") {
		t.Errorf("notes: %s", words)
	}
	vault := plain()
	vault.Notes.Jobs = map[string][]string{"vault-policies-1.10": {"default/web"}}
	if words := Words(plan("1.10.5", vault, RaftOptions{}).Problems); !strings.Contains(words, "do not take them: default/web") || !strings.Contains(words, "--accept-note vault-policies-1.10") {
		t.Errorf("a job that loses its policies: %s", words)
	}
	if p := plan("1.10.5", vault, RaftOptions{AcceptNotes: []string{"vault-policies-1.10"}}); p.Verdict() != VerdictChanges {
		t.Errorf("accepted: %s", Words(p.Problems))
	}
	p = plan("1.10.5", vault, RaftOptions{AcceptNotes: []string{"no-such-note"}})
	if words := Words(p.Problems); !strings.Contains(words, "there is no such note") {
		t.Errorf("an accepted note that is none: %s", words)
	}
}

func TestRaftRollingRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*RaftEvidence)
		action string
		want   string
	}{
		"well":              {func(*RaftEvidence) {}, ActionMigrate, ""},
		"a left peers.json": {func(e *RaftEvidence) { e.Peers = PeersFile(e.Peer()) }, ActionRefused, "take the server out of its cluster"},
		"an empty one":      {func(e *RaftEvidence) { e.Peers = []byte{} }, ActionRefused, "take the server out of its cluster"},
		"hidden flags":      {func(e *RaftEvidence) { e.EditProblem = "ExecStart holds $ARGS" }, ActionRefused, "$ARGS"},
		"silent": {func(e *RaftEvidence) {
			silent(e)
			e.Facts.Running = true
		}, ActionRefused, "does not answer"},
	} {
		all := raftClusterOf(t, 3)
		raft := all[0].Facts.RaftServers
		test.change(&all[1])
		step, problems := RaftRolling(all[1], raft, RaftOptions{})
		if words := Words(problems); step.Action != test.action || (words == "") != (test.want == "") || !strings.Contains(words, test.want) {
			t.Errorf("%s: %s with %q, want %s with %q", name, step.Action, words, test.action, test.want)
		}
	}
}

// The bytes are those that Nomad 1.2.6 to 2.0.5 have read: an id without a line break, and non_voter, whose absence is not the same everywhere.
func TestPeersFile(t *testing.T) {
	const want = `[
  {
    "id": "99dc4ce5-397e-39a9-f002-0bf8f0a659ba",
    "address": "10.0.0.1:4647",
    "non_voter": false
  },
  {
    "id": "b",
    "address": "[fd00::1]:4647",
    "non_voter": false
  }
]
`
	if diff := cmp.Diff(want, string(PeersFile(RaftPeer{ID: raftID, Address: raftAddress}, RaftPeer{ID: "b", Address: "[fd00::1]:4647"}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOneServerKnownByItsAddressDoesNotCount(t *testing.T) {
	now := time.Now()
	raft := []RaftServer{{"a1", "a1", true}, {"a2", "a2", true}, {"a3", "a3", true}}
	answer := func(host, address, state string, protocol int) Answer {
		return Answer{Host: host, View: AgentView{Host: host, Asked: now, ServerID: "id-" + host, RPC: address, Raft: Raft{State: state, Term: 1, Commit: 5, Applied: 5, Protocol: protocol, Servers: raft}}}
	}
	q := StopQuestion{Stopping: "s3", Now: now, Reached: 5, Answers: []Answer{
		answer("s1", "a1", Leader, 2), answer("s2", "a2", Follower, 2), answer("s3", "a3", Follower, 2),
	}}
	if problems := MayStop(q); len(problems) > 0 {
		t.Fatalf("all on protocol 2: %s", Words(problems))
	}
	q.Answers[1].View.Raft.Protocol = 3
	if words := Words(MayStop(q)); !strings.Contains(words, "by its address and not by its id") {
		t.Errorf("one restarted with protocol 3: %q", words)
	}
}

func TestASingleServerWithoutALeaderMayBeRepaired(t *testing.T) {
	now := time.Now()
	own := Answer{Host: "s1", View: AgentView{Host: "s1", Asked: now, ServerID: raftID, RPC: raftAddress, Raft: Raft{State: "Candidate", Protocol: 3, Servers: []RaftServer{{raftAddress, raftAddress, true}}}}}
	q := StopQuestion{Stopping: "s1", Alone: true, Now: now, Answers: []Answer{own}}
	if problems := MayStop(q); len(problems) > 0 {
		t.Errorf("alone: %s", Words(problems))
	}
	for name, change := range map[string]func(*StopQuestion){
		"nobody asked for it": func(q *StopQuestion) { q.Alone = false },
		"an old answer":       func(q *StopQuestion) { q.Now = now.Add(2 * time.Second) },
		"two by its own word": func(q *StopQuestion) {
			q.Answers[0].View.Raft.Servers = append(q.Answers[0].View.Raft.Servers, RaftServer{"b", "b", true})
		},
		"another server":         func(q *StopQuestion) { q.Answers[0].View.Raft.Servers = []RaftServer{{"b", "b", true}} },
		"known to another":       func(q *StopQuestion) { other := own; other.Host = "s2"; q.Answers = append(q.Answers, other) },
		"no answer":              func(q *StopQuestion) { q.Answers[0].Error = "no" },
		"raft says nothing":      func(q *StopQuestion) { q.Answers[0].View.Raft.Servers = nil },
		"an answer from nowhere": func(q *StopQuestion) { q.Answers = nil },
	} {
		q := q
		q.Answers = []Answer{own}
		q.Answers[0].View.Raft.Servers = []RaftServer{{raftAddress, raftAddress, true}}
		change(&q)
		if len(MayStop(q)) == 0 {
			t.Errorf("%s: may be stopped", name)
		}
	}
}

// A server that says nothing of itself may be stopped as the only one of its cluster, where nothing else speaks for another.
func TestASilentServerThatIsAloneMayBeStopped(t *testing.T) {
	base := func() StopQuestion {
		return StopQuestion{Stopping: "s1", Alone: true, Sole: true, Now: time.Now(), Answers: []Answer{{Host: "s1", Error: "403 (Permission denied)"}}}
	}
	if problems := MayStop(base()); len(problems) > 0 {
		t.Errorf("alone: %s", Words(problems))
	}
	several := []RaftServer{{"a1", "a1", true}, {"a2", "a2", true}, {"a3", "a3", true}}
	for name, change := range map[string]func(*StopQuestion){
		"its files show others":                func(q *StopQuestion) { q.Sole = false },
		"an upgrade, not a migration":          func(q *StopQuestion) { q.Alone = false },
		"the inventory has a server, silent":   func(q *StopQuestion) { q.Answers = append(q.Answers, Answer{Host: "s2", Error: "refused"}) },
		"the inventory has a server, speaking": func(q *StopQuestion) { q.Answers = append(q.Answers, Answer{Host: "s2"}) },
		"another host's silence":               func(q *StopQuestion) { q.Answers[0].Host = "s2" },
		"nobody was asked":                     func(q *StopQuestion) { q.Answers = nil },
		"it speaks, of three": func(q *StopQuestion) {
			q.Answers[0] = Answer{Host: "s1", View: AgentView{Host: "s1", Asked: q.Now, RPC: "a1", Raft: Raft{State: Follower, Servers: several}}}
		},
	} {
		q := base()
		change(&q)
		problems := MayStop(q)
		if len(problems) == 0 {
			t.Errorf("%s: may be stopped", name)
		}
		if q.Alone && strings.Contains(Words(problems), "--accept-outage") {
			t.Errorf("%s: offers a flag that this command has not: %s", name, Words(problems))
		}
	}
}

func TestRolled(t *testing.T) {
	raft := RaftConfiguration{Servers: []RaftMember{
		{RaftServer: RaftServer{"a1", "a1", true}, Leader: true, Protocol: 2}, {RaftServer: RaftServer{"id2", "a2", true}, Protocol: 3}, {RaftServer: RaftServer{"a3", "a3", true}, Protocol: 2},
	}}
	answer := func(host, id, address, state string, protocol int) Answer {
		return Answer{Host: host, View: AgentView{Host: host, ServerID: id, RPC: address, Raft: Raft{State: state, Commit: 9, Applied: 9, Peers: 2, Protocol: protocol, Servers: raft.Plain()}}}
	}
	base := func() RolledEvidence {
		own := raft
		own.Servers = append([]RaftMember{}, raft.Servers...)
		members := []Member{{Name: "s1.global", Status: "alive", Tags: map[string]string{"id": "id1"}}, {Name: "s2.global", Status: "alive", Tags: map[string]string{"id": "id2"}}}
		return RolledEvidence{Host: "s2", NodeID: "id2", Reached: 9, Raft: own, Members: members, Answers: []Answer{
			answer("s1", "id1", "a1", Leader, 2), answer("s2", "id2", "a2", Follower, 3), answer("s3", "id3", "a3", Follower, 2),
		}}
	}
	for name, test := range map[string]struct {
		change func(*RolledEvidence)
		want   string
	}{
		"well":                    {func(*RolledEvidence) {}, ""},
		"by its address":          {func(e *RolledEvidence) { e.Raft.Servers[1].ID = "a2" }, "which is not its node id yet"},
		"not there":               {func(e *RolledEvidence) { e.Raft.Servers = e.Raft.Servers[:1] }, "does not have it yet"},
		"no vote":                 {func(e *RolledEvidence) { e.Raft.Servers[1].Voter = false }, "no vote yet"},
		"twice":                   {func(e *RolledEvidence) { e.Raft.Servers[2].Address = "a2" }, "which is not its node id yet"},
		"another is lost":         {func(e *RolledEvidence) { e.Raft.Servers[2].Voter = false }, "does not have it as a voter"},
		"too few peers":           {func(e *RolledEvidence) { e.Answers[1].View.Raft.Peers = 0 }, "counts 0 raft peers"},
		"behind":                  {func(e *RolledEvidence) { e.Answers[1].View.Raft.Applied = 3 }, "has applied index 3"},
		"no contact":              {func(e *RolledEvidence) { e.Answers[1].View.Raft.LastContact = Never }, "not heard from the leader"},
		"another is dead":         {func(e *RolledEvidence) { e.Answers[2].Error = "gone" }, "does not answer: gone"},
		"an accepted dead":        {func(e *RolledEvidence) { e.Answers[2].Error, e.Accepted = "gone", []string{"s3"} }, ""},
		"gossip has it as left":   {func(e *RolledEvidence) { e.Members[1].Status = "left" }, "gossip sees it as left"},
		"gossip has it as failed": {func(e *RolledEvidence) { e.Members[1].Status = "failed" }, "gossip sees it as failed"},
		"gossip does not know it": {func(e *RolledEvidence) { e.Members = e.Members[:1] }, "gossip does not know it"},
		"gossip is not told":      {func(e *RolledEvidence) { e.Members, e.Gossip = nil, "s1: no" }, "whether gossip hears from it: s1: no"},
		"protocol 2":              {func(e *RolledEvidence) { e.Answers[1].View.Raft.Protocol = 2 }, "protocol 2 is in force"},
	} {
		e := base()
		test.change(&e)
		if words := Words(Rolled(e)); (words == "") != (test.want == "") || !strings.Contains(words, test.want) {
			t.Errorf("%s: %q, want %q", name, words, test.want)
		}
	}
}

func TestAnIDWithALineBreakIsRead(t *testing.T) {
	want := []RaftServer{{raftID + "\n", raftAddress, true}, {"b", "[fd00::1]:4647", false}}
	got := parseConfiguration("[{Suffrage:Voter ID:" + raftID + "\n Address:" + raftAddress + "} {Suffrage:Nonvoter ID:b Address:[fd00::1]:4647}]")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSerfSnapshot(t *testing.T) {
	text := "alive: s1.global 10.0.0.1:4648\nclock: 3\nalive: s2.global 10.0.0.2:4648\nnot-alive: s2.global\nalive: s3.global [fd00::3]:4648\nevent-clock: 1\n"
	want := map[string]string{"s1.global": "10.0.0.1:4648", "s3.global": "[fd00::3]:4648"}
	if diff := cmp.Diff(want, SerfSnapshot([]byte(text))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzSerfSnapshot(f *testing.F) {
	f.Add([]byte("alive: s1.global 10.0.0.1:4648\nnot-alive: s1.global\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for name, address := range SerfSnapshot(text) {
			if strings.ContainsAny(name+address, "\n") {
				t.Errorf("%q at %q holds a line break", name, address)
			}
		}
	})
}

func TestRaftPlanRefusesToTurnClientsAway(t *testing.T) {
	const turnedAway = "servers of 1.9 and later turn away clients before 1.6"
	old, young := raftVersionOf(t, "1.5.17"), raftVersionOf(t, "1.6.0")
	client := func(version Version) Survey {
		return Survey{NodesAsked: true, Hosts: []HostFacts{{Host: "c1", Role: "client", Client: true, NodeID: "c1-id", Running: true, VersionRunning: version}}}
	}
	node := func(version, status string) Survey {
		return Survey{NodesAsked: true, Nodes: []NodeSummary{{ID: "c9-id", Name: "c9", Version: version, Status: status}}}
	}
	newDisk := func(e *RaftEvidence) { e.Facts.VersionDisk, e.Facts.ExeCurrent = raftVersionOf(t, "1.10.5"), false }
	for name, test := range map[string]struct {
		to     string
		survey Survey
		change func(*RaftEvidence)
		want   string // "": nobody is turned away
	}{
		"an old client":                         {"1.10.5", client(old), nil, "c1: this client runs 1.5.17, and " + turnedAway},
		"one that is new enough":                {"1.10.5", client(young), nil, ""},
		"to a version that takes it":            {"1.8.4", client(old), nil, ""},
		"one that the inventory has not":        {"1.10.5", node("1.2.6", nodeReady), nil, "client c9 runs 1.2.6, and " + turnedAway},
		"such a one that is down":               {"1.10.5", node("1.2.6", nodeDown), nil, ""},
		"the server does not run":               {"1.10.5", client(old), silent, turnedAway},
		"the new binary is on the disk already": {"", client(old), newDisk, turnedAway},
		"it is all that the stopped server has": {"", client(old), func(e *RaftEvidence) { silent(e); newDisk(e); e.Facts.VersionRunning = Version{} }, ""},
		"nothing is to be done":                 {"", client(old), migratedServer, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := raftServerOf(t)
			if test.change != nil {
				test.change(&e)
			}
			options := RaftOptions{VersionOptions: VersionOptions{AllowUnsupportedSkip: true}}
			if test.to != "" {
				options.Target = raftVersionOf(t, test.to)
			}
			test.survey.Hosts = append(test.survey.Hosts, e.Facts)
			words := Words(NewRaftPlan(test.survey, []RaftEvidence{e}, options).Problems)
			if strings.Contains(words, turnedAway) != (test.want != "") || !strings.Contains(words, test.want) {
				t.Errorf("%q, want %q", words, test.want)
			}
		})
	}
	unasked := NewRaftPlan(Survey{}, []RaftEvidence{raftServerOf(t)}, RaftOptions{Target: raftVersionOf(t, "1.10.5")})
	if words := Words(unasked.Warnings); !strings.Contains(words, "could not be asked for their clients") {
		t.Errorf("clients of which nobody knows: %q", words)
	}
}

// eachInItsRegion are servers that lead a region each.
func eachInItsRegion(t *testing.T, regions ...string) (Survey, []RaftEvidence) {
	t.Helper()
	var survey Survey
	all := raftClusterOf(t, len(regions))
	for i := range all {
		f := &all[i].Facts
		f.Region, f.Leader, f.RaftServers = regions[i], true, f.RaftServers[i:i+1]
		survey.Hosts = append(survey.Hosts, *f)
	}
	return survey, all
}

func TestServersOfSeveralRegionsAreNotOneCluster(t *testing.T) {
	for _, regions := range [][]string{{"us", "eu"}, {"us", "eu", "us"}} {
		survey, evidence := eachInItsRegion(t, regions...)
		p := NewRaftPlan(survey, evidence, RaftOptions{})
		words := Words(p.Problems)
		for _, want := range []string{"2 regions", "eu (s2), us (s1", "first with --limit s2, then with --limit s1", "an inventory of its own"} {
			if !strings.Contains(words, want) {
				t.Errorf("%v: %q, want %q", regions, words, want)
			}
		}
		if p.Mode != "" || len(p.Problems) != 1 || strings.Contains(words, "recover") {
			t.Errorf("%v: mode %q: %q", regions, p.Mode, words)
		}
	}
}

func TestTheRegionToMigrateIsThatOfTheLimit(t *testing.T) {
	survey, _ := eachInItsRegion(t, "us", "eu")
	survey.Hosts = append(survey.Hosts, HostFacts{Host: "c1", Region: "asia", Client: true})
	parts := survey.Regions()
	for name, test := range map[string]struct {
		parts []Survey
		hosts []string
		want  string // "": it is not clear
	}{
		"all":                       {parts, nil, ""},
		"the servers of one":        {parts, []string{"s1"}, "us"},
		"those and a client":        {parts, []string{"c1", "s2"}, "eu"},
		"of both":                   {parts, []string{"s1", "s2"}, ""},
		"only a client":             {parts, []string{"c1"}, ""},
		"one region has servers":    {parts[:2], nil, "eu"},
		"and they are left out":     {parts[:2], []string{"c1"}, "eu"},
		"nobody has looked at them": {Survey{}.Regions(), nil, ""},
	} {
		got := ""
		if at := RaftRegion(test.parts, test.hosts); at >= 0 {
			got = test.parts[at].Region
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// What a region cannot reach may be a server of it, unless another region says that it has it.
func TestUnreachableHostsStayWithARegionUnlessAnotherHasThem(t *testing.T) {
	survey, _ := eachInItsRegion(t, "us", "eu")
	survey.Unreachable = map[string]LookFailure{"s8": {}, "s9": {}}
	parts := survey.Regions()
	parts[0].Raft.Servers = []RaftMember{{RaftServer: RaftServer{ID: "9", Address: "10.0.0.9:4647"}, Node: "s9.eu"}}
	for at, want := range [][]string{{"s8", "s9"}, {"s8"}} {
		if diff := cmp.Diff(want, sortedKeys(OfRegion(parts, at).Unreachable)); diff != "" {
			t.Errorf("%s: %s", parts[at].Region, diff)
		}
	}
}

func TestATokenIsAskedForBeforeAnyRepair(t *testing.T) {
	untold := func(e *RaftEvidence, leader string) {
		silent(e)
		e.Facts.Running, e.Facts.Problem, e.Leads = true, "permission denied (403)", leader
	}
	for _, servers := range []int{1, 2, 3} {
		all := raftClusterOf(t, servers)
		for i := range all {
			untold(&all[i], raftAddress)
			all[i].Others = []string{"gossip knew s9.global as alive"}
		}
		p := NewRaftPlan(Survey{}, all, RaftOptions{})
		if words := Words(p.Problems); !strings.Contains(words, "give a token") || !strings.Contains(words, "permission denied") || strings.Contains(words, "recover") || len(p.Problems) != 1 {
			t.Errorf("%d: %q", servers, words)
		}
		if servers == 1 {
			continue
		}
		for i := range all {
			all[i].Leads = ""
		}
		if words := Words(NewRaftPlan(Survey{}, all, RaftOptions{}).Problems); !strings.Contains(words, "drover recover") {
			t.Errorf("%d without a leader: %q", servers, words)
		}
	}
	lacks := Survey{Further: []Problem{{Text: "the Nomad token may not take a snapshot"}}}
	if p := NewRaftPlan(lacks, raftClusterOf(t, 3), RaftOptions{}); p.Verdict() != VerdictRefused || len(p.Problems) != 1 {
		t.Errorf("a token that may not do all: %q", Words(p.Problems))
	}
	one := raftClusterOf(t, 3)
	untold(&one[1], raftAddress)
	if p := NewRaftPlan(Survey{}, one, RaftOptions{}); !strings.Contains(Words(p.Problems), "s2: its agent names") || len(p.Steps) != 3 {
		t.Errorf("one of three: %q", Words(p.Problems))
	}
}

func TestABrokenConfigurationIsNamed(t *testing.T) {
	const where = "/etc/nomad.d/server.hcl:2:7: a brace is missing"
	broken := RaftEvidence{Facts: HostFacts{Host: "s2"}, Unread: where}
	p := NewRaftPlan(Survey{}, []RaftEvidence{broken}, RaftOptions{})
	if words := Words(p.Problems); len(p.Problems) != 1 || !strings.Contains(words, "s2: its agent does not run") || !strings.Contains(words, where) || !strings.Contains(words, "repair that file") {
		t.Errorf("the only host: %q", words)
	}
	// It may be the second server: the first is not taken for one that is alone without a word of that.
	if p := NewRaftPlan(Survey{}, []RaftEvidence{raftServerOf(t), broken}, RaftOptions{}); p.Verdict() != VerdictRefused || len(p.Problems) != 1 || len(p.Steps) != 1 {
		t.Errorf("beside a server: %s %q", p.Verdict(), Words(p.Problems))
	}
	runs := raftServerOf(t)
	runs.Unread = where
	if _, problems := RaftSingle(runs, RaftOptions{}); !strings.Contains(Words(problems), where+" (repair that file; the agent would not start again with it)") {
		t.Errorf("a server that runs: %q", Words(problems))
	}
}

func TestRaftAcceptsOnlyDeadServersAsDead(t *testing.T) {
	for name, test := range map[string]struct {
		down string
		want string
	}{
		"no server":        {"s6", "--accept-down names s6, and the cluster has no such server"},
		"its nearest":      {"10.0.0.5:4648", `did you mean "10.0.0.5:4647"`},
		"a live one":       {"s2", "--accept-down names s2, and s2 is alive: it answers (take it out of --accept-down)"},
		"one that is dead": {"10.0.0.5:4647", ""},
	} {
		all := raftClusterOf(t, 5)[:4]
		var survey Survey
		for _, e := range all {
			survey.Hosts = append(survey.Hosts, e.Facts)
		}
		words := Words(NewRaftPlan(survey, all, RaftOptions{Down: []string{test.down}}).Problems)
		if !strings.Contains(words, test.want) || (words == "") != (test.want == "") {
			t.Errorf("%s: %q, want %q", name, words, test.want)
		}
	}
}

func TestALiveServerOutsideTheInventoryIsNotDead(t *testing.T) {
	survey := Survey{Members: []Member{{Name: "s3.global", Status: memberAlive}}}
	survey.Raft.Servers = []RaftMember{{RaftServer: RaftServer{"10.0.0.3:4647", "10.0.0.3:4647", true}, Node: "s3.global"}}
	all := raftClusterOf(t, 3)[:2]
	words := Words(NewRaftPlan(survey, all, RaftOptions{}).Problems)
	if !strings.Contains(words, "not in the inventory, and s3 is alive") || strings.Contains(words, "dead") {
		t.Errorf("alive: %q", words)
	}
	survey.Members = nil
	if words := Words(NewRaftPlan(survey, all, RaftOptions{}).Problems); !strings.Contains(words, "no host of the inventory") || strings.Contains(words, "voters are dead") {
		t.Errorf("nobody knows: %q", words)
	}
}

func TestRaftPlanMakesSureOfTheNewBinary(t *testing.T) {
	e := raftServerOf(t)
	e.Facts.Architecture = "x86_64"
	options := RaftOptions{Target: raftVersionOf(t, "1.4.1")}
	survey := Survey{Hosts: []HostFacts{e.Facts}, Binaries: map[string]NewBinary{"x86_64": {Error: "the directory has no Nomad 1.4.1"}}}
	p := NewRaftPlan(survey, []RaftEvidence{e}, options)
	if words := Words(p.Problems); !strings.Contains(words, "the directory has no Nomad 1.4.1") || len(p.Problems) != 1 {
		t.Errorf("no binary: %q", words)
	}
	if upgrade := p.Upgrade(); upgrade == nil || len(upgrade.Steps) != 1 || upgrade.Steps[0].Host != "s1" || !upgrade.Target.Same(options.Target) {
		t.Errorf("what needs one: %+v", upgrade)
	}
	survey.Binaries["x86_64"] = NewBinary{Size: 1}
	survey.Short = map[string]LookFailure{"s1": {Text: "no room for the new binary"}}
	if words := Words(NewRaftPlan(survey, []RaftEvidence{e}, options).Problems); !strings.Contains(words, "no room for the new binary") || strings.Contains(words, "--limit") {
		t.Errorf("no room: %q", words)
	}
	if p := NewRaftPlan(Survey{}, []RaftEvidence{e}, RaftOptions{}); p.Upgrade() != nil {
		t.Error("the version stays, and a binary is wanted")
	}
}
