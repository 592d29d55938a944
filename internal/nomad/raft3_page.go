// SPDX-License-Identifier: MPL-2.0

package nomad

import "fmt"

// Page is the plan for a person, with what stands in the way and how to go on. It holds no control characters but line feeds.
func (p *RaftPlan) Page() string {
	w := &page{}
	switch p.Mode {
	case RaftModeSingle:
		w.line(0, "Raft protocol 3 for the only server of the cluster")
	case RaftModeRolling:
		w.line(0, "Raft protocol 3 for %d servers, one at a time, the leader last", len(p.Steps))
	default:
		w.line(0, "Raft protocol 3")
	}
	if len(p.Steps) > 0 {
		w.title("Servers")
	}
	for i, step := range p.Steps {
		w.raftStep(i+1, step)
	}
	w.items("Pauses to expect", p.Pauses)
	if len(p.Warnings) > 0 {
		w.title("Worth knowing")
		for _, warning := range p.Warnings {
			w.item("-", "%s", warning)
		}
	}
	if len(p.Problems) > 0 {
		w.title("In the way")
		for _, problem := range p.Problems {
			w.item("-", "%s", Problem{Host: problem.Host, Text: problem.Text})
			if problem.Remedy != "" {
				w.line(4, "to go on: %s", problem.Remedy)
			}
		}
	}
	w.text.WriteString("\n")
	switch p.Verdict() {
	case VerdictRefused:
		w.line(0, "Refused: nothing was touched.")
	case VerdictClean:
		w.line(0, "Nothing to do.")
	}
	return w.text.String()
}

func (w *page) raftStep(n int, step RaftStep) {
	role := ""
	if step.Leader {
		role = ", leader"
	}
	w.line(2, "%d. %s%s: %s, since %s", n, step.Host, role, step.Action, step.Reason)
	protocol := "not known, since its agent does not answer"
	if step.Protocol > 0 {
		protocol = fmt.Sprint(step.Protocol)
	}
	w.line(5, "raft protocol %s; its id in raft %s; its node id %s; address %s", protocol, orUnknown(step.ID), orUnknown(step.NodeID), orUnknown(step.Address))
	if step.To.Known() && step.From.Known() && step.From.Compare(step.To) != 0 {
		w.line(5, "Nomad %s becomes %s in the same stop", step.From, step.To)
	}
	for _, edit := range step.Edits {
		w.line(5, "%s", edit)
	}
}

func orUnknown(text string) string {
	if text == "" {
		return "is not known"
	}
	return text
}
