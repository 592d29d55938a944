// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"
)

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
