// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/internal/nomad"
	"drover/internal/wire"
)

// stopServer waits until the quorum rule allows the stop, and swaps. The order is: ask all voters until nothing
// speaks against it; prepare on the host; ask all voters again; commit within the permission. Only the second asking
// counts, the first keeps preparations from being wasted.
func (s *swap) stopServer(ctx context.Context) (wire.SwapOutcome, error) {
	deadline := time.Now().Add(s.call.Args.Duration("timeout"))
	var problems []nomad.Problem
	s.knowAccepted(ctx)
	for {
		if time.Now().After(deadline) {
			return wire.SwapOutcome{}, refuse("%s: the server was not stopped, because for %s its cluster could not spare it: %s",
				s.call.Name, s.call.Args.Duration("timeout"), nomad.Words(problems))
		}
		answers, reached := s.voters(ctx)
		if problems = s.against(answers, reached); len(problems) > 0 {
			s.voice.say("waiting until the cluster can spare it: " + nomad.Words(problems))
			if err := s.waitToStop(ctx); err != nil {
				return wire.SwapOutcome{}, s.interrupted(err, problems)
			}
			continue
		}
		moved, err := s.keepLeaderLast(ctx, answers)
		if err != nil {
			return wire.SwapOutcome{}, err
		}
		if moved {
			continue
		}
		if err := s.backUp(ctx, answers, reached); err != nil {
			return wire.SwapOutcome{}, err
		}
		outcome, err := s.prepareAskCommit(ctx, reached, &problems)
		if errors.Is(err, errLeadershipMoved) {
			continue
		}
		if errors.Is(err, errPermissionOld) {
			s.voice.say("asking the voters took too long, preparing again")
			continue
		}
		if err != nil || len(problems) == 0 {
			return outcome, err
		}
	}
}

// knowAccepted looks up who in the raft configuration the servers are that may be dead.
func (s *swap) knowAccepted(ctx context.Context) {
	s.accepted = accepted(s.call)
	if len(s.accepted.Down) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, voiceTimeout)
	defer cancel()
	client, err := s.anyServer(ctx, s.facts.Region, s.call.Name)
	if err != nil {
		return // then they count under the names that the user gave
	}
	if raft, err := nomad.AskRaft(ctx, client, true); err == nil {
		s.accepted = s.accepted.Known(raft, func(host string) string { return s.variable(host, "ansible_host") })
	}
}

func (s *swap) interrupted(err error, problems []nomad.Problem) error {
	return refuse("%s: the server was not stopped: %w while waiting for its cluster: %s", s.call.Name, err, nomad.Words(problems))
}

// prepareAskCommit is the part whose order matters. It reports problems instead of committing. One server of the run at
// a time does it: the next one's question comes when this one has been started again.
func (s *swap) prepareAskCommit(ctx context.Context, reached uint64, problems *[]nomad.Problem) (wire.SwapOutcome, error) {
	end, err := s.call.Run.Turn.Take(ctx)
	if err != nil {
		return wire.SwapOutcome{}, fmt.Errorf("%s: nothing was stopped: %w", s.call.Name, err)
	}
	defer end()
	permission, err := s.open(ctx)
	if err != nil {
		return wire.SwapOutcome{}, err
	}
	prepared := time.Now()
	answers, _ := s.voters(ctx)
	if *problems = s.against(answers, reached); len(*problems) > 0 {
		return wire.SwapOutcome{}, nil
	}
	if _, needed := s.misplaced(answers); needed && !s.stays {
		return wire.SwapOutcome{}, errLeadershipMoved
	}
	if leader := leaderOf(answers); leader != nil {
		s.record.Servers, s.record.Reached = leader.Raft.Servers, leader.Raft.Commit
	}
	outcome, err := s.commit(ctx, permission, prepared)
	if err != nil && !errors.Is(err, errPermissionOld) {
		s.call.Run.Turn.Lose(fmt.Errorf("how the stop of %s ended is not known, so no other server of this run may be stopped", s.call.Name))
	}
	return outcome, err
}

