// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/nomad"
)

func newUpgradeCommand(s streams) *cobra.Command {
	u := &upgradeFlags{playbook: "upgrade", consent: consent{shows: "drover plan"}}
	command := &cobra.Command{
		Use:   "upgrade --to VERSION [--binary FILE | --binary-dir DIR | --mirror URL]",
		Short: "Upgrade a cluster in place",
		Long: `upgrade shows the plan, asks, and carries it out: a snapshot, the new binary beside the old one on every host, then servers one at a
time with the leader last, then one client, then batches. Before each stop it asks every other server for itself whether quorum
holds. It stops at the first failure. Run again, it goes on where it stopped; a cluster that is done it leaves alone.

Several federated regions in one inventory are upgraded one after the other, the authoritative one first, and a way of more than two
minor versions goes over stops in between (--via names them). The plan shows these legs; each is begun when the one before has ended well.

Unless a flag names the new binary, it is fetched from HashiCorp's releases; signature and hash are checked before any host gets it.

It is the ready playbook "upgrade" (drover playbook show upgrade).`,
		Example: `  drover upgrade -i hosts.ini --to 1.11.0
  drover upgrade -i hosts.ini --to 1.11.0 --binary-dir releases/
  drover upgrade -i hosts.ini --to 1.11.0 --binary nomad_1.11.0_linux_amd64.zip --servers --yes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return u.upgrade(c.Context(), s) },
	}
	u.register(command)
	u.consent.registerYes(command)
	return command
}

func (u *upgradeFlags) upgrade(ctx context.Context, s streams) error {
	vars, err := u.vars()
	if err != nil {
		return err
	}
	return u.upgradeWith(ctx, s, vars, func(*nomad.Plan) []nomad.Problem { return nil })
}

// upgradeWith plans, shows and asks, and carries the plan out unless something in it stands in the way of this command alone.
func (u *upgradeFlags) upgradeWith(ctx context.Context, s streams, vars *expression.Map, against func(*nomad.Plan) []nomad.Problem) error {
	fl, err := u.consent.begin(s, &u.fleetFlags, true)
	if err != nil {
		return err
	}
	defer fl.close()
	plan, err := u.plan(ctx, fl, vars)
	if err != nil {
		return err
	}
	if goOn, err := u.consent.agreed(s, u.output, plan, against(plan)...); err != nil || !goOn {
		return leftBehind(plan, err)
	}
	if len(plan.Legs) > 0 {
		return (&journey{upgradeFlags: u, fleet: fl, vars: vars, plan: plan}).run(ctx, s)
	}
	return u.carryLeg(ctx, s, fl, vars, plan, "Nomad "+u.to)
}

// carryLeg runs the ready playbook as a plan without legs says.
func (u *upgradeFlags) carryLeg(ctx context.Context, s streams, fl *fleet, vars *expression.Map, plan *nomad.Plan, target string) error {
	vars.Set("batches", expression.FromGo(batchSizes(plan.Batches)))
	if plan.MaxFailPercentage != nil {
		vars.Set("max_fail_percentage", *plan.MaxFailPercentage) // of the play's own hosts, those that are skipped taken off
	}
	return leftBehind(plan, u.carry(ctx, s, fl, u.playbook, vars, asked{
		command: u.playbook, target: target, plan: plan,
		last: func(to event.Sink) error { return tellNotUpgraded(to, plan) },
	}))
}

// batchSizes are those of the play over clients.
func batchSizes(batches []nomad.Batch) []int {
	sizes := make([]int, len(batches))
	for i, batch := range batches {
		sizes[i] = batch.Size
	}
	return sizes
}

// tellNotUpgraded lists at the end of a run the hosts that the user went on without.
func tellNotUpgraded(sink event.Sink, plan *nomad.Plan) error {
	for _, left := range plan.NotUpgraded {
		if err := sink.Emit(event.Event{Kind: event.Warning, Host: left.Host, Message: left.Host + " was not upgraded: " + left.Text}); err != nil {
			return err
		}
	}
	return nil
}

// leftBehind adds to how a run ended that hosts were skipped because they could not be reached. Servers that were accepted as dead are
// no news.
func leftBehind(plan *nomad.Plan, ended error) error {
	if !slices.ContainsFunc(plan.NotUpgraded, func(p nomad.Problem) bool { return p.Kind != nomad.KindAcceptedDown }) {
		return ended
	}
	var how *exit
	switch {
	case ended == nil:
		return &exit{code: exitUnreachable}
	case errors.As(ended, &how) && how.code == exitFailed:
		return &exit{exitFailed | exitUnreachable, how.err}
	}
	return ended
}
