// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

// stopClient waits for the moment at which the client can be missed longest, and swaps.
func (s *swap) stopClient(ctx context.Context) (wire.SwapOutcome, error) {
	deadline := time.Now().Add(s.call.Args.Duration("timeout"))
	grace, err := s.remember(ctx)
	if err != nil {
		return wire.SwapOutcome{}, err
	}
	gap := s.largestGap()
	// Copying the binary takes a good part of what a heartbeat leaves, so it is done before one is waited for.
	if err := s.place(ctx); err != nil {
		return wire.SwapOutcome{}, err
	}
	for {
		if time.Now().After(deadline) {
			return wire.SwapOutcome{}, fmt.Errorf("%s: the client was not stopped, because for %s it sent no heartbeat to stop it after", s.call.Name, s.call.Args.Duration("timeout"))
		}
		if !s.goodMoment(ctx, grace, gap, nomad.FreshHeartbeat) {
			if err := s.waitToStop(ctx); err != nil {
				return wire.SwapOutcome{}, fmt.Errorf("%s: the client was not stopped: %w while waiting for its heartbeat", s.call.Name, err)
			}
			continue
		}
		permission, err := s.open(ctx)
		if err != nil {
			return wire.SwapOutcome{}, err
		}
		prepared := time.Now()
		if !s.goodMoment(ctx, grace, gap, nomad.StillFresh) {
			continue
		}
		outcome, err := s.commit(ctx, permission, prepared)
		if errors.Is(err, errPermissionOld) {
			continue
		}
		return outcome, err
	}
}

// remember records the node as it is, to be compared afterwards, and asks the servers for their heartbeat grace.
func (s *swap) remember(ctx context.Context) (grace time.Duration, err error) {
	grace = nomad.DefaultHeartbeatGrace
	servers := s.servers(s.facts.Region)
	if leader := leaderOf(s.askAll(ctx, servers)); leader != nil {
		grace = leader.HeartbeatGrace
	}
	if s.facts.NodeID == "" {
		return grace, nil
	}
	node, reason := s.node(ctx, s.facts.NodeID, s.call.Name)
	if reason != "" && s.down() {
		// The servers may have forgotten a client that is down; starting it needs no record of it.
		return grace, nil
	}
	if reason != "" {
		return grace, fmt.Errorf("%s: record the node before the stop (nothing was stopped): %s", s.call.Name, reason)
	}
	s.record.Node = &node
	return grace, nil
}

// largestGap is the longest pause of heartbeats that this run has measured on any client.
func (s *swap) largestGap() time.Duration {
	gap := time.Duration(0)
	for _, name := range s.call.Fleet.Names("all") {
		var record swapFact
		if s.readFact(name, factSwap, &record) && record.Node != nil {
			gap = max(gap, time.Duration(record.Gap)*time.Millisecond)
		}
	}
	if gap == 0 {
		return nomad.AssumedGap
	}
	return gap
}

// goodMoment asks the client for its heartbeat. A client that is down already can be started at any time.
func (s *swap) goodMoment(ctx context.Context, grace, gap, fresh time.Duration) bool {
	if s.down() {
		return true
	}
	answer := s.ask(ctx, s.call.Name)
	if answer.Error != "" {
		// Asked to kill an agent that does not answer: there is no moment to choose.
		if s.prepare.Signal == wire.StopKILL && s.own.Error != "" {
			return true
		}
		s.voice.say("waiting for its API: " + answer.Error)
		return false
	}
	ok, why := nomad.MayRestartClient(answer.View.Heartbeat, grace, gap, fresh)
	s.voice.say(why)
	return ok
}

// awaitRegistration waits until the new agent has sent a heartbeat and the servers see its version. Slow is not
// failed: the old binary comes back only when the new process has ended or is restarted over and over.
func (s *swap) awaitRegistration(ctx context.Context) error {
	ordered := time.Unix(0, s.record.At)
	deadline := time.Now().Add(s.call.Args.Duration("timeout"))
	var problems []nomad.Problem
	for look := 0; ; look++ {
		problems = s.registered(ctx, ordered)
		if len(problems) == 0 {
			s.record.Settled = true
			return settle(ctx, s.call.Host, s.record.ID)
		}
		s.voice.say("waiting for the new agent to register: " + nomad.Words(problems))
		if look%8 == 7 {
			if why := s.died(ctx); why != "" {
				return s.buried(ctx, why)
			}
		}
		if time.Now().After(deadline) {
			return s.failure(ctx, fmt.Sprintf("the new agent has not registered within %s: %s; it lives, so nothing was taken back",
				s.call.Args.Duration("timeout"), nomad.Words(problems)), "look at its log; drover goes on when run again", nil)
		}
		if err := wait.For(ctx, pollEvery); err != nil {
			return fmt.Errorf("%s: %w while waiting for the new agent to register", s.call.Name, err)
		}
	}
}

