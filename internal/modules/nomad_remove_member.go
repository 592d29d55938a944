// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/nomad"
	"drover/internal/wire"
)

const (
	// stopTimeout bounds the stop of an agent on its host; systemd's own limit is 90 s where the unit has none.
	stopTimeout = 3 * time.Minute
	// removeTimeout bounds the leader's answer to a change of raft's configuration.
	removeTimeout = 10 * time.Second
)

// errTakenBack says that the leader has taken a server back that was removed and not stopped.
var errTakenBack = errors.New("the leader has taken it back into raft's configuration")

// giveUp takes one server out of raft's configuration, stops it for good, and tells gossip.
func (r *removal) giveUp(ctx context.Context, l nomad.Leaver) error {
	deadline := time.Now().Add(r.call.Args.Duration("timeout"))
	var problems []nomad.Problem
	for l.Member != nil || l.Running {
		if time.Now().After(deadline) {
			return refuse("%s: the server was neither removed nor stopped, because for %s its cluster could not spare it: %s",
				l.Host, r.call.Args.Duration("timeout"), nomad.Words(problems))
		}
		answers, reached := r.voters(ctx, l)
		if problems = r.against(l, answers, reached); len(problems) == 0 {
			var err error
			if problems, err = r.keysMissing(ctx, l.Host); err != nil {
				return fmt.Errorf("%s: nothing was removed: compare the keys that it has with those of the new servers: %w", l.Host, err)
			}
		}
		if len(problems) > 0 {
			r.voice.say("waiting until the cluster can spare " + l.Host + ": " + nomad.Words(problems))
			if err := r.pause(ctx); err != nil {
				return refuse("%s: the server was neither removed nor stopped: %w while waiting for its cluster: %s", l.Host, err, nomad.Words(problems))
			}
			continue
		}
		if r.keepLeaderLast(ctx, answers, l.Host) {
			continue
		}
		var err error
		if problems, err = r.removeAndStop(ctx, l, reached); err == nil && len(problems) == 0 {
			break
		}
		if err != nil && !errors.Is(err, errTakenBack) {
			return err
		}
	}
	if !r.lost[l.Host] {
		if err := r.disable(ctx, l.Host); err != nil {
			return err
		}
	}
	r.ended(l.Host)
	r.farewell(ctx) // what one does not know yet, it is told at the end, too
	return nil
}

// against says why the server must not go now.
func (r *removal) against(l nomad.Leaver, answers []nomad.Answer, reached uint64) []nomad.Problem {
	question := nomad.StopQuestion{Stopping: l.Host, ForGood: true, Down: !l.Running, Answers: answers, Reached: reached, Now: time.Now(), Accepted: r.accepted}
	if l.Member != nil {
		return nomad.MayRemove(question)
	}
	return nomad.MayStop(question)
}

// voters asks all servers for themselves. One that does not answer, and is about to go, is known by what raft has of it.
func (r *removal) voters(ctx context.Context, l nomad.Leaver) ([]nomad.Answer, uint64) {
	ctx, cancel := context.WithTimeout(ctx, nomad.FreshFor*4/5)
	defer cancel()
	names := r.known()
	if !slices.Contains(names, l.Host) && !r.lost[l.Host] {
		names = append(names, l.Host)
	}
	answers := r.askAll(ctx, names)
	if r.lost[l.Host] {
		answers = append(answers, nomad.Answer{Host: l.Host, Error: "its host cannot be reached"})
	}
	for i := range answers {
		if answers[i].Host == l.Host && answers[i].Error != "" && l.Member != nil {
			answers[i].Identity = l.Member.RaftServer
		}
	}
	if leader := leaderOf(answers); leader != nil {
		return answers, leader.Raft.Commit
	}
	return answers, 0
}

// keepLeaderLast moves leadership where it must not stay: to an old server while any is left, from the last one to a new one.
func (r *removal) keepLeaderLast(ctx context.Context, answers []nomad.Answer, going string) (moved bool) {
	move, needed := nomad.Leadership(nomad.States(answers), r.target, going)
	if !needed || r.stays {
		return false
	}
	err := errors.New(move.Impossible)
	if move.Impossible == "" {
		r.voice.say(fmt.Sprintf("%s; moving leadership from %s to %s", move.Why, move.From.Host, move.To.Host))
		err = r.transfer(ctx, move)
	}
	if err != nil {
		r.stays = true
		r.voice.say(fmt.Sprintf("%s, and leadership cannot be moved: %v; an election of 2 to 4 s follows", move.Why, err))
	}
	return err == nil
}

// removeAndStop is the part whose order matters; one server of the run at a time does it. Problems mean that nothing was done.
func (r *removal) removeAndStop(ctx context.Context, l nomad.Leaver, reached uint64) ([]nomad.Problem, error) {
	end, err := r.call.Run.Turn.Take(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: nothing was removed: %w", l.Host, err)
	}
	defer end()
	if l.Member != nil {
		answers, _ := r.voters(ctx, l)
		if problems := r.against(l, answers, reached); len(problems) > 0 {
			return problems, nil
		}
		if err := r.takeOut(ctx, l); err != nil {
			return nil, err
		}
	}
	if !l.Running {
		return nil, nil
	}
	err = r.stopRemoved(ctx, l)
	if err != nil && !errors.Is(err, errTakenBack) {
		r.call.Run.Turn.Lose(fmt.Errorf("how the stop of %s ended is not known, so no other server of this run may be stopped", l.Host))
	}
	return nil, err
}

