// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A recovery gives the servers that are left of a cluster a new raft configuration, in which they are alone, by a peers.json that each reads
// when it starts (setupRaft in nomad/server.go, 1.2.6 to 2.0.5). All of them must be stopped meanwhile and get the same file.

// RecoverOptions are what the user chose.
type RecoverOptions struct {
	Survivors    []string // hosts
	ReplacePeers bool     // a peers.json of unknown origin is moved aside
	StopSignal   string
}

// RecoverEvidence is what one survivor shows.
type RecoverEvidence struct {
	RaftEvidence
	View *AgentView // nil: its agent does not answer
	// Last is the last index of its newest snapshot on disk; 0: none.
	Last uint64
	// Written and Size are those of raft.db.
	Written time.Time
	Size    int64
	// Leftover says that an earlier recovery has written here and nobody has closed its record.
	Leftover bool
}

// RecoverSurvey is everything that a recovery depends on.
type RecoverSurvey struct {
	Survey
	Evidence []RecoverEvidence // of the survivors
	Answers  []Answer          // of all servers of the inventory that run
	// Alive are servers that no survivor is and that something answers for: what was seen, as "10.0.0.3:4647 accepts connections".
	Alive []string
	// Idle are servers that no survivor is, that can be reached and do not run, and that have raft's store.
	Idle []string
	// Unread says of survivors that show no server which file of their configuration cannot be parsed, as "/etc/nomad.d/server.hcl:3:1: REASON".
	Unread map[string]string
	// Leaderless is for how long nobody has been seen to lead.
	Leaderless time.Duration
}

// RecoverStep is one survivor.
type RecoverStep struct {
	Host    string  `json:"host"`
	ID      string  `json:"id"`
	Address string  `json:"address"`
	Version Version `json:"version"`
	Running bool    `json:"running"`
	State   string  `json:"state"` // as raft has it; "": it does not answer
	// Index is what it has applied, by its own word, or else the last index of its newest snapshot on disk, behind which there may be more.
	Index   uint64 `json:"index"`
	Exact   bool   `json:"index_exact"`
	Written string `json:"raft_db_written"` // RFC 3339, UTC
	Size    int64  `json:"raft_db_bytes"`
	// Edits are the lines of its configuration that change with peers.json: "/etc/nomad.d/server.hcl:4:3: raft_protocol 2 becomes 3".
	Edits []string `json:"edits"`
}

// Recovery is what a recovery will do, and what stands in the way.
type Recovery struct {
	Steps  []RecoverStep `json:"steps"`
	Peers  []RaftPeer    `json:"peers"`  // the new raft configuration
	Losses []string      `json:"losses"` // what may be lost
	Done   string        `json:"done"`   // why nothing is to be done; "": something is
	Finish bool          `json:"finish"` // an earlier recovery is to be seen to its end
	Start  []string      `json:"start"`  // survivors that an earlier recovery has not reached, to be started beside the leader of the others
	Newest string        `json:"newest"` // the survivor that has the most, as far as that can be seen
	Pauses []string      `json:"pauses"`
	Findings
}

// Verdict is clean, changes or refused.
func (r *Recovery) Verdict() string {
	return r.verdict(r.Done == "" || r.Finish)
}

type recoverer struct {
	Recovery
	survey  RecoverSurvey
	options RecoverOptions
}

