// SPDX-License-Identifier: MPL-2.0

package watch

import (
	"fmt"
	"maps"
	"slices"
)

// Problems judges a report of an upgrade that must not be felt; an empty answer is good.
func (r *Report) Problems() []string {
	var problems []string
	for _, host := range slices.Sorted(maps.Keys(r.OutOfService)) {
		for _, other := range slices.Sorted(maps.Keys(r.OutOfService)) {
			if host < other {
				problems = append(problems, overlaps(host, other, r.OutOfService[host], r.OutOfService[other])...)
			}
		}
	}
	if rise := r.TermAfter - r.TermBefore; rise > 1 {
		problems = append(problems, fmt.Sprintf("the raft term rose by %d, from %d to %d", rise, r.TermBefore, r.TermAfter))
	}
	for _, missed := range r.Missed {
		problems = append(problems, "a heartbeat was missed: "+missed)
	}
	for _, task := range r.ChangedTasks {
		problems = append(problems, "a task changed: "+task)
	}
	for _, changed := range r.ChangedNodes {
		problems = append(problems, "a node changed: "+changed)
	}
	for _, a := range r.Absences {
		switch {
		case a.Budget == 0:
		case a.Heartbeat.IsZero():
			problems = append(problems, fmt.Sprintf("%s made no heartbeat after it came back", a.Host))
		case a.Heartbeat.Sub(a.Gone) > a.Budget/2:
			problems = append(problems, fmt.Sprintf("%s: %s from stop to heartbeat is over half of its budget of %s",
				a.Host, a.Heartbeat.Sub(a.Gone), a.Budget))
		}
	}
	return append(problems, r.Unanswered...)
}

func overlaps(host, other string, a, b []Interval) []string {
	var problems []string
	for _, i := range a {
		for _, j := range b {
			if i.From.Before(j.To) && j.From.Before(i.To) {
				problems = append(problems, fmt.Sprintf("two servers were out of service at once: %s %s, %s %s", host, i, other, j))
			}
		}
	}
	return problems
}
