// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// FreshFor is how old a voter's own answer may be when a server is stopped on the strength of it.
const FreshFor = time.Second

// contactWithin is how recently a follower must have heard from the leader.
const contactWithin = time.Second

// ElectionPatience is how long a cluster must have been without a leader before an accepted outage is taken to be one: an election takes 2 to
// 4 s, and while it lasts a healthy cluster looks the same.
const ElectionPatience = 10 * time.Second

// Accepted are the risks that the user accepted by name. Nothing else loosens the quorum rule.
type Accepted struct {
	Down   []string `json:"down,omitempty"` // servers that may be dead: inventory name, node name, raft id or address
	Outage bool     `json:"outage,omitempty"`
}

// Known adds to the names of servers that may be dead the raft ids that they have: of a host that cannot be asked nobody knows another.
// address says where the inventory has a host.
func (a Accepted) Known(raft RaftConfiguration, address func(host string) string) Accepted {
	known := Accepted{Down: slices.Clone(a.Down), Outage: a.Outage}
	for _, name := range a.Down {
		for _, member := range raft.Servers {
			if member.isHost(name, address(name)) {
				known.Down = append(known.Down, member.ID)
			}
		}
	}
	return known
}

// Answer is what came of asking one server for itself: its words, or why there are none.
type Answer struct {
	Host  string
	View  AgentView // when Error is ""
	Error string
	// Identity helps to recognise a server that did not answer: what was known of it before. Zero when nothing was.
	Identity RaftServer
}

// StopQuestion is the evidence on which a server may be stopped.
type StopQuestion struct {
	Stopping string // inventory name of the server to stop
	// Down says that the host itself sees no living agent (no process, or one that the unit restarts over and over).
	// Such a server has no vote to lose, so repairing it is always allowed.
	Down bool
	// Alone says that the caller repairs or migrates a server whose raft configuration shall be it and nobody else, whatever its state:
	// that is so only if the server says it itself.
	Alone bool
	// Sole says that the host of a server which cannot be asked shows no other one: neither its configuration nor gossip's own record, which is
	// there, names any. It counts with Alone only, where the server has no word of its own and the inventory no other server.
	Sole bool
	// ForGood says that the server is given up, where no outage can be accepted.
	ForGood bool
	Answers []Answer // of all servers of the inventory, the one to stop included
	// Reached is an index that the leader had committed before the voters were asked; each must have applied it. It
	// is fixed beforehand so that a busy cluster does not run away from the question.
	Reached uint64
	// Leaderless is how long nobody has been seen to lead.
	Leaderless time.Duration
	Now        time.Time
	Accepted   Accepted
}

// MayStop says why a server must not be stopped now. The rule: every other voter counted on has answered for itself
// within the last second, as follower or leader of the same term and configuration, in contact with the leader and
// with the reached index applied; and those voters are a majority of the configured ones. Gossip and autopilot are no
// evidence. A single server has no quorum to lose. Two servers, or a cluster without a leader, need Accepted.Outage.
func MayStop(q StopQuestion) []Problem {
	if q.Down || q.Alone && (isAlone(q) || isSilentAlone(q)) {
		return nil
	}
	leader, problems := soleLeader(q.Answers)
	if leader == nil {
		if q.Accepted.Outage && q.Leaderless >= ElectionPatience {
			return nil
		}
		remedy := "repair the cluster, or accept an outage with --accept-outage"
		switch {
		case q.ForGood:
			remedy = "repair the cluster"
		case q.Alone:
			remedy = "repair its API, or stop its agent on the host (systemctl stop): one that does not run has no vote to lose"
		}
		return append(problems, Problem{Text: "no server says that it leads, so nothing is known of the quorum", Remedy: remedy})
	}
	configured := leader.Raft.Servers
	voters := Voters(configured)
	if voters == 0 {
		return append(problems, Problem{Host: leader.Host, Text: "the leader does not show its raft configuration"})
	}
	if voters == 1 && leader.Host == q.Stopping {
		return problems
	}
	left, counted := countVoters(q, leader)
	problems = append(problems, counted...)
	if majority := voters/2 + 1; left < majority && !(voters == 2 && q.Accepted.Outage) {
		problem := Problem{
			Host: q.Stopping,
			Text: fmt.Sprintf("stopping it would leave %d of %d voters, and the cluster needs %d", left, voters, majority),
		}
		if voters == 2 && !q.ForGood {
			problem.Remedy = "two servers have no spare vote: --accept-outage goes on without a control plane meanwhile"
		}
		problems = append(problems, problem)
	}
	return problems
}

// isAlone tells whether the server has just said that raft's configuration is it alone, and nobody else knows it as a member of theirs.
// Such a server has no quorum to lose, also where it finds no leader because raft knows it by another id.
func isAlone(q StopQuestion) bool {
	i := slices.IndexFunc(q.Answers, func(a Answer) bool { return a.Host == q.Stopping && a.Error == "" })
	if i < 0 {
		return false
	}
	own := &q.Answers[i].View
	age := q.Now.Sub(own.Asked)
	lists := func(view *AgentView) bool {
		return slices.ContainsFunc(view.Raft.Servers, func(s RaftServer) bool { return own.is(s) || own.RPC != "" && s.Address == own.RPC })
	}
	elsewhere := slices.ContainsFunc(q.Answers, func(a Answer) bool { return a.Host != q.Stopping && a.Error == "" && lists(&a.View) })
	return age >= 0 && age <= FreshFor && len(own.Raft.Servers) == 1 && lists(own) && !elsewhere
}

