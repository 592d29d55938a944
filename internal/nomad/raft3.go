// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"drover/internal/agentconfig"
)

// Raft protocol 3 names a server by its node id, protocol 2 by its address. A migration gives each server its own id in raft's
// configuration: for a single server by recovery from a peers.json, for several by removing and adding one after the other. Facts are
// those of Nomad 1.2.6 to 1.11.0.

// RaftEvidence is what a host shows of its server's part in raft, with or without its API.
type RaftEvidence struct {
	Facts  HostFacts
	NodeID string // contents of server/node-id; "": there is none
	// Store says that there is a raft.db: the server has taken part in raft before.
	Store bool
	// PeersInfo says that there is a raft/peers.info; without it Nomad deletes a peers.json unread.
	PeersInfo bool
	// Peers is the content of a raft/peers.json, nil where there is none. Nomad deletes it when it has used it.
	Peers []byte
	// Address is the server's RPC address, host:port, as the others know it; "" where it could not be found out, and AddressProblem says why.
	Address        string
	AddressProblem string
	// Protocols are the places that set raft_protocol; Edits change the files so that it is 3, and EditProblem says why that is impossible.
	Protocols   []agentconfig.Occurrence
	Edits       []agentconfig.Edit
	EditProblem string
	// Unread says why a configuration file cannot be parsed: path:line:column and the parser's words. Of a host that cannot be asked nobody
	// knows then whether it is a server.
	Unread string
	// Others is evidence of further servers in the cluster of one that cannot be asked, or that does not show raft's configuration: "retry_join names 10.0.0.2".
	Others []string
	// Sole says that Others is empty although gossip's own record was there to be read, or raft's configuration was told.
	Sole bool
	// Speaks says that an agent which says nothing of itself tells what needs no token: it has no leader, and raft's configuration is this server
	// alone. So does one that has yet to read the state with the tokens, which takes a leader.
	Speaks bool
	// Untold says why an agent that says nothing of itself did not tell what needs no token either.
	Untold string
	// Leads is the RPC address of the leader that an agent names which shows no more of itself; "": none.
	Leads string
}

// RaftOptions are what the user chose.
type RaftOptions struct {
	Target       Version // zero: the version stays
	ReplacePeers bool    // a leftover peers.json is moved aside
	StopSignal   string
	Down         []string // servers that may be dead, of a cluster of several: inventory name, raft id or address
	AcceptNotes  []string // upgrade notes that are accepted, by their ids
	VersionOptions
}

// After is the version that the server will start with.
func (e *RaftEvidence) After(target Version) Version {
	switch {
	case target.Known():
		return target
	case e.Facts.VersionDisk.Known():
		return e.Facts.VersionDisk
	}
	return e.Facts.VersionRunning
}

// WantsRaftSetting tells whether raft_protocol = 3 has to be in the configuration: before 1.3 the default is 2, later any other value that
// decides is wrong.
func WantsRaftSetting(protocols []agentconfig.Occurrence, after Version) bool {
	decides, ok := agentconfig.Deciding(protocols, RaftProtocolKey())
	if !ok || decides.Value.Zero() {
		return !after.AtLeast("1.3.0")
	}
	return !decides.Value.Equal(agentconfig.Value{Kind: agentconfig.Number, Text: "3"})
}

// RaftProtocolKey is server.raft_protocol.
func RaftProtocolKey() agentconfig.Path { return agentconfig.Path{"server", "raft_protocol"} }

// RaftPeer is one entry of a peers.json for protocol 3.
type RaftPeer struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	NonVoter bool   `json:"non_voter"`
}

// PeersFile writes a peers.json for protocol 3.
func PeersFile(peers ...RaftPeer) []byte {
	text, _ := json.MarshalIndent(peers, "", "  ") // strings and booleans can be encoded
	return append(text, '\n')
}

// samePeers tells whether a peers.json is the one that is wanted, however it is laid out.
func samePeers(text []byte, want RaftPeer) bool {
	var peers []RaftPeer
	return json.Unmarshal(text, &peers) == nil && len(peers) == 1 && peers[0] == want
}

// Peer is the server's own entry for protocol 3.
func (e *RaftEvidence) Peer() RaftPeer { return RaftPeer{ID: e.NodeID, Address: e.Address} }

// Foreign tells that there is a peers.json which is not the one that the migration would write.
func (e *RaftEvidence) Foreign() bool { return e.Peers != nil && !samePeers(e.Peers, e.Peer()) }

