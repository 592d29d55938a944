// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
)

// Survey is what is known of a whole cluster before anything is touched.
type Survey struct {
	// Region is the region that the hosts are in, where there are several; Federated are the regions of which its servers know.
	Region    string
	Federated []string
	Hosts     []HostFacts
	// Unreachable are hosts of the inventory about which nothing could be found out, with the reason.
	Unreachable map[string]LookFailure
	// Addresses are the names or IP addresses at which the inventory says that such hosts are, where it does.
	Addresses map[string]string
	// Raft is the cluster's raft configuration, Members its gossip; empty when no server could be asked.
	Raft    RaftConfiguration
	Members []Member
	// Nodes are the clients that the servers know; NodesAsked says that they told.
	Nodes      []NodeSummary
	NodesAsked bool
	// Binaries are the new binaries by machine type (as uname -m), where there is a place for them to come from; Short are hosts without room for theirs.
	Binaries map[string]NewBinary
	Short    map[string]LookFailure
	// Notes is what the notes of versions ask of the cluster.
	Notes ClusterNotes
	// Further are problems found by other questions (a capability that the token lacks).
	Further []Problem
}

// NewBinary is the new Nomad for one machine type.
type NewBinary struct {
	Size  int64  // bytes
	Error string // why there is none
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
	// AcceptNotes are upgrade notes that are accepted, by their ids.
	AcceptNotes []string
	// Hosts are those to upgrade; the others are looked at, since quorum is about all servers, and left alone. Nil: all.
	Hosts []string
	// Batch is how many clients are upgraded at once after the first (a number or a percentage; "": 10%), PerDatacenter
	// how many of them in one datacenter (0: 5).
	Batch         string
	PerDatacenter int
	// MaxFailPercentage is the share of the clients that may fail or be skipped before the run stops; nil: it stops at the first
	// that fails.
	MaxFailPercentage *float64
	// Onward is where the upgrade ends when the target is only a stop on the way: agents between the two are left alone.
	Onward Version
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
	Host        string  `json:"host"`
	Role        string  `json:"role"` // server, client, both, none
	Action      string  `json:"action"`
	From        Version `json:"from"` // running, or on disk where nothing runs
	To          Version `json:"to"`
	Disk        Version `json:"disk"` // on disk, when it is not From
	Leader      bool    `json:"leader"`
	Voter       bool    `json:"voter"`
	Unit        string  `json:"unit"`
	Binary      string  `json:"binary"`
	Link        string  `json:"link"`    // the symbolic link by which ExecStart names the binary
	Package     string  `json:"package"` // that owns the binary
	Datacenter  string  `json:"datacenter"`
	NodeStatus  string  `json:"node_status"` // of a client, as the servers see it; "" where they do not say
	Eligibility string  `json:"eligibility"`
	Draining    bool    `json:"draining"`
	DrainedBy   string  `json:"drained_by"` // who began the drain that goes on; "" when none does
	OwnDrain    bool    `json:"own_drain"`  // a run of drover's began it, and has died
	Signal      string  `json:"signal"`     // a runtime drop-in sends this instead of the unit's KillSignal
	LeftOut     bool    `json:"left_out"`
	Closes      bool    `json:"closes"` // the host has what an earlier run left to be brought to its end, and nothing else to do
	Reason      string  `json:"reason"`
}

// server tells whether the host goes with the servers; one that is a client too does.
func (s Step) server() bool { return s.Role == "server" || s.Role == "both" }

// changes tells whether the run has something to do on the host.
func (s Step) changes() bool { return s.Action == ActionUpgrade || s.Closes }

// batched tells whether the host goes in batches with the clients.
func (s Step) batched() bool { return s.Role == "client" && !s.LeftOut }

// AcceptedRisk is a flag by which the user accepted a risk, and what it loosens in this upgrade.
type AcceptedRisk struct {
	Flag string `json:"flag"`
	What string `json:"what"`
}

