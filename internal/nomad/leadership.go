// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"slices"
	"strings"
)

// ServerState is what ordering needs to know of a server.
type ServerState struct {
	Host     string
	ID       string // raft id
	Version  Version
	Leader   bool
	Voter    bool
	Down     bool // no living agent: it is repaired first
	Protocol int
}

// States reads the servers' own answers. The leader's configuration tells who votes.
func States(answers []Answer) []ServerState {
	leader, _ := soleLeader(answers)
	var states []ServerState
	for i := range answers {
		answer := &answers[i]
		if answer.Error != "" {
			continue
		}
		state := ServerState{
			Host: answer.Host, ID: answer.View.ServerID, Version: answer.View.Version, Protocol: answer.View.Raft.Protocol,
			Leader: leader != nil && leader.Host == answer.Host,
		}
		if leader != nil {
			for _, server := range leader.Raft.Servers {
				if answer.View.is(server) {
					state.ID, state.Voter = server.ID, server.Voter
				}
			}
		}
		states = append(states, state)
	}
	return states
}

// Order is the order in which servers are upgraded: those that are down first, since their repair gives the cluster a vote back, then those
// that do not vote, then voters, the leader last; by name among equals, so that two plans of the same cluster are the same.
func Order(servers []ServerState) []ServerState {
	rank := func(s ServerState) int {
		switch {
		case s.Down:
			return 0
		case s.Leader:
			return 3
		case s.Voter:
			return 2
		}
		return 1
	}
	return slices.SortedStableFunc(slices.Values(servers), func(a, b ServerState) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Host, b.Host)
	})
}

// Move is a transfer of leadership that should happen before a server is stopped.
type Move struct {
	From, To ServerState
	Why      string
	// Drifted says that leadership had landed on an upgraded server while old ones remain.
	Drifted bool
	// Impossible says why the leader cannot hand over, "" when it can.
	Impossible string
}

// Leadership decides whether leadership should move before `stopping` is stopped. Leader last is about correctness: a
// leader of the new version may write raft entries that servers of the old one cannot read, and they crash. So while
// old servers remain leadership belongs to one of them, if possible to one that is not about to stop; only when the
// leader is the last old server does it go to an upgraded one, which spares the election.
func Leadership(servers []ServerState, target Version, stopping string) (Move, bool) {
	leader := slices.IndexFunc(servers, func(s ServerState) bool { return s.Leader })
	if leader < 0 {
		return Move{}, false
	}
	from := servers[leader]
	var old, upgraded []ServerState
	lowest := from.Protocol
	oldLeft := false
	for _, s := range Order(servers) {
		lowest = min(lowest, s.Protocol)
		isOld := s.Version.behind(target)
		oldLeft = oldLeft || isOld
		if s.Host == stopping || s.Leader || !s.Voter {
			continue
		}
		if isOld {
			old = append(old, s)
		} else {
			upgraded = append(upgraded, s)
		}
	}
	move := Move{From: from, Impossible: canTransferLeadership(from.Version, lowest)}
	switch fromOld := from.Version.behind(target); {
	case !fromOld && oldLeft:
		if len(old) == 0 {
			// Only the server about to be upgraded is old: doing it now is the shortest path.
			return Move{}, false
		}
		move.To, move.Drifted = old[0], true
		move.Why = "leadership landed on an upgraded server while old ones remain"
	case from.Host != stopping:
		return Move{}, false
	case len(old) > 0:
		move.To, move.Why = old[0], "the server about to stop leads, and other old servers remain"
	case len(upgraded) > 0:
		move.To, move.Why = upgraded[0], "only the old leader is left"
	default:
		return Move{}, false
	}
	return move, true
}
