// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"drover/internal/console"
	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/playbooks"
)

// replaceFlags say what new hosts get, and how old ones go.
type replaceFlags struct {
	playFlags
	drainFlags
	installFlags
	purge bool
	yes   bool
}

func newReplaceClientsCommand(s streams) *cobra.Command {
	r := &replaceFlags{}
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
	flags := c.Flags()
	r.installFlags.register(c, "client", "client.node_pool=big")
	flags.StringVar(&r.source.batch, "batch", "10%", "old clients at once after the first one: a number or a percentage")
	flags.IntVar(&r.source.perDC, "batch-per-datacenter", 5, "old clients at once in one datacenter")
	flags.BoolVar(&r.purge, "purge", false, "let the servers forget the old nodes")
	flags.BoolVar(&r.yes, "yes", false, "do not ask")
	_ = c.RegisterFlagCompletionFunc("from", r.completeHosts)
}

func (r *replaceFlags) run(ctx context.Context, s streams) error {
	vars, err := r.vars()
	if err != nil {
		return err
	}
	if !r.yes && !terminal(s.in) {
		return usageError("without a terminal nobody can be asked: add --yes")
	}
	book, _, err := playbooks.LoadLibrary("replace-clients", playbooks.Options{})
	if err != nil {
		return err
	}
	fl, err := r.open(s, "", true)
	if err != nil {
		return err
	}
	defer fl.close()
	r.likeFirst(fl, vars, "old_clients")
	plan := &nomad.Replacement{}
	if err := r.survey(ctx, fl, "replace-clients-plan", "nomad_replace_check", "replacement", vars, plan); err != nil {
		return err
	}
	if err := showReplacement(s, r.output, plan); err != nil {
		return err
	}
	switch {
	case plan.Verdict() == nomad.VerdictRefused:
		return &exit{code: exitRefused}
	case !r.yes:
		if err := confirm(s); err != nil {
			return err
		}
	}
	sizes := []int{}
	for _, batch := range plan.Batches {
		sizes = append(sizes, batch.Size)
	}
	vars.Set("batches", expression.FromGo(sizes))
	sink, done := r.sink(s)
	defer done()
	summary, err := r.recorded(ctx, fl, book, vars, sink, asked{command: "replace-clients", target: "Nomad " + r.source.to})
	done()
	return fl.ended(summary, err)
}

// showReplacement prints what will be done; as JSON only where nothing follows that is JSON too.
func showReplacement(s streams, output string, plan *nomad.Replacement) error {
	if output != "json" {
		fmt.Fprint(s.out, plan.Page())
		return nil
	}
	if plan.Verdict() != nomad.VerdictRefused {
		return nil
	}
	return console.NewEncoder(s.out).Encode(struct {
		*nomad.Replacement
		Verdict string `json:"verdict"`
	}{plan, plan.Verdict()})
}

func (r *replaceFlags) vars() (*expression.Map, error) {
	vars, err := r.installFlags.vars()
	if err != nil {
		return nil, err
	}
	vars.Set("purge", r.purge)
	vars.Set("batch", r.source.batch)
	vars.Set("batch_per_datacenter", int64(r.source.perDC))
	return vars, r.drainFlags.vars(vars)
}
