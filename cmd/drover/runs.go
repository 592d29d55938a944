// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drover/internal/journal"
	"drover/internal/printable"
)

func newRunsCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "runs",
		Short: "Look at what runs have done",
		Long: `runs shows the records that drover keeps of every upgrade, run and exec: what was asked, by whom, which risks were accepted, and what
was done on each host, written before it happened and after. A run is named by its id, by a beginning of it that no other has, or
by the word last.`,
		Example: `  drover runs list
  drover runs show last
  drover runs tail -f last
  drover runs prune --keep 20`,
	}
	command.AddCommand(newRunsListCommand(s), newRunsShowCommand(s), newRunsTailCommand(s), newRunsPruneCommand(s))
	return command
}

// outputFlag adds --output to a command.
func outputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVar(output, "output", "text", "`FORMAT`: text or json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return usageError("--output is text or json, not %q", output)
	}
	return nil
}

// completeRuns offers the runs on record.
func completeRuns(s streams) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		names, err := journal.Names(runsDir(s))
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return withPrefix("", begun, append([]string{"last"}, names...)), cobra.ShellCompDirectiveNoFileComp
	}
}

// runLine is one run in a list, for --output json.
type runLine struct {
	Run      string        `json:"run"`
	State    journal.State `json:"state"`
	Started  time.Time     `json:"started"`
	Last     time.Time     `json:"last"` // event on record; zero: none
	Command  string        `json:"command"`
	Target   string        `json:"target"`
	Hosts    int           `json:"hosts"`
	User     string        `json:"user"`
	Machine  string        `json:"machine"`
	Accepted []string      `json:"accepted_risks"`
	Problem  string        `json:"problem,omitempty"`
	Dir      string        `json:"directory"`
}

func lineOf(run journal.Run) runLine {
	m := run.Manifest
	line := runLine{
		Run: run.ID, State: run.State, Started: m.Started, Last: run.Last, Command: m.Command, Target: m.Target, Hosts: len(m.Hosts),
		User: m.By.User, Machine: m.By.Machine, Accepted: []string{}, Dir: run.Dir,
	}
	for _, risk := range m.Accepted {
		line.Accepted = append(line.Accepted, risk.Flag)
	}
	if run.Problem != nil {
		line.Problem = run.Problem.Error()
	}
	return line
}

func newRunsListCommand(s streams) *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the runs on record, the newest first",
		Long: `list shows every run on record, the newest first, and how it stands: ok, failed, interrupted, running, died (its record has no end and
its process is gone), or damaged (its record cannot be read).`,
		Example: "  drover runs list\n  drover runs list --output json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			runs, err := journal.List(runsDir(s))
			if err != nil {
				return err
			}
			return listRuns(s, runs, output)
		},
	}
	outputFlag(command, &output)
	return command
}

func listRuns(s streams, runs []journal.Run, output string) error {
	lines := make([]runLine, len(runs))
	for i, run := range runs {
		lines[i] = lineOf(run)
	}
	if output == "json" {
		return printJSON(s, lines)
	}
	if len(runs) == 0 {
		_, err := fmt.Fprintf(s.out, "No run is on record in %s.\n", runsDir(s))
		return err
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tSTARTED\tSTATE\tCOMMAND\tTARGET\tHOSTS\tBY")
	for _, line := range lines {
		if line.Command == "" {
			fmt.Fprintf(table, "%s\t\t%s\t\t\t\t\n", line.Run, line.State)
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s@%s\n", line.Run, line.Started.Local().Format("2006-01-02 15:04:05"), line.State,
			printable.Line(line.Command), shortened(line.Target), line.Hosts, printable.Line(line.User), printable.Line(line.Machine))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, line := range lines {
		if line.Problem != "" {
			s.warn("%s: %s", line.Run, line.Problem)
		}
	}
	return nil
}

// shortened fits a target into a column.
func shortened(target string) string {
	const most = 40
	runes := []rune(printable.Line(target))
	if len(runes) > most {
		return string(runes[:most-3]) + "..."
	}
	return string(runes)
}

func newRunsPruneCommand(s streams) *cobra.Command {
	var keep int
	var yes bool
	command := &cobra.Command{
		Use:   "prune",
		Short: "Remove the records of old runs",
		Long: `prune removes the records of all but the newest runs, with the snapshots and keystores that those runs saved. A run that is still going
on is never removed. It asks first.`,
		Example: "  drover runs prune\n  drover runs prune --keep 5 --yes",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if keep < 0 {
				return usageError("--keep must be at least 0, not %d", keep)
			}
			return prune(s, keep, yes)
		},
	}
	command.Flags().IntVar(&keep, "keep", 20, "`N` of the newest runs stay")
	command.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return command
}

func prune(s streams, keep int, yes bool) error {
	dir := runsDir(s)
	names, err := journal.Names(dir)
	if err != nil {
		return err
	}
	var old []string
	for _, name := range names[min(keep, len(names)):] {
		if running, err := journal.Running(filepath.Join(dir, name)); running && err == nil {
			s.warn("%s stays: it is still going on", name)
			continue
		}
		old = append(old, name)
	}
	if len(old) == 0 {
		_, err := fmt.Fprintf(s.out, "Nothing to remove: %d %s on record.\n", len(names), plural(len(names), "run is", "runs are"))
		return err
	}
	if !yes {
		if !terminal(s.in) {
			return usageError("without a terminal nobody can be asked: add --yes to remove %d %s", len(old), plural(len(old), "run", "runs"))
		}
		fmt.Fprintf(s.err, "These runs will be removed, with the snapshots they saved:\n  %s\n", strings.Join(old, "\n  "))
		if err := confirm(s); err != nil {
			return err
		}
	}
	for i, name := range old {
		if err := journal.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove run %s (%d of %d were removed): %w", name, i, len(old), err)
		}
	}
	_, err = fmt.Fprintf(s.out, "Removed %d %s, %d left.\n", len(old), plural(len(old), "run", "runs"), len(names)-len(old))
	return err
}
