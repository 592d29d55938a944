// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
)

// voters is how many servers of the cluster vote.
func (p *planner) voters(survey Survey) int {
	voters := 0
	for _, member := range survey.Raft.Servers {
		if member.Voter {
			voters++
		}
	}
	if voters > 0 {
		return voters
	}
	for _, facts := range survey.Hosts {
		if facts.Server {
			voters = max(voters, Voters(facts.RaftServers))
		}
	}
	return voters
}

// quorum refuses clusters that could not lose a server even for a second.
func (p *planner) quorum(survey Survey) {
	if len(p.clusters) > 1 || !slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Action != ActionNone && s.server() }) {
		return
	}
	led := slices.ContainsFunc(survey.Hosts, func(f HostFacts) bool { return f.Server && f.Leader })
	missing := slices.Sorted(slices.Values(append(p.votersUnasked(survey), p.votersDown(survey)...)))
	voters := p.voters(survey)
	left, majority := voters-len(missing)-1, voters/2+1
	switch {
	case !led && survey.leaderUnasked() != "" && p.stopsServer(survey):
		p.plan.refuse("", "make that server reachable from here, and part of the inventory", "%s leads the cluster and could not be asked, so that nothing is known of the quorum", survey.leaderUnasked())
	case !led && p.stopsServer(survey) && survey.halfMigrated() != "":
		p.plan.refuse("", "drover raft-v3 finishes it, and brings the leader back; then upgrade",
			"no server says that it leads, and %s is half migrated to raft protocol 3: it runs that protocol, and its raft configuration has it by its address", survey.halfMigrated())
	case !led && !p.options.Outage && p.stopsServer(survey):
		p.plan.refuse("", "repair the cluster first, or accept an outage with --accept-outage", "no server says that it leads")
	case led && voters > 2 && left < majority && p.stopsVoter(survey):
		p.plan.refuse("", "repair the servers that cannot be reached or do not answer first",
			"stopping one more server would leave %d of %d voters, and the cluster needs %d: %s", left, voters, majority, someHosts(missing))
	default:
		p.spareVote(survey, voters)
	}
}

// halfMigrated are servers that run raft protocol 3 and that their own raft configuration has by their address, as protocol 2 does; "" where none is.
func (s *Survey) halfMigrated() string {
	var hosts []string
	for _, facts := range sortFacts(s.Hosts) {
		if facts.Server && facts.RaftProtocol >= 3 && slices.ContainsFunc(facts.RaftServers, func(r RaftServer) bool { return r.ID == r.Address && r.Address == facts.RPC }) {
			hosts = append(hosts, facts.Host)
		}
	}
	return someHosts(hosts)
}

// leaderUnasked is the server that leads by the word of another one, "" when none does.
func (s *Survey) leaderUnasked() string {
	for _, member := range s.Raft.Servers {
		if member.Leader {
			return member.name()
		}
	}
	return ""
}

// votersUnasked are the servers of the cluster that could not be asked, those included that count as dead and that the inventory has not;
// nothing here can repair them.
func (p *planner) votersUnasked(survey Survey) []string {
	var unasked []string
	listed := map[string]bool{}
	for host := range survey.Unreachable {
		if member := survey.memberAt(host); member != nil && member.Voter {
			unasked = append(unasked, host+" cannot be asked")
			listed[member.ID] = true
		}
	}
	for i := range survey.Raft.Servers {
		member := &survey.Raft.Servers[i]
		if member.Voter && !listed[member.ID] && !survey.seen(member) && p.acceptsDown(survey, member) {
			unasked = append(unasked, member.name()+" is not in the inventory")
		}
	}
	return unasked
}

// votersDown are voters that are down and that this plan does not repair.
func (p *planner) votersDown(survey Survey) []string {
	var down []string
	for _, step := range p.plan.Steps {
		facts := survey.of(step.Host)
		if !step.server() || !step.Voter || step.Action == ActionUpgrade || facts == nil {
			continue
		}
		switch {
		case !facts.Running:
			down = append(down, step.Host+" is down")
		case facts.CrashLooping:
			down = append(down, step.Host+" is started over and over")
		case !facts.Answers:
			down = append(down, step.Host+" does not answer")
		}
	}
	return down
}

func (s *Survey) of(host string) *HostFacts {
	for i := range s.Hosts {
		if s.Hosts[i].Host == host {
			return &s.Hosts[i]
		}
	}
	return nil
}

// stopsServer tells whether the plan stops a server that takes part. One that is down or crash-looping has no vote to lose: it may
// always be repaired, also where it is the only one.
func (p *planner) stopsServer(survey Survey) bool { return p.stops(survey, false) }

// stopsVoter tells the same of a server whose vote counts.
func (p *planner) stopsVoter(survey Survey) bool { return p.stops(survey, true) }

func (p *planner) stops(survey Survey, voter bool) bool {
	return slices.ContainsFunc(p.plan.Steps, func(s Step) bool {
		facts := survey.of(s.Host)
		return s.server() && s.Action == ActionUpgrade && (s.Voter || !voter) && facts != nil && facts.Running && !facts.CrashLooping
	})
}

// wantsVoter tells whether a server with a vote is to be upgraded, were it not refused.
func (p *planner) wantsVoter() bool {
	return slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.server() && s.Action != ActionNone && s.Voter })
}

// pauses tells what the user will notice.
func (p *planner) pauses(survey Survey) {
	lowest := 3
	for _, facts := range survey.Hosts {
		if facts.Server && facts.RaftProtocol > 0 {
			lowest = min(lowest, facts.RaftProtocol)
		}
	}
	voters := p.voters(survey)
	if _, starts, _ := p.returning(survey); starts {
		voters++ // it votes again before any other is stopped
	}
	add := func(format string, args ...any) { p.plan.Pauses = append(p.plan.Pauses, fmt.Sprintf(format, args...)) }
	for _, step := range p.plan.Steps {
		if step.Action != ActionUpgrade || !step.server() {
			continue
		}
		why := canTransferLeadership(step.From, lowest)
		switch {
		case voters == 1 && step.Leader:
			add("%s is the only server that votes: the control plane pauses for a few seconds while it restarts", step.Host)
		case voters == 2 && step.Voter:
			add("one of two servers is not enough: the control plane pauses while %s restarts, until both are back", step.Host)
		case step.Leader && why != "":
			add("an election of 2 to 4 s when %s stops: %s", step.Host, why)
		case step.Leader:
			add("leadership moves away from %s before it stops: the control plane pauses for well under a second", step.Host)
		}
	}
}
