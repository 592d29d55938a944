// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/nomad"
)

// drainFlags say how clients are drained.
type drainFlags struct {
	timeout  time.Duration
	deadline time.Duration
}

func (d *drainFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.DurationVar(&d.timeout, "drain-timeout", 0, "`TIME` that a client's allocations may take to move, such as 30m; then its drain is cancelled (default 15m, or 2m more than --drain-deadline)")
	flags.DurationVar(&d.deadline, "drain-deadline", 0, "`TIME` after which Nomad stops what is left on the client, wherever it runs then (default: never)")
}

func (d *drainFlags) vars(vars *expression.Map) error {
	for _, limit := range []struct {
		flag, variable string
		value          time.Duration
	}{{"drain-timeout", "drain_timeout", d.timeout}, {"drain-deadline", "drain_deadline", d.deadline}} {
		if limit.value < 0 {
			return usageError("--%s must be more than zero, not %s", limit.flag, limit.value)
		}
		if limit.value > 0 {
			vars.Set(limit.variable, limit.value.Seconds())
		}
	}
	return nil
}

// upgradeClientsFlags are those of an upgrade, and how clients are drained.
type upgradeClientsFlags struct {
	upgradeFlags
	drainFlags
	drain        bool
	ignoreSystem bool
}

func newUpgradeClientsCommand(s streams) *cobra.Command {
	u := &upgradeClientsFlags{upgradeFlags: upgradeFlags{playbook: "upgrade-clients", consent: consent{shows: "drover plan --clients"}}}
	command := &cobra.Command{
		Use:   "upgrade-clients --to VERSION [--drain] [--binary FILE | --binary-dir DIR | --mirror URL]",
		Short: "Upgrade the clients of a cluster, in place or drained first",
		Long: `upgrade-clients does with the clients what upgrade does, and leaves the servers alone, which should have the version already. Without
--drain allocations go on while their client is restarted, which is what Nomad supports and is quicker. With --drain each client's
allocations are moved to other clients first, and its eligibility is as before afterwards: a client that was ineligible stays so.

A drain that does not finish within --drain-timeout is cancelled, the client gets its eligibility back, and the run ends with the
allocations that held it and why. A client that somebody else is draining is refused. Run again after an interruption, it goes on
where it stopped, also with what the dead run was draining.

It is the ready playbook "upgrade-clients" (drover playbook show upgrade-clients).`,
		Example: `  drover upgrade-clients -i hosts.ini --to 1.11.0
  drover upgrade-clients -i hosts.ini --to 1.11.0 --drain --drain-timeout 30m --batch 2
  drover upgrade-clients -i hosts.ini --to 1.11.0 --drain --limit 'all:!c2' --yes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return u.run(c.Context(), s) },
	}
	u.upgradeFlags.register(command)
	u.drainFlags.register(command)
	flags := command.Flags()
	flags.BoolVar(&u.drain, "drain", false, "move the allocations of each client away before its upgrade")
	flags.BoolVar(&u.ignoreSystem, "ignore-system-jobs", false, "with --drain: leave the allocations of system and sysbatch jobs where they are")
	u.consent.registerYes(command)
	for _, name := range []string{"servers", "clients", "allow-leave", "accept-outage", "accept-down", "via"} {
		_ = flags.MarkHidden(name) // they are about servers
	}
	return command
}

func (u *upgradeClientsFlags) run(ctx context.Context, s streams) error {
	vars, err := u.vars()
	if err != nil {
		return err
	}
	return u.upgradeWith(ctx, s, vars, func(plan *nomad.Plan) []nomad.Problem {
		if plan.Verdict() == nomad.VerdictClean && u.mayRestore(plan) {
			u.consent.always, u.consent.yes = true, true // it was asked for when the run that died began
		}
		return u.strangers(plan)
	})
}

// strangers are clients that would be drained, and that somebody else is draining.
func (u *upgradeClientsFlags) strangers(plan *nomad.Plan) []nomad.Problem {
	var found []nomad.Problem
	for _, step := range plan.Steps {
		if u.drain && step.Draining && !step.OwnDrain && step.Action == nomad.ActionUpgrade {
			found = append(found, nomad.Problem{
				Host: step.Host, Text: step.DrainedBy + " is draining this client",
				Remedy: fmt.Sprintf("wait for the end of that drain, or leave the client out with --limit 'all:!%s', or upgrade it in place without --drain", step.Host),
			})
		}
	}
	return found
}

// mayRestore tells whether a cluster with nothing to upgrade may have a client that a run that died has left drained.
func (u *upgradeClientsFlags) mayRestore(plan *nomad.Plan) bool {
	return u.drain && slices.ContainsFunc(plan.Steps, func(step nomad.Step) bool {
		return !step.LeftOut && (step.Draining || step.Eligibility == nomad.Ineligible)
	})
}

func (u *upgradeClientsFlags) vars() (*expression.Map, error) {
	if u.servers || u.leave || u.outage || len(u.down) > 0 {
		return nil, usageError("upgrade-clients leaves the servers alone; drover upgrade takes --servers, --allow-leave, --accept-outage and --accept-down")
	}
	if !u.drain && (u.timeout() || u.ignoreSystem) {
		return nil, usageError("--drain-timeout, --drain-deadline and --ignore-system-jobs say how clients are drained: add --drain")
	}
	u.clients = true
	vars, err := u.upgradeFlags.vars()
	if err != nil {
		return nil, err
	}
	vars.Set("drain", u.drain)
	vars.Set("ignore_system_jobs", u.ignoreSystem)
	return vars, u.drainFlags.vars(vars)
}

// timeout tells whether a limit of draining was given.
func (u *upgradeClientsFlags) timeout() bool {
	return u.drainFlags.timeout != 0 || u.deadline != 0
}
