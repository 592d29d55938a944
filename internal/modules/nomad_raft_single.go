// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

// backupsKept is how many copies of server/ stay beside it.
const backupsKept = 3

// single migrates, or rescues, the only server of a cluster.
func (m *migration) single(ctx context.Context) (*Result, error) {
	if err := m.lookAgain(ctx); err != nil {
		return nil, err
	}
	if err := m.resume(ctx); err != nil {
		return nil, err
	}
	if err := m.lookAgain(ctx); err != nil {
		return nil, err
	}
	var problems []nomad.Problem
	m.step, problems = nomad.RaftSingle(m.evidence, m.options)
	if others := slices.DeleteFunc(m.servers(m.facts.Region), func(name string) bool { return name == m.call.Name }); len(others) > 0 {
		problems = append(problems, nomad.Problem{Host: m.call.Name, Text: "the inventory has other servers of its region: " + someOf(others), Remedy: "drover raft-v3 chooses the way itself"})
	}
	if unknown := m.unknownHosts(); !m.facts.Answers && m.facts.Running && len(unknown) > 0 {
		problems = append(problems, nomad.Problem{Host: m.call.Name, Text: "its agent does not answer, and nothing is known of other hosts, which may be servers of its cluster: " + someOf(unknown), Remedy: "bring them back, or leave them out of the inventory"})
	}
	if len(problems) > 0 {
		return nil, m.refused(problems)
	}
	if m.step.Action == nomad.ActionNone || m.evidence.Settled(m.options.Target) && !m.call.Check {
		return m.proven(ctx)
	}
	if m.call.Check {
		return &Result{Changed: true, Message: "would restart the server with raft protocol 3: " + m.step.Reason}, nil
	}
	m.byItself()
	if err := m.singleRequest(ctx); err != nil {
		return nil, err
	}
	outcome, err := m.stopServer(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.judge(ctx, outcome); err != nil {
		return nil, err
	}
	if err := m.awaitSingle(ctx, outcome); err != nil {
		return nil, err
	}
	message := "leads with raft protocol 3, by its node id"
	if outcome.Backup != "" {
		message += "; server/ as it was before is in " + outcome.Backup
	}
	return m.result(ctx, outcome, message)
}

// byItself says what a stop of the only server rests on: its own word that it is alone, or else what its host shows.
func (m *migration) byItself() {
	m.alone, m.sole, m.lone = true, m.evidence.Sole, m.evidence.Sole && m.evidence.Speaks
}

// unknownHosts are those of the inventory of which nobody has found out whether they run a server.
func (m *migration) unknownHosts() []string {
	return slices.DeleteFunc(slices.Clone(m.call.Fleet.Names("all")), func(name string) bool {
		_, known := m.cluster.facts(name)
		return known
	})
}

// proven looks again at a server that is done: an earlier run may have been killed before it had seen that it is well.
func (m *migration) proven(ctx context.Context) (*Result, error) {
	if err := m.awaitSingle(ctx, wire.SwapOutcome{}); err != nil {
		return nil, err
	}
	return &Result{Message: m.step.Reason}, nil
}

// singleRequest is what happens while the server is stopped.
func (m *migration) singleRequest(ctx context.Context) error {
	if err := m.request(); err != nil {
		return err
	}
	if m.options.Target.Known() && !m.facts.Upgraded(m.options.Target) {
		var staged stagedFact
		if !m.readFact(m.call.Name, factStaged, &staged) || !staged.Version.Same(m.options.Target) {
			return fmt.Errorf("no binary of Nomad %s is staged on %s; run nomad_stage first", m.options.Target, m.call.Name)
		}
		m.target = m.options.Target
		m.prepare.Staged, m.prepare.SHA256, m.prepare.Version = staged.Path, staged.SHA256, m.target.String()
	}
	m.prepare.Backup = &wire.SwapBackup{From: m.facts.DataDir + "/server", Keep: backupsKept}
	m.prepare.Edits = append(m.prepare.Edits, m.peersEdits()...)
	if m.facts.Leader {
		var err error
		if m.jobs, err = m.jobNames(ctx); err != nil {
			return fmt.Errorf("%s: nothing was stopped: list the jobs before the stop: %w", m.call.Name, err)
		}
	}
	return nil
}

// peersEdits write peers.json, which is the last file: with the old configuration Nomad would end at once, and touch nothing. It gets
// owner and mode of raft's own files, since the agent has to read and to delete it.
func (m *migration) peersEdits() []wire.SwapEdit {
	path := peersFile(m.facts)
	like := m.facts.DataDir + "/server/raft/raft.db"
	var edits []wire.SwapEdit
	before := ""
	if m.evidence.Peers != nil {
		before = sumOf(m.evidence.Peers)
	}
	if m.evidence.Foreign() {
		aside := path + ".drover-aside-" + time.Now().UTC().Format("20060102T150405")
		edits = append(edits, wire.SwapEdit{Path: aside, Content: m.evidence.Peers, Like: like})
	}
	wanted := wire.SwapEdit{Path: path, Content: nomad.PeersFile(m.evidence.Peer()), Like: like, Before: before}
	if m.evidence.OwnsItself() {
		if m.evidence.Peers == nil {
			return nil
		}
		wanted.Content, wanted.Remove = nil, true
	}
	return append(edits, wanted)
}

func (m *migration) jobNames(ctx context.Context) ([]string, error) {
	client, err := m.connect(ctx, m.call.Name)
	if err != nil {
		return nil, err
	}
	return nomad.AskJobs(ctx, client)
}

// awaitSingle waits until it is proven that the server is well.
func (m *migration) awaitSingle(ctx context.Context, outcome wire.SwapOutcome) error {
	ctx, cancel := context.WithTimeout(ctx, m.call.Args.Duration("timeout"))
	defer cancel()
	for {
		problems := m.missingSingle(ctx)
		if len(problems) == 0 {
			return nil
		}
		m.voice.say("waiting for the server: " + nomad.Words(problems))
		if wait.For(ctx, 2*pollEvery) != nil {
			return m.notWell(ctx, "the server was restarted with raft protocol 3", problems, outcome)
		}
	}
}

// missingSingle says what is missing until a single server is well.
func (m *migration) missingSingle(ctx context.Context) []nomad.Problem {
	missing := func(format string, args ...any) []nomad.Problem {
		return []nomad.Problem{{Host: m.call.Name, Text: fmt.Sprintf(format, args...)}}
	}
	facts, err := m.lookAtOwn(ctx)
	if err != nil {
		return missing("%s", err)
	}
	if !facts.Answers {
		return missing("it does not answer: %s", orNone(facts.Problem))
	}
	now := nomad.RaftEvidence{Facts: facts, NodeID: m.evidence.NodeID}
	after := m.evidence.After(m.options.Target)
	switch {
	case !facts.VersionRunning.Same(after):
		return missing("it runs %s and not %s", facts.VersionRunning, after)
	case facts.RaftProtocol < 3:
		return missing("raft protocol %d is in force", facts.RaftProtocol)
	case !facts.Leader:
		return missing("it does not lead yet")
	case !now.OwnsItself():
		return missing("raft's configuration is not it alone by its node id %s: %v", now.NodeID, facts.RaftServers)
	case m.evidence.Address != "" && facts.RaftServers[0].Address != m.evidence.Address:
		return missing("raft's configuration has its address as %s and not as %s", facts.RaftServers[0].Address, m.evidence.Address)
	}
	if peers, err := readOptional(ctx, m.call.Host, peersFile(facts)); err != nil || peers != nil {
		return missing("raft/peers.json is still there")
	}
	return m.missingState(ctx)
}

// missingState says what is missing of what only a leader can tell.
func (m *migration) missingState(ctx context.Context) []nomad.Problem {
	missing := func(format string, args ...any) []nomad.Problem {
		return []nomad.Problem{{Host: m.call.Name, Text: fmt.Sprintf(format, args...)}}
	}
	client, err := m.connect(ctx, m.call.Name)
	if err != nil {
		return missing("%s", err)
	}
	if m.jobs != nil {
		jobs, err := nomad.AskJobs(ctx, client)
		if err != nil {
			return missing("its jobs cannot be listed: %s", err)
		}
		gone := slices.DeleteFunc(slices.Clone(m.jobs), func(job string) bool { return slices.Contains(jobs, job) })
		if len(gone) > 0 {
			return missing("%d of %d jobs are not there: %s", len(gone), len(m.jobs), strings.Join(gone[:min(5, len(gone))], ", "))
		}
	}
	report, err := nomad.AskAutopilot(ctx, client)
	switch {
	case err != nil:
		return missing("autopilot cannot be asked: %s", err)
	case report.Unavailable != "":
		return missing("autopilot has no opinion: %s", report.Unavailable)
	case !report.Healthy:
		return missing("autopilot does not call it healthy yet")
	}
	return nil
}
