// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
)

// settledHosts are the hosts of a survey, with agents that systemd starts over and over as down, whether a process was there at the
// instant of the look or not: two plans of one state are the same.
func settledHosts(hosts []HostFacts) []HostFacts {
	hosts = slices.Clone(hosts)
	for i := range hosts {
		if f := &hosts[i]; f.CrashLooping {
			f.Running, f.Answers, f.ExeCurrent, f.VersionRunning, f.Denied = false, false, false, Version{}, ""
		}
	}
	return hosts
}

// isServer tells whether the host is a server of raft's configuration.
func (f *HostFacts) isServer(member *RaftMember) bool {
	view := AgentView{ServerID: f.ServerID, RPC: f.RPC}
	return f.Server && (view.is(member.RaftServer) || f.RPC != "" && f.RPC == member.Address || member.Node == f.NodeName+"."+f.Region)
}

// dropped tells whether a host is a server that is down and that raft has no more: autopilot takes out one that has been dead for some time.
func (s *Survey) dropped(f *HostFacts) bool { return f.Server && !f.Running && s.outOfRaft(f) }

// outOfRaft tells whether raft's configuration, where it could be asked for, has a server not.
func (s *Survey) outOfRaft(f *HostFacts) bool {
	return len(s.Raft.Servers) > 0 && !slices.ContainsFunc(s.Raft.Servers, func(m RaftMember) bool {
		return f.isServer(&m) || m.nameless() && !s.seen(&m) // which may be it
	})
}

// nameless tells that gossip could not say who the server is.
func (m *RaftMember) nameless() bool { return m.Node == "" || m.Node == "(unknown)" }

// known tells whether the cluster's raft or gossip knows a server that raft's configuration has not: by the servers with which it once
// was, or by its name.
func (s *Survey) known(f *HostFacts) bool {
	var servers []RaftServer
	for _, member := range s.Raft.Servers {
		servers = append(servers, member.RaftServer)
	}
	return shareServer(f.RaftServers, servers) || slices.ContainsFunc(s.Members, func(m Member) bool {
		return m.Name == f.NodeName+"."+f.Region && m.Tags["id"] == f.ServerID
	})
}

// untouchedServers warns of servers in trouble that this upgrade leaves as they are, and refuses to upgrade clients while nobody leads:
// they could not register.
func (p *planner) untouchedServers(survey Survey) {
	servers, touched, led := false, false, false
	for _, step := range p.plan.Steps {
		facts := survey.of(step.Host)
		if facts == nil || !facts.Server {
			continue
		}
		servers, led = true, led || facts.Leader
		touched = touched || step.Action != ActionNone
		if step.Action == ActionNone {
			p.inTrouble(survey, facts)
		}
	}
	clients := slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Role == "client" && s.Action == ActionUpgrade })
	if servers && !touched && !led && clients && survey.leaderUnasked() == "" {
		p.plan.refuse("", "repair the servers first: drover upgrade --servers starts those that are down", "no server says that it leads, and clients that are restarted could not register")
	}
}

// denied refuses a cluster whose agents refuse the token: of one to be upgraded everything must be known, and of the servers in any case. That is
// said once, and hosts are no way out of it. A cluster none of whose servers answers for another reason is as little known.
func (p *planner) denied(survey Survey) {
	var hosts []string
	servers, answer := false, false
	for _, step := range p.plan.Steps {
		facts := survey.of(step.Host)
		if facts == nil {
			continue
		}
		if facts.Running && facts.Denied != "" && (facts.Server || step.Action != ActionNone) {
			hosts = append(hosts, facts.Host)
		}
		servers, answer = servers || facts.Server && facts.Running, answer || facts.Server && facts.Answers
	}
	slices.Sort(hosts)
	switch {
	case len(hosts) > 0:
		p.plan.refuse("", tokenRemedy+"; one that is right is unknown where no server leads: see drover health",
			"ACLs are on, and these agents refuse the token, or want one (403): %s; nothing is known of the cluster", someHosts(hosts))
	case servers && !answer && !p.wants():
		p.plan.refuse("", "see drover health", "no server answers, so that nothing is known of the cluster")
	}
}