// NewRecovery decides what a recovery comes to. The same survey gives the same answer.
func NewRecovery(survey RecoverSurvey, options RecoverOptions) Recovery {
	r := &recoverer{survey: survey, options: options}
	r.Steps, r.Peers, r.Losses, r.Pauses, r.Start, r.Findings = []RecoverStep{}, []RaftPeer{}, []string{}, []string{}, []string{}, noFindings()
	r.unreachable()
	for i := range survey.Evidence {
		e := &survey.Evidence[i]
		r.Steps = append(r.Steps, e.recoverStep())
		r.Peers = append(r.Peers, e.Peer())
		r.Finish = r.Finish || e.Leftover
	}
	for _, host := range sortedKeys(survey.Unread) {
		r.refuse(host, "correct the file; if it is no server, or lost, leave it out: "+leaveOut(host), "whether it is a server is not known: %s", survey.Unread[host])
	}
	switch {
	case len(survey.Evidence) == 0 && len(r.Problems) == 0:
		r.refuse("", "name the servers that are left with --limit", "none of these hosts has a Nomad server")
	case len(survey.Evidence) == 0 || r.cluster():
	default:
		for i := range survey.Evidence {
			r.survivor(&survey.Evidence[i])
		}
		r.together()
		r.others()
		r.newest()
		r.losses()
		r.Pauses = append(r.Pauses, "all survivors are stopped together, copied and started together: no control plane from then until a leader is elected, about 10 s and the time to copy server/; allocations go on")
	}
	r.Problems, r.Warnings = sorted(r.Problems), sorted(r.Warnings)
	return r.Recovery
}

func (e *RecoverEvidence) recoverStep() RecoverStep {
	step := RecoverStep{
		Host: e.Facts.Host, ID: e.NodeID, Address: e.Address, Version: e.After(Version{}), Running: e.Facts.Running, Index: e.Last, Size: e.Size, Edits: e.editWords(),
	}
	if !e.Written.IsZero() {
		step.Written = e.Written.UTC().Format(time.RFC3339)
	}
	if e.View != nil {
		step.State = e.View.Raft.State
		if e.View.Raft.Applied > 0 {
			step.Index, step.Exact = e.View.Raft.Applied, true
		}
	}
	return step
}

func (r *recoverer) unreachable() {
	var unknown []string
	for _, host := range sortedKeys(r.survey.Unreachable) {
		if slices.Contains(r.options.Survivors, host) {
			unknown = append(unknown, host)
		}
	}
	for _, host := range unknown {
		failure := r.survey.Unreachable[host]
		remedy := failure.remedy(host) + "; if it is lost for good, leave it out: " + leaveOut(unknown...)
		if len(unknown) > 1 {
			remedy = failure.remedy(host) + "; if " + strings.Join(unknown, ", ") + " are lost for good, leave them out: " + leaveOut(unknown...)
		}
		r.refuse(host, remedy, "it is named as a survivor, and nothing is known of it: %s", failure)
	}
}

// leaveOut is the option with which the others go on without some hosts.
func leaveOut(hosts ...string) string { return "--limit 'all:!" + strings.Join(hosts, ":!") + "'" }

// survives tells whether a peer of raft is one of the survivors.
func (r *recoverer) survives(server RaftServer) bool {
	return slices.ContainsFunc(r.survey.Evidence, func(e RecoverEvidence) bool {
		return e.NodeID != "" && e.NodeID == server.ID || e.Address != "" && e.Address == server.Address
	})
}

// quorate warns of servers that are a majority and have no leader all the same.
func (r *recoverer) quorate() {
	configured := r.configured()
	alive := 0
	for _, server := range configured {
		if server.Voter && slices.ContainsFunc(r.survey.Answers, func(a Answer) bool { return a.Error == "" && a.View.is(server) }) {
			alive++
		}
	}
	voters := Voters(configured)
	switch {
	case voters == 0 || alive < voters/2+1:
	case r.survey.Leaderless < ElectionPatience:
		r.refuse("", "run again", "%d of %d voters answer and none leads yet: an election may be under way", alive, voters)
	default:
		r.warn("", "%d of %d voters answer, which is a majority, and none leads: see first whether they reach each other's RPC ports, since a recovery does not mend a network", alive, voters)
	}
}

// configured is the largest raft configuration that a survivor knows; nil where none answers.
func (r *recoverer) configured() []RaftServer {
	var configured []RaftServer
	for _, e := range r.survey.Evidence {
		if e.View != nil && len(e.View.Raft.Servers) > len(configured) {
			configured = e.View.Raft.Servers
		}
	}
	return configured
}

