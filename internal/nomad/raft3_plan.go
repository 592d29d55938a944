// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
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
	for host, failure := range survey.Unreachable {
		p.Problems = append(p.Problems, Problem{
			Host: host, Kind: failure.Kind, Text: "cannot be looked at: " + failure.Text,
			Remedy: cmp.Or(failure.Remedy, "bring it back; if it is no server, leave it out with --limit"),
		})
	}
	raft := configurationOf(evidence)
	switch servers := max(len(raft), len(evidence)); {
	case len(evidence) == 0:
		p.Problems = append(p.Problems, Problem{Text: "no host of the inventory has a Nomad server", Remedy: "bring the servers into the inventory"})
	case servers == 1:
		p.single(evidence[0], options)
	case servers == 2:
		p.Problems = append(p.Problems, Problem{
			Text:   "the cluster has two servers: while one is stopped the other leads nobody, and cannot take it out of raft's configuration",
			Remedy: "add a third server first (drover replace-servers), or stop both and bring them back together with drover recover",
		})
	default:
		p.rolling(evidence, raft, options)
	}
	p.Problems, p.Warnings = sorted(p.Problems), sorted(p.Warnings)
	return p
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

func (p *RaftPlan) single(e RaftEvidence, options RaftOptions) {
	p.Mode = RaftModeSingle
	step, problems := RaftSingle(e, options)
	p.Steps, p.Problems = append(p.Steps, step), append(p.Problems, problems...)
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

func (p *RaftPlan) rolling(evidence []RaftEvidence, raft []RaftServer, options RaftOptions) {
	p.Mode = RaftModeRolling
	if options.Target.Known() {
		p.Problems = append(p.Problems, Problem{
			Text: "a cluster of several servers changes either its raft protocol or its version at a time", Remedy: "leave --to out, and run drover upgrade afterwards",
		})
	}
	var states []ServerState
	steps := map[string]RaftStep{}
	leader := false
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
		if !known {
			p.Problems = append(p.Problems, Problem{
				Text:   fmt.Sprintf("raft's configuration has %s at %s, which is no host of the inventory", server.ID, server.Address),
				Remedy: "bring its host into the inventory, or remove the server from the cluster if it is gone for good (nomad operator raft remove-peer)",
			})
		}
	}
	p.rollingPauses(evidence)
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