// registered checks the new agent and measures the pause up to its first heartbeat.
func (s *swap) registered(ctx context.Context, ordered time.Time) []nomad.Problem {
	s.meet(ctx)
	state := nomad.ClientState{Own: s.ask(ctx, s.call.Name)}
	if state.Own.Error == "" {
		view := &state.Own.View
		if s.facts.NodeID == "" {
			s.facts.NodeID = view.NodeID
		}
		if view.Heartbeat.Last != nomad.Never && !s.measured {
			if at := view.Asked.Add(-view.Heartbeat.Last); at.After(ordered) {
				s.record.Gap, s.measured = max(1, at.Sub(ordered).Milliseconds()), true
			}
		}
	}
	state.Node, state.Error = s.node(ctx, s.facts.NodeID, s.call.Name)
	return nomad.ClientReady(s.call.Name, nil, state, s.target, ordered)
}

// meet finds out where the new agent's API is, where nobody was there to be asked before the swap.
func (s *swap) meet(ctx context.Context) {
	if known, ok := s.cluster.facts(s.call.Name); ok && known.Running && known.API.Address != "" {
		return
	}
	now, err := s.look(ctx, s.call.Name)
	if err != nil || now.API.Address == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked[s.call.Name] = now
}

// died says why the new agent cannot come up any more, or "".
func (s *swap) died(ctx context.Context) string {
	var unit wire.UnitState
	if err := s.call.Host.Call(ctx, wire.Unit{Name: s.facts.Unit}, nil, &unit); err != nil {
		return ""
	}
	switch {
	case unit.ActiveState == "failed" || unit.ActiveState == "inactive":
		return "the new agent has ended (" + unit.Result + ")"
	case s.record.NewPID != 0 && unit.MainPID != s.record.NewPID:
		return "the new agent has ended, and systemd starts it again and again"
	}
	return ""
}

// buried takes a dead new agent back unless it had registered: then the servers hold it to what its new state says, and
// the old state is out of date. Of an earlier run's agent that must be known, since it had time to register.
func (s *swap) buried(ctx context.Context, why string) error {
	registered, err := s.hadRegistered(ctx, s.target)
	switch {
	case registered:
		return s.failure(ctx, why+"; it had registered before, so the old binary and the client's state were not brought back", "correct what its log complains about and run again", nil)
	case err != nil && s.record.At == 0:
		return s.failure(ctx, why+"; whether it had registered before is not known, so nothing was taken back: "+err.Error(), "run again when the servers answer", nil)
	}
	return s.revert(ctx, why)
}

// revert brings the old binary and the client's state back.
func (s *swap) revert(ctx context.Context, why string) error {
	lines := journalLines(ctx, s.call.Host, s.facts.Unit)
	var outcome wire.SwapOutcome
	err := s.call.Host.Call(ctx, wire.SwapRevert{ID: s.record.ID}, nil, &outcome)
	return s.reverted(ctx, why, outcome, err, lines)
}

// reverted tells how taking back went, and closes both transactions where it went well.
func (s *swap) reverted(ctx context.Context, why string, outcome wire.SwapOutcome, err error, lines []string) error {
	if err != nil {
		return s.failure(ctx, why+"; taking the swap back did not succeed: "+err.Error(), "the old binary is kept beside the new one", lines)
	}
	if outcome.State != wire.SwapReverted {
		return s.failure(ctx, fmt.Sprintf("%s; taking the swap back ended as %s: %s", why, outcome.State, outcome.Error), outcome.Hint, lines)
	}
	if err := errors.Join(settle(ctx, s.call.Host, s.record.ID), settle(ctx, s.call.Host, outcome.ID)); err != nil {
		return s.failure(ctx, why+"; the old binary and the client's state are back; "+err.Error(), "", lines)
	}
	return s.failure(ctx, why+"; the old binary and the client's state are back", "find out why Nomad "+s.target.String()+" does not start there before trying again", lines)
}
