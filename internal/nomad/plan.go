// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"drover/internal/wire"
)

// Survey is what is known of a whole cluster before anything is touched.
type Survey struct {
	Hosts []HostFacts
	// Unreachable are hosts of the inventory that could not be asked, with the reason.
	Unreachable map[string]string
	// Addresses are the names or IP addresses at which the inventory says that unreachable hosts are, where it does.
	Addresses map[string]string
	// Raft is the cluster's raft configuration, Members its gossip; empty when no server could be asked.
	Raft    RaftConfiguration
	Members []Member
	// Notes is what the notes of versions ask of the cluster.
	Notes ClusterNotes
	// Further are problems found by other questions (a capability that the token lacks).
	Further []Problem
}

// Options are what the user asked for and accepted.
type Options struct {
	Servers bool // only servers
	Clients bool // only clients
	Accepted
	SignalOptions
	VersionOptions
	// SkipUnreachable goes on without clients that cannot be reached.
	SkipUnreachable bool
	// Hosts are those to upgrade; the others are looked at, since quorum is about all servers, and left alone. Nil: all.
	Hosts []string
}

func (o *Options) leavesOut(host string) bool {
	return o.Hosts != nil && !slices.Contains(o.Hosts, host)
}

// Actions of a Step.
const (
	ActionUpgrade = "upgrade"
	ActionNone    = "none"
	ActionRefused = "refused"
)

// Step is what happens to one host.
type Step struct {
	Host       string  `json:"host"`
	Role       string  `json:"role"`
	Action     string  `json:"action"`
	From       Version `json:"from"`
	To         Version `json:"to"`
	Leader     bool    `json:"leader,omitempty"`
	Datacenter string  `json:"datacenter,omitempty"`
	Signal     string  `json:"signal,omitempty"` // a runtime drop-in sends this instead of the unit's KillSignal
	Reason     string  `json:"reason"`
}

// Plan is what an upgrade will do, in order, and what stands in the way.
type Plan struct {
	Target   Version   `json:"target"`
	Steps    []Step    `json:"steps"`
	Problems []Problem `json:"problems"`
	Warnings []Problem `json:"warnings"`
	Pauses   []string  `json:"pauses"`
}

// Verdicts of a plan.
const (
	VerdictClean   = "clean"
	VerdictChanges = "changes"
	VerdictRefused = "refused"
)

// Verdict sums a plan up.
func (p *Plan) Verdict() string {
	switch {
	case len(p.Problems) > 0:
		return VerdictRefused
	case slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Action == ActionUpgrade }):
		return VerdictChanges
	}
	return VerdictClean
}

// NewPlan works out the upgrade of a surveyed cluster: servers first, those that do not vote before voters and the
// leader last, then clients. All problems are found, not only the first. The same survey gives the same plan.
func NewPlan(survey Survey, target Version, options Options) Plan {
	p := planner{plan: emptyPlan(target, survey.Further), target: target, options: options}
	var servers []ServerState
	byHost := map[string]HostFacts{}
	for _, facts := range sortFacts(survey.Hosts) {
		byHost[facts.Host] = facts
		if facts.Server {
			servers = append(servers, p.state(facts))
		}
	}
	for _, server := range Order(servers) {
		p.host(byHost[server.Host])
	}
	for _, facts := range sortFacts(survey.Hosts) {
		if !facts.Server {
			p.host(facts)
		}
	}
	p.unreachable(survey)
	p.inventory(survey)
	p.quorum(survey)
	p.clientsAhead(survey)
	p.oldClients(survey)
	p.notes(survey)
	p.pauses(survey)
	slices.SortStableFunc(p.plan.Problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Text, b.Text))
	})
	p.plan.Problems = slices.Compact(p.plan.Problems)
	return p.plan
}

// emptyPlan has no list that is null in JSON.
func emptyPlan(target Version, problems []Problem) Plan {
	return Plan{Target: target, Steps: []Step{}, Problems: append([]Problem{}, problems...), Warnings: []Problem{}, Pauses: []string{}}
}

type planner struct {
	plan    Plan
	target  Version
	options Options
}