// Plan is what an upgrade will do, in order, and what stands in the way.
type Plan struct {
	Target    Version        `json:"target"`
	Continues string         `json:"continues"` // how far an earlier upgrade came; "" when none was begun
	Steps     []Step         `json:"steps"`
	Batches   []Batch        `json:"batches"`
	Pauses    []string       `json:"pauses"`
	Accepted  []AcceptedRisk `json:"accepted"`
	Findings
	// NotUpgraded are hosts that stay as they are although they were asked for: skipped because they cannot be reached, or dead.
	NotUpgraded []Problem `json:"not_upgraded"`
	// MaxFailPercentage is what is left of the allowed failures, as a share of the clients in the batches; null: the first ends the run.
	MaxFailPercentage *float64 `json:"max_fail_percentage"`
	// Legs are the parts in which the upgrade goes on, where there are several: the lists above are then those of all legs
	// that could be planned already.
	Legs []Leg `json:"legs,omitempty"`
}

// Verdict sums a plan up.
func (p *Plan) Verdict() string {
	return p.verdict(slices.ContainsFunc(p.Steps, Step.changes))
}

// NewPlan works out the upgrade of a surveyed cluster: servers first, those that do not vote before voters and the
// leader last, then clients. All problems are found, not only the first. The same survey gives the same plan.
func NewPlan(survey Survey, target Version, options Options) Plan {
	survey.Hosts = settledHosts(survey.Hosts)
	p := planner{plan: emptyPlan(target, survey.Further), target: target, options: options, clusters: survey.clusters()}
	p.steps(survey)
	p.release()
	p.binaries(survey)
	p.unreachable(survey)
	p.denied(survey)
	p.inventory(survey)
	p.nodes(survey)
	p.quorum(survey)
	p.untouchedServers(survey)
	p.clientsAhead()
	p.oldClients(survey)
	p.notes(survey)
	p.pauses(survey)
	p.accepted(survey)
	p.continues(survey)
	p.budget()
	p.limits()
	p.plan.Problems, p.plan.Warnings, p.plan.NotUpgraded = sorted(p.plan.Problems), sorted(p.plan.Warnings), sorted(p.plan.NotUpgraded)
	batches, err := Batches(p.plan.Steps, options.Batch, options.PerDatacenter)
	if err != nil {
		p.plan.refuse("", "say --batch 5 or --batch 10%", "%v", err)
	}
	p.plan.Batches = batches
	return p.plan
}

// emptyPlan has no list that is null in JSON.
func emptyPlan(target Version, problems []Problem) Plan {
	plan := Plan{Target: target, Steps: []Step{}, Pauses: []string{}, Accepted: []AcceptedRisk{}, Findings: noFindings(), NotUpgraded: []Problem{}}
	plan.Problems = append(plan.Problems, problems...)
	return plan
}

type planner struct {
	plan     Plan
	target   Version
	options  Options
	clusters [][]HostFacts // servers that form a cluster together
	skips    []string      // hosts that go over more minor versions than are supported
	leaves   []string      // servers that will leave raft when they stop
}

// exclude refuses a host that the others can go on without.
func (p *planner) exclude(host, remedy, format string, args ...any) {
	p.plan.Problems = append(p.plan.Problems, Problem{Host: host, Text: fmt.Sprintf(format, args...), Remedy: remedy, Limit: "!" + host})
}

// steps plans every host, in the order in which things are done.
func (p *planner) steps(survey Survey) {
	var servers []ServerState
	byHost := map[string]HostFacts{}
	hosts := sortFacts(survey.Hosts)
	for _, facts := range hosts {
		byHost[facts.Host] = facts
		if facts.Server {
			servers = append(servers, survey.state(facts))
		}
	}
	for _, server := range Order(servers) {
		p.host(survey, byHost[server.Host], server)
	}
	for _, facts := range hosts {
		if !facts.Server {
			p.host(survey, facts, ServerState{})
		}
	}
}

