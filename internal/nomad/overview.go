// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Overview is what a person needs to see of a cluster. Rows are sorted by host; Problems are what is wrong, Notes what is
// worth knowing.
type Overview struct {
	Servers   []ServerRow `json:"servers"`
	Clients   []ClientRow `json:"clients"`
	Voters    int         `json:"voters"`
	Tolerance int         `json:"failure_tolerance"` // servers that may still fail, by the servers' own answers
	Problems  []Problem   `json:"problems"`
	Notes     []Problem   `json:"notes"`
}

// ServerRow is one server by its own word.
type ServerRow struct {
	Host        string  `json:"host"`
	Version     Version `json:"version"`
	State       string  `json:"state"` // Leader, Follower, Candidate; empty when it does not answer
	Voter       bool    `json:"voter"`
	Term        uint64  `json:"term"`
	Applied     uint64  `json:"applied"`
	Protocol    int     `json:"raft_protocol"`
	LastContact string  `json:"last_contact"`
}

// ClientRow is one client by its own word, and as the servers see it.
type ClientRow struct {
	Host        string  `json:"host"`
	Version     Version `json:"version"`
	Status      string  `json:"status"`
	Eligibility string  `json:"eligibility"`
	Draining    bool    `json:"draining"`
	Allocs      int     `json:"allocations"`
	Datacenter  string  `json:"datacenter"`
}

// OverviewEvidence is what an overview is made of.
type OverviewEvidence struct {
	Survey
	Answers        []Answer // of all agents, servers and clients
	Nodes          []NodeSummary
	NodesError     string
	Autopilot      Autopilot
	AutopilotError string
}

// appliedLag is how many entries a follower may be behind: autopilot's default MaxTrailingLogs.
const appliedLag = 250

// NewOverview judges a cluster. The same evidence gives the same overview.
func NewOverview(e OverviewEvidence) Overview {
	o := overviewer{evidence: e, answers: map[string]*Answer{}}
	for i := range e.Answers {
		o.answers[e.Answers[i].Host] = &e.Answers[i]
	}
	o.overview = Overview{Servers: []ServerRow{}, Clients: []ClientRow{}, Problems: append([]Problem{}, e.Further...), Notes: []Problem{}}
	for _, host := range sortedKeys(e.Unreachable) {
		o.bad(host, "%s", e.Unreachable[host])
	}
	for _, facts := range sortFacts(e.Hosts) {
		o.host(facts)
	}
	o.quorum()
	o.autopilot()
	o.versions()
	return o.overview
}

type overviewer struct {
	evidence OverviewEvidence
	answers  map[string]*Answer
	overview Overview
}

func (o *overviewer) bad(host, format string, args ...any) {
	o.overview.Problems = append(o.overview.Problems, Problem{Host: host, Text: fmt.Sprintf(format, args...)})
}

func (o *overviewer) note(host, format string, args ...any) {
	o.overview.Notes = append(o.overview.Notes, Problem{Host: host, Text: fmt.Sprintf(format, args...)})
}

func (o *overviewer) host(facts HostFacts) {
	if facts.Role == "none" && !facts.Running {
		o.note(facts.Host, "no Nomad agent is configured on it")
		return
	}
	view := AgentView{}
	answer := o.answers[facts.Host]
	switch {
	case !facts.Running:
		o.bad(facts.Host, "its agent does not run")
	case facts.CrashLooping:
		o.bad(facts.Host, "systemd starts its agent over and over")
	case answer == nil || answer.Error != "":
		o.bad(facts.Host, "its agent does not answer: %s", reasonOf(answer, facts.Problem))
	default:
		view = answer.View
	}
	if facts.Running && !facts.ExeCurrent {
		o.note(facts.Host, "runs %s; the binary on disk is %s and takes effect at the next start", facts.VersionRunning, facts.VersionDisk)
	}
	if facts.Server {
		o.server(facts, &view)
	}
	if facts.Client {
		o.client(facts, &view)
	}
}

func reasonOf(answer *Answer, otherwise string) string {
	if answer != nil {
		return strings.TrimPrefix(answer.Error, answer.Host+": ")
	}
	return otherwise
}

