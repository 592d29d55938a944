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

// raftFlags say how a cluster gets to raft protocol 3.
type raftFlags struct {
	playFlags
	source       upgradeFlags // version and binary
	replacePeers bool
	rpcAddress   string
	yes          bool
	check        bool
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
	flags := c.Flags()
	flags.BoolVar(&r.check, "check", false, "only show what would be done; the exit code is 0 when nothing is to do, 12 when something is, 10 when something stands in the way")
	flags.BoolVar(&r.yes, "yes", false, "do not ask")
	flags.BoolVar(&r.replacePeers, "replace-peers-json", false, "move a peers.json that somebody has left aside (single server)")
	flags.StringVar(&r.rpcAddress, "rpc-address", "", "HOST:PORT by which raft knows a single server that cannot be asked, where its configuration does not show it")
	flags.StringVar(&r.source.to, "to", "", "change the version of a single server in the same stop")
	flags.StringVar(&r.source.binary, "binary", "", "the new Nomad: a binary or a release zip (default: HashiCorp's releases)")
	flags.StringVar(&r.source.binaryDir, "binary-dir", "", "a directory of release zips or binaries; the host's architecture is picked")
	flags.StringVar(&r.source.mirror, "mirror", "", "fetch the release from this http(s) URL, laid out as "+releases+" (the default)")
	flags.StringVar(&r.source.releaseKey, "release-key", "", "the public key file (ASCII armour) whose signature of a release counts (default: HashiCorp's key)")
	flags.BoolVar(&r.source.skipMinors, "allow-unsupported-skip", false, "with --to: go over more than two minor versions at once, which Nomad does not support")
	flags.StringVar(&r.source.stopSignal, "stop-signal", "", "KILL: stop the servers with SIGKILL, for those that any other signal makes leave")
	flags.BoolVar(&r.source.allowLeave, "allow-leave", false, "where no signal is safe: let a server leave raft when it stops")
	flags.StringSliceVar(&r.source.down, "accept-down", nil, "go on although this server is dead, while the others are a majority; may be given more than once")
	c.MarkFlagsMutuallyExclusive("binary", "binary-dir", "mirror")
	c.MarkFlagsMutuallyExclusive("check", "yes")
	_ = c.RegisterFlagCompletionFunc("accept-down", r.completeHosts)
}

func (r *raftFlags) run(ctx context.Context, s streams) error {
	vars, err := r.vars()
	if err != nil {
		return err
	}
	if !r.yes && !r.check && !terminal(s.in) {
		return usageError("without a terminal nobody can be asked: add --yes (--check shows what it would do)")
	}
	fl, err := r.open(s, "", !r.check)
	if err != nil {
		return err
	}
	defer fl.close()
	plan := &nomad.RaftPlan{}
	if err := r.survey(ctx, fl, "raft-v3-plan", "nomad_raft_check", "raft", vars, plan); err != nil {
		return err
	}
	if err := showRaftPlan(s, r.output, r.check, plan); err != nil {
		return err
	}
	switch verdict := plan.Verdict(); {
	case verdict == nomad.VerdictRefused:
		return &exit{code: exitRefused}
	case verdict == nomad.VerdictClean:
		return nil
	case r.check:
		return &exit{code: exitChanges}
	case !r.yes:
		if err := confirm(s); err != nil {
			return err
		}
	}
	book, _, err := playbooks.LoadLibrary("raft-v3-"+plan.Mode, playbooks.Options{})
	if err != nil {
		return err
	}
	sink, done := r.sink(s)
	defer done()
	summary, err := r.recorded(ctx, fl, book, vars, sink, asked{command: "raft-v3", target: "raft protocol 3"})
	done()
	return fl.ended(summary, err)
}

// vars are the variables that the ready playbooks of a migration read.
func (r *raftFlags) vars() (*expression.Map, error) {
	vars := expression.NewMap()
	if r.source.to != "" {
		// What the batches of clients are is of no account here, and has to be something.
		r.source.batch, r.source.perDC = "10%", 5
		var err error
		if vars, err = r.source.vars(); err != nil {
			return nil, err
		}
	} else if r.source.binary+r.source.binaryDir+r.source.mirror+r.source.releaseKey != "" || r.source.skipMinors {
		return nil, usageError("--binary, --binary-dir, --mirror, --release-key and --allow-unsupported-skip are for another version: say which with --to")
	}
	if r.source.stopSignal != "" && r.source.stopSignal != "KILL" {
		return nil, usageError("--stop-signal knows only KILL, not %q: without it drover picks the signal itself", r.source.stopSignal)
	}
	vars.Set("stop_signal", r.source.stopSignal)
	vars.Set("allow_leave", r.source.allowLeave)
	vars.Set("accept_down", expression.FromGo(r.source.down))
	vars.Set("replace_peers_json", r.replacePeers)
	vars.Set("rpc_address", r.rpcAddress)
	return vars, nil
}

// showRaftPlan prints what will be done; as JSON only where nothing follows that is JSON too.
func showRaftPlan(s streams, output string, check bool, plan *nomad.RaftPlan) error {
	if output != "json" {
		fmt.Fprint(s.out, plan.Page())
		return nil
	}
	if !check && plan.Verdict() == nomad.VerdictChanges {
		return nil
	}
	return console.NewEncoder(s.out).Encode(struct {
		*nomad.RaftPlan
		Verdict string `json:"verdict"`
	}{plan, plan.Verdict()})
}