// takeOut has the leader remove the server from raft's configuration.
func (r *removal) takeOut(ctx context.Context, l nomad.Leaver) error {
	r.voice.say("taking " + l.Host + " out of raft's configuration")
	// What was asked of the leader is waited for, also when the run is interrupted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	client, err := r.leader(ctx)
	if err != nil {
		return fmt.Errorf("%s: nothing was removed: %w", l.Host, err)
	}
	removing := client.Operator().RaftRemovePeerByID(l.Member.ID, (&api.WriteOptions{}).WithContext(ctx))
	// A leader that removes itself may give up its office before it answers: what counts is the configuration.
	for {
		if client, err = r.leader(ctx); err == nil {
			var raft nomad.RaftConfiguration
			if raft, err = nomad.AskRaft(ctx, client, false); err == nil {
				still := slices.ContainsFunc(raft.Servers, func(m nomad.RaftMember) bool { return m.ID == l.Member.ID })
				switch {
				case !still:
					return nil
				case removing != nil:
					return fmt.Errorf("%s: the leader has not taken it out of raft's configuration, and it goes on as before: %w", l.Host, removing)
				}
				err = errors.New("raft's configuration still has it")
			}
		}
		if r.pause(ctx) != nil {
			return fmt.Errorf("%s: whether it was taken out of raft's configuration is not known (%w), and it was not stopped; run again", l.Host, err)
		}
	}
}

// stopRemoved stops a server that is no member any more, when all others know that. The host refuses a stop that comes late: a server that goes
// on running is taken back after a while, and would have a vote to lose.
func (r *removal) stopRemoved(ctx context.Context, l nomad.Leaver) error {
	deadline := time.Now().Add(r.call.Args.Duration("timeout"))
	host, err := r.host(ctx, l.Host)
	if err != nil {
		return err
	}
	for {
		_, reached := r.voters(ctx, l)
		var machine wire.FactsResult
		if err := host.Call(ctx, wire.Facts{}, nil, &machine); err != nil {
			return fmt.Errorf("%s: it is out of raft's configuration and was not stopped: %w; it goes on running, and the leader takes it back within a minute: run again", l.Host, err)
		}
		answers, _ := r.voters(ctx, l)
		if takenBack(answers, l) {
			return errTakenBack
		}
		question := nomad.StopQuestion{Stopping: l.Host, ForGood: true, Answers: answers, Reached: reached, Now: time.Now(), Accepted: r.accepted}
		problems := nomad.MayStop(question)
		if len(problems) == 0 {
			err := r.stop(ctx, host, l.Host, machine.UptimeSeconds+wire.SwapPermission/1000)
			if !wire.IsKind(err, wire.KindStale) {
				return err
			}
			problems = []nomad.Problem{{Host: l.Host, Text: "asking the voters took too long"}}
		}
		r.voice.say(l.Host + " is out of raft's configuration; before its stop: " + nomad.Words(problems))
		if time.Now().After(deadline) || r.pause(ctx) != nil {
			return fmt.Errorf("%s: it is out of raft's configuration and was not stopped, because for the others it is not over yet: %s; "+
				"it goes on running, and the leader takes it back within a minute: run again", l.Host, nomad.Words(problems))
		}
	}
}

// takenBack tells whether raft's configuration has the server with a vote.
func takenBack(answers []nomad.Answer, l nomad.Leaver) bool {
	leader := leaderOf(answers)
	i := slices.IndexFunc(answers, func(a nomad.Answer) bool { return a.Host == l.Host && a.Error == "" })
	if leader == nil || i < 0 {
		return false
	}
	return slices.ContainsFunc(leader.Raft.Servers, func(s nomad.RaftServer) bool { return s.Voter && s.ID == answers[i].View.ServerID })
}

// stop ends the agent and disables its unit. until is the host's uptime after which it must not happen any more.
func (r *removal) stop(ctx context.Context, host Host, name string, until float64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	off := false
	request := wire.UnitControl{Name: r.unit(name), State: "stopped", Enabled: &off, Unguarded: true, Until: until}
	err := host.Call(ctx, request, nil, &wire.UnitControlResult{})
	if err == nil || wire.IsKind(err, wire.KindStale) {
		return err
	}
	return withLog(fmt.Sprintf("%s: it is out of raft's configuration; stop %s for good: %v; run again", name, r.unit(name), err), r.unit(name), journalLines(ctx, host, r.unit(name)))
}

// ended notes that a server does not run any more.
func (r *removal) ended(name string) {
	facts, _ := r.facts(name)
	facts.Running = false
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked[name] = facts
}

// disable keeps an agent that does not run from coming back after a boot, and stops one that systemd starts over and over.
func (r *removal) disable(ctx context.Context, name string) error {
	host, err := r.host(ctx, name)
	if err != nil {
		return err
	}
	facts, _ := r.facts(name)
	if facts.Role == "none" && facts.Unit == "" {
		return nil
	}
	return r.stop(ctx, host, name, 0)
}