// limits drops the advice to leave out the hosts with one fault where all have it, so that nobody would be left to upgrade.
func (p *planner) limits() {
	type fault struct{ text, remedy string }
	hosts := map[fault][]string{}
	for _, found := range p.plan.Problems {
		if found.Limit != "" {
			hosts[fault{found.Text, found.Remedy}] = append(hosts[fault{found.Text, found.Remedy}], found.Host)
		}
	}
	for i, found := range p.plan.Problems {
		same := hosts[fault{found.Text, found.Remedy}]
		if !slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Action != ActionNone && !slices.Contains(same, s.Host) }) {
			p.plan.Problems[i].Limit = ""
		}
	}
}

func (p *planner) inTrouble(survey Survey, facts *HostFacts) {
	start := "systemctl start " + facts.Unit
	switch {
	case survey.dropped(facts):
		p.plan.warn(facts.Host, "this server is down, and raft has dropped it; this upgrade leaves it so: %s starts it, and some 20 s later it votes again", start)
	case facts.CrashLooping:
		p.plan.warn(facts.Host, "this server is down: systemd starts it over and over; this upgrade leaves it so: see journalctl -u %s", facts.Unit)
	case !facts.Running:
		p.plan.warn(facts.Host, "this server is down; this upgrade leaves it so: %s starts it", start)
	case facts.Denied != "": // said once for all of them
	case !facts.Answers:
		p.plan.warn(facts.Host, "this server does not answer: %s", facts.Problem)
	}
}

// returning are servers of the inventory without a vote, and what they lack. stays says that one of them is down, raft has dropped it and this
// plan does not start it.
func (p *planner) returning(survey Survey) (words []string, starts, stays bool) {
	for _, step := range p.plan.Steps {
		facts := survey.of(step.Host)
		if facts == nil || !facts.Server || step.Voter || p.options.down(facts.Host, facts.NodeName, facts.ServerID) {
			continue
		}
		switch dropped := survey.dropped(facts); {
		case dropped && step.Action == ActionUpgrade:
			starts = true
		case dropped:
			stays = true
			words = append(words, facts.Host+" is down, and raft has dropped it")
		case facts.Answers:
			words = append(words, facts.Host+" has no vote yet")
		}
	}
	return words, starts, stays
}

// spareVote refuses to stop one of two voters, and, while a server that raft has dropped stays away, any.
func (p *planner) spareVote(survey Survey, voters int) {
	words, starts, stays := p.returning(survey)
	switch {
	case stays && p.stopsVoter(survey):
		p.plan.refuse("", "start it (systemctl start nomad), wait some 20 s until it votes, and run again; or let this upgrade start it: without --limit; if it shall never come back, take it out of the inventory",
			"no server is stopped while one that belongs to the cluster is away: %s", someHosts(words))
	case voters != 2 || p.options.Outage || !p.wantsVoter() || starts:
	case len(words) > 0:
		p.plan.refuse("", "wait until it votes, which a server does some 20 s after its start, and run again; one that shall never vote is no spare: then add a third voter",
			"two servers have no spare vote, and %s", someHosts(words))
	default:
		p.plan.refuse("", "add a third server, or accept that the control plane pauses with --accept-outage", "two servers have no spare vote")
	}
}

// alive says why a server that is to count as dead lives; "" when nothing shows that it does.
func (s *Survey) alive(member *RaftMember) string {
	i := slices.IndexFunc(s.Members, func(m Member) bool {
		return m.Status == memberAlive && (m.Tags["id"] != "" && m.Tags["id"] == member.ID || m.Name == member.Node)
	})
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("%s is alive: the other servers hear from it", member.name())
}

// memberAlive is the state of a server from which gossip hears.
const memberAlive = "alive"

// named finds the server of raft's configuration that a name of --accept-down means; nil when none is.
func (s *Survey) named(name string) *RaftMember {
	for i := range s.Raft.Servers {
		member := &s.Raft.Servers[i]
		if member.ID == name || member.Address == name || member.isHost(name, s.Addresses[name]) {
			return member
		}
	}
	return nil
}
