// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/nomad"
)

// replaceFlags say what new hosts get, and how old ones go.
type replaceFlags struct {
	playFlags
	drainFlags
	installFlags
	batchFlags
	purge   bool
	consent consent
}

func newReplaceClientsCommand(s streams) *cobra.Command {
	r := &replaceFlags{consent: consent{always: true}}
	command := &cobra.Command{
		Use:   "replace-clients --to VERSION [--from HOST | --config PATH] [--binary FILE | --binary-dir DIR | --mirror URL]",
		Short: "Replace clients by new hosts",
		Long: `replace-clients brings Nomad to the hosts of the inventory's group new_clients and waits until they are ready clients. Then it
drains those of the group old_clients, one first, then in batches, stops their agents and disables their units. Their files stay.

New hosts get the configuration and the unit of an old client (--from; default: the first of old_clients), with their own name and
address, or files of this machine (--config; one whose name ends in .j2 is a template). Before anything is touched it shows what it
will do, and asks. A drain that does not finish is cancelled and the client goes on as before. Run again, it goes on where it stopped.

It is the ready playbook "replace-clients" (drover playbook show replace-clients).`,
		Example: `  drover replace-clients -i hosts.ini --to 1.11.0
  drover replace-clients -i hosts.ini --to 1.11.0 --check
  drover replace-clients -i hosts.ini --to 1.11.0 --from c3 --batch 2 --purge
  drover replace-clients -i hosts.ini --to 1.11.0 --config client.hcl.j2 --set client.node_pool=big`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context(), s) },
	}
	r.register(command)
	return command
}

func (r *replaceFlags) register(c *cobra.Command) {
	r.fleetFlags.register(c)
	r.drainFlags.register(c)
	r.installFlags.register(c, &r.fleetFlags, "client", "client.node_pool=big")
	r.batchFlags.register(c, "old clients")
	r.consent.registerCheck(c)
	r.consent.registerYes(c)
	c.MarkFlagsMutuallyExclusive("check", "yes")
	c.Flags().BoolVar(&r.purge, "purge", false, "let the servers forget the old nodes")
}

func (r *replaceFlags) run(ctx context.Context, s streams) error {
	vars, err := r.vars()
	if err != nil {
		return err
	}
	fl, err := r.consent.begin(s, &r.fleetFlags, !r.consent.check)
	if err != nil {
		return err
	}
	defer fl.close()
	r.likeFirst(fl, vars, "old_clients")
	plan := &nomad.ClientReplacement{}
	if err := r.survey(ctx, fl, "replace-clients-plan", "nomad_replace_check", "replacement", vars, plan); err != nil {
		return err
	}
	if goOn, err := r.consent.agreed(s, r.output, plan); err != nil || !goOn {
		return err
	}
	vars.Set("batches", expression.FromGo(batchSizes(plan.Batches)))
	return r.carry(ctx, s, fl, "replace-clients", vars, asked{command: "replace-clients", target: "Nomad " + r.to})
}

func (r *replaceFlags) vars() (*expression.Map, error) {
	vars, err := r.installFlags.vars()
	if err != nil {
		return nil, err
	}
	vars.Set("purge", r.purge)
	if err := r.batchFlags.vars(vars); err != nil {
		return nil, err
	}
	return vars, r.drainFlags.vars(vars)
}
