// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

const (
	// raftPause is how long the host waits, stopped, until it starts the server in any case: gossip takes 33 to 40 s to notice.
	raftPause = 150 * time.Second
	// goneWithin is how long the others are waited for before the server is started all the same; the leader's reconciliation, once a
	// minute, then puts right what is left.
	goneWithin = 120 * time.Second
	// raftStable is how long a server must have been well before the next one is stopped.
	raftStable = 15 * time.Second
	// raftRecheck is that time for a server that was done before this run.
	raftRecheck = 3 * time.Second
)

// roll migrates one of several servers.
func (m *migration) roll(ctx context.Context) (*Result, error) {
	outcome, paused, err := m.takeUp(ctx)
	if err != nil {
		return nil, err
	}
	if !paused {
		if err := m.resume(ctx); err != nil {
			return nil, err
		}
		if err := m.lookAgain(ctx); err != nil {
			return nil, err
		}
		done, err := m.mayRoll(ctx)
		if err != nil || done != nil {
			return done, err
		}
		if outcome, err = m.stopToRoll(ctx); err != nil {
			return nil, err
		}
	}
	if outcome.Paused {
		outcome, err = m.letGo(ctx, outcome)
		if err != nil {
			return nil, err
		}
	}
	if outcome.ID != "" {
		if err := m.judge(ctx, outcome); err != nil {
			return nil, err
		}
	}
	if err := m.awaitRolled(ctx, outcome, raftStable); err != nil {
		return nil, err
	}
	return m.result(ctx, outcome, "votes with raft protocol 3, by its node id")
}

// takeUp looks for a stop of an earlier run that still waits for the others.
func (m *migration) takeUp(ctx context.Context) (wire.SwapOutcome, bool, error) {
	if err := m.lookAgain(ctx); err != nil {
		return wire.SwapOutcome{}, false, err
	}
	for {
		left, err := leftovers(ctx, m.call.Host, m.facts.Unit)
		if err != nil || len(left) == 0 || m.call.Check {
			return wire.SwapOutcome{}, false, err
		}
		last := left[len(left)-1]
		switch {
		case last.State != wire.SwapRunning:
			return wire.SwapOutcome{}, false, nil
		case last.Paused:
			m.voice.say("an earlier run has stopped this server, and it waits to be started: going on from there")
			return last, true, nil
		}
		m.voice.say("waiting for " + unfinished(left))
		if err := wait.For(ctx, 3*pollEvery); err != nil {
			return wire.SwapOutcome{}, false, fmt.Errorf("%s: %s is still at work on the host: %w", m.call.Name, unfinished(left), err)
		}
	}
}

// mayRoll decides what is to be done; a result means that nothing is, or that only the last part was.
func (m *migration) mayRoll(ctx context.Context) (*Result, error) {
	raft, err := m.leaderRaft(ctx)
	if err != nil {
		return nil, err
	}
	var problems []nomad.Problem
	m.step, problems = nomad.RaftRolling(m.evidence, raft.Plain(), m.options)
	if names := m.servers(m.facts.Region); max(len(raft.Servers), len(names)) < 3 {
		problems = append(problems, nomad.Problem{Host: m.call.Name, Text: fmt.Sprintf("a migration in turn takes three servers or more, and this cluster has %d", max(len(raft.Servers), len(names)))})
	}
	if len(problems) > 0 {
		return nil, m.refused(problems)
	}
	if m.call.Check {
		return &Result{Changed: m.step.Action != nomad.ActionNone, Message: m.step.Action + ": " + m.step.Reason}, nil
	}
	waits := m.step.Action == nomad.ActionFinish && m.facts.Answers
	if m.step.Action != nomad.ActionNone && !waits {
		return nil, nil
	}
	// An earlier run may have been killed before it saw that the server is well.
	stable := raftStable
	if !waits {
		stable = raftRecheck
	}
	if err := m.awaitRolled(ctx, wire.SwapOutcome{}, stable); err != nil {
		return nil, err
	}
	return &Result{Changed: waits, Message: m.step.Reason}, nil
}

