// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ServerExpectation is what a server must be after its upgrade. Empty fields are not checked.
type ServerExpectation struct {
	Host     string
	Version  Version
	ServerID string
	NodeName string
	Region   string
	DataDir  string
	// Servers is the raft configuration recorded before the stop: ids, addresses and suffrage.
	Servers []RaftServer
	// Reached is the leader's commit index sampled before the check began.
	Reached   uint64
	PID       int // the new main process; 0: any
	NRestarts int
	// OldPID must be gone; 0: unknown.
	OldPID int
	// SomeDown says that the user accepted dead servers, which autopilot and the raft configuration go on showing.
	SomeDown bool
}

// ServerEvidence is one sample of everything that is asked about a server.
type ServerEvidence struct {
	Active    bool // the unit
	PID       int
	NRestarts int
	// ExeCurrent says that /proc/PID/exe is the installed file, not one that was replaced.
	ExeCurrent bool
	Own        Answer
	Others     []Answer // of the other servers
	Raft       RaftConfiguration
	RaftError  string
	Members    []Member // as another server knows them; nil when no other was asked
	Autopilot  Autopilot
	// AutopilotCounts says that autopilot has had time to notice: before that its bad news is old news.
	AutopilotCounts bool
	AutopilotError  string
}

// AutopilotLag is how long after a restart autopilot's unfavourable opinion may be about the time before it (its
// ticks come every 2 s and 10 s).
const AutopilotLag = 10 * time.Second

// ServerHealthy says what is missing until a server is well after its upgrade: points 1 to 6 of the predicate. Point
// 7, stability, is StableFor: the caller samples until there has been no problem for that long.
func ServerHealthy(expected ServerExpectation, seen ServerEvidence) []Problem {
	c := checker{host: expected.Host}
	expected = expected.settled(seen)
	c.process(expected, seen)
	if seen.Own.Error != "" {
		c.add("its API does not answer: %s", seen.Own.Error)
		return c.problems
	}
	c.own(expected, &seen.Own.View)
	c.cluster(expected, seen)
	c.gossip(expected, seen)
	c.autopilot(expected, seen)
	return c.problems
}

// settled takes over what autopilot may do to the set of raft peers meanwhile, with whom nothing is wrong then: it gives a server that had no
// vote its vote, and removes one that is dead (CleanupDeadServers), where the user accepted that one is. Any other difference stays one.
func (e ServerExpectation) settled(seen ServerEvidence) ServerExpectation {
	if seen.RaftError != "" || len(seen.Raft.Servers) == 0 {
		return e
	}
	e = e.rejoined(seen)
	var servers []RaftServer
	for _, member := range seen.Raft.Servers {
		i := slices.IndexFunc(e.Servers, func(s RaftServer) bool { return s.ID == member.ID && s.Address == member.Address })
		if i < 0 || e.Servers[i].Voter && !member.Voter {
			return e
		}
		servers = append(servers, member.RaftServer)
	}
	for _, was := range e.Servers {
		removed := !slices.ContainsFunc(servers, func(s RaftServer) bool { return s.ID == was.ID })
		if removed && (!e.SomeDown || seen.answers(was)) {
			return e
		}
	}
	e.Servers = servers
	return e
}

// rejoined expects a vote of a server that raft had dropped before it was repaired: autopilot takes out one that is dead for long, and gives
// it a vote again when it has been back for some 10 s.
func (e ServerExpectation) rejoined(seen ServerEvidence) ServerExpectation {
	view := &seen.Own.View
	if seen.Own.Error != "" || len(e.Servers) == 0 || slices.ContainsFunc(e.Servers, view.is) {
		return e
	}
	own := RaftServer{ID: view.ServerID, Address: view.RPC}
	if i := slices.IndexFunc(seen.Raft.Servers, func(m RaftMember) bool { return view.is(m.RaftServer) }); i >= 0 {
		own = seen.Raft.Servers[i].RaftServer
	}
	own.Voter = true
	e.Servers = append(slices.Clone(e.Servers), own)
	return e
}

// answers tells whether a raft server has answered for itself.
func (s *ServerEvidence) answers(server RaftServer) bool {
	return slices.ContainsFunc(append([]Answer{s.Own}, s.Others...), func(a Answer) bool { return a.Error == "" && a.View.is(server) })
}

type checker struct {
	host     string
	problems []Problem
}

func (c *checker) add(format string, args ...any) {
	c.problems = append(c.problems, Problem{Host: c.host, Text: fmt.Sprintf(format, args...)})
}

