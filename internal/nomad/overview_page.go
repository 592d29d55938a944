// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"drover/internal/printable"
)

// Page is the overview for a person. It holds no control characters but line feeds.
func (o *Overview) Page() string {
	w := &page{}
	if o.Target.Known() {
		w.line(0, "Has Nomad %s arrived?", o.Target)
	} else {
		w.line(0, "How the cluster is")
	}
	if len(o.Servers) > 0 {
		w.title("Servers")
		w.table(o.serverRows())
	}
	if len(o.Clients) > 0 {
		w.title("Clients")
		w.table(o.clientRows())
	}
	for _, cluster := range o.Clusters {
		w.cluster(cluster, len(o.Clusters) > 1)
	}
	w.findings("Worth knowing", "-", "advice", o.Notes)
	w.findings("What is wrong", "", "to go on", o.Problems)
	w.text.WriteString("\n")
	switch {
	case len(o.Servers)+len(o.Clients) == 0 && len(o.Problems) == 0:
		w.line(0, "No Nomad agent was found on these hosts.")
	case len(o.Problems) > 0 && o.Target.Known():
		w.line(0, "It is not proven that %s has arrived.", o.Target)
	case len(o.Problems) > 0 && !slices.ContainsFunc(o.Problems, func(p Problem) bool { return p.Kind != findToken }):
		w.line(0, "Whether the cluster is well is not known: its agents want a token that they know, see above.")
	case len(o.Problems) > 0:
		w.line(0, "The cluster is not well.")
	case o.Target.Known():
		w.line(0, "Nomad %s runs everywhere, and everything has been well for %d s.", o.Target, o.StableMS/1000)
	default:
		w.line(0, "The cluster is well.")
	}
	return w.text.String()
}

func (o *Overview) serverRows() [][]string {
	rows := [][]string{{"HOST", "VERSION", "STATE", "VOTER", "GOSSIP", "TERM", "APPLIED", "LAST CONTACT", "PROTOCOL"}}
	for _, row := range o.Servers {
		voter := map[bool]string{true: "yes", false: "no"}[row.Voter]
		if row.State == "" {
			rows = append(rows, []string{row.Host, bothVersions(row.Version, row.Disk), "no answer", "-", cmp.Or(row.Gossip, "-"), "-", "-", "-", "-"})
			continue
		}
		rows = append(rows, []string{
			row.Host, bothVersions(row.Version, row.Disk), row.State, voter, cmp.Or(row.Gossip, "-"), fmt.Sprint(row.Term), fmt.Sprint(row.Applied), cmp.Or(row.LastContact, "-"), fmt.Sprint(row.Protocol),
		})
	}
	return rows
}

func (o *Overview) clientRows() [][]string {
	rows := [][]string{{"HOST", "VERSION", "DATACENTER", "STATUS", "ELIGIBILITY", "ALLOCATIONS"}}
	for _, row := range o.Clients {
		eligibility := cmp.Or(row.Eligibility, "unknown")
		if row.Draining {
			eligibility += ", draining"
		}
		rows = append(rows, []string{row.Host, bothVersions(row.Version, row.Disk), cmp.Or(row.Datacenter, "-"), cmp.Or(row.Status, "unknown"), eligibility, fmt.Sprint(row.Allocs)})
	}
	return rows
}

func bothVersions(running, disk Version) string {
	switch {
	case !running.Known() && disk.Known():
		return disk.String() + " (on disk)"
	case disk.Known() && !disk.Same(running):
		return running.String() + " (" + disk.String() + " on disk)"
	}
	return cmp.Or(running.String(), "unknown")
}

// table writes rows in columns, the first as the head.
func (w *page) table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(printable.Line(cell)))
		}
	}
	for _, row := range rows {
		line := "  "
		for i, cell := range row {
			line += pad(printable.Line(cell), widths[i]) + "  "
		}
		w.text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// cluster sums a region up.
func (w *page) cluster(row ClusterRow, several bool) {
	w.text.WriteString("\n")
	var words []string
	if row.Leader != "" {
		word := "voters"
		if row.Voters == 1 {
			word = "voter"
		}
		words = append(words, fmt.Sprintf("%s leads, %d %s, %d may fail", row.Leader, row.Voters, word, row.Tolerance))
		words = append(words, fmt.Sprintf("%s, %d allocations running, %d pending, %d without a place", counted(row.Jobs, "job"), row.Running, row.Starting, row.Queued))
	}
	if row.Autopilot != "" {
		words = append(words, "autopilot: "+row.Autopilot)
	}
	head := ""
	if several {
		head = "Region " + cmp.Or(row.Region, "unknown") + ": "
	}
	if len(words) > 0 {
		w.line(0, "%s%s.", head, strings.Join(words, "; "))
	}
}