// isSilentAlone tells whether the server cannot be asked, and what there is instead of its word shows it alone: the files of its host, and an
// inventory with no other server. As soon as it answers, only what it says itself counts.
func isSilentAlone(q StopQuestion) bool {
	return q.Sole && len(q.Answers) == 1 && q.Answers[0].Host == q.Stopping && q.Answers[0].Error != ""
}

// soleLeader finds the server that says it leads; of several, the one of the highest term, and names the others.
func soleLeader(answers []Answer) (*AgentView, []Problem) {
	var leaders []*AgentView
	for i := range answers {
		if answers[i].Error == "" && answers[i].View.Raft.State == Leader {
			leaders = append(leaders, &answers[i].View)
		}
	}
	if len(leaders) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(leaders, func(a, b *AgentView) int { return cmp.Compare(b.Raft.Term, a.Raft.Term) })
	var problems []Problem
	for _, other := range leaders[1:] {
		problems = append(problems, Problem{Host: other.Host, Text: fmt.Sprintf("also says that it leads, in term %d, while %s leads term %d", other.Raft.Term, leaders[0].Host, leaders[0].Raft.Term)})
	}
	return leaders[0], problems
}

// countVoters counts the voters that remain when the server stops, and says what is wrong with those that do not count.
func countVoters(q StopQuestion, leader *AgentView) (left int, problems []Problem) {
	problems = aliases(q.Answers)
	used := map[string]bool{q.Stopping: true}
	for _, server := range leader.Raft.Servers {
		if !server.Voter || find(q.Answers, server, map[string]bool{}, q.Stopping) != nil {
			continue
		}
		answer := find(q.Answers, server, used, "")
		if answer == nil {
			if !q.Accepted.down(server.ID, server.Address) {
				problems = append(problems, Problem{
					Text:   fmt.Sprintf("voter %s at %s answers from no host of the inventory", server.ID, server.Address),
					Remedy: "add its host to the inventory, or name it with --accept-down if it is dead",
				})
			}
			continue
		}
		used[answer.Host] = true
		reason := uncountable(q, leader, answer)
		switch {
		case reason == "":
			left++
		case answer.Error == "" || !q.Accepted.down(answer.Host, answer.View.NodeName, server.ID, server.Address): // one that answers is not dead
			problems = append(problems, Problem{Host: answer.Host, Text: reason})
		}
	}
	return left, problems
}

// aliases refuses two names of the inventory for one server: its vote would be counted as left while it stops.
func aliases(answers []Answer) []Problem {
	var problems []Problem
	names := map[string]string{}
	for i := range answers {
		answer := &answers[i]
		if answer.Error != "" || answer.View.ServerID == "" {
			continue
		}
		if other, ok := names[answer.View.ServerID]; ok {
			problems = append(problems, Problem{Host: answer.Host, Text: "is the same server as " + other, Remedy: "leave one of the two names out of the inventory"})
		}
		names[answer.View.ServerID] = answer.Host
	}
	return problems
}

// find returns the answer of a raft server, that of the host `only` where it is given. Each answer stands for one
// server at most.
func find(answers []Answer, server RaftServer, used map[string]bool, only string) *Answer {
	for i := range answers {
		answer := &answers[i]
		if used[answer.Host] || (only != "" && answer.Host != only) {
			continue
		}
		if answer.Error == "" && answer.View.is(server) {
			return answer
		}
		if answer.Error != "" && answer.Identity.ID != "" && (answer.Identity.ID == server.ID || answer.Identity.Address == server.Address) {
			return answer
		}
	}
	return nil
}

// uncountable says why a voter's vote cannot be counted on, or "".
func uncountable(q StopQuestion, leader *AgentView, answer *Answer) string {
	if answer.Error != "" {
		return "the server does not answer for itself: " + answer.Error
	}
	view := &answer.View
	raft := view.Raft
	age := q.Now.Sub(view.Asked)
	switch {
	case age > FreshFor || age < 0:
		return fmt.Sprintf("its answer is %s old, and only one of the last second counts", age.Round(time.Millisecond))
	case raft.State != Follower && raft.State != Leader:
		return fmt.Sprintf("it is neither follower nor leader but %q", raft.State)
	case raft.Term != leader.Raft.Term:
		return fmt.Sprintf("it is in term %d and the leader %s in term %d", raft.Term, leader.Host, leader.Raft.Term)
	case raft.State == Follower && raft.LastContact >= contactWithin:
		return "it has not heard from the leader " + ago(raft.LastContact)
	case raft.Applied < q.Reached:
		return fmt.Sprintf("it has applied index %d, and the leader had committed %d before it was asked", raft.Applied, q.Reached)
	case raft.Protocol >= 3 && slices.ContainsFunc(leader.Raft.Servers, func(s RaftServer) bool { return s.Address == view.RPC && s.ID == s.Address }):
		// It follows, but can neither vote for itself nor be elected: the election of another hangs on the rest.
		return "it uses raft protocol 3, and raft's configuration has it by its address and not by its id yet"
	case !sameServers(raft.Servers, leader.Raft.Servers):
		return "it knows another raft configuration than the leader"
	}
	return ""
}

func ago(d time.Duration) string {
	if d == Never {
		return "since it started"
	}
	return "for " + d.Round(time.Millisecond).String()
}

func (a Accepted) down(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return name != "" && slices.Contains(a.Down, name) })
}

// sameServers compares configurations as sets.
func sameServers(a, b []RaftServer) bool {
	return slices.Equal(sortedServers(a), sortedServers(b))
}

func sortedServers(servers []RaftServer) []RaftServer {
	return slices.SortedFunc(slices.Values(servers), func(a, b RaftServer) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Address, b.Address))
	})
}
