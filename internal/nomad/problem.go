// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"slices"
	"strings"
)

// Problem is one reason against going on, in words for a person.
type Problem struct {
	Host   string `json:"host,omitempty"` // inventory name; "" when it concerns the cluster
	Kind   string `json:"kind,omitempty"` // of a failed look at a host (see LookFailure) or of a finding of an Overview: a word for programs
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"` // what to do about it
	// Limit is the value of --limit with which the other hosts can go on without this one; "" where that is no way.
	Limit string `json:"limit,omitempty"`
}

func (p Problem) String() string {
	text := p.Text
	if p.Host != "" {
		text = p.Host + ": " + text
	}
	if remedy := p.wayOn(p.Limit); remedy != "" {
		text += " (" + remedy + ")"
	}
	return text
}

// wayOn is the remedy, with the limit that goes on without the hosts concerned.
func (p Problem) wayOn(limit string) string {
	if limit == "" {
		return p.Remedy
	}
	without := "go on without it with --limit '" + limit + "'"
	if strings.Contains(limit, ":") {
		without = strings.Replace(without, "without it", "without them", 1)
	}
	if p.Remedy == "" {
		return without
	}
	return p.Remedy + ", or " + without
}

// Words joins problems into one line.
func Words(problems []Problem) string {
	texts := make([]string, len(problems))
	for i, problem := range problems {
		texts[i] = problem.String()
	}
	return strings.Join(texts, "; ")
}

// sorted orders problems, those of the cluster first, and drops repetitions.
func sorted(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Text, b.Text))
	})
	return slices.Compact(problems)
}