// process is point 1: what the host itself shows.
func (c *checker) process(expected ServerExpectation, seen ServerEvidence) {
	switch {
	case !seen.Active:
		c.add("the unit is not active")
	case seen.PID == 0:
		c.add("the unit has no main process")
	case expected.OldPID != 0 && seen.PID == expected.OldPID:
		c.add("the old process %d still runs", seen.PID)
	case expected.PID != 0 && seen.PID != expected.PID:
		c.add("process %d of the new binary is gone, %d runs instead", expected.PID, seen.PID)
	case expected.PID != 0 && seen.NRestarts > expected.NRestarts:
		c.add("systemd has restarted the agent %d times since", seen.NRestarts-expected.NRestarts)
	case !seen.ExeCurrent:
		c.add("the process does not run the installed binary")
	}
}

// own is points 2 and 3: what the server says of itself.
func (c *checker) own(expected ServerExpectation, view *AgentView) {
	if expected.Version.Known() && !view.Version.Same(expected.Version) {
		c.add("it runs %s, not %s", view.Version, expected.Version)
	}
	same := func(what, is, was string) {
		if was != "" && is != was {
			c.add("its %s was %s and is %s now", what, was, is)
		}
	}
	same("data directory", view.DataDir, expected.DataDir)
	same("node name", view.NodeName, expected.NodeName)
	same("region", view.Region, expected.Region)
	same("server id", view.ServerID, expected.ServerID)
	raft := view.Raft
	switch raft.State {
	case Leader:
	case Follower:
		if raft.LastContact >= contactWithin {
			c.add("it has not heard from the leader %s", ago(raft.LastContact))
		}
	default:
		c.add("it is neither follower nor leader but %q", raft.State)
	}
	if raft.Commit == 0 || raft.Applied < expected.Reached {
		c.add("it has applied index %d and must reach %d", raft.Applied, expected.Reached)
	}
	if raft.Pending > 0 {
		c.add("%d raft entries wait to be applied", raft.Pending)
	}
	if len(expected.Servers) > 0 && !sameServers(raft.Servers, expected.Servers) {
		c.add("its raft configuration differs from the one before the upgrade: %s", difference(raft.Servers, expected.Servers))
	}
	// num_peers counts the other voters, and is 0 on a server that does not vote (hashicorp/raft 1.7.3, Stats).
	peers := 0
	if isVoter(expected.Servers, view) {
		peers = Voters(expected.Servers) - 1
	}
	if len(expected.Servers) > 0 && raft.Peers != peers {
		c.add("it counts %d raft peers instead of %d", raft.Peers, peers)
	}
}

func isVoter(servers []RaftServer, view *AgentView) bool {
	return slices.ContainsFunc(servers, func(s RaftServer) bool { return s.Voter && view.is(s) })
}

// cluster is point 4: the leader's raft configuration, and one leader that two servers agree on.
func (c *checker) cluster(expected ServerExpectation, seen ServerEvidence) {
	if seen.RaftError != "" {
		c.add("the raft configuration cannot be read: %s", seen.RaftError)
	}
	var servers []RaftServer
	leaders := 0
	for _, member := range seen.Raft.Servers {
		servers = append(servers, member.RaftServer)
		if member.Leader {
			leaders++
		}
		if member.Protocol != 3 && seen.Own.View.Raft.Protocol >= 3 && !expected.SomeDown {
			c.add("raft protocol of %s is %d, not 3", member.Node, member.Protocol)
		}
	}
	if seen.RaftError == "" {
		if leaders != 1 {
			c.add("the raft configuration shows %d leaders", leaders)
		}
		if len(expected.Servers) > 0 && !sameServers(servers, expected.Servers) {
			c.add("the cluster's raft configuration differs from the one before the upgrade: %s", difference(servers, expected.Servers))
		}
	}
	agree := map[string]int{}
	for _, answer := range append([]Answer{seen.Own}, seen.Others...) {
		if answer.Error == "" && answer.View.Raft.LeaderAddr != "" {
			agree[answer.View.Raft.LeaderAddr]++
		}
	}
	need := min(2, len(seen.Others)+1)
	if len(servers) > 0 {
		need = min(need, len(servers)) // of those that were asked, some may be stopped for good, and have no part in the cluster any more
	}
	switch most := mostCommon(agree); {
	case len(agree) > 1:
		c.add("servers disagree about who leads")
	case most < need:
		c.add("%d of the %d servers that have to name a leader do so", most, need)
	}
}

func mostCommon(counts map[string]int) int {
	most := 0
	for _, n := range counts {
		most = max(most, n)
	}
	return most
}

