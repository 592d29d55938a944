// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"drover/internal/printable"
)

// pageWidth is how many columns a page has. Only a single word that is longer goes over it.
const pageWidth = 100

// Page is the plan for a person: servers and what is peculiar line by line, clients by batches, then everything that is worth knowing and
// everything that stands in the way, with how to go on. Equal plans have equal pages. It holds no control characters but line feeds.
func (p *Plan) Page() string {
	w := &page{plan: p}
	if len(p.Legs) > 0 {
		w.legs()
	} else {
		w.line(0, "Upgrade to Nomad %s", p.Target)
		w.whole()
	}
	w.findings("What stands in the way", "", "to go on", p.Problems)
	w.verdict()
	return w.text.String()
}

// whole is everything about a plan but what stands in the way.
func (w *page) whole() {
	p := w.plan
	if p.Continues != "" {
		w.line(0, "%s", p.Continues)
	}
	w.servers()
	w.clients()
	w.leftAlone()
	w.items("Pauses to expect", p.Pauses)
	if len(p.Accepted) > 0 {
		w.title("Accepted risks")
		for _, risk := range p.Accepted {
			w.item("-", "%s: %s", risk.Flag, risk.What)
		}
	}
	w.findings("Worth knowing", "-", "advice", p.Warnings)
}

// page is a page being written.
type page struct {
	plan   *Plan
	text   strings.Builder
	margin int // columns that stay free, because the page is set into another
}

func (w *page) title(format string, args ...any) {
	w.text.WriteString("\n")
	w.line(0, format, args...)
}

// line writes a paragraph that is indented by some columns, its further lines by two more.
func (w *page) line(indent int, format string, args ...any) {
	w.paragraph(strings.Repeat(" ", indent), strings.Repeat(" ", indent+2), fmt.Sprintf(format, args...))
}

// item writes a paragraph behind a mark.
func (w *page) item(mark, format string, args ...any) {
	head := "  " + mark + " "
	w.paragraph(head, strings.Repeat(" ", len(head)), fmt.Sprintf(format, args...))
}

// items are what a title stands over, line by line; nothing where there are none.
func (w *page) items(title string, lines []string) {
	if len(lines) > 0 {
		w.title("%s", title)
	}
	for _, line := range lines {
		w.item("-", "%s", line)
	}
}

func (w *page) paragraph(head, hang, text string) {
	column := 0
	for _, word := range pageWords(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			w.text.WriteString(head)
			column = len(head)
		case column+1+length > pageWidth-w.margin:
			w.text.WriteString("\n" + hang)
			column = len(hang)
		default:
			w.text.WriteString(" ")
			column++
		}
		w.text.WriteString(word)
		column += length
	}
	w.text.WriteString("\n")
}

// pageWords cuts a text into what may not be torn apart: a word, or a flag with its value in quotes, which is to be copied.
func pageWords(text string) []string {
	var all []string
	for _, word := range strings.Fields(printable.Text(text)) {
		if n := len(all); n > 0 && strings.HasPrefix(all[n-1], "--") && strings.HasPrefix(word, "'") {
			all[n-1] += " " + word
			continue
		}
		all = append(all, word)
	}
	return all
}

// servers has a line for each server that is upgraded or refused.
func (w *page) servers() {
	var rows []Step
	for _, step := range w.plan.Steps {
		if step.server() && (step.Action != ActionNone || step.Closes) {
			rows = append(rows, step)
		}
	}
	if len(rows) == 0 {
		return
	}
	w.title("Servers, one at a time, the leader last")
	width, votes := widest(rows), 0
	for _, step := range rows {
		votes = max(votes, len(suffrage(step)))
	}
	for i, step := range rows {
		head := fmt.Sprintf("  %2d. %s  %s  ", i+1, pad(printable.Line(step.Host), width), pad(suffrage(step), votes))
		w.paragraph(head, strings.Repeat(" ", min(utf8.RuneCountInString(head), pageWidth/2)), w.what(step))
		w.details(step)
	}
}

