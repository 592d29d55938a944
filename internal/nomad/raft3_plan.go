// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Ways to raft protocol 3.
const (
	RaftModeSingle  = "single"
	RaftModeRolling = "rolling"
)

// RaftPlan is what the migration of a cluster will do, and what stands in the way.
type RaftPlan struct {
	Mode   string     `json:"mode"` // RaftModeSingle or RaftModeRolling; "": it is not known what this is
	Target Version    `json:"target"`
	Steps  []RaftStep `json:"steps"` // in order
	Pauses []string   `json:"pauses"`
	Findings
}

// Verdict is clean, changes or refused.
func (p *RaftPlan) Verdict() string {
	return p.verdict(slices.ContainsFunc(p.Steps, func(s RaftStep) bool { return s.Action != ActionNone }))
}

// NewRaftPlan decides, from what all servers show, how the cluster is migrated. The same evidence gives the same plan.
func NewRaftPlan(survey Survey, evidence []RaftEvidence, options RaftOptions) RaftPlan {
	p := RaftPlan{Target: options.Target, Steps: []RaftStep{}, Pauses: []string{}, Findings: noFindings()}
	evidence, unread := p.unread(evidence)
	if p.regions(evidence) {
		return p
	}
	dead := p.unreachable(survey, options)
	raft := configurationOf(evidence)
	p.accepted(survey, raft, options)
	switch servers := max(len(raft), len(evidence)+dead); {
	case len(evidence) == 0 && unread > 0:
	case len(evidence) == 0:
		p.Problems = append(p.Problems, Problem{Text: "no host of the inventory has a Nomad server", Remedy: "bring the servers into the inventory"})
	case servers == 1:
		p.single(survey, evidence[0], options)
	case p.unheard(evidence):
	case servers == 2:
		p.two(evidence, raft, options)
	default:
		p.rolling(survey, evidence, raft, options)
	}
	p.newServers(survey)
	p.Problems, p.Warnings = sorted(p.Problems), sorted(p.Warnings)
	return p
}

// RaftRegion picks, of the regions of an inventory, the one whose servers are to be migrated: that of the hosts that were asked for (nil: all), or
// the only one that has servers. -1 where these are of several, or of none.
func RaftRegion(parts []Survey, hosts []string) int {
	var asked, all []int
	for i, part := range parts {
		server := func(only bool) bool {
			return slices.ContainsFunc(part.Hosts, func(f HostFacts) bool {
				return f.Server && (!only || hosts == nil || slices.Contains(hosts, f.Host))
			})
		}
		if server(true) {
			asked = append(asked, i)
		}
		if server(false) {
			all = append(all, i)
		}
	}
	switch {
	case len(asked) == 1:
		return asked[0]
	case len(all) == 1:
		return all[0]
	}
	return -1
}

// OfRegion is one region of an inventory, with those of the unreachable hosts that no other region knows for its own. The parts have been asked.
func OfRegion(parts []Survey, at int) Survey {
	own := parts[at]
	knows := func(s *Survey, host string) bool { return s.memberAt(host) != nil || s.isClient(host) }
	for _, host := range sortedKeys(own.Unreachable) {
		elsewhere := false
		for i := range parts {
			elsewhere = elsewhere || i != at && knows(&parts[i], host)
		}
		if elsewhere && !knows(&own, host) {
			delete(own.Unreachable, host)
		}
	}
	return own
}

// regions refuses servers of several regions: each region has a raft configuration of its own.
func (p *RaftPlan) regions(evidence []RaftEvidence) bool {
	byRegion := map[string][]string{}
	for _, e := range evidence {
		byRegion[e.Facts.Region] = append(byRegion[e.Facts.Region], e.Facts.Host)
	}
	if len(byRegion) < 2 {
		return false
	}
	var words, limits []string
	for _, region := range sortedKeys(byRegion) {
		slices.Sort(byRegion[region])
		words = append(words, fmt.Sprintf("%s (%s)", region, someHosts(byRegion[region])))
		limits = append(limits, "--limit "+strings.Join(byRegion[region], ","))
	}
	p.refuse("", "run drover raft-v3 for each region, first with "+strings.Join(limits, ", then with ")+" (or the name of a group that holds just the servers of one region), or give each region an inventory of its own",
		"the inventory has servers of %d regions, each of which is a raft cluster of its own: %s", len(words), strings.Join(words, ", "))
	return true
}