// gossip is point 5: another server must know this one as alive with the new version.
func (c *checker) gossip(expected ServerExpectation, seen ServerEvidence) {
	if seen.Members == nil {
		return
	}
	view := &seen.Own.View
	name := view.NodeName + "." + view.Region
	i := slices.IndexFunc(seen.Members, func(m Member) bool { return m.Name == name })
	switch {
	case i < 0:
		c.add("the other servers do not know %s", name)
	case seen.Members[i].Status != "alive":
		c.add("the other servers see it as %s", seen.Members[i].Status)
	case expected.Version.Known() && !buildIs(seen.Members[i].Tags["build"], expected.Version):
		c.add("the other servers still see version %s", seen.Members[i].Tags["build"])
	}
}

func buildIs(build string, version Version) bool {
	parsed, err := ParseVersion(build)
	return err == nil && parsed.Compare(version) == 0
}

// autopilot is point 6. Its report lags, so an unfavourable one counts only once it has had time to notice.
func (c *checker) autopilot(expected ServerExpectation, seen ServerEvidence) {
	if !seen.AutopilotCounts {
		return
	}
	report := seen.Autopilot
	switch {
	case seen.AutopilotError != "":
		c.add("autopilot cannot be asked: %s", seen.AutopilotError)
		return
	case expected.SomeDown:
	case report.Unavailable != "":
		if seen.Own.View.Raft.Protocol >= 3 {
			c.add("autopilot has no opinion: %s", report.Unavailable)
		}
		return
	case !report.Healthy:
		c.add("autopilot calls the cluster unhealthy")
	case len(expected.Servers) > 0 && len(report.Servers) != len(expected.Servers):
		c.add("autopilot knows %d servers instead of %d", len(report.Servers), len(expected.Servers))
	}
	if voters := Voters(expected.Servers); voters > 0 && !expected.SomeDown && report.FailureTolerance != (voters-1)/2 {
		c.add("autopilot counts a failure tolerance of %d instead of %d", report.FailureTolerance, (voters-1)/2)
	}
	for _, server := range report.Servers {
		if server.ID != seen.Own.View.ServerID {
			continue
		}
		if !server.Voter && isVoter(expected.Servers, &seen.Own.View) {
			c.add("autopilot does not see it as a voter")
		}
		if expected.Version.Known() && !buildIs(server.Version, expected.Version) {
			c.add("autopilot still sees version %s", server.Version)
		}
	}
}

func difference(is, was []RaftServer) string {
	var words []string
	for _, server := range was {
		if !slices.Contains(is, server) {
			words = append(words, fmt.Sprintf("%s at %s (voter: %t) is missing", server.ID, server.Address, server.Voter))
		}
	}
	for _, server := range is {
		if !slices.Contains(was, server) {
			words = append(words, fmt.Sprintf("%s at %s (voter: %t) is new", server.ID, server.Address, server.Voter))
		}
	}
	return strings.Join(words, ", ")
}

const (
	// ServerStabilizationTime is autopilot's default: how long a non-voter must be well before it gets a vote.
	ServerStabilizationTime = 10 * time.Second
	heartbeatTimeout        = time.Second // raft's, times the configured multiplier
)

// StableFor is point 7: how long a server must have been without any problem before another may be stopped.
//
// Ten seconds is autopilot's ServerStabilizationTime, the time before a non-voter is given its vote. It matters when
// the set of peers has changed: a server that left, or was removed as dead, comes back without a vote, and the next
// stop must wait for the promotion. A server that was stopped without leaving never lost its vote: raft's set of peers
// is what it was, no promotion is pending, and its vote counts as soon as it follows the leader. What remains to be shown
// then is that it keeps following, for which one heartbeat timeout (1 s times raft_multiplier) is raft's own measure: a
// follower that misses the leader for that long becomes a candidate, and its term and last contact show it. A fifth
// is added for the sampling. Beyond the wait, MayStop asks every voter again in the second before the next stop, so that a server
// that falls over later still stops the roll; waiting longer here would not make that stop any safer.
//
// So: the full time whenever any sample since the restart showed another set of peers than the recorded one.
func StableFor(peersChanged bool, raftMultiplier int) time.Duration {
	if peersChanged {
		return ServerStabilizationTime
	}
	return heartbeatTimeout * time.Duration(max(1, raftMultiplier)) * 6 / 5
}

// PeersChanged tells whether a sample shows another set of raft peers than the recorded one.
func PeersChanged(expected ServerExpectation, seen ServerEvidence) bool {
	if len(expected.Servers) == 0 {
		return false
	}
	if seen.RaftError == "" && len(seen.Raft.Servers) > 0 {
		servers := make([]RaftServer, len(seen.Raft.Servers))
		for i, member := range seen.Raft.Servers {
			servers[i] = member.RaftServer
		}
		if !sameServers(servers, expected.Servers) {
			return true
		}
	}
	return seen.Own.Error == "" && len(seen.Own.View.Raft.Servers) > 0 && !sameServers(seen.Own.View.Raft.Servers, expected.Servers)
}