// leaderRaft is raft's configuration as the leader has it. An election may be under way.
func (m *migration) leaderRaft(ctx context.Context) (nomad.RaftConfiguration, error) {
	patience := time.Now().Add(nomad.ElectionPatience)
	for {
		var raft nomad.RaftConfiguration
		client, err := m.leaderClient(ctx)
		if err == nil {
			raft, err = nomad.AskRaft(ctx, client, false)
		}
		if err == nil || time.Now().After(patience) || wait.For(ctx, 2*pollEvery) != nil {
			if err != nil {
				err = fmt.Errorf("%s: nothing was touched: ask the leader for raft's configuration: %w", m.call.Name, err)
			}
			return raft, err
		}
	}
}

// leaderClient reaches the leader, else another server that answers.
func (m *migration) leaderClient(ctx context.Context) (*api.Client, error) {
	if leader := leaderOf(m.askAll(ctx, m.servers(m.facts.Region))); leader != nil {
		return m.connect(ctx, leader.Host)
	}
	return m.anyServer(ctx, m.facts.Region, m.call.Name)
}

// stopToRoll stops the server with its configuration edited.
func (m *migration) stopToRoll(ctx context.Context) (wire.SwapOutcome, error) {
	if err := m.request(); err != nil {
		return wire.SwapOutcome{}, err
	}
	m.turn()
	return m.stopServer(ctx)
}

// turn is what a stop in turn has beyond any other: the host waits for the others to let its server go, and the leader comes last.
func (m *migration) turn() {
	// A client that is away for so long is called down, and loses its allocations. It is started at once, and the leader's reconciliation
	// takes over its id: later, and with a vote less until then, but without a gap.
	if !m.facts.Client {
		m.prepare.PauseMS = raftPause.Milliseconds()
	}
	m.guard = m.leadsTooEarly
}

// leadsTooEarly keeps the leader for the last: after its stop a server of protocol 3 leads, and cannot let go of those that raft knows by
// their addresses.
func (m *migration) leadsTooEarly(answers []nomad.Answer) []nomad.Problem {
	leader := leaderOf(answers)
	if leader == nil || leader.Host != m.call.Name {
		return nil
	}
	var problems []nomad.Problem
	for i := range answers {
		answer := &answers[i]
		if answer.Host != m.call.Name && answer.Error == "" && answer.View.Raft.Protocol < 3 {
			problems = append(problems, nomad.Problem{Host: m.call.Name, Text: "it leads, and " + answer.Host + " still uses raft protocol 2: the leader comes last", Remedy: "run again"})
		}
	}
	return problems
}

// letGo takes the stopped server out of gossip and raft's configuration, and lets the host go on. The host is told to in any case: what has
// not happened by then, the leader puts right.
func (m *migration) letGo(ctx context.Context, stopped wire.SwapOutcome) (wire.SwapOutcome, error) {
	if err := m.awaitGone(ctx); err != nil {
		m.voice.say(fmt.Sprintf("starting the server although the others have not let it go: %v; the leader will take over its id within a minute or so", err))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	var outcome wire.SwapOutcome
	if err := m.call.Host.Call(ctx, wire.SwapContinue{ID: stopped.ID}, nil, &outcome); err != nil {
		return outcome, fmt.Errorf("start %s again: %w; the host starts it by itself at the latest %s after its stop: run again to see how", m.call.Name, err, raftPause)
	}
	return outcome, nil
}

// awaitGone makes the others give the stopped server up and waits until they have.
func (m *migration) awaitGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	told := false
	for {
		var why string
		client, err := m.leaderClient(ctx)
		if err == nil {
			why, err = m.stillThere(ctx, client, &told)
		}
		switch {
		case err != nil:
			why = err.Error()
		case why == "":
			return nil
		}
		m.voice.say("waiting until the others have let it go (30 to 40 s): " + why)
		select {
		case <-m.call.Interrupted:
			return fmt.Errorf("interrupted: %s", why)
		default:
		}
		if wait.For(ctx, 3*pollEvery) != nil {
			return fmt.Errorf("after %s: %s", goneWithin, why)
		}
	}
}

