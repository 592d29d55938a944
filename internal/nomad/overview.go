// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Overview is how a cluster is: its agents by their own words, what is wrong, and what is worth knowing. Rows are sorted by host. With a
// Target it also says whether that version has arrived everywhere.
type Overview struct {
	Target   Version      `json:"target"`    // that was to be proven; unknown: none
	StableMS int64        `json:"stable_ms"` // for how long nothing was wrong, where a version was to be proven
	Clusters []ClusterRow `json:"clusters"`  // one for each region
	Servers  []ServerRow  `json:"servers"`
	Clients  []ClientRow  `json:"clients"`
	Problems []Problem    `json:"problems"`
	Notes    []Problem    `json:"notes"`
}

// Well tells whether there is a cluster and nothing is wrong with it.
func (o *Overview) Well() bool { return len(o.Problems) == 0 && len(o.Servers)+len(o.Clients) > 0 }

// ClusterRow is one region as a whole.
type ClusterRow struct {
	Region    string `json:"region"`
	Leader    string `json:"leader"` // the host that says that it leads; "": none does
	Voters    int    `json:"voters"`
	Tolerance int    `json:"failure_tolerance"` // servers that may still fail, by the servers' own answers
	Reached   uint64 `json:"reached"`           // the index that the leader had committed before the servers were asked
	Autopilot string `json:"autopilot"`         // healthy, unhealthy, or why there is no opinion
	Jobs      int    `json:"jobs"`              // that are not dead
	Running   int    `json:"allocations_running"`
	Starting  int    `json:"allocations_starting"`
	Queued    int    `json:"allocations_queued"`
}

// ServerRow is one server by its own word.
type ServerRow struct {
	Host        string  `json:"host"`
	Version     Version `json:"version"`
	Disk        Version `json:"version_on_disk"`
	State       string  `json:"state"` // Leader, Follower, Candidate; empty when it does not answer
	Voter       bool    `json:"voter"`
	ID          string  `json:"id"`
	Term        uint64  `json:"term"`
	Applied     uint64  `json:"applied"`
	Protocol    int     `json:"raft_protocol"`
	LastContact string  `json:"last_contact"`
	Gossip      string  `json:"gossip"` // alive, left, failed as the other servers see it, or what they disagree about; "": nobody told
}

// ClientRow is one client by its own word, and as the servers see it.
type ClientRow struct {
	Host        string  `json:"host"`
	Version     Version `json:"version"`
	Disk        Version `json:"version_on_disk"`
	Status      string  `json:"status"`
	Eligibility string  `json:"eligibility"`
	Draining    bool    `json:"draining"`
	Allocs      int     `json:"allocations"`
	Datacenter  string  `json:"datacenter"`
}

// OverviewEvidence is what an overview is made of.
type OverviewEvidence struct {
	Target      Version // that is to be proven; unknown: none
	Hosts       []HostFacts
	Unreachable map[string]LookFailure
	Addresses   map[string]string // where the inventory says that hosts are
	Beside      map[string]Beside // by host
	Clusters    []ClusterEvidence
}

// Beside is what a host shows besides its agent.
type Beside struct {
	Peers  string // the raft/peers.json that is there, "" when none is
	HeldBy string // the run that holds the lock on the agent's unit, in words; "" when none does
	// Clock is how far the host's clock is ahead of the bastion's, to within Precision (half of how long the question took).
	Clock, Precision time.Duration
}

// ClusterEvidence is what one region said.
type ClusterEvidence struct {
	Region  string
	Answers []Answer // of all agents, servers and clients
	// Reached is what the leader had committed before the servers were asked, so that a busy cluster does not run away from the question.
	Reached        uint64
	Raft           RaftConfiguration
	RaftError      string
	Members        map[string][]Member // by the server that tells
	Autopilot      Autopilot
	AutopilotError string
	// Leaders is what servers that refused the token say without one: the RPC address of the leader, "" where they know none.
	Leaders    map[string]string
	Nodes      []NodeSummary
	NodesError string
	Jobs       []JobState
	JobsError  string
}

// Kinds of findings, as Problem.Kind has them.
const (
	findUnreachable = "unreachable"
	findNotRunning  = "not_running"
	findCrashLoop   = "crash_loop"
	findNoAnswer    = "no_answer"
	findNoAgent     = "no_agent"
	findVersion     = "version"
	findDisk        = "disk_version"
	findUnfinished  = "unfinished"
	findPeersJSON   = "peers_json"
	findKillMode    = "kill_mode"
	findLeave       = "leave_flags"
	findClock       = "clock"
	findNoLeader    = "no_leader"
	findLeaders     = "several_leaders"
	findLeader      = "leader_disagreement"
	findState       = "raft_state"
	findContact     = "last_contact"
	findApplied     = "applied_index"
	findRaft        = "raft_configuration"
	findRaftID      = "raft_id"
	findProtocol    = "raft_protocol"
	findStranger    = "unknown_server"
	findVote        = "no_vote"
	findQuorum      = "quorum"
	findEven        = "even_voters"
	findMembers     = "members"
	findAutopilot   = "autopilot"
	findNode        = "node_unknown"
	findNodeStatus  = "node_status"
	findNodeVersion = "node_version"
	findEligibility = "eligibility"
	findHeartbeat   = "heartbeat"
	findAllocations = "allocations"
	findNotAsked    = "not_asked"
	findToken       = "token"
	findOldClient   = "old_client"
	findBinary      = "binary_missing"
)

