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
