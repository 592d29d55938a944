// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
)

// cluster looks at a cluster that has a leader; true when it does, and nobody is to be stopped.
func (r *recoverer) cluster() bool {
	leader, _ := soleLeader(r.survey.Answers)
	if leader == nil {
		r.quorate()
		return false
	}
	want := make([]RaftServer, len(r.Peers))
	for i, peer := range r.Peers {
		want[i] = RaftServer{ID: peer.ID, Address: peer.Address, Voter: true}
	}
	configured := leader.Raft.Servers
	switch {
	case sameServers(want, configured):
		r.Done = fmt.Sprintf("%s leads, and raft's configuration is exactly these servers", leader.Host)
	case r.Finish && stillJoining(want, configured):
		r.Done = fmt.Sprintf("%s leads, with %d of these %d servers as voters", leader.Host, Voters(configured), len(want))
	default:
		r.refuse("", "drover health says how the cluster is; servers that are gone are removed with nomad operator raft remove-peer",
			"there is nothing to recover: %s leads, with a quorum of its %s", leader.Host, counted(Voters(configured), "voter"))
	}
	r.stopped(leader)
	return true
}

// stillJoining tells whether raft has no other servers than these, and not all of them as voters: some are still to join.
func stillJoining(want, configured []RaftServer) bool {
	for _, server := range configured {
		server.Voter = true
		if !slices.Contains(want, server) {
			return false
		}
	}
	return Voters(configured) < len(want)
}

// stopped sees to survivors that do not run beside a leader. Those that an interrupted recovery has not reached are started as they are: raft's
// configuration has them by their node ids, or lets them join, and the leader overwrites what their logs have of before.
func (r *recoverer) stopped(leader *AgentView) {
	unknown := 0
	for i := range r.survey.Evidence {
		e := &r.survey.Evidence[i]
		f := e.Facts
		start := "start it on the host: systemctl start " + f.Unit
		switch {
		case f.Running || f.CrashLooping:
		case r.Done == "":
			r.refuse(f.Host, start, "its agent does not run, and %s leads without it", leader.Host)
		case !r.Finish:
			r.Warnings = append(r.Warnings, Problem{Host: f.Host, Text: "its agent does not run, and " + leader.Host + " leads without it", Remedy: start})
		case e.Peers != nil:
		default:
			r.Start = append(r.Start, f.Host)
			r.startable(e)
			if !slices.ContainsFunc(leader.Raft.Servers, func(s RaftServer) bool { return s.ID == e.NodeID }) {
				unknown++
			}
		}
	}
	// Alone, a server with the old raft configuration has no majority of it, whatever it was.
	if unknown > 1 && 2*unknown >= len(r.Peers) {
		r.refuse("", "move server/ in the data directories of all but one of them away, and start them on their hosts", "%d of the survivors do not run, and %s leads without them: together they could elect a leader of their own", unknown, leader.Host)
	}
}
