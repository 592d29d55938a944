// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drover/internal/event"
	"drover/internal/journal"
	"drover/internal/printable"
)

func newRunsShowCommand(s streams) *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "show RUN",
		Short: "Sum a run up: what was asked, what was done on each host, how to go on",
		Long: `show sums a run up: who asked for what and which risks were accepted, what was changed on each host, what failed, on which hosts a
step was under way when the record ends, and how to go on.`,
		Example:           "  drover runs show last\n  drover runs show 20260102T03 --output json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeRuns(s),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			record, err := openRun(s, args[0])
			if err != nil {
				return err
			}
			told, err := tellRun(record)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(s, told)
			}
			return told.print(s)
		},
	}
	outputFlag(command, &output)
	return command
}

// story is a run as `runs show` tells it.
type story struct {
	runLine
	Manifest journal.Manifest `json:"manifest"`
	Seconds  float64          `json:"seconds"` // from the start to the last event
	Torn     bool             `json:"torn"`    // the record ends in the middle of a line
	Events   int              `json:"events"`
	Done     []hostStory      `json:"done"`
	Message  string           `json:"message,omitempty"` // why it ended before its end
	GoOn     string           `json:"go_on,omitempty"`
}

// hostStory is what was done on one host.
type hostStory struct {
	event.Tally
	Changes []string `json:"changes"`           // tasks that changed something, in order
	Failure string   `json:"failure,omitempty"` // task and message
	// UnderWay is the task that had begun and has no outcome on record: whether it changed anything only the host knows.
	UnderWay string `json:"under_way,omitempty"`
}

func tellRun(record *journal.Journal) (*story, error) {
	run := journal.Look(record.Dir)
	told := &story{runLine: lineOf(run), Manifest: run.Manifest, Done: []hostStory{}}
	hosts := map[string]*hostStory{}
	var order []string
	for _, name := range run.Manifest.Hosts {
		order, hosts[name] = append(order, name), &hostStory{Tally: event.Tally{Host: name}, Changes: []string{}}
	}
	for e, err := range record.Events() {
		if err != nil {
			return nil, err
		}
		told.Events++
		if e.Kind == event.RunEnd {
			told.Message = e.Message
			for _, tally := range e.Recap {
				if host, ok := hosts[tally.Host]; ok {
					host.Tally = tally
				}
			}
		}
		if host, ok := hosts[e.Host]; ok {
			host.take(e)
		}
	}
	told.Torn = record.Torn()
	for _, name := range order {
		if host := hosts[name]; host.UnderWay != "" || host.Failure != "" || len(host.Changes) > 0 || host.Tally != (event.Tally{Host: name}) {
			told.Done = append(told.Done, *host)
		}
	}
	if !told.Last.IsZero() {
		told.Seconds = told.Last.Sub(told.Started).Seconds()
	}
	told.GoOn = told.goOn()
	return told, nil
}

// take adds an event of the host. The recap at the end has the same counts; a run that died has no recap.
func (h *hostStory) take(e event.Event) {
	switch e.Kind {
	case event.HostStart:
		h.UnderWay = e.Task
	case event.HostResult:
		h.UnderWay = ""
		if e.Changed {
			h.Changed++
			h.Changes = append(h.Changes, e.Task)
		}
		switch {
		case e.Status == event.Skipped:
			h.Skipped++
		case e.Status == event.OK || e.Ignored:
			h.OK++
		default:
			h.Failure = e.Task + ": " + e.Message
			if e.Status == event.Unreachable {
				h.Unreachable++
			} else {
				h.Failed++
			}
		}
	}
}

func (t *story) goOn() string {
	switch t.State {
	case journal.Alive:
		return "it is still going on: drover runs tail -f " + t.Run
	case event.Broken, event.Interrupted, journal.Died:
	default:
		return ""
	}
	switch t.Command {
	case "run":
		return "run the same playbook again, when its tasks can be done twice; --start-at-task begins later, -l takes only some hosts"
	case "exec":
		return "look at the hosts that failed or have no answer on record, and run the command again there: -l HOST,HOST"
	}
	return "give the same command again: it asks the hosts and the cluster what is so, goes on where this run stopped and leaves alone what is done"
}

