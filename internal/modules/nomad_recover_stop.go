// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"drover/internal/nomad"
	"drover/internal/wire"
)

// stopAll stops all survivors together, each with its copy and its peers.json, and returns when all wait for the word to go on. None is
// stopped before all hosts have said that they can do it, and nobody leads.
func (r *recovery) stopAll(ctx context.Context) error {
	end, err := r.call.Run.Turn.Take(ctx)
	if err != nil {
		return fmt.Errorf("nothing was stopped: %w", err)
	}
	defer end()
	for {
		r.say("making %s ready to be stopped", survivorsOf(len(r.survivors)))
		permissions := make([]wire.SwapPrepareResult, len(r.survivors))
		at := map[*survivor]int{}
		for i, s := range r.survivors {
			at[s] = i
		}
		prepared := time.Now()
		if err := together(r.survivors, func(s *survivor) (err error) {
			permissions[at[s]], err = s.open(ctx)
			return err
		}); err != nil {
			return fmt.Errorf("nothing was stopped: %w", err)
		}
		if leader := leaderOf(r.askAll(ctx, serversThatRun(r.survey.Hosts))); leader != nil {
			return refuse("nothing was stopped: %s leads now, so that there is nothing to recover", leader.Host)
		}
		if time.Since(prepared) > commitWithin {
			r.say("it took too long to make all ready, once more")
			continue
		}
		r.say("stopping %s, and copying server/", survivorsOf(len(r.survivors)))
		return r.commitAll(ctx, permissions, at, prepared)
	}
}

// commitAll gives the word to stop. Where a host does not follow, the others are started again as they were.
func (r *recovery) commitAll(ctx context.Context, permissions []wire.SwapPrepareResult, at map[*survivor]int, prepared time.Time) error {
	failed := together(r.survivors, func(s *survivor) (err error) {
		s.outcome, err = s.commit(ctx, permissions[at[s]], prepared)
		switch {
		case errors.Is(err, errPermissionOld):
			return fmt.Errorf("%s: it was not stopped: the permission had grown old", s.call.Name)
		case err != nil:
			return err
		case s.outcome.Paused:
			return nil
		}
		if s.outcome.State == wire.SwapDone {
			return fmt.Errorf("%s: it was started again before the others were ready", s.call.Name)
		}
		return s.judge(ctx, s.outcome)
	})
	if failed == nil {
		return nil
	}
	back := together(r.survivors, func(s *survivor) error {
		if !s.outcome.Paused {
			return nil
		}
		return s.startAsBefore(ctx)
	})
	text := "the others were started again as they were"
	if back != nil {
		text = "and not all of the others could be started as they were: " + back.Error()
	}
	return fmt.Errorf("not all survivors could be stopped and copied, %s; run again when the reason is removed: %w", text, failed)
}

// startAsBefore takes peers.json away from a stopped server, puts its configuration back and starts it. The configuration comes first: with the
// new one and without a peers.json a server would come up under an id that nobody knows.
func (s *survivor) startAsBefore(ctx context.Context) error {
	for _, edit := range s.evidence.Edits {
		request := wire.Write{Path: edit.Path, Size: int64(len(edit.Before)), SHA256: sumOf(edit.Before), Replaces: sumOf(edit.After)}
		if err := s.call.Host.Call(ctx, request, bytes.NewReader(edit.Before), &wire.WriteResult{}); err != nil {
			return fmt.Errorf("%s: put %s back as it was: %w", s.call.Name, edit.Path, err)
		}
	}
	if err := s.call.Host.Call(ctx, wire.File{Path: peersFile(s.facts), State: "absent"}, nil, &wire.FileResult{}); err != nil {
		return fmt.Errorf("%s: remove %s: %w", s.call.Name, peersFile(s.facts), err)
	}
	return s.goOn(ctx)
}

// goOn starts a server that waits.
func (s *survivor) goOn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	backup := s.outcome.Backup
	if err := s.call.Host.Call(ctx, wire.SwapContinue{ID: s.outcome.ID}, nil, &s.outcome); err != nil {
		return fmt.Errorf("%s: start the server: %w; it starts by itself when its pause has run out: run again", s.call.Name, err)
	}
	if s.outcome.Backup == "" {
		s.outcome.Backup = backup
	}
	return s.judge(ctx, s.outcome)
}

// startAll starts all survivors together.
func (r *recovery) startAll(ctx context.Context) error {
	r.say("stopped and copied; starting %s", survivorsOf(len(r.survivors)))
	if err := together(r.survivors, func(s *survivor) error { return s.goOn(ctx) }); err != nil {
		return fmt.Errorf("not all survivors came up with the new raft configuration: %w; run again when the reason is removed", err)
	}
	return nil
}

// serversThatRun are those of the inventory that may have something to say.
func serversThatRun(hosts []nomad.HostFacts) []string {
	var names []string
	for _, facts := range hosts {
		if facts.Server && facts.Running {
			names = append(names, facts.Host)
		}
	}
	return names
}

// recovered samples the survivors after their start.
func (r *recovery) recovered(ctx context.Context) nomad.RecoveredEvidence {
	seen := nomad.RecoveredEvidence{Before: r.jobs, Answers: make([]nomad.Answer, len(r.survivors))}
	left := make([]bool, len(r.survivors))
	at := map[*survivor]int{}
	for i, s := range r.survivors {
		at[s] = i
	}
	_ = together(r.survivors, func(s *survivor) error {
		i := at[s]
		seen.Answers[i] = s.askAgain(ctx)
		peers, err := readOptional(ctx, s.call.Host, peersFile(s.facts))
		left[i] = err != nil || peers != nil
		return nil
	})
	for i, s := range r.survivors {
		if left[i] {
			seen.Left = append(seen.Left, s.call.Name)
		}
		if seen.Answers[i].Error != "" || seen.Answers[i].View.Raft.State != nomad.Leader {
			continue
		}
		client, err := s.connect(ctx, s.call.Name)
		if err == nil {
			seen.Jobs, err = nomad.AskJobs(ctx, client)
		}
		if err != nil {
			seen.Problem = err.Error()
		}
	}
	return seen
}

// askAgain asks an agent that may have come up since its address was last looked for.
func (s *survivor) askAgain(ctx context.Context) nomad.Answer {
	if answer := s.ask(ctx, s.call.Name); answer.Error == "" {
		return answer
	}
	if _, err := s.lookAtOwn(ctx); err != nil {
		return nomad.Answer{Host: s.call.Name, Error: err.Error()}
	}
	return s.ask(ctx, s.call.Name)
}