// survivor says what speaks against one of them.
func (r *recoverer) survivor(e *RecoverEvidence) {
	f := e.Facts
	r.startable(e)
	if !e.PeersInfo && f.DataDir != "" {
		r.refuse(f.Host, "start this server once as it is, and see that the file appears", "%s/server/raft/peers.info is missing: Nomad would delete a peers.json without using it", f.DataDir)
	}
	if e.Address == "" {
		r.refuse(f.Host, "say it in its configuration: advertise { rpc = \"ADDRESS\" }", "the address by which raft knows this server could not be found out: %s", cmp.Or(e.AddressProblem, "no reason is known"))
	}
	if e.Peers != nil && !SamePeers(e.Peers, r.Peers) && !r.options.ReplacePeers {
		r.refuse(f.Host, "look at it; --replace-peers-json moves it aside and goes on", "somebody has left %s/server/raft/peers.json with other servers than these", f.DataDir)
	}
	if f.UnitSettings.ExecStart == nil || !f.UnitSettings.Systemd {
		r.refuse(f.Host, "", "%s is not loaded: %s", f.Unit, f.Problem)
	}
}

// startable says what speaks against a start of one of them, with a peers.json or without.
func (r *recoverer) startable(e *RecoverEvidence) {
	if decided, ok := WantsProtocol2(e.Protocols, e.After(Version{})); ok && len(e.Edits) == 0 && e.EditProblem == "" {
		r.refuse(e.Facts.Host, "set server.raft_protocol = 3 in its configuration", "it starts with raft protocol 2%s, and a recovered cluster has protocol 3", decided)
	}
	options := RaftOptions{ReplacePeers: r.options.ReplacePeers, StopSignal: r.options.StopSignal}
	if f := e.Facts; e.silent() && f.Denied != "" && f.Unfinished == "" && e.Leads == "" && options.StopSignal == "" {
		r.refuse(f.Host, raftTokenRemedy+"; where every token is refused, since nobody leads, stop it with --stop-signal KILL",
			"its agent runs and refuses the token, or that none was given, so that nothing is known of what it does: %s", f.Problem)
		options.StopSignal = "KILL" // all is said
	}
	plain := e.RaftEvidence
	plain.Speaks = false // what its leave would do to the others is not known
	r.Problems = append(r.Problems, plain.common(options)...)
}

// together says what speaks against all of them in one cluster.
func (r *recoverer) together() {
	ids, addresses, regions, builds := map[string]string{}, map[string]string{}, map[string][]string{}, map[string][]string{}
	for _, e := range r.survey.Evidence {
		host := e.Facts.Host
		if other := ids[e.NodeID]; e.NodeID != "" && other != "" {
			r.refuse(host, "one of them is a copy: leave it out", "it has the same node id as %s", other)
		}
		if other := addresses[e.Address]; e.Address != "" && other != "" {
			r.refuse(host, "leave one of the names out", "it has the same address as %s", other)
		}
		ids[e.NodeID], addresses[e.Address] = host, host
		regions[e.Facts.Region] = append(regions[e.Facts.Region], host)
		if version := e.After(Version{}); version.Known() {
			builds[version.String()] = append(builds[version.String()], host)
		}
	}
	if len(regions) > 1 {
		r.refuse("", "recover one cluster at a time: name its servers with --limit", "these servers are of different regions: %s", strings.Join(sortedKeys(regions), ", "))
	}
	if len(builds) > 1 {
		r.warn("", "the survivors have different versions of Nomad (%s)", strings.Join(sortedKeys(builds), ", "))
	}
	for _, e := range r.survey.Evidence {
		if e.View == nil || len(e.View.Raft.Servers) == 0 {
			continue
		}
		for _, other := range r.survey.Evidence {
			known := slices.ContainsFunc(e.View.Raft.Servers, func(s RaftServer) bool { return s.ID == other.NodeID || s.Address == other.Address })
			if !known && !e.Leftover && !other.Leftover {
				r.refuse(e.Facts.Host, "name servers of one cluster with --limit", "its raft configuration does not have %s: they are of different clusters", other.Facts.Host)
			}
		}
	}
}