// voters asks all servers for themselves, and names the index that the leader has committed.
func (s *swap) voters(ctx context.Context) ([]nomad.Answer, uint64) {
	// Only answers of the last second count: waiting longer for one server would make all the others' too old.
	ctx, cancel := context.WithTimeout(ctx, nomad.FreshFor*4/5)
	defer cancel()
	answers := s.askAll(ctx, s.servers(s.facts.Region))
	if leader := leaderOf(answers); leader != nil {
		s.leaderless = time.Time{}
		return answers, leader.Raft.Commit
	}
	if s.leaderless.IsZero() {
		s.leaderless = time.Now()
	}
	return answers, 0
}

// against says why the server must not be stopped now.
func (s *swap) against(answers []nomad.Answer, reached uint64) []nomad.Problem {
	question := nomad.StopQuestion{
		Stopping: s.call.Name, Down: s.down(), Alone: s.alone, Sole: s.sole, Answers: answers, Reached: reached, Now: time.Now(), Accepted: s.accepted,
	}
	if !s.leaderless.IsZero() {
		question.Leaderless = time.Since(s.leaderless)
	}
	problems := nomad.MayStop(question)
	if s.guard != nil && len(problems) == 0 {
		problems = s.guard(answers)
	}
	return problems
}

var errLeadershipMoved = errors.New("leadership has moved since it was looked at")

// misplaced tells whether leadership should move to another old server before this one stops.
func (s *swap) misplaced(answers []nomad.Answer) (nomad.Move, bool) {
	move, needed := nomad.Leadership(nomad.States(answers), s.target, s.call.Name)
	return move, needed && move.To.Version.Compare(s.target) < 0
}

// keepLeaderLast moves leadership when it must not stay where it is. Handing over to an upgraded server is left to
// nomad_transfer_leadership: without it the last old server stops as leader, and an election follows.
func (s *swap) keepLeaderLast(ctx context.Context, answers []nomad.Answer) (moved bool, err error) {
	move, needed := s.misplaced(answers)
	if !needed {
		return false, nil
	}
	if move.Impossible != "" {
		s.stays = true
		s.voice.say(move.Why + ", and it cannot be moved: " + move.Impossible)
		return false, nil
	}
	s.voice.say(fmt.Sprintf("%s; moving it from %s to %s", move.Why, move.From.Host, move.To.Host))
	if err := s.transfer(ctx, move); err != nil {
		s.stays = true
		// Idling in this state is worse than going on: each old server that remains may crash on a new entry.
		s.voice.say("moving leadership did not succeed, going on: " + err.Error())
		return false, nil
	}
	return true, nil
}

// backUp copies server/ beside itself before a stop that only an accepted outage allows: without a quorum there may be
// no snapshot to go back to.
func (s *swap) backUp(ctx context.Context, answers []nomad.Answer, reached uint64) error {
	question := nomad.StopQuestion{Stopping: s.call.Name, Down: s.down(), Answers: answers, Reached: reached, Now: time.Now()}
	question.Accepted.Down = s.accepted.Down
	if s.backup != "" || !s.accepted.Outage || len(nomad.MayStop(question)) == 0 {
		return nil
	}
	if s.facts.DataDir == "" {
		return fmt.Errorf("%s: nothing was stopped: the data directory is not known, so server/ cannot be backed up before the outage", s.call.Name)
	}
	from := s.facts.DataDir + "/server"
	to := from + ".drover-" + s.call.Run.ID
	s.voice.say("copying " + from + " to " + to + " before the outage")
	// A copy that breaks off must not be taken for the backup, so that only a whole one gets its name.
	partial := to + ".partial"
	for _, argv := range [][]string{{"rm", "-rf", "--", partial}, {"cp", "-a", "-T", "--", from, partial}, {"mv", "-T", "--", partial, to}} {
		var done wire.RunResult
		err := s.call.Host.Call(ctx, wire.Run{Argv: argv, Creates: to}, nil, &done)
		if err == nil && done.RC != 0 {
			err = errors.New(strings.TrimSpace(done.Stderr))
		}
		if err != nil {
			return fmt.Errorf("%s: nothing was stopped: copy %s to %s before the outage: %w", s.call.Name, from, to, err)
		}
	}
	s.backup = to
	return nil
}
