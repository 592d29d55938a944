// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/printable"
)

func newPlanCommand(s streams) *cobra.Command {
	u := &upgradeFlags{consent: consent{check: true}}
	u.unheld = true
	var enterprise bool
	command := &cobra.Command{
		Use:   "plan --to VERSION",
		Short: "Show what an upgrade will do and what stands in the way",
		Long: `plan asks every host and the cluster and shows, in order, what an upgrade would do and why, what it would leave alone, which pauses to
expect, which risks are accepted, and everything that stands in the way with how to go on. It touches nothing but the agent's own
directory on each host. Two plans of the same cluster are the same text, so that they can be compared.

The exit code is 0 when there is nothing to do, 12 when there is, 10 when something stands in the way, and 11 when another run is at
work on a host: it would make the plan untrue.`,
		Example: `  drover plan -i hosts.ini --to 1.11.0
  drover plan -i hosts.ini --to 1.11.0 --servers --output json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if enterprise {
				u.playbook = "enterprise"
			}
			vars, err := u.vars()
			if err != nil {
				return err
			}
			fl, err := u.open(s, "", false)
			if err != nil {
				return err
			}
			defer fl.close()
			plan, err := u.plan(c.Context(), fl, vars)
			if err != nil {
				return err
			}
			_, err = u.consent.agreed(s, u.output, plan)
			return err
		},
	}
	u.register(command)
	command.Flags().BoolVar(&enterprise, "enterprise", false, "plan what drover enterprise would do (it inspects the licences when it has brought the new binary to the servers)")
	return command
}

// plan runs the ready playbook that surveys the cluster, and takes the plan out of its last task.
func (u *upgradeFlags) plan(ctx context.Context, fl *fleet, vars *expression.Map) (*nomad.Plan, error) {
	plan := &nomad.Plan{}
	return plan, u.survey(ctx, fl, "plan", "nomad_preflight", "plan", vars, plan)
}

func problems(out io.Writer, title string, all []nomad.Problem) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	for _, problem := range all {
		where := ""
		if problem.Host != "" {
			where = problem.Host + ": "
		}
		fmt.Fprintf(out, "  - %s%s\n", where, printable.Text(problem.Text))
		if problem.Remedy != "" {
			fmt.Fprintf(out, "      to go on: %s\n", printable.Text(problem.Remedy))
		}
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