// others are servers that are not to survive: none of them may be alive.
func (r *recoverer) others() {
	const split = "it would go on with the old raft configuration beside the new cluster"
	for _, f := range sortFacts(r.survey.Hosts) {
		if !f.Server || slices.Contains(r.options.Survivors, f.Host) || f.Region != r.survey.Evidence[0].Facts.Region {
			continue
		}
		if f.Running || f.CrashLooping {
			r.refuse(f.Host, "name it as a survivor too, or stop and disable its agent", "its agent runs, and it is not among the survivors: %s", split)
		} else {
			r.warn(f.Host, "its agent does not run, and it will not be in the new raft configuration: move its %s/server away before it is started again", cmp.Or(f.DataDir, "data_dir"))
		}
	}
	if idle := r.survey.Idle; len(idle) > 0 {
		r.Warnings = append(r.Warnings, Problem{
			Text:   fmt.Sprintf("%s can be reached, %s not run and %s the data of before: with them the old cluster may have its quorum", strings.Join(idle, ", "), plainly(len(idle), "does", "do"), plainly(len(idle), "has", "have")),
			Remedy: "start them instead: nothing is lost then: " + r.startCommands(),
		})
	}
	for _, seen := range r.survey.Alive {
		r.refuse("", "name its host as a survivor too, or stop it", "a server that is not among the survivors is alive (%s): %s", seen, split)
	}
}

// startCommands start what is idle, and the survivors that do not run.
func (r *recoverer) startCommands() string {
	var hosts, units []string
	for _, f := range sortFacts(r.survey.Hosts) {
		if slices.Contains(r.survey.Idle, f.Host) || f.Server && !f.Running && slices.Contains(r.options.Survivors, f.Host) {
			hosts, units = append(hosts, f.Host), append(units, f.Unit)
		}
	}
	slices.Sort(units)
	return fmt.Sprintf("systemctl start %s on %s", strings.Join(slices.Compact(units), " or "), strings.Join(hosts, ", "))
}

// newest finds who has the most, as far as that can be seen without Nomad: raft.db itself can be read by nobody else.
func (r *recoverer) newest() {
	best := -1
	for i, step := range r.Steps {
		if !step.Exact {
			return
		}
		if best < 0 || step.Index > r.Steps[best].Index {
			best = i
		}
	}
	if best >= 0 {
		r.Newest = r.Steps[best].Host
	}
}

// losses says what may be lost. A write is acknowledged when a majority of the voters has it, and a majority shares a server with every
// group of survivors that is large enough.
func (r *recoverer) losses() {
	configured := r.configured()
	voters, left := 0, 0
	var lost []string
	for _, server := range configured {
		switch {
		case !server.Voter:
		case r.survives(server):
			voters, left = voters+1, left+1
		default:
			voters++
			lost = append(lost, server.Address)
		}
	}
	slices.Sort(lost)
	majority := voters/2 + 1
	switch {
	case voters == 0:
		r.Losses = append(r.Losses, "writes that only servers had which are not named here are lost; how many there were cannot be seen, since no survivor can be asked")
	case len(lost) == 0:
	case left+majority > voters:
		r.Losses = append(r.Losses, fmt.Sprintf("no acknowledged write: every majority of the %d voters has a survivor in it; %s %s given up", voters, strings.Join(lost, ", "), plainly(len(lost), "is", "are")))
	default:
		r.Losses = append(r.Losses, fmt.Sprintf("acknowledged writes that only the lost servers had (%s): %d of %d voters survive, and %d would be needed to be sure of every write", strings.Join(lost, ", "), left, voters, voters-majority+1))
	}
	r.Losses = append(r.Losses,
		"writes that were never acknowledged may appear: what is in a survivor's log counts as committed afterwards",
		"the log before the recovery is condensed into a snapshot; server/ as it was is kept beside itself on each survivor")
	r.warn("", "servers that are given up must not come back with their old data several at once: they could elect a leader of their own; move their server/ away first")
}

func plainly(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