func (p *planner) refuse(host, remedy, format string, args ...any) {
	p.plan.Problems = append(p.plan.Problems, Problem{Host: host, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (p *planner) warn(host, format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, Problem{Host: host, Text: fmt.Sprintf(format, args...)})
}

func (p *planner) state(facts HostFacts) ServerState {
	state := ServerState{Host: facts.Host, ID: facts.ServerID, Version: facts.VersionRunning, Leader: facts.Leader, Protocol: facts.RaftProtocol}
	view := AgentView{ServerID: facts.ServerID, RPC: facts.RPC}
	state.Voter = isVoter(facts.RaftServers, &view)
	return state
}

// host plans one host.
func (p *planner) host(facts HostFacts) {
	step := Step{Host: facts.Host, Role: facts.Role, From: facts.VersionRunning, To: p.target, Leader: facts.Leader, Datacenter: facts.Datacenter, Action: ActionNone}
	switch {
	case p.options.leavesOut(facts.Host):
		step.Reason = "left out by the limit"
	case p.options.Servers && !facts.Server:
		step.Reason = "only servers were asked for"
	case p.options.Clients && facts.Server:
		step.Reason = "only clients were asked for"
	case facts.Role == "none" && !facts.Running:
		step.Reason = "no Nomad agent is configured on it"
		if facts.Unit != "" && !facts.UnitSettings.Systemd {
			p.refuse(facts.Host, "remove it from the inventory, or name its unit with nomad_unit", "there is no unit %s", facts.Unit)
			step.Action = ActionRefused
		}
	case facts.Upgraded(p.target) && facts.Unfinished != "" && !facts.Server:
		step.Action, step.Reason = ActionUpgrade, "already "+p.target.String()+"; closes "+facts.Unfinished
	case facts.Upgraded(p.target):
		step.Reason = "already " + p.target.String() + ", on disk and running"
	default:
		p.upgrade(facts, &step)
	}
	p.plan.Steps = append(p.plan.Steps, step)
}

// upgrade decides whether a host that is not at the target can be brought there.
func (p *planner) upgrade(facts HostFacts, step *Step) {
	before := len(p.plan.Problems)
	step.Action = ActionUpgrade
	switch {
	case !facts.Running:
		step.From = facts.VersionDisk
		step.Reason = "does not run; it is started with " + p.target.String()
	case facts.VersionDisk.Same(p.target):
		step.Reason = "has " + p.target.String() + " on disk, but still runs " + facts.VersionRunning.String()
	default:
		step.Reason = facts.VersionRunning.String() + " to " + p.target.String()
	}
	for _, problem := range versionProblems(step.From, p.target, facts.RaftProtocol, p.options.VersionOptions) {
		problem.Host = facts.Host
		p.plan.Problems = append(p.plan.Problems, problem)
	}
	if facts.Running && !facts.Answers && !facts.CrashLooping {
		p.refuse(facts.Host, "check nomad_token, nomad_cacert and the agent's log", "its agent runs but does not answer: %s", facts.Problem)
	}
	if facts.Running {
		p.signal(facts, step)
	}
	p.unit(facts)
	if len(p.plan.Problems) > before {
		step.Action = ActionRefused
	}
}

// unit refuses settings of the unit with which a stop or a start would go wrong.
func (p *planner) unit(facts HostFacts) {
	unit := facts.UnitSettings
	if !unit.Systemd {
		p.refuse(facts.Host, "unmask "+facts.Unit+", or repair its file, and reload systemd", "systemd has no usable definition of %s (it is masked, missing or damaged), so that it could not be started again", facts.Unit)
	}
	if !strings.EqualFold(unit.KillMode, "process") && facts.Client && facts.Running {
		p.refuse(facts.Host, "set KillMode=process in the unit and reload systemd", "the unit's KillMode is %s, so that a stop kills the tasks too", unit.KillMode)
	}
	if unit.ExecStop && facts.Running {
		p.refuse(facts.Host, "reset it with a drop-in (ExecStop=, empty) and reload systemd", "the unit has an ExecStop, which a stop runs before any signal: it may drain the node or make a server leave")
	}
	if strings.HasPrefix(unit.Type, "notify") && !p.target.AtLeast("1.8.0") {
		p.refuse(facts.Host, "set Type=simple in the unit and reload systemd", "the unit has Type=%s, and Nomad before 1.8 never says that it is ready, so that systemd would end %s again", unit.Type, p.target)
	}
}

// oldClients refuses servers of 1.9 or later beside clients that these turn away (Nomad 1.9 upgrade notes): their
// heartbeats fail and their allocations are lost.
func (p *planner) oldClients(survey Survey) {
	if !p.target.AtLeast("1.9.0") || !p.stopsServer(survey) {
		return
	}
	for _, facts := range sortFacts(survey.Hosts) {
		if facts.Client && !facts.Server && facts.VersionRunning.Known() && !facts.VersionRunning.AtLeast("1.6.0") {
			p.refuse(facts.Host, "upgrade clients to 1.6 or later first", "this client runs %s, and servers of 1.9 and later turn away clients before 1.6", facts.VersionRunning)
		}
	}
}

func (p *planner) signal(facts HostFacts, step *Step) {
	options := p.options.SignalOptions
	options.RetryJoin = facts.RetryJoin
	// A client that leaves drains itself, and allow_leave speaks of servers.
	options.AllowLeave = options.AllowLeave && facts.Server
	signal, problems := SafeSignal(facts.Leave, facts.UnitSettings.KillSignal, options)
	for _, problem := range problems {
		problem.Host = facts.Host
		p.plan.Problems = append(p.plan.Problems, problem)
	}
	if signal != wire.StopUnit {
		step.Signal = signal
	}
}

// unreachable judges hosts that could not be asked. One that is a server of the cluster counts whatever the limit says.
func (p *planner) unreachable(survey Survey) {
	for _, host := range sortedKeys(survey.Unreachable) {
		member := survey.memberAt(host)
		switch {
		case p.options.Accepted.down(host), member != nil && p.acceptsDown(survey, member):
			p.warn(host, "accepted as dead and left as it is: upgrade it when it is back")
		case member != nil:
			p.refuse(host, "repair the connection, or name it with --accept-down if it is dead", "unreachable, and a server of the cluster: %s", survey.Unreachable[host])
		case p.options.leavesOut(host) && len(survey.Raft.Servers) > 0:
		case p.options.SkipUnreachable:
			p.warn(host, "unreachable and left as it is: %s", survey.Unreachable[host])
		default:
			p.refuse(host, "repair the connection, or go on without it with --skip-unreachable", "unreachable: %s", survey.Unreachable[host])
		}
	}
}

// seen tells whether a server of the cluster is one of the hosts that could be asked.
func (s *Survey) seen(member *RaftMember) bool {
	return slices.ContainsFunc(s.Hosts, func(f HostFacts) bool {
		view := AgentView{ServerID: f.ServerID, RPC: f.RPC}
		return f.Server && (view.is(member.RaftServer) || f.RPC != "" && f.RPC == member.Address || member.Node == f.NodeName+"."+f.Region)
	})
}

// memberAt finds the server that an unreachable host is, by the node's name or by its address; nil when it is none, or one
// that another host has shown to be.
func (s *Survey) memberAt(host string) *RaftMember {
	for i, member := range s.Raft.Servers {
		if s.seen(&member) {
			continue
		}
		node := member.Node
		if dot := strings.LastIndex(node, "."); dot > 0 {
			node = node[:dot]
		}
		ip, _, err := net.SplitHostPort(member.Address)
		if node == host || member.Node == host || err == nil && (ip == host || ip == s.Addresses[host]) {
			return &s.Raft.Servers[i]
		}
	}
	return nil
}

func (p *planner) acceptsDown(survey Survey, member *RaftMember) bool {
	return p.options.Accepted.down(member.Node, strings.TrimSuffix(member.Node, "."+regionOf(survey)), member.ID, member.Address)
}

// clientsAhead warns of clients that would become newer than a server: it works, and Nomad does not support it.
func (p *planner) clientsAhead(survey Survey) {
	step := slices.IndexFunc(p.plan.Steps, func(s Step) bool { return s.Role == "client" && s.Action == ActionUpgrade })
	if step < 0 {
		return
	}
	for _, server := range p.plan.Steps {
		if server.Role != "client" && server.Role != "none" && server.Action == ActionNone && server.From.Known() && server.From.Compare(p.target) < 0 {
			p.warn(server.Host, "stays on %s while clients become %s: Nomad wants servers upgraded before clients", server.From, p.target)
		}
	}
}

// inventory compares the inventory with the servers that the cluster has.
func (p *planner) inventory(survey Survey) {
	for i, member := range survey.Raft.Servers {
		found := survey.seen(&member) || slices.ContainsFunc(sortedKeys(survey.Unreachable), func(host string) bool { return survey.memberAt(host) == &survey.Raft.Servers[i] })
		if !found && !p.acceptsDown(survey, &member) {
			p.refuse("", "add its host to the inventory, or name it with --accept-down if it is dead",
				"the cluster has a server %s at %s that is not in the inventory", member.Node, member.Address)
		}
	}
	for _, facts := range sortFacts(survey.Hosts) {
		if !facts.Server || !facts.Answers || len(survey.Raft.Servers) == 0 {
			continue
		}
		view := AgentView{ServerID: facts.ServerID, RPC: facts.RPC}
		member := slices.ContainsFunc(survey.Raft.Servers, func(m RaftMember) bool { return view.is(m.RaftServer) || m.Address == facts.RPC })
		if !member {
			p.refuse(facts.Host, "leave it out, or upgrade each cluster with its own inventory", "this server is not in the raft configuration of the cluster that the other servers form")
		}
	}
	p.duplicates(survey)
	regions := map[string]bool{}
	for _, facts := range survey.Hosts {
		if facts.Answers {
			regions[facts.Region] = true
		}
	}
	if len(regions) > 1 {
		p.refuse("", "upgrade one region at a time, the authoritative one first", "the inventory holds agents of several regions: %s", strings.Join(sortedKeys(regions), ", "))
	}
}

// duplicates refuses two names for one agent, which would be upgraded twice and counted twice.
func (p *planner) duplicates(survey Survey) {
	names := map[string]string{}
	for _, facts := range sortFacts(survey.Hosts) {
		id := facts.ServerID + "/" + facts.NodeID
		if other, ok := names[id]; ok && id != "/" {
			p.refuse(facts.Host, "leave one of the two names out of the inventory", "is the same agent as %s", other)
		}
		names[id] = facts.Host
	}
}

func regionOf(survey Survey) string {
	for _, facts := range survey.Hosts {
		if facts.Server && facts.Region != "" {
			return facts.Region
		}
	}
	return ""
}

// quorum refuses clusters that could not lose a server even for a second.
func (p *planner) quorum(survey Survey) {
	var servers []HostFacts
	for _, facts := range sortFacts(survey.Hosts) {
		if facts.Server {
			servers = append(servers, facts)
		}
	}
	if len(servers) == 0 || !slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Action != ActionNone && s.Role != "client" && s.Role != "none" }) {
		return
	}
	leaders := 0
	for _, facts := range servers {
		if facts.Leader {
			leaders++
		}
		if !facts.Running && !p.options.Accepted.down(facts.Host, facts.NodeName) {
			p.warn(facts.Host, "this server is down; it is repaired first")
		}
	}
	voters := 0
	for _, facts := range servers {
		voters = max(voters, Voters(facts.RaftServers))
	}
	switch {
	case leaders == 0 && !p.options.Outage && p.stopsServer(survey):
		p.refuse("", "repair the cluster first, or accept an outage with --accept-outage", "no server says that it leads")
	case voters > 2 && !p.options.Outage && p.noSpareVote(survey, voters):
		p.refuse("", "repair the servers that cannot be reached first", "stopping one more server would leave %d of %d voters, and the cluster needs %d",
			voters-survey.votersGone()-1, voters, voters/2+1)
	case voters == 2 && !p.options.Outage:
		p.refuse("", "add a third server, or accept that the control plane pauses with --accept-outage", "two servers have no spare vote")
	}
}