// OwnsItself tells whether the server's own raft configuration is it alone, by its node id and as a voter.
func (e *RaftEvidence) OwnsItself() bool {
	return e.Facts.Answers && e.Facts.RaftProtocol >= 3 && len(e.Facts.RaftServers) == 1 && e.Facts.RaftServers[0].Voter && e.Facts.RaftServers[0].ID == e.NodeID
}

// Settled tells that a single server needs no restart: it runs as it should, whether it leads already or has yet to be elected.
func (e *RaftEvidence) Settled(target Version) bool {
	return e.OwnsItself() && len(e.Edits) == 0 && e.Peers == nil && (!target.Known() || e.Facts.Upgraded(target))
}

func (e *RaftEvidence) mine(server RaftServer) bool {
	return server.ID == e.NodeID || e.Facts.RPC != "" && server.Address == e.Facts.RPC
}

// RaftStep is what happens to one server.
type RaftStep struct {
	Host     string   `json:"host"`
	Action   string   `json:"action"`   // none, migrate, rescue, finish, refused
	Protocol int      `json:"protocol"` // in force; 0: the agent cannot be asked
	ID       string   `json:"id"`       // in raft's configuration; "": not known
	NodeID   string   `json:"node_id"`
	Address  string   `json:"address"`
	Leader   bool     `json:"leader"`
	From     Version  `json:"from"`
	To       Version  `json:"to"`
	Edits    []string `json:"edits"` // "/etc/nomad.d/server.hcl:4:3: raft_protocol 2 becomes 3"
	Reason   string   `json:"reason"`
}

// Actions of a migration, beside ActionNone and ActionRefused.
const (
	ActionMigrate = "migrate"
	ActionRescue  = "rescue" // the server has been restarted, or stands still, half migrated
	ActionFinish  = "finish" // only the last part is missing
)

func (e *RaftEvidence) step(options RaftOptions) RaftStep {
	f := e.Facts
	step := RaftStep{
		Host: f.Host, Action: ActionMigrate, NodeID: e.NodeID, Address: e.Address, Leader: f.Leader, From: f.VersionRunning, To: e.After(options.Target),
		Edits: e.editWords(),
	}
	if !step.From.Known() {
		step.From = f.VersionDisk
	}
	if f.Answers {
		step.Protocol = f.RaftProtocol
		for _, server := range f.RaftServers {
			if e.mine(server) {
				step.ID = server.ID
			}
		}
	}
	return step
}

// editWords says which lines change.
func (e *RaftEvidence) editWords() []string {
	words := []string{}
	for _, edit := range e.Edits {
		at, was := edit.Path, ""
		for _, o := range e.Protocols {
			if o.File == edit.Path {
				at, was = o.Where(), o.Value.String()
			}
		}
		if was == "" {
			words = append(words, at+": raft_protocol = 3 is added to the server block")
		} else {
			words = append(words, fmt.Sprintf("%s: raft_protocol %s becomes 3", at, was))
		}
	}
	return words
}