// state is a server for ordering. Its suffrage is what raft has recorded, by its own word or that of the server that was asked.
func (s *Survey) state(facts HostFacts) ServerState {
	state := ServerState{
		Host: facts.Host, ID: facts.ServerID, Version: facts.VersionRunning, Leader: facts.Leader, Protocol: facts.RaftProtocol,
		Voter: facts.Voter, Down: !facts.Running || facts.CrashLooping,
	}
	if s.outOfRaft(&facts) {
		state.Voter = false // what it says itself is of the time before
	}
	view := AgentView{ServerID: facts.ServerID, RPC: facts.RPC}
	for _, member := range s.Raft.Servers {
		if view.is(member.RaftServer) {
			state.Voter = member.Voter
		}
	}
	return state
}

// oldClients refuses to stop servers for a version that turns clients away.
func (p *planner) oldClients(survey Survey) {
	if p.stopsServer(survey) {
		p.plan.turnedAway(survey, p.target)
	}
}

// turnedAway refuses servers of 1.9 or later beside clients that these turn away (Nomad 1.9 upgrade notes): their
// heartbeats fail and their allocations are lost. That holds for every client of the cluster, whatever the inventory has.
func (f *Findings) turnedAway(survey Survey, target Version) {
	if !target.AtLeast("1.9.0") {
		return
	}
	const remedy = "upgrade clients to 1.6 or later first"
	for _, facts := range sortFacts(survey.Hosts) {
		if facts.Client && !facts.Server && turnsAway(target, facts.VersionRunning) {
			f.refuse(facts.Host, remedy, "this client runs %s, and servers of 1.9 and later turn away clients before 1.6", facts.VersionRunning)
		}
	}
	for _, node := range survey.strangers() {
		version, err := ParseVersion(node.Version)
		if err == nil && turnsAway(target, version) && node.Status != nodeDown {
			f.refuse("", remedy+"; it has no host in the inventory that could be looked at", "client %s runs %s, and servers of 1.9 and later turn away clients before 1.6", node.Name, version)
		}
	}
}

// clientsAhead warns of clients that would become newer than a server: it works, and Nomad does not support it.
func (p *planner) clientsAhead() {
	if !slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Role == "client" && s.Action == ActionUpgrade }) {
		return
	}
	for _, server := range p.plan.Steps {
		if server.server() && server.Action == ActionNone && server.From.Known() && server.From.Compare(p.target) < 0 {
			p.plan.warn(server.Host, "stays on %s while clients become %s: Nomad wants servers upgraded before clients", server.From, p.target)
		}
	}
}

// continues recognises an upgrade that was begun.
func (p *planner) continues(survey Survey) {
	var done, all [2]int
	versions := map[string][]string{}
	for _, facts := range sortFacts(survey.Hosts) {
		if facts.Role == "none" {
			continue
		}
		kind := 1
		if facts.Server {
			kind = 0
		}
		if facts.Server && facts.Running {
			versions[facts.VersionRunning.String()] = append(versions[facts.VersionRunning.String()], facts.Host)
		}
		all[kind]++
		if facts.Running && facts.VersionRunning.Same(p.target) {
			done[kind]++
		}
	}
	switch sum := done[0] + done[1]; {
	case sum > 0 && sum < all[0]+all[1]:
		p.plan.Continues = fmt.Sprintf("An upgrade to %s was begun, and this goes on with it: %d of %d servers and %d of %d clients run it already.",
			p.target, done[0], all[0], done[1], all[1])
	case sum == 0 && len(versions) > 1:
		var words []string
		for _, version := range sortedKeys(versions) {
			words = append(words, strings.Join(versions[version], ", ")+": "+version)
		}
		p.plan.warn("", "servers run different versions (%s): an upgrade was not finished, and this one brings all to %s", strings.Join(words, "; "), p.target)
	}
}
