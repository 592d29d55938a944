// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// clusterView judges one region.
type clusterView struct {
	*overviewer
	*ClusterEvidence
	row     ClusterRow
	leader  *AgentView
	hosts   []*HostFacts // of the region, sorted
	answers map[string]*Answer
}

func (o *overviewer) cluster(e *ClusterEvidence) {
	c := &clusterView{overviewer: o, ClusterEvidence: e, row: ClusterRow{Region: e.Region, Reached: e.Reached}, answers: map[string]*Answer{}}
	for i := range e.Answers {
		c.answers[e.Answers[i].Host] = &e.Answers[i]
	}
	hosts := sortFacts(o.evidence.Hosts)
	for i := range hosts {
		if hosts[i].Region == e.Region && (hosts[i].Server || hosts[i].Client) {
			c.hosts = append(c.hosts, &hosts[i])
		}
	}
	leader, others := soleLeader(e.Answers)
	c.leader = leader
	for _, other := range others {
		o.bad(findLeaders, other.Host, "see whether it is cut off from the others, or belongs to another cluster", "%s", other.Text)
	}
	if leader != nil {
		c.row.Leader = leader.Host
	}
	c.token()
	servers := slices.ContainsFunc(c.hosts, func(f *HostFacts) bool { return f.Server })
	for _, f := range c.hosts {
		if f.Server {
			c.server(f)
		}
		if f.Client {
			c.client(f)
		}
	}
	if servers {
		c.leaders()
		c.quorum()
		c.configuration()
		c.gossip()
		c.autopilot()
	}
	c.nodes()
	c.jobs()
	o.overview.Clusters = append(o.overview.Clusters, c.row)
}

// view is what an agent says of itself; nil when it says nothing.
func (c *clusterView) view(host string) *AgentView {
	if answer := c.answers[host]; answer != nil && answer.Error == "" {
		return &answer.View
	}
	return nil
}

// servers are the hosts of the region's servers, those that answer first asked.
func (c *clusterView) servers() []*HostFacts {
	return slices.DeleteFunc(slices.Clone(c.hosts), func(f *HostFacts) bool { return !f.Server })
}

func (c *clusterView) server(f *HostFacts) {
	row := ServerRow{Host: f.Host, Version: f.VersionRunning, Disk: f.VersionDisk, ID: f.ServerID, Gossip: c.seen(f)}
	view := c.view(f.Host)
	if view == nil {
		if answer := c.answers[f.Host]; f.Answers && answer != nil {
			c.bad(findNoAnswer, f.Host, "see its log: journalctl -u "+f.Unit, "its agent has stopped answering: %s", reasonOf(answer))
		}
		c.overview.Servers = append(c.overview.Servers, row)
		return
	}
	raft := view.Raft
	row.State, row.Term, row.Applied, row.Protocol = raft.State, raft.Term, raft.Applied, raft.Protocol
	row.Voter = isVoter(raft.Servers, view)
	if c.leader != nil {
		row.Voter = isVoter(c.leader.Raft.Servers, view)
	}
	switch raft.State {
	case Leader:
	case Follower:
		row.LastContact = "never"
		if raft.LastContact != Never {
			row.LastContact = raft.LastContact.String()
		}
	default:
		c.bad(findState, f.Host, "see whether it reaches the RPC ports of the other servers", "it is neither follower nor leader but %q", raft.State)
	}
	if c.leader != nil {
		c.follows(f, view, row.Voter)
	}
	c.overview.Servers = append(c.overview.Servers, row)
}

func reasonOf(answer *Answer) string { return strings.TrimPrefix(answer.Error, answer.Host+": ") }

// follows compares a server with the leader.
func (c *clusterView) follows(f *HostFacts, view *AgentView, voter bool) {
	raft, network := view.Raft, "see whether it reaches the RPC ports of the other servers"
	if raft.State == Follower && raft.LastContact >= contactWithin {
		c.bad(findContact, f.Host, network, "it has not heard from the leader %s", ago(raft.LastContact))
	}
	if raft.Commit == 0 || raft.Applied < c.Reached {
		c.bad(findApplied, f.Host, "wait; if it does not catch up, see its log: journalctl -u "+f.Unit, "it has applied index %d, and the leader had committed %d before it was asked", raft.Applied, c.Reached)
	}
	if raft.Pending > 0 {
		c.bad(findApplied, f.Host, "wait; if it stays so, the host is short of processor or disk", "%d raft entries wait to be applied", raft.Pending)
	}
	if !sameServers(raft.Servers, c.leader.Raft.Servers) {
		c.bad(findRaft, f.Host, "wait; if it stays so, it belongs to another cluster", "it has another raft configuration than the leader %s: %s", c.leader.Host, difference(raft.Servers, c.leader.Raft.Servers))
	}
	if !voter {
		c.unproven(findVote, f.Host, "autopilot gives a server its vote when it has been well for 10 s", "it has no vote")
	}
}