// newServers refuses a restart that brings servers to 1.9 or later beside clients that these turn away. It need not be asked for with a target:
// a server takes whatever binary lies on its disk.
func (p *RaftPlan) newServers(survey Survey) {
	i := slices.IndexFunc(p.Steps, func(s RaftStep) bool {
		return s.Action != ActionNone && s.To.AtLeast("1.9.0") && !s.From.AtLeast("1.9.0")
	})
	if i < 0 {
		return
	}
	p.turnedAway(survey, p.Steps[i].To)
	if !survey.NodesAsked {
		p.warn("", "the servers could not be asked for their clients: those outside the inventory that run Nomad before 1.6 are turned away by %s", p.Steps[i].To)
	}
}

// configurationOf is raft's configuration as the leader has it, else as whoever knows most of it.
func configurationOf(evidence []RaftEvidence) []RaftServer {
	var raft []RaftServer
	for _, e := range evidence {
		if e.Facts.Answers && e.Facts.Leader {
			return e.Facts.RaftServers
		}
		if e.Facts.Answers && len(e.Facts.RaftServers) > len(raft) {
			raft = e.Facts.RaftServers
		}
	}
	return raft
}

// unread refuses hosts of which nobody knows whether they are servers, because their configuration cannot be parsed, and leaves the others.
func (p *RaftPlan) unread(evidence []RaftEvidence) (servers []RaftEvidence, unread int) {
	for _, e := range evidence {
		if e.Facts.Server {
			servers = append(servers, e)
			continue
		}
		unread++
		state := "does not run"
		if e.Facts.Running {
			state = "says nothing of itself"
		}
		p.refuse(e.Facts.Host, "repair that file; if the host is no server, take it out of the inventory",
			"its agent %s, and nobody can see whether it is a server, since its configuration cannot be read: %s", state, e.Unread)
	}
	return servers, unread
}

// accepted judges the names of --accept-down as for an upgrade.
func (p *RaftPlan) accepted(survey Survey, raft []RaftServer, options RaftOptions) {
	if len(survey.Raft.Servers) == 0 {
		for _, server := range raft {
			survey.Raft.Servers = append(survey.Raft.Servers, RaftMember{RaftServer: server})
		}
	}
	u := planner{plan: emptyPlan(options.Target, nil), options: Options{Accepted: Accepted{Down: options.Down}}}
	for _, name := range options.Down {
		u.acceptedDown(survey, name, func(string, string, ...any) {})
	}
	p.Problems = append(p.Problems, u.plan.Problems...)
}

// unreachable refuses hosts of which nothing is known, and counts those that the user accepts as dead servers.
func (p *RaftPlan) unreachable(survey Survey, options RaftOptions) (dead int) {
	for _, host := range sortedKeys(survey.Unreachable) {
		failure := survey.Unreachable[host]
		if slices.Contains(options.Down, host) {
			dead++
			p.warn(host, "counts as a dead server, by --accept-down, and stays as it is: %s", failure)
			continue
		}
		p.Problems = append(p.Problems, Problem{
			Host: host, Kind: failure.Kind, Text: "cannot be looked at: " + failure.Text,
			Remedy: cmp.Or(failure.Remedy, "bring it back; if it is no server, take it out of the inventory; a server that is dead is accepted with --accept-down "+host+", where the others are enough"),
		})
	}
	return dead
}

// unheard refuses servers that follow a leader and say no more of themselves for want of a token: what else is seen of such a cluster, that none says
// that it leads for one, means nothing.
func (p *RaftPlan) unheard(evidence []RaftEvidence) bool {
	var hosts, leaders []string
	why := ""
	for _, e := range evidence {
		if e.Facts.Answers && e.Facts.Leader {
			return false // what keeps a single one from answering is said of it
		}
		if e.silent() && e.Leads != "" {
			hosts, leaders, why = append(hosts, e.Facts.Host), append(leaders, e.Leads), e.Facts.Problem
		}
	}
	if len(hosts) == 0 {
		return false
	}
	slices.Sort(hosts)
	slices.Sort(leaders)
	p.refuse("", raftTokenRemedy, "the cluster has a leader (%s), and these servers do not say how they are themselves: %s: %s", someHosts(slices.Compact(leaders)), someHosts(hosts), why)
	return true
}

// raftTokenRemedy is what to do where an agent does not speak of itself, though its cluster has a leader.
const raftTokenRemedy = "give a token with the capability agent:read (nomad_token, nomad_token_file or NOMAD_TOKEN), a management token at best"

