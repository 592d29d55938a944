// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"drover/internal/console"
	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/playbooks"
)

// The commands that run a ready playbook go the same way: begin opens the hosts of the inventory, a survey finds out what would be
// done, agreed shows it and asks, carry does it. What differs between them are the flags and what they are called in the playbook.

// consent is how a person agrees to what they are shown.
type consent struct {
	yes    bool
	check  bool   // only show
	always bool   // go on also where the survey found nothing to do, because it does not see all that the playbook does
	shows  string // what only shows; empty: nothing does
}

func (k *consent) registerYes(c *cobra.Command) {
	c.Flags().BoolVar(&k.yes, "yes", false, "do not ask; without a terminal it has to be given")
}

func (k *consent) registerCheck(c *cobra.Command) {
	c.Flags().BoolVar(&k.check, "check", false, "only show what would be done; the exit code is 0 when nothing is to do, 12 when something is, 10 when something stands in the way")
	k.shows = "--check"
}

// begin opens the hosts of the inventory, unless a question would have to be asked that nobody can answer.
func (k *consent) begin(s streams, flags *fleetFlags, lock bool) (*fleet, error) {
	if k.yes || k.check || terminal(s.in) {
		return flags.open(s, "", lock)
	}
	hint := ""
	if k.shows != "" {
		hint = " (" + k.shows + " shows what it would do)"
	}
	return nil, usageError("without a terminal nobody can be asked: add --yes%s", hint)
}

// shownPlan is what a survey has found, as it is shown.
type shownPlan interface {
	Page() string    // sorted, so that two can be compared
	Verdict() string // clean, changes or refused
}

// agreed shows a plan and asks; against is what is refused though the plan alone would be well. It tells whether the plan is to be
// carried out; where it is not, the error says how the command ends.
func (k *consent) agreed(s streams, output string, plan shownPlan, against ...nomad.Problem) (bool, error) {
	verdict := plan.Verdict()
	goesOn := !k.check && (verdict == nomad.VerdictChanges || k.always && verdict == nomad.VerdictClean)
	if output != "json" || !goesOn { // what follows is JSON too
		if err := showPlan(s, output, plan); err != nil {
			return false, err
		}
	}
	switch {
	case verdict == nomad.VerdictRefused:
		return false, &exit{code: exitRefused}
	case len(against) > 0:
		problems(s.err, "Refused, and nothing was touched:", against)
		return false, &exit{code: exitRefused}
	case goesOn && !k.yes:
		return true, confirm(s)
	case k.check && verdict == nomad.VerdictChanges:
		return false, &exit{code: exitChanges}
	}
	return goesOn, nil
}

// showPlan prints a plan for a person, or as JSON with its verdict.
func showPlan(s streams, output string, plan shownPlan) error {
	if output != "json" {
		if _, err := fmt.Fprint(s.out, plan.Page()); err != nil {
			return fmt.Errorf("show the plan: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return fmt.Errorf("write the plan as JSON: %w", err)
	}
	text = fmt.Appendf(bytes.TrimSuffix(text, []byte("}")), ",%q:%q}", "verdict", plan.Verdict())
	return console.NewEncoder(s.out).Encode(json.RawMessage(text))
}

// carry runs a ready playbook over an open fleet, on record, and tells how it ended.
func (p *playFlags) carry(ctx context.Context, s streams, fl *fleet, playbook string, vars *expression.Map, what asked) error {
	book, _, err := playbooks.LoadLibrary(playbook, playbooks.Options{})
	if err != nil {
		return err
	}
	return p.play(ctx, s, fl, book, vars, what)
}

// play runs a playbook over an open fleet, on record, and tells how it ended.
func (p *playFlags) play(ctx context.Context, s streams, fl *fleet, book *playbooks.Playbook, vars *expression.Map, what asked) error {
	shown, done := p.sink(s)
	defer done()
	sink := shown
	if what.through != nil {
		sink = what.through(shown)
	}
	summary, err := p.recorded(ctx, fl, book, vars, sink, what)
	if err == nil && what.last != nil {
		err = what.last(shown)
	}
	done()
	return fl.ended(summary, err)
}