// leaders: all servers must name one leader.
func (c *clusterView) leaders() {
	said := map[string][]string{}
	for _, f := range c.servers() {
		if view := c.view(f.Host); view != nil {
			said[view.Raft.LeaderAddr] = append(said[view.Raft.LeaderAddr], f.Host)
		}
	}
	switch {
	case c.leader == nil && len(c.denied()) > 0: // nobody can be asked for raft's configuration: see token
		return
	case c.leader == nil:
		c.leaderless(said)
		return
	}
	for _, address := range sortedKeys(said) {
		switch address {
		case c.leader.RPC:
		case "":
			for _, host := range said[address] {
				c.bad(findLeader, host, "see whether it reaches the RPC ports of the other servers", "it knows no leader, while %s leads", c.leader.Host)
			}
		default:
			for _, host := range said[address] {
				c.bad(findLeader, host, "wait; if it stays so, it belongs to another cluster", "it takes %s for the leader, while %s (%s) leads", address, c.leader.Host, c.leader.RPC)
			}
		}
	}
}

// leaderless looks for the reason why nobody leads.
func (c *clusterView) leaderless(said map[string][]string) {
	var configured []RaftServer
	teller := ""
	for _, f := range c.servers() {
		view := c.view(f.Host)
		if view == nil {
			continue
		}
		if len(view.Raft.Servers) == 1 && view.Raft.Protocol >= 3 && view.ServerID != "" && view.Raft.Servers[0].ID != view.ServerID {
			c.bad(findRaftID, f.Host, "drover raft-v3 rescues it",
				"it has no leader: it runs raft protocol %d and is called %s, but its raft configuration has %s; it was restarted with the new protocol and without a peers.json", view.Raft.Protocol, view.ServerID, view.Raft.Servers[0].ID)
			return
		}
		if len(view.Raft.Servers) > len(configured) {
			configured, teller = view.Raft.Servers, f.Host
		}
	}
	for _, address := range sortedKeys(said) {
		if address != "" && c.hears(said[address]) {
			c.bad(findNoLeader, "", "bring its host into the inventory", "the servers %s name %s as the leader, which answers from no host of the inventory", someHosts(said[address]), address)
			return
		}
	}
	voters, alive, dead := 0, 0, []string{}
	for _, server := range configured {
		if !server.Voter {
			continue
		}
		voters++
		if c.find(server) != nil {
			alive++
		} else {
			dead = append(dead, c.name(server))
		}
	}
	slices.Sort(dead)
	switch {
	case voters == 0:
		c.bad(findNoLeader, "", cmp.Or(c.busy(), "start the servers; drover recover brings back a cluster none of whose servers finds the others"), "no server leads, and none says what its raft configuration is: the control plane is down")
	case alive < voters/2+1:
		c.quorumLost(teller, alive, voters, dead)
	default:
		c.bad(findNoLeader, "", "an election takes a few seconds: look again; if it stays so, see whether the servers reach each other's RPC ports",
			"no server leads although %d of %d voters answer: the control plane is down", alive, voters)
	}
}

func (c *clusterView) quorumLost(teller string, alive, voters int, missing []string) {
	c.bad(findQuorum, "", cmp.Or(c.busy(), "start the servers that are missing; if they are lost for good, drover recover goes on with those that are left"),
		"quorum is lost: by %s's raft configuration %d of %d voters answer, and %d are needed; missing: %s", teller, alive, voters, voters/2+1, someHosts(missing))
}

// hears tells whether one of the servers is in contact with a leader. A follower goes on naming one that is gone until it calls an election.
func (c *clusterView) hears(hosts []string) bool {
	return slices.ContainsFunc(hosts, func(host string) bool { return c.view(host).Raft.LastContact < contactWithin })
}

// find is the server that a peer of raft's configuration is, if it has answered.
func (c *clusterView) find(server RaftServer) *HostFacts {
	for _, f := range c.servers() {
		if view := c.view(f.Host); view != nil && view.is(server) {
			return f
		}
	}
	return nil
}

// name calls a peer by its host where the inventory has it.
func (c *clusterView) name(server RaftServer) string {
	for _, f := range c.servers() {
		if f.ServerID != "" && f.ServerID == server.ID || f.RPC != "" && f.RPC == server.Address || c.view(f.Host) == nil && c.isAt(f, server) {
			return f.Host
		}
	}
	if host := c.unreachable(server); host != "" {
		return host
	}
	for _, member := range c.Raft.Servers {
		if member.RaftServer == server && member.Node != "" && member.Node != "(unknown)" {
			return fmt.Sprintf("%s at %s", member.name(), server.Address)
		}
	}
	return fmt.Sprintf("%s at %s", server.ID, server.Address)
}

// isAt tells whether a server that says nothing is a peer of raft's configuration by its address, or by the name that gossip has for that.
// One that is being brought from raft protocol 2 to 3 is there by its address until it is back.
func (c *clusterView) isAt(f *HostFacts, server RaftServer) bool {
	member := RaftMember{RaftServer: server}
	if i := slices.IndexFunc(c.Raft.Servers, func(m RaftMember) bool { return m.RaftServer == server }); i >= 0 {
		member = c.Raft.Servers[i]
	}
	return member.isHost(f.Host, c.evidence.Addresses[f.Host]) || member.Node == memberName(f)
}

