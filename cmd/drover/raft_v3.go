// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/nomad"
)

// raftFlags say how a cluster gets to raft protocol 3.
type raftFlags struct {
	playFlags
	binaryFlags
	down         []string
	notes        []string
	skipMinors   bool
	signal       stopSignal
	leave        bool
	replacePeers bool
	rpcAddress   string
	consent      consent
}

func newRaftV3Command(s streams) *cobra.Command {
	r := &raftFlags{}
	command := &cobra.Command{
		Use:   "raft-v3 [--to VERSION]",
		Short: "Bring the servers of a cluster to raft protocol 3",
		Long: `raft-v3 brings the servers of a cluster to raft protocol 3, which Nomad 1.4 and later need. It looks at all servers and at raft's
configuration, shows for each server its protocol, its id, and the lines of its configuration that change, and asks.

A single server is stopped, its server/ is copied, configuration and peers.json change together, and it is started: a few seconds
without a control plane. With --to the version changes in the same stop. A server that somebody has restarted half migrated, that finds
no leader or does not start any more, is rescued the same way; its agent need not run.

Three servers or more are restarted one at a time, the leader last; each has to vote under its node id before the next is
stopped. That takes about a minute per server, in which the cluster goes on.

Run again, it finishes what was interrupted. It is the ready playbooks "raft-v3-single" and "raft-v3-rolling" (drover playbook show).`,
		Example: `  drover raft-v3 -i hosts.ini --check
  drover raft-v3 -i hosts.ini
  drover raft-v3 -i single.ini --to 1.10.5 --allow-unsupported-skip --yes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context(), s) },
	}
	r.register(command)
	return command
}

func (r *raftFlags) register(c *cobra.Command) {
	r.fleetFlags.register(c)
	r.binaryFlags.register(c, "bring a single server to this `VERSION` in the same stop")
	r.consent.registerCheck(c)
	r.consent.registerYes(c)
	r.signal.register(c, "`SIGNAL`: KILL stops the servers with SIGKILL, for those that any other signal makes leave")
	acceptDownFlag(c, &r.down, &r.fleetFlags)
	flags := c.Flags()
	flags.BoolVar(&r.replacePeers, "replace-peers-json", false, "move a peers.json that somebody has left aside (single server)")
	flags.StringVar(&r.rpcAddress, "rpc-address", "", "`HOST:PORT` by which raft knows a single server that cannot be asked, where its configuration does not show it")
	flags.StringSliceVar(&r.notes, "accept-note", nil, "with --to: go on although this upgrade `NOTE` of Nomad, by the id that the plan names, speaks against it; may be given more than once")
	flags.BoolVar(&r.skipMinors, "allow-unsupported-skip", false, "with --to: go over more than two minor versions at once, which Nomad does not support")
	flags.BoolVar(&r.leave, "allow-leave", false, "where no signal is safe: let a server leave raft when it stops")
	c.MarkFlagsMutuallyExclusive("check", "yes")
}

func (r *raftFlags) run(ctx context.Context, s streams) error {
	vars, err := r.vars()
	if err != nil {
		return err
	}
	fl, err := r.consent.begin(s, &r.fleetFlags, !r.consent.check)
	if err != nil {
		return err
	}
	defer fl.close()
	plan := &nomad.RaftPlan{}
	if err := r.survey(ctx, fl, "raft-v3-plan", "nomad_raft_check", "raft", vars, plan); err != nil {
		return err
	}
	if goOn, err := r.consent.agreed(s, r.output, plan); err != nil || !goOn {
		return err
	}
	return r.carry(ctx, s, fl, "raft-v3-"+plan.Mode, vars, asked{command: "raft-v3", target: "raft protocol 3"})
}

// vars are the variables that the ready playbooks of a migration read.
func (r *raftFlags) vars() (*expression.Map, error) {
	if err := r.signal.check(); err != nil {
		return nil, err
	}
	vars := expression.NewMap()
	if r.to != "" {
		var err error
		if vars, err = r.binaryFlags.vars(); err != nil {
			return nil, err
		}
	} else if r.binary+r.binaryDir+r.mirror+r.releaseKey != "" || r.skipMinors || len(r.notes) > 0 {
		return nil, usageError("--binary, --binary-dir, --mirror, --release-key, --accept-note and --allow-unsupported-skip are for another version: say which with --to")
	}
	vars.Set("allow_unsupported_skip", r.skipMinors)
	vars.Set("stop_signal", string(r.signal))
	vars.Set("allow_leave", r.leave)
	vars.Set("accept_down", expression.FromGo(r.down))
	vars.Set("accept_notes", expression.FromGo(r.notes))
	vars.Set("replace_peers_json", r.replacePeers)
	vars.Set("rpc_address", r.rpcAddress)
	return vars, nil
}