// two refuses a cluster of two servers, unless it is done: neither can take the other out of raft's configuration while it is stopped. Stopped
// together, they recover together.
func (p *RaftPlan) two(evidence []RaftEvidence, raft []RaftServer, options RaftOptions) {
	var steps []RaftStep
	leads := false
	for _, e := range evidence {
		leads = leads || e.Facts.Leader
		if step, problems := RaftRolling(e, raft, options); step.Action == ActionNone && len(problems) == 0 {
			steps = append(steps, step)
		}
	}
	if len(steps) == 2 && !options.Target.Known() {
		p.Mode, p.Steps = RaftModeRolling, steps
		return
	}
	remedy := "drover recover, which gives both the same raft configuration and protocol 3 (--limit names those that are left, where one is lost)"
	if leads {
		remedy = "stop the agents of both (systemctl stop), and run " + remedy
	}
	if len(evidence) < 2 && len(raft) == 2 {
		remedy = "bring both into the inventory, or leave the lost one out; then: " + remedy
	}
	p.refuse("", remedy, "the cluster has two servers: while one is stopped the other leads nobody, and cannot take it out of raft's configuration")
}

// notes are what Nomad's upgrade notes say of the way to the new version, as they do for any upgrade. The setting of raft_protocol, of which
// one of them speaks, is what the migration itself puts right.
func (p *RaftPlan) notes(survey Survey, step RaftStep, options RaftOptions) {
	u := planner{plan: emptyPlan(options.Target, nil), target: options.Target, options: Options{AcceptNotes: options.AcceptNotes}}
	u.plan.Steps = []Step{{Host: step.Host, Role: "server", Action: ActionUpgrade, From: step.From, To: options.Target}}
	u.unreadSettings(&survey)
	for _, n := range versionNotes() {
		if n.id != raftNote {
			u.say(&n, u.findings(&n, &survey))
		}
	}
	for _, unread := range survey.Notes.Unread {
		u.plan.warn("", "not compared with Nomad's upgrade notes: %s", unread)
	}
	u.acceptedNotes()
	u.binaries(survey)
	for i := range u.plan.Problems {
		u.plan.Problems[i].Limit = "" // there is no other server to go on with
	}
	_, known := releaseProblems(options.Target)
	p.Problems, p.Warnings = append(p.Problems, u.plan.Problems...), append(append(p.Warnings, u.plan.Warnings...), known...)
	for _, risk := range u.plan.Accepted {
		p.warn("", "%s: %s", risk.Flag, risk.What)
	}
}

// Upgrade is the part of the plan that needs a new binary, as a plan of an upgrade has it; nil where none does.
func (p *RaftPlan) Upgrade() *Plan {
	if p.Mode != RaftModeSingle || !p.Target.Known() {
		return nil
	}
	plan := emptyPlan(p.Target, nil)
	for _, step := range p.Steps {
		plan.Steps = append(plan.Steps, Step{Host: step.Host, Action: step.Action, From: step.From, To: p.Target})
	}
	return &plan
}

// raftNote is the id of the note about raft_protocol (versionNotes).
const raftNote = "raft-protocol-1.4"

func (p *RaftPlan) single(survey Survey, e RaftEvidence, options RaftOptions) {
	p.Mode = RaftModeSingle
	step, problems := RaftSingle(e, options)
	p.Steps, p.Problems = append(p.Steps, step), append(p.Problems, problems...)
	if options.Target.Known() && !e.Settled(options.Target) {
		p.notes(survey, step, options)
	}
	if step.Action != ActionNone {
		p.Pauses = append(p.Pauses, fmt.Sprintf("%s is the only server: the control plane pauses for a few seconds while it is stopped, its server/ is copied and it finds itself as leader again", step.Host))
	}
	if e.Foreign() && options.ReplacePeers {
		p.Warnings = append(p.Warnings, Problem{Host: step.Host, Text: "the peers.json that somebody has left is moved aside, as peers.json.drover-aside with the time behind it"})
	}
	if !e.Facts.Answers {
		p.Warnings = append(p.Warnings, Problem{Host: step.Host, Text: "its agent could not be asked, so that all is taken from its unit, configuration and data directory, and no list of jobs can be compared afterwards"})
	}
}

