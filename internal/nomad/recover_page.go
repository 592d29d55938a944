// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"time"
)

// Page is the recovery for a person. It holds no control characters but line feeds.
func (r *Recovery) Page() string {
	w := &page{}
	w.line(0, "Recover a cluster with the servers that are left")
	if len(r.Steps) > 0 {
		w.title("Survivors: the new raft configuration, each with a vote")
		rows := [][]string{{"HOST", "VERSION", "STATE", "INDEX", "RAFT.DB", "ADDRESS", "ID"}}
		for _, step := range r.Steps {
			rows = append(rows, step.row())
		}
		w.table(rows)
	}
	for _, step := range r.Steps {
		for _, edit := range step.Edits {
			w.line(2, "%s: %s, with the new raft configuration", step.Host, edit)
		}
	}
	if r.Newest != "" && len(r.Steps) > 1 {
		w.line(2, "%s has applied the most.", r.Newest)
	}
	if r.Verdict() != VerdictClean {
		w.items("What may be lost, and what becomes of the rest", r.Losses)
	}
	w.items("Pauses to expect", r.Pauses)
	w.findings("Worth knowing", "-", "advice", r.Warnings)
	w.findings("What stands in the way", "", "to go on", r.Problems)
	for _, host := range r.Start {
		w.line(2, "%s does not run, and an earlier recovery has not reached it: it is started beside the leader, with a copy of its server/.", host)
	}
	w.text.WriteString("\n")
	switch {
	case len(r.Problems) > 0:
		w.line(0, "Refused: nothing was touched.")
	case r.Finish && r.Done != "":
		w.line(0, "An earlier recovery has got this far: %s. It remains to be proven and closed.", r.Done)
	case r.Finish:
		w.line(0, "An earlier recovery was interrupted, and is finished now.")
	case r.Done != "":
		w.line(0, "There is nothing to recover: %s.", r.Done)
	}
	return w.text.String()
}

func (s RecoverStep) row() []string {
	state := s.State
	switch {
	case state != "":
	case s.Running:
		state = "no answer"
	default:
		state = "not running"
	}
	index := "unknown"
	switch {
	case s.Exact:
		index = fmt.Sprint(s.Index)
	case s.Index > 0:
		index = fmt.Sprintf("%d or more", s.Index)
	}
	written := "-"
	if at, err := time.Parse(time.RFC3339, s.Written); err == nil {
		written = fmt.Sprintf("%.1f MiB, written %s", float64(s.Size)/(1<<20), at.Format("2006-01-02 15:04:05"))
	}
	return []string{s.Host, cmp.Or(s.Version.String(), "unknown"), state, index, written, cmp.Or(s.Address, "unknown"), cmp.Or(s.ID, "unknown")}
}