// votersGone counts the servers of the cluster that could not be reached; nothing here can repair those.
func (s *Survey) votersGone() int {
	gone := 0
	for host := range s.Unreachable {
		if member := s.memberAt(host); member != nil && member.Voter {
			gone++
		}
	}
	return gone
}

// noSpareVote tells whether a running server is to be stopped that the voters left could not spare.
func (p *planner) noSpareVote(survey Survey, voters int) bool {
	if voters-survey.votersGone()-1 >= voters/2+1 {
		return false
	}
	return p.stopsServer(survey)
}

// stopsServer tells whether the plan stops a server that takes part. One that is down or crash-looping has no vote to lose: it may
// always be repaired, also where it is the only one.
func (p *planner) stopsServer(survey Survey) bool {
	return slices.ContainsFunc(survey.Hosts, func(f HostFacts) bool {
		return f.Server && f.Running && !f.CrashLooping && slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Host == f.Host && s.Action == ActionUpgrade })
	})
}

// pauses tells what the user will notice.
func (p *planner) pauses(survey Survey) {
	for _, step := range p.plan.Steps {
		if step.Action != ActionUpgrade || !step.Leader {
			continue
		}
		lowest, alone := 3, true
		for _, facts := range survey.Hosts {
			if facts.Server && facts.Host != step.Host {
				alone = false
			}
			if facts.Server && facts.RaftProtocol > 0 {
				lowest = min(lowest, facts.RaftProtocol)
			}
		}
		switch why := canTransferLeadership(step.From, lowest); {
		case alone:
			p.plan.Pauses = append(p.plan.Pauses, step.Host+" is the only server: the control plane pauses for a few seconds while it restarts")
		case why != "":
			p.plan.Pauses = append(p.plan.Pauses, "an election of 2 to 4 s when "+step.Host+" stops: "+why)
		}
	}
}