// stillThere says what holds the server in its cluster; "" when nothing does. It tells gossip to let it go, once.
func (m *migration) stillThere(ctx context.Context, client *api.Client, told *bool) (string, error) {
	members, err := nomad.AskMembers(ctx, client, m.facts.Region)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(members, m.isMember)
	if i >= 0 && members[i].Status != "left" {
		if !*told {
			if err := nomad.ForceLeave(ctx, client, members[i].Name); err != nil {
				return "", err
			}
			*told = true
		}
		return "gossip sees it as " + members[i].Status, nil
	}
	raft, err := nomad.AskRaft(ctx, client, false)
	if err != nil {
		return "", err
	}
	for _, server := range raft.Servers {
		// A leader of protocol 3 cannot remove what raft knows by its address: that happens after the start.
		if server.Leader && server.Protocol >= 3 {
			return "", nil
		}
	}
	for _, server := range raft.Servers {
		if server.ID == m.evidence.NodeID || m.evidence.Address != "" && server.Address == m.evidence.Address {
			return "raft's configuration still has it", nil
		}
	}
	return "", nil
}

func (m *migration) isMember(member nomad.Member) bool {
	return member.Tags["id"] == m.evidence.NodeID
}

// awaitRolled waits until the server votes by its own id, and has done so for a while.
func (m *migration) awaitRolled(ctx context.Context, outcome wire.SwapOutcome, stable time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, m.call.Args.Duration("timeout"))
	defer cancel()
	m.record.Reached = 0
	var good time.Time
	for {
		problems := m.missingRolled(ctx)
		switch {
		case len(problems) > 0:
			good = time.Time{}
			m.voice.say("waiting for the server: " + nomad.Words(problems))
		case good.IsZero():
			good = time.Now()
			m.voice.say(fmt.Sprintf("it votes by its own id, and must go on doing so for %s", stable))
		case time.Since(good) >= stable:
			return nil
		}
		if wait.For(ctx, 3*pollEvery) != nil {
			if len(problems) == 0 {
				problems = []nomad.Problem{{Host: m.call.Name, Text: "it has not been well for long enough"}}
			}
			return m.notWell(ctx, "the server runs with raft protocol 3", problems, outcome)
		}
	}
}

// membersElsewhere asks another server that answers what gossip knows, or says why none tells.
func (m *migration) membersElsewhere(ctx context.Context, answers []nomad.Answer) (members []nomad.Member, why string) {
	why = "none answers"
	others := slices.DeleteFunc(slices.Clone(answers), func(a nomad.Answer) bool { return a.Host == m.call.Name || a.Error != "" })
	for _, other := range others {
		client, err := m.connect(ctx, other.Host)
		if err == nil {
			members, err = nomad.AskMembers(ctx, client, m.facts.Region)
		}
		if err == nil {
			return members, ""
		}
		why = other.Host + ": " + err.Error()
	}
	return nil, why
}

// missingRolled asks the server, the leader and all others.
func (m *migration) missingRolled(ctx context.Context) []nomad.Problem {
	facts, err := m.lookAtOwn(ctx)
	if err != nil {
		return []nomad.Problem{{Host: m.call.Name, Text: err.Error()}}
	}
	answers := m.askAll(ctx, m.servers(facts.Region))
	evidence := nomad.RolledEvidence{Host: m.call.Name, NodeID: m.evidence.NodeID, Answers: answers, Accepted: accepted(m.call).Down}
	leader := leaderOf(answers)
	if leader == nil {
		return []nomad.Problem{{Text: "no server says that it leads"}}
	}
	client, err := m.connect(ctx, leader.Host)
	if err == nil {
		evidence.Raft, err = nomad.AskRaft(ctx, client, false)
	}
	if err != nil {
		return []nomad.Problem{{Host: leader.Host, Text: err.Error()}}
	}
	if m.record.Reached == 0 {
		m.record.Reached = leader.Raft.Commit
	}
	evidence.Reached = m.record.Reached
	evidence.Members, evidence.Gossip = m.membersElsewhere(ctx, answers)
	if problems := nomad.Rolled(evidence); len(problems) > 0 || !evidence.Everybody() {
		return problems
	}
	report, err := nomad.AskAutopilot(ctx, client)
	switch {
	case err != nil:
		return []nomad.Problem{{Text: "autopilot cannot be asked: " + err.Error()}}
	case !report.Healthy || report.Unavailable != "":
		return []nomad.Problem{{Text: "autopilot does not call the cluster healthy yet"}}
	}
	return nil
}
