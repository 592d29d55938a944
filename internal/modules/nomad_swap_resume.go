// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

// leftovers are the swaps of a host's Nomad that no run has closed, oldest first: those of a run whose connection was
// lost, or that was killed. Only root's agent knows of any.
func leftovers(ctx context.Context, host Host, unit string) ([]wire.SwapOutcome, error) {
	var hello wire.HelloResult
	if err := host.Call(ctx, wire.Hello{}, nil, &hello); err != nil {
		return nil, fmt.Errorf("ask for the swaps of an earlier run: %w", err)
	}
	var left []wire.SwapOutcome
	for _, outcome := range hello.Outcomes {
		if strings.TrimSuffix(outcome.Unit, ".service") == strings.TrimSuffix(unit, ".service") {
			left = append(left, outcome)
		}
	}
	return left, nil
}

// unfinished says in words what the last of them is; "" when there is none.
func unfinished(left []wire.SwapOutcome) string {
	if len(left) == 0 {
		return ""
	}
	last := left[len(left)-1]
	what := "swap to " + last.Version
	if last.Version == "" {
		what = "restart"
	}
	text := fmt.Sprintf("the %s of an earlier run (%s)", what, last.State)
	if last.Error != "" {
		text += ": " + last.Error
	}
	return text
}

// resume takes up what an earlier run left on the host before anything new begins: it waits for a swap that is still at
// work, says how the last one ended, brings that of a client to its end and closes all of them.
func (s *swap) resume(ctx context.Context) error {
	left, err := s.awaitLeftovers(ctx)
	if err != nil || len(left) == 0 || s.call.Check {
		return err
	}
	s.voice.say("found " + unfinished(left))
	if s.agent, err = agentOf(ctx, s.call.Host, s.facts.Unit); err != nil {
		return fmt.Errorf("look at %s: %w", s.facts.Unit, err)
	}
	setAgent(&s.facts, s.agent)
	last := left[len(left)-1]
	if s.facts.Client && !s.facts.Server && (last.State == wire.SwapDone || last.State == wire.SwapFailed) {
		if err := s.complete(ctx, last); err != nil {
			return err
		}
	}
	for _, outcome := range left {
		if err := settle(ctx, s.call.Host, outcome.ID); err != nil {
			return err
		}
	}
	return nil
}

// awaitLeftovers waits until no earlier swap is at work any more.
func (s *swap) awaitLeftovers(ctx context.Context) ([]wire.SwapOutcome, error) {
	ctx, cancel := context.WithTimeout(ctx, s.call.Args.Duration("timeout"))
	defer cancel()
	for {
		left, err := leftovers(ctx, s.call.Host, s.facts.Unit)
		if err != nil || len(left) == 0 || left[len(left)-1].State != wire.SwapRunning {
			return left, err
		}
		s.voice.say("waiting for " + unfinished(left))
		if err := wait.For(ctx, 5*pollEvery); err != nil {
			return nil, fmt.Errorf("%s: %s is still at work on the host: %w", s.call.Name, unfinished(left), err)
		}
	}
}

// complete brings a client's swap to its end: the new agent registers, or, if it is dead and never registered, the old
// binary and state come back, which ends this run with an error. A client that had registered is not taken back, because
// its old state is out of date by now: it is repaired like any other that is down.
func (s *swap) complete(ctx context.Context, last wire.SwapOutcome) error {
	version, err := nomad.ParseVersion(last.Version)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", s.call.Name, unfinished([]wire.SwapOutcome{last}), err)
	}
	s.own = s.ask(ctx, s.call.Name)
	alive := s.agent.Running && !s.down()
	if alive && !s.facts.VersionRunning.Same(version) {
		return nil // somebody has put another version there
	}
	// Its times are by the host's clock, so that any heartbeat of this process counts.
	s.record = swapFact{ID: last.ID, NewPID: s.agent.Unit.MainPID}
	target := s.target
	s.target = version
	defer func() { s.target, s.record, s.measured = target, swapFact{}, false }()
	if alive {
		return s.awaitRegistration(ctx)
	}
	registered, err := s.hadRegistered(ctx, version)
	if err != nil {
		return fmt.Errorf("%s: %s did not last, and whether its agent ever registered is not known, so nothing was done: %w",
			s.call.Name, unfinished([]wire.SwapOutcome{last}), err)
	}
	if registered {
		return nil
	}
	var outcome wire.SwapOutcome
	err = s.call.Host.Call(ctx, wire.SwapRevert{ID: last.ID}, nil, &outcome)
	if wire.IsKind(err, wire.KindNotFound) || wire.IsKind(err, wire.KindInvalid) {
		s.voice.say("it cannot be taken back: " + err.Error())
		return nil
	}
	return s.reverted(ctx, "the new agent that an earlier run started is dead", outcome, err, journalLines(ctx, s.call.Host, s.facts.Unit))
}

// hadRegistered asks the servers whether they have seen the host's client with the version.
func (s *swap) hadRegistered(ctx context.Context, version nomad.Version) (bool, error) {
	id := s.facts.NodeID
	if id == "" {
		var content bytes.Buffer
		var reply wire.ReadResult
		if err := s.call.Host.Receive(ctx, wire.Read{Path: s.facts.DataDir + "/client/client-id", Max: 256}, &reply, &content); err != nil {
			return false, fmt.Errorf("read its node id: %w", err)
		}
		id = strings.TrimSpace(content.String())
	}
	client, err := s.anyServer(ctx, s.facts.Region, "")
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	node, err := nomad.AskNode(ctx, client, id)
	if err != nil {
		return false, err
	}
	seen, err := nomad.ParseVersion(node.Version)
	return err == nil && seen.Compare(version) == 0, nil
}
