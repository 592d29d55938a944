// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/playbooks"
)

func newUpgradeCommand(s streams) *cobra.Command {
	u := &upgradeFlags{}
	var yes bool
	command := &cobra.Command{
		Use:   "upgrade --to VERSION [--binary FILE | --binary-dir DIR | --mirror URL]",
		Short: "Upgrade a cluster in place",
		Long: `upgrade shows the plan, asks, and carries it out: a snapshot, the new binary beside the old one on every host, then servers one at a
time with the leader last, then one client, then batches. Before each stop it asks every other server for itself whether quorum
holds. It stops at the first failure. Run again, it goes on where it stopped; a cluster that is done it leaves alone.

Unless a flag names the new binary, it is fetched from HashiCorp's releases; signature and hash are checked before any host gets it.

It is the ready playbook "upgrade" (drover playbook show upgrade).`,
		Example: `  drover upgrade -i hosts.ini --to 1.11.0
  drover upgrade -i hosts.ini --to 1.11.0 --binary-dir releases/
  drover upgrade -i hosts.ini --to 1.11.0 --binary nomad_1.11.0_linux_amd64.zip --servers --yes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return u.upgrade(c.Context(), s, yes) },
	}
	u.register(command)
	command.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return command
}

func (u *upgradeFlags) upgrade(ctx context.Context, s streams, yes bool) error {
	vars, err := u.vars()
	if err != nil {
		return err
	}
	if !yes && !terminal(s.in) {
		return usageError("without a terminal nobody can be asked: add --yes (drover plan shows what it would do)")
	}
	book, _, err := playbooks.LoadLibrary("upgrade", playbooks.Options{})
	if err != nil {
		return err
	}
	fl, err := u.open(s, "", true)
	if err != nil {
		return err
	}
	defer fl.close()
	plan, err := u.plan(ctx, fl, vars)
	if err != nil {
		return err
	}
	if u.output != "json" || plan.Verdict() != nomad.VerdictChanges {
		if err := showPlan(s, u.output, plan); err != nil {
			return err
		}
	}
	switch plan.Verdict() {
	case nomad.VerdictRefused:
		return &exit{code: exitRefused}
	case nomad.VerdictClean:
		return nil
	}
	if !yes {
		if err := confirm(s); err != nil {
			return err
		}
	}
	batches, err := nomad.Batches(plan.Steps, u.batch, u.perDC)
	if err != nil {
		return err
	}
	vars.Set("batches", expression.FromGo(batches))
	sink, done := u.sink(s)
	defer done()
	summary, err := u.recorded(ctx, fl, book, vars, sink, asked{command: "upgrade", target: "Nomad " + u.to, plan: plan})
	done()
	return fl.ended(summary, err)
}

func confirm(s streams) error {
	fmt.Fprint(s.err, "Go on? [yes/no] ")
	line, err := bufio.NewReader(s.in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "yes" || answer == "y") {
		return nil
	}
	return &exit{exitError, fmt.Errorf("not confirmed; nothing was touched")}
}