func (p *RaftPlan) rolling(survey Survey, evidence []RaftEvidence, raft []RaftServer, options RaftOptions) {
	p.Mode = RaftModeRolling
	if options.Target.Known() {
		p.Problems = append(p.Problems, Problem{
			Text: "a cluster of several servers changes either its raft protocol or its version at a time", Remedy: "leave --to out, and run drover upgrade afterwards",
		})
	}
	var states []ServerState
	steps := map[string]RaftStep{}
	leader, dead := false, 0
	for _, e := range evidence {
		step, problems := RaftRolling(e, raft, options)
		p.Problems = append(p.Problems, problems...)
		steps[step.Host] = step
		leader = leader || step.Leader
		voter := slices.ContainsFunc(raft, func(s RaftServer) bool { return s.Voter && s.ID == step.ID })
		states = append(states, ServerState{Host: step.Host, Leader: step.Leader, Voter: voter, Down: !e.Facts.Answers})
	}
	for _, state := range Order(states) {
		p.Steps = append(p.Steps, steps[state.Host])
	}
	changes := slices.ContainsFunc(p.Steps, func(s RaftStep) bool { return s.Action != ActionNone })
	if changes && !leader {
		p.Problems = append(p.Problems, Problem{Text: "no server says that it leads, and only a leader can take servers out of raft's configuration and in again", Remedy: "repair the cluster first: drover recover"})
	}
	for _, server := range raft {
		known := slices.ContainsFunc(evidence, func(e RaftEvidence) bool { return e.mine(server) || e.Address == server.Address })
		if !known && p.missing(survey, server, options) && server.Voter {
			dead++
		}
	}
	if changes && leader {
		p.Problems = append(p.Problems, survey.Further...)
		p.spare(Voters(raft), dead)
	}
	p.rollingPauses(evidence)
}

// missing judges a server that no host of the inventory showed: it tells whether it counts as dead.
func (p *RaftPlan) missing(survey Survey, server RaftServer, options RaftOptions) bool {
	member := &RaftMember{RaftServer: server}
	for i := range survey.Raft.Servers {
		if survey.Raft.Servers[i].RaftServer == server {
			member = &survey.Raft.Servers[i]
		}
	}
	i := slices.IndexFunc(options.Down, func(name string) bool {
		return name == server.ID || name == server.Address || member.isHost(name, survey.Addresses[name])
	})
	alive := survey.alive(member)
	unreachable := slices.ContainsFunc(sortedKeys(survey.Unreachable), func(host string) bool { return member.isHost(host, survey.Addresses[host]) })
	switch {
	case i >= 0 && alive == "":
		p.warn(options.Down[i], "raft keeps the dead server at %s in its configuration as %s. If it is gone for good, take it out before (nomad operator raft remove-peer -peer-address=%s) or afterwards (-peer-id=%s); "+
			"when it comes back as it was, run drover raft-v3 again. Autopilot is not asked while it is there with the old protocol", server.Address, server.ID, server.Address, server.ID)
		return true
	case unreachable: // said of the host
		return alive == ""
	case i >= 0: // said of --accept-down
	case alive != "":
		p.refuse("", "add its host to the inventory", "raft's configuration has %s at %s, which is not in the inventory, and %s", server.ID, server.Address, alive)
	default:
		p.refuse("", "bring its host into the inventory, or remove the server from the cluster if it is gone for good (nomad operator raft remove-peer), or accept it as dead with --accept-down "+server.Address,
			"raft's configuration has %s at %s, which is no host of the inventory", server.ID, server.Address)
	}
	return false
}

// spare refuses where a stop would leave too few of the voters, the dead ones among them.
func (p *RaftPlan) spare(voters, dead int) {
	majority := voters/2 + 1
	if dead == 0 || voters-dead-1 >= majority {
		return
	}
	remedy := "bring it back first, or replace it"
	if voters-dead >= 3 {
		remedy = "bring it back first, or take what is gone for good out of raft's configuration (nomad operator raft remove-peer)"
	}
	p.refuse("", remedy, "%d of %d voters are dead: while another one is stopped %d are left, and the cluster needs %d", dead, voters, voters-dead-1, majority)
}

func (p *RaftPlan) rollingPauses(evidence []RaftEvidence) {
	for _, step := range p.Steps {
		client := slices.ContainsFunc(evidence, func(e RaftEvidence) bool { return e.Facts.Host == step.Host && e.Facts.Client })
		switch {
		case step.Action != ActionMigrate:
		case client:
			p.Pauses = append(p.Pauses, fmt.Sprintf("%s is a client too, and is started again at once, so that no allocation is lost; then the leader takes up to a minute to take over its id, and 10 s or more to give it its vote", step.Host))
		case step.Leader:
			p.Pauses = append(p.Pauses, fmt.Sprintf("an election of 2 to 4 s when %s stops, which leads; then the new leader takes up to a minute to take over its id, and 10 s or more to give it its vote", step.Host))
		default:
			p.Pauses = append(p.Pauses, fmt.Sprintf("%s is stopped for 30 to 60 s, until gossip has noticed and raft has let it go; the others go on", step.Host))
		}
	}
}