func (o *overviewer) server(facts HostFacts, view *AgentView) {
	row := ServerRow{
		Host: facts.Host, Version: facts.VersionRunning, State: view.Raft.State, Term: view.Raft.Term,
		Applied: view.Raft.Applied, Protocol: view.Raft.Protocol,
	}
	leader, _ := soleLeader(o.evidence.Answers)
	if leader != nil {
		row.Voter = isVoter(leader.Raft.Servers, &AgentView{ServerID: facts.ServerID, RPC: facts.RPC})
	}
	switch row.State {
	case "", Leader:
	case Follower:
		row.LastContact = "never"
		if view.Raft.LastContact != Never {
			row.LastContact = view.Raft.LastContact.String()
		}
		if view.Raft.LastContact >= contactWithin {
			o.bad(facts.Host, "it has not heard from the leader %s", ago(view.Raft.LastContact))
		}
		if leader != nil && view.Raft.Applied+appliedLag < leader.Raft.Commit {
			o.bad(facts.Host, "it has applied index %d and the leader has committed %d", view.Raft.Applied, leader.Raft.Commit)
		}
		if leader != nil && !row.Voter {
			o.note(facts.Host, "it has no vote")
		}
	default:
		o.bad(facts.Host, "it is neither follower nor leader but %q", row.State)
	}
	o.overview.Servers = append(o.overview.Servers, row)
}

func (o *overviewer) client(facts HostFacts, view *AgentView) {
	row := ClientRow{Host: facts.Host, Version: facts.VersionRunning, Datacenter: facts.Datacenter, Allocs: view.Heartbeat.Allocs}
	for _, node := range o.evidence.Nodes {
		if node.ID != facts.NodeID || node.ID == "" {
			continue
		}
		row.Status, row.Eligibility, row.Draining = node.Status, node.SchedulingEligibility, node.Drain
	}
	switch {
	case o.evidence.NodesError != "":
	case row.Status == "":
		o.bad(facts.Host, "the servers do not know this client")
	case row.Status != "ready":
		o.bad(facts.Host, "the servers see this client as %s", row.Status)
	case row.Draining:
		o.note(facts.Host, "it is draining")
	case row.Eligibility != "eligible":
		o.note(facts.Host, "it is %s: it takes no new allocations", row.Eligibility)
	}
	o.overview.Clients = append(o.overview.Clients, row)
}

// quorum counts the votes by the servers' own answers.
func (o *overviewer) quorum() {
	if len(o.overview.Servers) == 0 {
		return
	}
	leader, others := soleLeader(o.evidence.Answers)
	o.overview.Problems = append(o.overview.Problems, others...)
	if leader == nil {
		o.bad("", "no server says that it leads: the control plane is down")
		return
	}
	o.overview.Voters = Voters(leader.Raft.Servers)
	alive := 0
	for _, row := range o.overview.Servers {
		if row.Voter && (row.State == Leader || row.State == Follower) {
			alive++
		}
	}
	o.overview.Tolerance = max(0, alive-(o.overview.Voters/2+1))
	if alive < o.overview.Voters {
		o.bad("", "%d of %d voters answer; %s", alive, o.overview.Voters, toleranceText(o.overview.Tolerance))
	}
	if o.overview.Voters > 1 && o.overview.Voters%2 == 0 {
		o.note("", "%d voters stand no more failures than %d", o.overview.Voters, o.overview.Voters-1)
	}
}

func toleranceText(tolerance int) string {
	if tolerance == 0 {
		return "if one more is lost, the control plane stops"
	}
	return fmt.Sprintf("%d more may be lost", tolerance)
}

func (o *overviewer) autopilot() {
	switch report := o.evidence.Autopilot; {
	case len(o.overview.Servers) == 0:
	case o.evidence.AutopilotError != "":
		o.note("", "autopilot cannot be asked: %s", o.evidence.AutopilotError)
	case report.Unavailable != "":
		o.note("", "autopilot has no opinion: %s", report.Unavailable)
	case !report.Healthy:
		o.bad("", "autopilot calls the cluster unhealthy (it may be some seconds behind)")
	}
}

// versions notes a half-finished upgrade.
func (o *overviewer) versions() {
	seen := map[string]bool{}
	for _, facts := range o.evidence.Hosts {
		if facts.Running {
			seen[facts.VersionRunning.String()] = true
		}
	}
	if len(seen) > 1 {
		names := sortedKeys(seen)
		slices.SortStableFunc(names, func(a, b string) int {
			x, errX := ParseVersion(a)
			y, errY := ParseVersion(b)
			if errX != nil || errY != nil {
				return cmp.Compare(a, b)
			}
			return x.Compare(y)
		})
		o.note("", "agents run different versions (%s): an upgrade is not finished", strings.Join(names, ", "))
	}
}