// Passing tells whether a problem may pass by itself within a minute, as after a restart: all others stay until somebody does something.
func Passing(p Problem) bool {
	return slices.Contains([]string{
		findNoAnswer, findNoLeader, findLeaders, findLeader, findState, findContact, findApplied, findRaft, findVote, findQuorum, findMembers,
		findAutopilot, findNode, findNodeStatus, findNodeVersion, findHeartbeat, findAllocations,
	}, p.Kind)
}

// NewOverview judges a cluster. The same evidence gives the same overview.
func NewOverview(e OverviewEvidence) Overview {
	o := &overviewer{evidence: e}
	o.overview = Overview{Target: e.Target, Clusters: []ClusterRow{}, Servers: []ServerRow{}, Clients: []ClientRow{}, Problems: []Problem{}, Notes: []Problem{}}
	for _, host := range sortedKeys(e.Unreachable) {
		failure := e.Unreachable[host]
		o.bad(findUnreachable, host, failure.remedy(host), "nothing is known of it: %s", failure)
	}
	hosts := sortFacts(e.Hosts)
	for i := range hosts {
		o.host(&hosts[i])
	}
	for i := range e.Clusters {
		o.cluster(&e.Clusters[i])
	}
	o.versions()
	o.clocks()
	byHost := func(a, b Problem) int { return strings.Compare(a.Host, b.Host) }
	slices.SortStableFunc(o.overview.Problems, byHost)
	slices.SortStableFunc(o.overview.Notes, byHost)
	slices.SortStableFunc(o.overview.Servers, func(a, b ServerRow) int { return strings.Compare(a.Host, b.Host) })
	slices.SortStableFunc(o.overview.Clients, func(a, b ClientRow) int { return strings.Compare(a.Host, b.Host) })
	return o.overview
}

type overviewer struct {
	evidence OverviewEvidence
	overview Overview
}

func (o *overviewer) bad(kind, host, remedy, format string, args ...any) {
	o.overview.Problems = append(o.overview.Problems, Problem{Kind: kind, Host: host, Remedy: remedy, Text: fmt.Sprintf(format, args...)})
}

func (o *overviewer) note(kind, host, remedy, format string, args ...any) {
	o.overview.Notes = append(o.overview.Notes, Problem{Kind: kind, Host: host, Remedy: remedy, Text: fmt.Sprintf(format, args...)})
}

// unproven is worth knowing, and a problem where everything is to be proven.
func (o *overviewer) unproven(kind, host, remedy, format string, args ...any) {
	if o.evidence.Target.Known() {
		o.bad(kind, host, remedy, format, args...)
		return
	}
	o.note(kind, host, remedy, format, args...)
}

// host is what a host shows of its agent, whatever the agent says.
func (o *overviewer) host(f *HostFacts) {
	beside := o.evidence.Beside[f.Host]
	if f.Role == "none" && !f.Running {
		o.note(findNoAgent, f.Host, "", "no Nomad agent is configured on it")
		return
	}
	log := "see its log: journalctl -u " + f.Unit
	switch {
	case f.CrashLooping && beside.Peers != "":
		o.bad(findCrashLoop, f.Host, "look at that file: Nomad ends at once on one that is wrong; drover raft-v3 (one server) or drover recover (several) replaces it",
			"systemd starts its agent over and over, and %s is there", beside.Peers)
	case f.CrashLooping:
		o.bad(findCrashLoop, f.Host, log, "systemd starts its agent over and over")
	case !f.Running && o.leftAlone(f):
		o.note(findNotRunning, f.Host, "take the host out of the inventory if it was replaced; if not: systemctl enable --now "+f.Unit,
			"its agent does not run, and its unit is disabled, so that it is left alone")
	case !f.Running:
		o.bad(findNotRunning, f.Host, cmp.Or(o.atWork(f), log+", and start it: systemctl start "+f.Unit), "its agent does not run%s", o.holder(f))
	case f.Denied != "": // said once for all of them
	case !f.Answers:
		o.bad(findNoAnswer, f.Host, log, "its agent runs and does not answer: %s", cmp.Or(f.Problem, "no reason is known"))
	}
	if f.Unfinished != "" && beside.HeldBy == "" {
		o.bad(findUnfinished, f.Host, againRemedy, "an earlier run has left %s", f.Unfinished)
	}
	if beside.Peers != "" && !f.CrashLooping {
		o.bad(findPeersJSON, f.Host, "find out who wrote it, and remove it while the agent runs: Nomad reads it when it starts, and replaces its raft configuration by it",
			"%s is there, and no recovery is under way", beside.Peers)
	}
	if f.BinaryMissing && !o.leftAlone(f) {
		o.bad(findBinary, f.Host, "put the binary back there before anything restarts the agent, or name the right one in ExecStart and reload systemd; see that its filesystem is mounted",
			"its binary %s is not there: the next start fails", f.Binary)
	}
	o.version(f)
	o.unit(f)
}