var nodeIDShape = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// common are the reasons against a migration of one server, alone or in a row.
func (e *RaftEvidence) common(options RaftOptions) []Problem {
	f := e.Facts
	var problems []Problem
	add := func(remedy, format string, args ...any) {
		problems = append(problems, Problem{Host: f.Host, Text: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	switch {
	case f.DataDir == "":
		add("say it in the configuration (data_dir)", "the data directory of the server is not known")
		return problems
	case !e.Store:
		add("see whether data_dir is the right one", "%s/server/raft has no raft.db: this server has never been part of a cluster", f.DataDir)
		return problems
	case e.NodeID == "":
		add("see whether data_dir is the right one", "%s/server/node-id is missing, so that the server's id is not known", f.DataDir)
	case !nodeIDShape.MatchString(e.NodeID):
		add("restore it from a backup of server/", "%s/server/node-id holds %q, which is no id", f.DataDir, e.NodeID)
	case f.Answers && f.ServerID != "" && f.ServerID != e.NodeID:
		add("see which data directory the agent uses, and whether somebody has changed the file", "the running agent has the id %s, and %s/server/node-id says %s", f.ServerID, f.DataDir, e.NodeID)
	}
	if e.EditProblem != "" {
		add("", "%s", e.EditProblem)
	}
	if e.Unread != "" {
		add("repair that file; the agent would not start again with it", "its configuration cannot be read: %s", e.Unread)
	}
	switch silent := e.silent() && f.Unfinished == ""; {
	case silent && e.Leads != "":
		add(raftTokenRemedy, "its agent names %s as the leader, and does not say how it is itself: %s", e.Leads, f.Problem)
	case silent && options.StopSignal == "" && !e.Speaks:
		add("repair its API, or stop it with --stop-signal KILL", "its agent runs and does not answer, so that nothing is known of what it does: %s", joined(f.Problem, e.Untold))
	}
	after := e.After(options.Target)
	if after.AtLeast("1.4.0") {
		for _, o := range e.leftover() {
			add("take it out", "%s sets raft_protocol = %s, with which Nomad %s does not start", o.Where(), o.Value, after)
		}
	}
	return problems
}

func joined(problem, further string) string {
	if further == "" {
		return problem
	}
	return problem + "; and what needs no token: " + further
}

// silent tells an agent that runs and says nothing of itself.
func (e *RaftEvidence) silent() bool {
	return e.Facts.Running && !e.Facts.Answers && !e.Facts.CrashLooping
}

// leftover are the places that still set another protocol than 3 after the edits.
func (e *RaftEvidence) leftover() []agentconfig.Occurrence {
	var left []agentconfig.Occurrence
	for _, o := range e.Protocols {
		edited := slices.ContainsFunc(e.Edits, func(edit agentconfig.Edit) bool { return edit.Path == o.File })
		if edited && o.Flag == "" {
			all, err := agentconfig.Occurrences([]agentconfig.Source{{Path: o.File, Text: e.after(o.File)}}, nil, RaftProtocolKey())
			if err == nil && !slices.ContainsFunc(all, func(n agentconfig.Occurrence) bool { return n.Line == o.Line && !three(n.Value) }) {
				continue
			}
		}
		if !three(o.Value) && !o.Value.Zero() {
			left = append(left, o)
		}
	}
	return left
}

func three(v agentconfig.Value) bool {
	return v.Equal(agentconfig.Value{Kind: agentconfig.Number, Text: "3"})
}

func (e *RaftEvidence) after(file string) []byte {
	for _, edit := range e.Edits {
		if edit.Path == file {
			return edit.After
		}
	}
	return nil
}

// peersProblems are the reasons against a peers.json.
func (e *RaftEvidence) peersProblems(options RaftOptions) []Problem {
	f := e.Facts
	var problems []Problem
	add := func(remedy, format string, args ...any) {
		problems = append(problems, Problem{Host: f.Host, Text: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	if !e.PeersInfo {
		add("start this server once with its old configuration, and see that "+f.DataDir+"/server/raft/peers.info appears",
			"%s/server/raft/peers.info is missing: Nomad would delete a peers.json without using it, and find no leader", f.DataDir)
	}
	if e.Address == "" {
		add("give the address with --rpc-address HOST:PORT", "the address by which raft knows this server could not be found out: %s", e.AddressProblem)
	}
	if e.Foreign() && !options.ReplacePeers {
		add("look at it; --replace-peers-json moves it aside and goes on",
			"somebody has left %s/server/raft/peers.json, which Nomad would read at its next start", f.DataDir)
	}
	return problems
}

// RaftSingle decides what migrating the only server of a cluster comes to.
func RaftSingle(e RaftEvidence, options RaftOptions) (RaftStep, []Problem) {
	step := e.step(options)
	f := e.Facts
	problems := e.common(options)
	others := e.company()
	if e.silent() && e.Leads != "" {
		others = nil // with a token it will say so itself
	}
	for _, other := range others {
		problems = append(problems, Problem{
			Host: f.Host, Text: "it does not look like the only server of its cluster: " + other,
			Remedy: "bring the other servers into the inventory: raft-v3 takes several in turn, and drover recover brings back a cluster that has lost its quorum",
		})
	}
	if options.Target.Known() {
		for _, p := range versionProblems(step.From, options.Target, options.VersionOptions) {
			p.Host = f.Host
			problems = append(problems, p)
		}
		if !e.Settled(options.Target) {
			refused, _ := releaseProblems(options.Target)
			problems = append(problems, refused...)
		}
	}
	done := e.OwnsItself()
	switch settled := e.Settled(options.Target); {
	case settled && f.Leader:
		step.Action, step.Reason = ActionNone, "raft protocol 3 is in force, and the server is in raft's configuration by its node id"
		return step, problems
	case settled:
		step.Action, step.Reason = ActionFinish, "raft protocol 3 is in force, and the server has yet to find that it leads"
	case done:
		step.Action, step.Reason = ActionFinish, "raft protocol 3 is in force"
		if e.Foreign() {
			problems = append(problems, e.peersProblems(options)...)
		}
	case f.CrashLooping:
		step.Action, step.Reason = ActionRescue, "its agent ends as soon as it is started"
	case !f.Running:
		step.Action, step.Reason = ActionRescue, "its agent does not run"
	case !f.Answers && e.Speaks:
		step.Action, step.Reason = ActionRescue, "it has no leader, and so has not read the state that holds the tokens"
	case !f.Answers:
		step.Action, step.Reason = ActionRescue, "its agent does not answer"
		problems = append(problems, e.unproven(options)...)
	case !f.Leader:
		step.Action, step.Reason = ActionRescue, "it has no leader"
	default:
		step.Reason = fmt.Sprintf("raft protocol %d is in force", f.RaftProtocol)
	}
	if !done {
		problems = append(problems, e.peersProblems(options)...)
	}
	if len(problems) > 0 {
		step.Action = ActionRefused
	}
	return step, problems
}

// unproven refuses to stop a server that says nothing where its host does not show that it is alone.
func (e *RaftEvidence) unproven(options RaftOptions) []Problem {
	if e.Sole || len(e.company()) > 0 || e.Leads != "" || options.StopSignal == "" {
		return nil
	}
	return []Problem{{
		Host: e.Facts.Host, Text: fmt.Sprintf("its agent does not answer, and gossip's own record (%s/server/serf/snapshot) is missing, so that nothing shows that it is the only server of its cluster", e.Facts.DataDir),
		Remedy: "repair its API; if it is the only server, stop its agent on the host (systemctl stop), and run again: a server that does not run is rescued",
	}}
}

// company is evidence that the server is not alone in its cluster.
func (e *RaftEvidence) company() []string {
	if !e.Facts.Answers || len(e.Facts.RaftServers) == 0 {
		return e.Others
	}
	var others []string
	for _, server := range e.Facts.RaftServers {
		if !e.mine(server) {
			others = append(others, fmt.Sprintf("raft's configuration has %s at %s", server.ID, server.Address))
		}
	}
	return others
}

// RaftRolling decides what migrating one of several servers comes to. raft is the configuration as the leader has it.
func RaftRolling(e RaftEvidence, raft []RaftServer, options RaftOptions) (RaftStep, []Problem) {
	step := e.step(options)
	f := e.Facts
	step.ID = ""
	for _, server := range raft {
		if e.mine(server) || e.Address != "" && server.Address == e.Address {
			step.ID = server.ID
		}
	}
	problems := e.common(options)
	if e.Peers != nil {
		problems = append(problems, Problem{
			Host: f.Host, Text: fmt.Sprintf("somebody has left %s/server/raft/peers.json: Nomad would read it at its next start and take the server out of its cluster", f.DataDir),
			Remedy: "remove it",
		})
	}
	switch {
	case f.Answers && f.RaftProtocol >= 3 && len(e.Edits) == 0 && slices.Contains(raft, RaftServer{ID: e.NodeID, Address: f.RPC, Voter: true}):
		step.Action, step.Reason = ActionNone, "raft protocol 3 is in force, and raft's configuration has the server by its node id"
	case f.Answers && f.RaftProtocol >= 3 && len(e.Edits) == 0:
		step.Action, step.Reason = ActionFinish, "raft protocol 3 is in force; raft's configuration has yet to take over its node id, and give it its vote"
	case f.CrashLooping:
		step.Action, step.Reason = ActionRescue, "its agent ends as soon as it is started"
	case !f.Running:
		step.Action, step.Reason = ActionFinish, "its agent does not run"
	case !f.Answers:
		step.Action, step.Reason = ActionRescue, "its agent does not answer"
	default:
		step.Reason = fmt.Sprintf("raft protocol %d is in force", f.RaftProtocol)
	}
	if len(problems) > 0 {
		step.Action = ActionRefused
	}
	return step, problems
}

// SerfSnapshot reads gossip's own record of a server (server/serf/snapshot, serf 0.9 and 0.10): the members that it knew as alive when it was
// stopped, name and address.
func SerfSnapshot(text []byte) map[string]string {
	alive := map[string]string{}
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch word {
		case "alive":
			if name, address, ok := strings.Cut(rest, " "); ok {
				alive[name] = address
			}
		case "not-alive":
			delete(alive, rest)
		}
	}
	return alive
}
