// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"drover/internal/console"
	"drover/internal/event"
	"drover/internal/journal"
)

// openRun finds a run by what a person calls it.
func openRun(s streams, name string) (*journal.Journal, error) {
	dir, err := journal.Find(runsDir(s), name)
	if err != nil {
		return nil, err
	}
	return journal.Open(dir)
}

func newRunsTailCommand(s streams) *cobra.Command {
	var follow bool
	view := fleetFlags{forks: 1, timeout: 1, inventories: []string{"none"}}
	command := &cobra.Command{
		Use:   "tail RUN",
		Short: "Show what a run did as its screen showed it; -f follows one that is going on",
		Long: `tail prints the events of a run as the run itself printed them, from the first on. With -f it goes on until the run ends; an interrupt
ends only the following.`,
		Example:           "  drover runs tail last\n  drover runs tail -f last\n  drover runs tail 20260102T030405-1234 --output json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeRuns(s),
		RunE: func(c *cobra.Command, args []string) error {
			if err := view.check(s); err != nil {
				return err
			}
			record, err := openRun(s, args[0])
			if err != nil {
				return err
			}
			return tail(c.Context(), s, record, &view, follow)
		},
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run ends")
	command.Flags().CountVarP(&view.verbosity, "verbose", "v", "say more; -vv even more")
	command.Flags().StringVar(&view.output, "output", "text", "`FORMAT`: text, or json for one JSON line per event")
	command.Flags().StringVar(&view.color, "color", "auto", "`WHEN`: auto, always or never")
	return command
}

func tail(ctx context.Context, s streams, record *journal.Journal, view *fleetFlags, follow bool) error {
	var screen event.Sink = console.JSON(s.out)
	if view.output == "text" {
		screen = console.Lines(s.out, s.err, view.lines(s))
	}
	events := record.Events()
	if follow {
		events = record.Follow(ctx)
	}
	ended := false
	for e, err := range events {
		if err != nil && ctx.Err() != nil {
			return &exit{code: exitInterrupted}
		}
		if err == nil {
			err = screen.Emit(e)
		}
		if err != nil {
			return err
		}
		ended = ended || e.Kind == event.RunEnd
	}
	if ended || view.output == "json" {
		return nil
	}
	return tellUnended(s.err, record)
}

// tellUnended says why a record has no end.
func tellUnended(talk io.Writer, record *journal.Journal) error {
	switch running, err := journal.Running(record.Dir); {
	case err != nil:
		return err
	case running:
		fmt.Fprintln(talk, "the run is still going on: -f follows it")
	case record.Torn():
		fmt.Fprintln(talk, "the run died: its record ends in the middle of a line")
	default:
		fmt.Fprintln(talk, "the run died: its record has no end")
	}
	return nil
}