func widest(steps []Step) int {
	width := 0
	for _, step := range steps {
		width = max(width, utf8.RuneCountInString(printable.Line(step.Host)))
	}
	return min(width, 40)
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func suffrage(step Step) string {
	text := "voter"
	switch {
	case step.Leader:
		text = "leader"
	case !step.Voter:
		text = "without a vote"
	}
	if step.Role == "both" {
		text += "+client"
	}
	return text
}

// what says what will be done on a host.
func (w *page) what(step Step) string {
	text := step.Reason
	if step.Action == ActionRefused {
		text = "REFUSED, see below (" + text + ")"
	}
	return text
}

// details are what is not the same everywhere.
func (w *page) details(step Step) {
	if text := step.peculiar(); text != "" {
		w.paragraph("        ", "        ", text)
	}
}

// peculiar is what a host has besides the usual: another unit, a link, a stop signal of its own, another version on disk.
func (s Step) peculiar() string {
	var words []string
	if s.Unit != "" && s.Unit != "nomad.service" {
		words = append(words, "unit "+s.Unit)
	}
	if s.Disk.Known() && !s.Disk.Same(s.To) {
		words = append(words, s.Disk.String()+" on disk")
	}
	if s.Link != "" {
		words = append(words, s.Link+" is a link to "+s.Binary+": the new binary is placed beside that, and the link switched")
	}
	if s.Signal != "" {
		words = append(words, "stopped with SIG"+s.Signal+", by a drop-in for this stop only")
	}
	return strings.Join(words, "; ")
}

// clients has a line for each batch, and one for each client that is not like the others.
func (w *page) clients() {
	byHost := map[string]Step{}
	usual := w.usual()
	working, refused := 0, []string{}
	for _, step := range w.plan.Steps {
		byHost[step.Host] = step
		switch {
		case step.Action == ActionRefused && !step.server():
			refused = append(refused, step.Host)
		case step.batched() && step.Action == ActionUpgrade:
			working++
		}
	}
	if working+len(refused) == 0 {
		return
	}
	w.title("Clients, one first, then batches%s", map[bool]string{true: ": " + usual}[usual != ""])
	number := 0
	for _, batch := range w.plan.Batches {
		if len(batch.Hosts) == 0 {
			continue
		}
		number++
		w.item(fmt.Sprintf("batch %d:", number), "%s", named(batch.Hosts))
		for _, host := range batch.Hosts {
			w.unlike(byHost[host], usual)
		}
	}
	slices.Sort(refused)
	if len(refused) > 0 {
		w.item("REFUSED, see below:", "%s", named(refused))
	}
}

// usual is what is done on most clients, and how.
func (w *page) usual() string {
	counts := map[string]int{}
	for _, step := range w.plan.Steps {
		if step.batched() && step.Action == ActionUpgrade {
			counts[step.whole()]++
		}
	}
	usual := ""
	for _, what := range sortedKeys(counts) {
		if counts[what] > counts[usual] {
			usual = what
		}
	}
	return usual
}

// whole is everything that is to be said of what is done on a host.
func (s Step) whole() string {
	if text := s.peculiar(); text != "" {
		return s.Reason + "; " + text
	}
	return s.Reason
}

func (w *page) unlike(step Step, usual string) {
	if what := step.whole(); what != usual {
		w.paragraph("      ", "        ", step.Host+": "+what)
	}
}

// shownHosts is how many hosts are named one by one.
const shownHosts = 12

// named lists a batch: all of few hosts, the ends of many.
func named(hosts []string) string {
	if len(hosts) <= shownHosts {
		return strings.Join(hosts, ", ")
	}
	return fmt.Sprintf("%s ... %s (%d hosts)", strings.Join(hosts[:4], ", "), hosts[len(hosts)-1], len(hosts))
}

// leftAlone has a line for each reason.
func (w *page) leftAlone() {
	hosts := map[string][]string{}
	var reasons []string
	for _, step := range w.plan.Steps {
		if step.Action != ActionNone || step.Closes {
			continue
		}
		if hosts[step.Reason] == nil {
			reasons = append(reasons, step.Reason)
		}
		hosts[step.Reason] = append(hosts[step.Reason], step.Host)
	}
	if len(reasons) == 0 {
		return
	}
	w.title("Left alone")
	for _, reason := range reasons {
		w.item("-", "%s: %s", named(hosts[reason]), reason)
	}
}

// group is one problem that several hosts have.
type group struct {
	Problem
	hosts []string
}

// alike puts problems together that differ in their host only, in the order of the first.
func alike(problems []Problem) []group {
	var groups []group
	for _, problem := range problems {
		same := slices.IndexFunc(groups, func(g group) bool {
			return g.Text == problem.Text && g.Remedy == problem.Remedy && g.Host != "" && problem.Host != "" && (g.Limit == "") == (problem.Limit == "")
		})
		if same < 0 {
			groups = append(groups, group{Problem: problem, hosts: []string{problem.Host}})
			continue
		}
		groups[same].hosts = append(groups[same].hosts, problem.Host)
	}
	return groups
}

func (g group) words() string {
	if g.Host == "" {
		return g.Text
	}
	return named(g.hosts) + ": " + g.Text
}

// limit goes on without all hosts of the group.
func (g group) limit() string {
	switch {
	case g.Limit == "":
		return ""
	case len(g.hosts) > shownHosts:
		return "!" + strings.Join(g.hosts[:3], ":!") + ":..."
	}
	return "!" + strings.Join(g.hosts, ":!")
}

// findings lists problems that are alike together; without a mark they are numbered.
func (w *page) findings(title, mark, way string, problems []Problem) {
	groups := alike(problems)
	if len(groups) == 0 {
		return
	}
	w.title("%s", title)
	for i, same := range groups {
		head, indent := mark, 4
		if head == "" {
			head, indent = fmt.Sprintf("%d.", i+1), 5
		}
		w.item(head, "%s", same.words())
		if words := same.wayOn(same.limit()); words != "" {
			w.line(indent, "%s: %s", way, words)
		}
	}
}

func (w *page) verdict() {
	w.text.WriteString("\n")
	switch count := len(alike(w.plan.Problems)); w.plan.Verdict() {
	case VerdictRefused:
		words := "things stand"
		if count == 1 {
			words = "thing stands"
		}
		w.line(0, "Refused: %d %s in the way; nothing was touched.", count, words)
	case VerdictChanges:
		w.line(0, "Nothing stands in the way.")
	default:
		w.line(0, "There is nothing to do.")
	}
}
