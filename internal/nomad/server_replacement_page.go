// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
)

// sequence works out what comes after what, and with how many voters.
func (r *serverReplacer) sequence() {
	voters := 0
	for _, member := range r.survey.Raft.Servers {
		if member.Voter {
			voters++
		}
	}
	var joining, leaving []string
	for _, step := range r.New {
		if step.Action != ActionNone {
			joining = append(joining, step.Host)
		}
	}
	old := slices.Clone(r.Old)
	slices.SortStableFunc(old, func(a, b Step) int { return rankOfLeaver(a) - rankOfLeaver(b) })
	leader := Step{}
	for _, step := range old {
		switch {
		case step.Action == ActionRemove && step.Voter:
			leaving = append(leaving, step.Host)
		case step.Action == ActionRemove:
			r.Sequence = append(r.Sequence, step.Host+" is stopped; it has no vote")
		}
		if step.Leader {
			leader = step
		}
	}
	r.Sizes = Sizes(voters, len(joining), len(leaving))
	for i := 1; i < len(r.Sizes); i++ {
		if r.Sizes[i] > r.Sizes[i-1] {
			r.Sequence = append(r.Sequence, fmt.Sprintf("%s joins: %d voters", joining[0], r.Sizes[i]))
			joining = joining[1:]
			continue
		}
		r.Sequence = append(r.Sequence, fmt.Sprintf("%s goes: %d voters", leaving[0], r.Sizes[i]))
		leaving = leaving[1:]
	}
	r.pauses(leader)
	r.final()
}

// rankOfLeaver puts the leader last, and first those that have no vote.
func rankOfLeaver(s Step) int {
	switch {
	case s.Leader:
		return 2
	case s.Voter:
		return 1
	}
	return 0
}

// pauses tells what the user will notice.
func (r *serverReplacer) pauses(leader Step) {
	if leader.Host == "" || leader.Action != ActionRemove {
		return
	}
	if why := canTransferLeadership(leader.From, 3); why != "" {
		r.Pauses = append(r.Pauses, fmt.Sprintf("an election of 2 to 4 s when %s goes: %s", leader.Host, why))
		return
	}
	r.Pauses = append(r.Pauses, fmt.Sprintf("leadership moves away from %s before it goes: the control plane pauses for well under a second", leader.Host))
}

// final judges what the cluster is in the end.
func (r *serverReplacer) final() {
	if last := r.Sizes[len(r.Sizes)-1]; last%2 == 0 && last > 0 {
		r.warn("", "the cluster ends with %d voters: an even number stands the loss of no more servers than one less does", last)
	}
	if !r.Update {
		r.warn("", "lists of servers (retry_join, client.servers) that name an old one stay as they are and are told at the end; --update-retry-join edits them")
	}
	for _, facts := range sortFacts(r.survey.Hosts) {
		named := slices.Contains(r.options.New, facts.Host) || slices.Contains(r.options.Old, facts.Host)
		if facts.Server && facts.Running && !named && facts.VersionRunning.Compare(r.Target) < 0 {
			r.warn(facts.Host, "stays on %s, and leads until it is upgraded: drover upgrade --to %s", facts.VersionRunning, r.Target)
		}
	}
}

// Page is the replacement for a person. The same replacement gives the same text.
func (r *ServerReplacement) Page() string {
	var l listing
	fmt.Fprintf(&l, "Replace servers by new ones with Nomad %s\n", r.Target)
	l.nonEmpty("New servers"+likeHost(r.From)+":", reasons(r.New))
	l.nonEmpty("Old servers, whose files stay:", reasons(r.Old))
	var steps []string
	for i, line := range r.Sequence {
		steps = append(steps, fmt.Sprintf("%d. %s", i+1, line))
	}
	if len(r.Sizes) > 0 && len(r.Problems) == 0 {
		l.nonEmpty(fmt.Sprintf("In this order, from %d voters on, each step when the one before is proven (the leader last, whoever it is then):", r.Sizes[0]), steps)
	}
	l.nonEmpty("What will be noticed:", r.Pauses)
	l.findings(r.Findings)
	return l.String()
}
