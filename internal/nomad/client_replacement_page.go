// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"strings"
)

// Page is the replacement for a person. The same replacement gives the same text.
func (r *ClientReplacement) Page() string {
	var l listing
	fmt.Fprintf(&l, "Replace clients by new ones with Nomad %s\n", r.Target)
	l.section("New clients"+likeHost(r.From)+":", reasons(r.New))
	after := "stopped and disabled; their files stay"
	if r.Purge {
		after += ", and the servers forget their nodes"
	}
	leaving := reasons(r.Old)
	for i, batch := range r.Batches {
		if len(batch.Hosts) > 0 {
			leaving = append(leaving, fmt.Sprintf("batch %d: %s", i+1, strings.Join(batch.Hosts, ", ")))
		}
	}
	l.section("Old clients, drained when all new ones are ready, then "+after+":", leaving)
	l.findings(r.Findings)
	return l.String()
}

// listing is the page of a replacement being written: sections of one line each for what there is.
type listing struct{ strings.Builder }

func (l *listing) section(title string, lines []string) {
	fmt.Fprintf(l, "\n%s\n", title)
	for _, line := range lines {
		fmt.Fprintf(l, "  %s\n", line)
	}
}

// nonEmpty writes a section that has lines.
func (l *listing) nonEmpty(title string, lines []string) {
	if len(lines) > 0 {
		l.section(title, lines)
	}
}

func (l *listing) findings(f Findings) {
	l.nonEmpty("Worth knowing:", dashed(f.Warnings))
	l.nonEmpty("What stands in the way:", dashed(f.Problems))
}

func likeHost(host string) string {
	if host == "" {
		return ""
	}
	return ", configured like " + host
}

func reasons(steps []Step) []string {
	var lines []string
	for _, step := range steps {
		lines = append(lines, step.Host+": "+cmp.Or(step.Reason, step.Action))
	}
	return lines
}

func dashed(problems []Problem) []string {
	var lines []string
	for _, problem := range problems {
		lines = append(lines, "- "+problem.String())
	}
	return lines
}
