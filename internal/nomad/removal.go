// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
)

// MayRemove says why a server must not be taken out of raft's configuration now. The rule is MayStop's, for the configuration that is left:
// raft counts a change of its members as soon as the leader has written it down, so that the majority is one of the servers that remain, and
// each of these has to have answered for itself within the last second. A server is removed first and stopped then: the configuration never
// counts on one that does not run, and a cluster of four that gives up one goes on with three of three and not with three of four.
func MayRemove(q StopQuestion) []Problem {
	leader, problems := soleLeader(q.Answers)
	if leader == nil {
		return append(problems, Problem{Text: "no server says that it leads, so nothing is known of the quorum", Remedy: "repair the cluster first: drover health shows what is wrong"})
	}
	left, counted := countVoters(q, leader)
	problems = append(problems, counted...)
	remaining := Voters(leader.Raft.Servers)
	for _, server := range leader.Raft.Servers {
		if server.Voter && find(q.Answers, server, map[string]bool{}, q.Stopping) != nil {
			remaining--
		}
	}
	switch majority := remaining/2 + 1; {
	case remaining == 0:
		problems = append(problems, Problem{Host: q.Stopping, Text: "it is the only server that votes: another one must vote first"})
	case left < majority:
		problems = append(problems, Problem{Host: q.Stopping, Text: fmt.Sprintf("without it %d of %d voters would answer, and the cluster needs %d", left, remaining, majority)})
	}
	return problems
}

// Leaver is a server that is to be given up.
type Leaver struct {
	Host    string
	Member  *RaftMember // in raft's configuration; nil when it is not there any more
	Running bool
}

// Leaving finds out which of the servers to be given up are still members, in the order in which they go: those that raft does not know any more, then
// those that do not run, those that do not vote, voters, the leader last. address says where the inventory has a host.
func Leaving(hosts []HostFacts, raft RaftConfiguration, address func(host string) string) []Leaver {
	var leavers []Leaver
	for i := range hosts {
		leaver := Leaver{Host: hosts[i].Host, Running: hosts[i].Running}
		for j := range raft.Servers {
			if hosts[i].isMember(raft.Servers[j], address(hosts[i].Host)) {
				leaver.Member = &raft.Servers[j]
			}
		}
		leavers = append(leavers, leaver)
	}
	rank := func(l Leaver) int {
		switch {
		case l.Member == nil:
			return 0
		case !l.Running:
			return 1
		case !l.Member.Voter:
			return 2
		case !l.Member.Leader:
			return 3
		}
		return 4
	}
	slices.SortStableFunc(leavers, func(a, b Leaver) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Host, b.Host))
	})
	return leavers
}

// isMember tells whether an entry of raft's configuration is this host's server. One that was never asked is known by its name or address.
func (f *HostFacts) isMember(member RaftMember, address string) bool {
	switch {
	case f.ServerID != "":
		return member.ID == f.ServerID || member.ID == member.Address && member.Address == f.RPC
	case f.NodeName != "" && member.Node == f.NodeName+"."+f.Region:
		return true
	}
	return member.isHost(f.Host, address)
}

// Sizes is how many voters the cluster has after each step when new servers come and old ones go: what is to be added beyond the number of
// the old ones comes first, then one is added and one removed by turns. From odd to odd, no step lowers how many may fail: with n odd, n+1 voters
// stand the loss of as many as n do.
func Sizes(voters, joining, leaving int) []int {
	final := voters + joining - leaving
	sizes := []int{voters}
	for {
		for ; leaving > 0 && voters > final; leaving-- {
			voters--
			sizes = append(sizes, voters)
		}
		if joining == 0 {
			return sizes
		}
		voters++
		joining--
		sizes = append(sizes, voters)
	}
}

// sameHost tells whether an address, with or without a port, names one of a host's addresses.
func sameHost(entry string, addresses []string) bool {
	host, _, err := net.SplitHostPort(entry)
	if err != nil {
		host = strings.Trim(entry, "[]")
	}
	return slices.ContainsFunc(addresses, func(a string) bool { return a != "" && strings.EqualFold(a, host) })
}
