// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"drover/internal/console"
	"drover/internal/nomad"
	"drover/internal/printable"
)

func newHealthCommand(s streams) *cobra.Command {
	p := &playFlags{}
	command := &cobra.Command{
		Use:   "health",
		Short: "Show how a cluster is",
		Long: `health asks every agent for itself, the servers about their clients and autopilot for its opinion, and shows what a person needs to
see. The exit code is 0 when all is well and 2 when something is wrong.`,
		Example: "  drover health -i hosts.ini\n  drover health -i hosts.ini --output json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return p.health(c.Context(), s) },
	}
	p.fleetFlags.register(command)
	return command
}

func (p *playFlags) health(ctx context.Context, s streams) error {
	fl, err := p.open(s, "", false)
	if err != nil {
		return err
	}
	defer fl.close()
	overview := &nomad.Overview{}
	if err := p.survey(ctx, fl, "health", "nomad_health", "overview", nil, overview); err != nil {
		return err
	}
	if p.output == "json" {
		if err := console.NewEncoder(s.out).Encode(overview); err != nil {
			return err
		}
	} else {
		showOverview(s, overview)
	}
	if len(overview.Problems) > 0 || len(overview.Servers)+len(overview.Clients) == 0 {
		return &exit{code: exitFailed}
	}
	return nil
}

func showOverview(s streams, o *nomad.Overview) {
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	if len(o.Servers) > 0 {
		fmt.Fprintln(table, "SERVER\tVERSION\tSTATE\tVOTER\tTERM\tAPPLIED\tLAST CONTACT")
		for _, row := range o.Servers {
			fmt.Fprintf(table, "%s\t%s\t%s\t%t\t%d\t%d\t%s\n", row.Host, row.Version,
				printable.Text(orElse(row.State, "no answer")), row.Voter, row.Term, row.Applied, orElse(row.LastContact, "-"))
		}
		_ = table.Flush()
		fmt.Fprintf(s.out, "%d %s; %d may fail\n", o.Voters, plural(o.Voters, "voter", "voters"), o.Tolerance)
	}
	if len(o.Clients) > 0 {
		if len(o.Servers) > 0 {
			fmt.Fprintln(s.out)
		}
		fmt.Fprintln(table, "CLIENT\tVERSION\tDATACENTER\tSTATUS\tELIGIBILITY\tALLOCATIONS")
		for _, row := range o.Clients {
			eligibility := row.Eligibility
			if row.Draining {
				eligibility += ", draining"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\n", row.Host, row.Version, printable.Text(row.Datacenter),
				printable.Text(orElse(row.Status, "unknown")), printable.Text(orElse(eligibility, "unknown")), row.Allocs)
		}
		_ = table.Flush()
	}
	problems(s.out, "Worth knowing:", o.Notes)
	problems(s.out, "What is wrong:", o.Problems)
	switch {
	case len(o.Problems) > 0:
	case len(o.Servers)+len(o.Clients) == 0:
		fmt.Fprintln(s.out, "\nNo Nomad agent was found on these hosts.")
	default:
		fmt.Fprintln(s.out, "\nThe cluster is well.")
	}
}
