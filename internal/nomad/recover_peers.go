// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drover/internal/agentconfig"
)

// SamePeers tells whether a peers.json holds these servers, in whatever order and however it is laid out.
func SamePeers(text []byte, want []RaftPeer) bool {
	var peers []RaftPeer
	if json.Unmarshal(text, &peers) != nil {
		return false
	}
	order := func(a, b RaftPeer) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(peers, order)
	return slices.Equal(peers, slices.SortedFunc(slices.Values(want), order))
}

// WantsProtocol2 tells whether a server of a version starts with raft protocol 2, and where that is said, as ", by FILE:LINE".
func WantsProtocol2(protocols []agentconfig.Occurrence, version Version) (where string, yes bool) {
	if !WantsRaftSetting(protocols, version) {
		return "", false
	}
	if decides, ok := agentconfig.Deciding(protocols, RaftProtocolKey()); ok && !decides.Value.Zero() {
		return ", by " + decides.Where(), true
	}
	return ", the default of Nomad " + version.String(), true
}

// snapshotName is TERM-INDEX-MILLISECONDS (hashicorp/raft, FileSnapshotStore).
var snapshotName = regexp.MustCompile(`^(\d+)-(\d+)-(\d+)$`)

// LastSnapshot is the highest index that the names of raft/snapshots have; 0 where there are none.
func LastSnapshot(names []string) uint64 {
	var last uint64
	for _, name := range names {
		if match := snapshotName.FindStringSubmatch(name); match != nil {
			if index, err := strconv.ParseUint(match[2], 10, 64); err == nil {
				last = max(last, index)
			}
		}
	}
	return last
}

// RecoveredEvidence is one sample of the survivors after their start.
type RecoveredEvidence struct {
	Answers []Answer // of the survivors
	Left    []string // survivors whose peers.json is still there
	Jobs    []string // as the leader lists them
	Before  []string // that a survivor had before the stop; nil: not known
	Problem string   // why jobs cannot be listed
}

// RecoveredMissing says what is missing until a recovery is proven: one leader that all name, raft's configuration exactly the survivors, the file
// used up, the jobs there.
func RecoveredMissing(peers []RaftPeer, seen RecoveredEvidence) []Problem {
	c := checker{}
	want := make([]RaftServer, len(peers))
	for i, peer := range peers {
		want[i] = RaftServer{ID: peer.ID, Address: peer.Address, Voter: true}
	}
	leader, others := soleLeader(seen.Answers)
	c.problems = append(c.problems, others...)
	for _, answer := range seen.Answers {
		c.host = answer.Host
		raft := answer.View.Raft
		switch {
		case answer.Error != "":
			c.add("it does not answer: %s", reasonOf(&answer))
		case raft.Protocol == 2:
			c.add("raft protocol 2 is in force")
		case !sameServers(raft.Servers, want):
			c.add("its raft configuration is not the survivors: %s", difference(raft.Servers, want))
		case leader == nil:
		case raft.LeaderAddr != leader.RPC:
			c.add("it does not follow %s yet", leader.Host)
		case raft.State == Follower && raft.LastContact >= contactWithin:
			c.add("it has not heard from the leader %s", ago(raft.LastContact))
		}
	}
	c.host = ""
	if leader == nil {
		c.add("no survivor leads yet")
	}
	for _, host := range seen.Left {
		c.problems = append(c.problems, Problem{Host: host, Text: "its raft/peers.json is still there"})
	}
	if leader != nil {
		c.jobs(seen)
	}
	return c.problems
}

func (c *checker) jobs(seen RecoveredEvidence) {
	if seen.Problem != "" {
		c.add("the jobs cannot be listed: %s", seen.Problem)
		return
	}
	gone := slices.DeleteFunc(slices.Clone(seen.Before), func(job string) bool { return slices.Contains(seen.Jobs, job) })
	if len(gone) > 0 {
		c.add("%d of %d jobs are not there: %s", len(gone), len(seen.Before), someHosts(gone))
	}
}
