// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/hashicorp/nomad/api"
)

// ForceLeave tells gossip that a member, by NAME.REGION, has left. The answer comes at once; a member that gossip believes alive is seen as
// left when its failure is noticed, 33 to 40 s after its stop.
func ForceLeave(ctx context.Context, client *api.Client, name string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := client.Raw().Write("/v1/agent/force-leave?node="+url.QueryEscape(name), nil, nil, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("tell gossip that %s has left: %w", name, plain(err))
	}
	return nil
}

// AskStatus asks a server what it tells without a token: all servers in its own raft configuration, and the RPC address of the leader, "" when
// it knows none, which it says after 5 s only (Nomad 1.2.6).
func AskStatus(ctx context.Context, client *api.Client) (leader string, peers []string, err error) {
	if err := get(ctx, client, "/v1/status/peers?stale", &peers); err != nil {
		return "", nil, err
	}
	leader, err = AskLeader(ctx, client)
	return leader, peers, err
}

// RolledEvidence is one sample of everything that shows whether a server of several has been migrated.
type RolledEvidence struct {
	Host     string
	NodeID   string
	Answers  []Answer          // of all servers
	Raft     RaftConfiguration // as the leader has it
	Accepted []string          // servers that may be dead
	// Members are what gossip knows by the word of another server; Gossip says why no other told.
	Members []Member
	Gossip  string
	// Reached is what the leader had committed when the wait began: fixed, so that a busy cluster does not run away from it.
	Reached uint64
}

// Rolled says what is missing until a server is migrated: it votes by its node id, raft's configuration has it by no other name and has lost nobody, and
// it has applied what the leader had committed. While a peer is on protocol 2, autopilot has no opinion, and another peer's protocol is no fault.
func Rolled(e RolledEvidence) []Problem {
	c := checker{host: e.Host}
	i := slices.IndexFunc(e.Answers, func(a Answer) bool { return a.Host == e.Host })
	leader, several := soleLeader(e.Answers)
	switch {
	case i < 0 || e.Answers[i].Error != "":
		c.add("it does not answer: %s", e.Answers[max(i, 0)].Error)
		return c.problems
	case leader == nil || len(several) > 0:
		c.add("the servers do not agree who leads")
		return c.problems
	}
	own := &e.Answers[i].View
	c.member(own, e)
	raft := own.Raft
	switch {
	case raft.Protocol < 3:
		c.add("raft protocol %d is in force", raft.Protocol)
	case own.ServerID != e.NodeID:
		c.add("it has the id %s, and its server/node-id says %s", own.ServerID, e.NodeID)
	case raft.State != Leader && raft.State != Follower:
		c.add("it is neither follower nor leader but %q", raft.State)
	case raft.State == Follower && raft.LastContact >= contactWithin:
		c.add("it has not heard from the leader %s", ago(raft.LastContact))
	case raft.Peers != Voters(e.Raft.Plain())-1:
		c.add("it counts %d raft peers instead of %d", raft.Peers, Voters(e.Raft.Plain())-1)
	case raft.Applied == 0 || raft.Applied < e.Reached:
		c.add("it has applied index %d, and the leader had committed %d", raft.Applied, e.Reached)
	}
	c.hears(e)
	for n := range e.Answers {
		answer := &e.Answers[n]
		known := slices.ContainsFunc(e.Raft.Servers, func(s RaftMember) bool { return s.Voter && answer.View.is(s.RaftServer) })
		switch dead := slices.Contains(e.Accepted, answer.Host); {
		case dead || n == i:
		case answer.Error != "":
			c.problems = append(c.problems, Problem{Host: answer.Host, Text: "does not answer: " + answer.Error})
		case !known:
			c.problems = append(c.problems, Problem{Host: answer.Host, Text: "raft's configuration does not have it as a voter"})
		}
	}
	return c.problems
}

// hears looks for the server among the members that another one hears from: what it says of its own membership is no proof.
func (c *checker) hears(e RolledEvidence) {
	i := slices.IndexFunc(e.Members, func(m Member) bool { return m.Tags["id"] == e.NodeID })
	switch {
	case e.Gossip != "":
		c.add("no other server says whether gossip hears from it: %s", e.Gossip)
	case i < 0:
		c.add("gossip does not know it, by the word of another server")
	case e.Members[i].Status != memberAlive:
		c.add("gossip sees it as %s, by the word of another server", e.Members[i].Status)
	}
}

// member looks for the server in raft's configuration.
func (c *checker) member(own *AgentView, e RolledEvidence) {
	found := false
	for _, server := range e.Raft.Servers {
		switch {
		case server.ID == e.NodeID && server.Address == own.RPC:
			found = true
			if !server.Voter {
				c.add("it has no vote yet")
			}
			if server.Protocol != 3 {
				c.add("raft's configuration shows it with protocol %d", server.Protocol)
			}
		case server.Address == own.RPC:
			c.add("raft's configuration has it as %s, which is not its node id yet", server.ID)
		}
	}
	if !found && len(c.problems) == 0 {
		c.add("raft's configuration does not have it yet")
	}
}

// Plain is the configuration without what gossip adds to it.
func (r RaftConfiguration) Plain() []RaftServer {
	servers := make([]RaftServer, len(r.Servers))
	for i, member := range r.Servers {
		servers[i] = member.RaftServer
	}
	return servers
}

// Everybody tells whether no server is left with another protocol or id, so that autopilot has an opinion.
func (e *RolledEvidence) Everybody() bool {
	return !slices.ContainsFunc(e.Raft.Servers, func(s RaftMember) bool { return s.Protocol != 3 || s.ID == s.Address || !s.Voter })
}
