// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/nomad"
)

// survivorsGroup is the inventory's group of servers that are left, where --limit names none.
const survivorsGroup = "survivors"

// recoverFlags say how a cluster is brought back.
type recoverFlags struct {
	playFlags
	replacePeers bool
	signal       stopSignal
	pause        int
	consent      consent
}

func newRecoverCommand(s streams) *cobra.Command {
	r := &recoverFlags{}
	command := &cobra.Command{
		Use:   "recover [--limit SURVIVORS]",
		Short: "Bring back a cluster that has lost its quorum, with the servers that are left",
		Long: `recover is for a cluster whose control plane is down: all servers are, or so many that the others cannot elect a leader. It makes
the servers that are left (--limit, or the inventory's group "` + survivorsGroup + `") a cluster of their own. It works without any API.

It shows the new raft configuration, how far each survivor is as far as that can be seen, and what may be lost, and asks. Then all
survivors are stopped together, server/ is copied on each, each gets the same peers.json (and raft_protocol = 3, where its
configuration leads to 2), and they are started together. It ends when one leads, raft's configuration is exactly the survivors and the
jobs are there.

It refuses while a server leads, and while a server runs or answers that is not among the survivors.
Run again, it finishes what was interrupted. It is the ready playbook "recover" (drover playbook show recover).`,
		Example: `  drover recover -i hosts.ini --limit s1,s2 --check
  drover recover -i hosts.ini --limit s1,s2`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context(), s) },
	}
	r.fleetFlags.register(command)
	r.consent.registerCheck(command)
	r.consent.registerYes(command)
	r.signal.register(command, "`SIGNAL`: KILL stops the servers with SIGKILL, for those that any other signal makes leave")
	flags := command.Flags()
	flags.BoolVar(&r.replacePeers, "replace-peers-json", false, "move a peers.json that somebody has left aside")
	flags.IntVar(&r.pause, "pause", 120, "`SECONDS` that a stopped server waits for the others before it starts by itself, 300 at most")
	command.MarkFlagsMutuallyExclusive("check", "yes")
	return command
}

func (r *recoverFlags) run(ctx context.Context, s streams) error {
	if err := r.signal.check(); err != nil {
		return err
	}
	if r.pause < 1 || r.pause > 300 {
		return usageError("--pause is 1 to 300 seconds, not %d", r.pause)
	}
	fl, err := r.consent.begin(s, &r.fleetFlags, !r.consent.check)
	if err != nil {
		return err
	}
	defer fl.close()
	if r.limit == "" {
		if named, err := fl.inventory.Limit(survivorsGroup); err == nil && len(named) > 0 {
			r.limit, fl.hosts = survivorsGroup, named
		}
	}
	vars := expression.MapOf("replace_peers_json", r.replacePeers, "stop_signal", string(r.signal), "pause", int64(r.pause))
	plan := &nomad.Recovery{}
	if err := r.survey(ctx, fl, "recover-plan", "nomad_recover_check", "recovery", vars, plan); err != nil {
		return err
	}
	if goOn, err := r.consent.agreed(s, r.output, plan); err != nil || !goOn {
		return err
	}
	return r.carry(ctx, s, fl, "recover", vars, asked{command: "recover", target: fmt.Sprintf("%d survivors", len(plan.Steps))})
}