func (t *story) print(s streams) error {
	out, m := s.out, t.Manifest
	fmt.Fprintf(out, "Run %s: %s %s\n\n", t.Run, m.Command, printable.Line(m.Target))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "  %s\t%s\n", name, printable.Line(fmt.Sprintf(format, args...)))
	}
	row("state", "%s", t.State)
	row("started", "%s by %s on %s, in %s", m.Started.Local().Format(time.RFC3339), m.By.User, m.By.Machine, m.By.Directory)
	if t.Seconds > 0 {
		row("took", "%s", time.Duration(t.Seconds*float64(time.Second)).Round(time.Second/10))
	}
	row("drover", "%s, source %.12s", m.Drover.Version, m.Drover.Source)
	row("inventory", "%s: %d %s", strings.Join(m.Sources, ", "), len(m.Hosts), plural(len(m.Hosts), "host", "hosts"))
	if m.Playbook != nil {
		row("playbook", "%s, sha256 %.12s", m.Playbook.File, m.Playbook.SHA256)
	}
	if options, err := json.Marshal(m.Options); err == nil {
		row("options", "%s", options)
	}
	for _, binary := range m.Binaries {
		row("binary", "%s, sha256 %s", binary.Path, binary.SHA256)
	}
	row("record", "%s, %d events", t.Dir, t.Events)
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nAccepted risks:")
	for _, risk := range m.Accepted {
		fmt.Fprintf(out, "  %s: %s\n", printable.Line(risk.Flag), printable.Line(risk.Accepts))
	}
	if len(m.Accepted) == 0 {
		fmt.Fprintln(out, "  none")
	}
	t.printPlan(s)
	t.printHosts(s)
	if t.Message != "" {
		fmt.Fprintf(out, "\n%s\n", printable.Text(t.Message))
	}
	if t.Torn {
		fmt.Fprintln(out, "\nThe record ends in the middle of a line, as it does when the machine or drover was killed.")
	}
	if t.GoOn != "" {
		fmt.Fprintf(out, "\nTo go on: %s.\n", printable.Line(t.GoOn))
	}
	return nil
}

// plannedStep is what the plan of an upgrade says of a host.
type plannedStep struct {
	Host   string `json:"host"`
	Role   string `json:"role"`
	Action string `json:"action"`
	Reason string `json:"reason"`
}

func (t *story) printPlan(s streams) {
	var plan struct {
		Steps []plannedStep `json:"steps"`
	}
	if len(t.Manifest.Plan) == 0 {
		return
	}
	if err := json.Unmarshal(t.Manifest.Plan, &plan); err != nil {
		s.warn("the plan on record cannot be read: %v", err)
		return
	}
	fmt.Fprintln(s.out, "\nWas planned, in this order:")
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, step := range plan.Steps {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", printable.Line(step.Host), printable.Line(step.Role), printable.Line(step.Action), printable.Line(step.Reason))
	}
	_ = table.Flush()
}

func (t *story) printHosts(s streams) {
	fmt.Fprintln(s.out, "\nDone:")
	if len(t.Done) == 0 {
		fmt.Fprintln(s.out, "  nothing is on record")
	}
	for _, host := range t.Done {
		fmt.Fprintf(s.out, "  %s: ok=%d changed=%d unreachable=%d failed=%d skipped=%d\n", printable.Line(host.Host),
			host.OK, host.Changed, host.Unreachable, host.Failed, host.Skipped)
		for _, task := range host.Changes {
			fmt.Fprintf(s.out, "    changed: %s\n", printable.Line(task))
		}
		if host.Failure != "" {
			fmt.Fprintf(s.out, "    failed: %s\n", printable.Line(host.Failure))
		}
		if host.UnderWay != "" {
			fmt.Fprintf(s.out, "    under way when the record ends: %s; whether it was done only the host knows\n", printable.Line(host.UnderWay))
		}
	}
}