// version compares what runs with what is on disk, and both with what is to be proven.
func (o *overviewer) version(f *HostFacts) {
	target := o.evidence.Target
	wrong := target.Known() && f.Running && !f.VersionRunning.Same(target)
	if wrong {
		o.bad(findVersion, f.Host, "drover upgrade --to "+target.String()+" goes on where it stopped", "it runs %s and not %s", cmp.Or(f.VersionRunning.String(), "an unknown version"), target)
	}
	if !f.Running {
		if target.Known() && !o.leftAlone(f) && !f.VersionDisk.Same(target) {
			o.bad(findVersion, f.Host, "drover upgrade --to "+target.String(), "%s is on disk and not %s", cmp.Or(f.VersionDisk.String(), "an unknown version"), target)
		}
		return
	}
	if f.ExeCurrent {
		return
	}
	who := ""
	if f.Package != "" {
		who = ", by the package " + f.Package
	}
	switch {
	case f.VersionDisk.Known() && !f.VersionDisk.Same(f.VersionRunning):
		o.unproven(findDisk, f.Host, "drover upgrade --to "+f.VersionDisk.String()+" restarts it when its cluster can spare it",
			"it runs %s, and %s has been replaced by %s%s, which the next start will run", cmp.Or(f.VersionRunning.String(), "an unknown version"), f.Binary, f.VersionDisk, who)
	case !wrong && !f.BinaryMissing:
		o.note(findDisk, f.Host, "", "its binary %s was replaced by another file of the same version since it was started%s", f.Binary, who)
	}
}

// unit is what the next stop of the agent would do beside stopping it.
func (o *overviewer) unit(f *HostFacts) {
	if f.Client && f.UnitSettings.Systemd && f.UnitSettings.KillMode != "" && f.UnitSettings.KillMode != "process" {
		o.note(findKillMode, f.Host, "set KillMode=process in a drop-in of "+f.Unit, "KillMode=%s: whoever restarts the agent by systemd ends its allocations too", f.UnitSettings.KillMode)
	}
	if f.Leave.OnInterrupt && f.Leave.OnTerminate {
		what := "a client drains itself"
		if f.Server {
			what = "a server leaves raft and comes back without a vote"
		}
		o.note(findLeave, f.Host, "take one of the two out of the configuration", "leave_on_interrupt and leave_on_terminate are both set: whenever its agent is stopped, %s", what)
	}
}

// versions notes a half-finished upgrade.
func (o *overviewer) versions() {
	hosts := map[string][]string{}
	for _, facts := range sortFacts(o.evidence.Hosts) {
		if facts.Running && facts.VersionRunning.Known() {
			hosts[facts.VersionRunning.String()] = append(hosts[facts.VersionRunning.String()], facts.Host)
		}
	}
	if len(hosts) < 2 || o.evidence.Target.Known() {
		return
	}
	names := sortedKeys(hosts)
	slices.SortStableFunc(names, func(a, b string) int {
		x, errX := ParseVersion(a)
		y, errY := ParseVersion(b)
		if errX != nil || errY != nil {
			return cmp.Compare(a, b)
		}
		return x.Compare(y)
	})
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = name + " on " + someHosts(hosts[name])
	}
	newest := names[len(names)-1]
	o.note(findVersion, "", "drover upgrade --to "+newest+" goes on where it stopped", "agents run different versions: %s", strings.Join(words, "; "))
}

// clockSkew is how far clocks may be apart: leases, tokens and certificates are judged by them.
const clockSkew = time.Second

// clocks compares the hosts' clocks, as far as the answers' travel times let them be compared, with the one in the middle.
func (o *overviewer) clocks() {
	hosts := sortedKeys(o.evidence.Beside)
	if len(hosts) < 2 {
		return
	}
	offsets := make([]time.Duration, len(hosts))
	for i, host := range hosts {
		offsets[i] = o.evidence.Beside[host].Clock
	}
	slices.Sort(offsets)
	middle := offsets[(len(offsets)-1)/2]
	for _, host := range hosts {
		beside := o.evidence.Beside[host]
		off := beside.Clock - middle
		if off.Abs() <= clockSkew+beside.Precision {
			continue
		}
		word := "ahead of"
		if off < 0 {
			word = "behind"
		}
		o.note(findClock, host, "see whether time synchronisation runs: timedatectl", "its clock is %s %s those of the other hosts", off.Abs().Round(100*time.Millisecond), word)
	}
}