// unreachable is the host of the inventory that a peer is, where nothing else is known of that host.
func (c *clusterView) unreachable(server RaftServer) string {
	for _, member := range c.Raft.Servers {
		for _, host := range sortedKeys(c.evidence.Unreachable) {
			if member.RaftServer == server && member.isHost(host, c.evidence.Addresses[host]) {
				return host
			}
		}
	}
	return ""
}

// quorum counts the votes by the servers' own answers.
func (c *clusterView) quorum() {
	if c.leader == nil {
		return
	}
	c.row.Voters = Voters(c.leader.Raft.Servers)
	alive, unasked, missing := 0, 0, []string{}
	for _, server := range c.leader.Raft.Servers {
		if !server.Voter {
			continue
		}
		if f := c.find(server); f != nil {
			if state := c.view(f.Host).Raft.State; state == Leader || state == Follower {
				alive++
				continue
			}
		}
		name := c.name(server)
		if slices.ContainsFunc(c.denied(), func(f *HostFacts) bool { return f.Host == name }) {
			unasked++
			continue
		}
		missing = append(missing, name)
	}
	slices.Sort(missing)
	c.row.Tolerance = max(0, alive-(c.row.Voters/2+1))
	switch {
	case alive+unasked == c.row.Voters: // as far as they could be asked
	case alive+unasked < c.row.Voters/2+1: // a leader that has lost the others says for a moment longer that it leads
		c.quorumLost(c.leader.Host, alive, c.row.Voters, missing)
	default:
		c.bad(findQuorum, "", "bring the missing ones back, see below", "%d of %d voters answer; %s", alive, c.row.Voters, toleranceText(c.row.Tolerance))
	}
	if c.row.Voters > 1 && c.row.Voters%2 == 0 {
		c.note(findEven, "", "", "%d voters stand no more failures than %d", c.row.Voters, c.row.Voters-1)
	}
}

func toleranceText(tolerance int) string {
	if tolerance == 0 {
		return "if one more is lost, the control plane stops"
	}
	return fmt.Sprintf("%d more may be lost", tolerance)
}

// configuration judges the peers of raft: who they are, by what they are named, and with which protocol.
func (c *clusterView) configuration() {
	if c.leader == nil {
		return
	}
	if c.RaftError != "" {
		c.unproven(findNotAsked, "", "give a token that may read it (operator:read)", "the raft configuration with what gossip adds to it cannot be read: %s", c.RaftError)
	}
	byAddress := []string{}
	for _, server := range c.leader.Raft.Servers {
		f := c.find(server)
		switch {
		case f == nil && c.unreachable(server) != "": // said already
		case f == nil && c.name(server) == fmt.Sprintf("%s at %s", server.ID, server.Address):
			c.bad(findStranger, "", "add its host to the inventory; if it is gone for good: nomad operator raft remove-peer", "raft's configuration has %s (voter: %t), which answers from no host of the inventory", c.name(server), server.Voter)
		case f == nil && !slices.ContainsFunc(c.servers(), func(h *HostFacts) bool { return h.Host == c.name(server) }):
			c.bad(findStranger, "", "add its host to the inventory", "raft's configuration has the server %s (voter: %t), which answers from no host of the inventory", c.name(server), server.Voter)
		case f != nil && server.ID == server.Address && c.view(f.Host).Raft.Protocol >= 3:
			c.bad(findRaftID, f.Host, "drover raft-v3 finishes it", "it runs raft protocol 3, and raft's configuration has it by its address %s and not by its node id %s", server.Address, f.ServerID)
		}
		if server.ID == server.Address {
			byAddress = append(byAddress, c.name(server))
		}
	}
	for _, f := range c.servers() {
		view := c.view(f.Host)
		if view != nil && !slices.ContainsFunc(c.leader.Raft.Servers, view.is) {
			c.bad(findRaft, f.Host, "see its log; it may belong to another cluster, or have been removed as dead: restart it", "it is not in the raft configuration of the leader %s", c.leader.Host)
		}
	}
	c.protocols(byAddress)
}

// protocols notes what is left of raft protocol 2.
func (c *clusterView) protocols(byAddress []string) {
	var old []string
	for _, f := range c.servers() {
		if view := c.view(f.Host); view != nil && view.Raft.Protocol > 0 && view.Raft.Protocol < 3 {
			old = append(old, f.Host)
		}
	}
	if len(old) == 0 {
		return
	}
	text := "raft protocol 2 is in force on " + someHosts(old)
	if len(byAddress) < len(c.leader.Raft.Servers) {
		text += ", and others have 3 already: the migration is not finished"
	}
	c.note(findProtocol, "", "drover raft-v3 brings protocol 3, which Nomad 1.4 and later need", "%s; autopilot has no opinion as long as that is so", text)
}
