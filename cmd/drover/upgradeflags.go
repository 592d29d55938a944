// SPDX-License-Identifier: MPL-2.0

package main

import (
	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/nomad"
)

// upgradeFlags say to what, with which binary and how carefully a cluster is upgraded; plan and upgrade have the same.
type upgradeFlags struct {
	playFlags
	binaryFlags
	batchFlags
	riskFlags
	servers  bool
	clients  bool
	maxFail  float64
	signal   stopSignal
	leave    bool
	outage   bool
	skip     bool
	via      []string
	playbook string // the ready playbook that carries the plan out
	consent  consent
}

func (u *upgradeFlags) register(c *cobra.Command) {
	u.fleetFlags.register(c)
	u.binaryFlags.register(c, "the `VERSION` to upgrade to, such as 1.11.0")
	u.batchFlags.register(c, "clients")
	u.riskFlags.register(c, &u.fleetFlags)
	u.signal.register(c, "`SIGNAL`: KILL stops all agents of this run with SIGKILL, for those that any other signal makes leave or drain; choose them with --limit")
	flags := c.Flags()
	flags.BoolVar(&u.servers, "servers", false, "only servers")
	flags.BoolVar(&u.clients, "clients", false, "only clients")
	flags.Float64Var(&u.maxFail, "max-fail-percentage", 0, "`PERCENT` of the clients that may fail or be skipped; without it the first that fails ends the run")
	flags.BoolVar(&u.leave, "allow-leave", false, "where no signal is safe: let a server leave raft when it stops, and wait until it votes again (it needs retry_join to come back)")
	flags.BoolVar(&u.outage, "accept-outage", false, "go on where the control plane will pause because there is no spare vote")
	flags.BoolVar(&u.skip, "skip-unreachable", false, "go on without clients that cannot be reached")
	flags.StringSliceVar(&u.via, "via", nil, "`VERSION` to stop over at, such as 1.10.5; may be given more than once (default: chosen from --binary-dir, or from the last releases of each minor version)")
	c.MarkFlagsMutuallyExclusive("servers", "clients")
	c.MarkFlagsMutuallyExclusive("binary", "via")
}

// vars are the variables that the ready playbooks of an upgrade read.
func (u *upgradeFlags) vars() (*expression.Map, error) {
	target, err := u.target()
	if err != nil {
		return nil, err
	}
	if err := u.checkEdition(target); err != nil {
		return nil, err
	}
	if err := checkVia(u.via, target); err != nil {
		return nil, err
	}
	if err := u.signal.check(); err != nil {
		return nil, err
	}
	vars, err := u.binaryFlags.vars()
	if err != nil {
		return nil, err
	}
	if err := u.batchFlags.vars(vars); err != nil {
		return nil, err
	}
	if u.given("max-fail-percentage") {
		if u.maxFail < 0 || u.maxFail > 100 {
			return nil, usageError("--max-fail-percentage is from 0 to 100, not %g", u.maxFail)
		}
		vars.Set("max_fail_percentage", u.maxFail)
	}
	u.riskFlags.vars(vars)
	vars.Set("only", map[bool]string{true: "servers"}[u.servers]+map[bool]string{true: "clients"}[u.clients])
	vars.Set("stop_signal", string(u.signal))
	vars.Set("allow_leave", u.leave)
	vars.Set("accept_outage", u.outage)
	vars.Set("skip_unreachable", u.skip)
	vars.Set("via", expression.FromGo(u.via))
	vars.Set("to_enterprise", u.playbook == "enterprise")
	return vars, nil
}

// checkEdition refuses to make of an edition what a command is not for.
func (u *upgradeFlags) checkEdition(target nomad.Version) error {
	if u.playbook == "enterprise" && target.Edition() == "" {
		return usageError("--to %s is the community edition: the Enterprise edition is written %s+ent", target, target)
	}
	return nil
}

// checkVia refuses stops that are not on the way.
func checkVia(via []string, target nomad.Version) error {
	var stops []nomad.Version
	for _, text := range via {
		stop, err := nomad.ParseVersion(text)
		if err != nil {
			return usageError("--via: %w", err)
		}
		stops = append(stops, stop)
	}
	if err := nomad.CheckStops(stops, target); err != nil {
		return usageError("--via: %w", err)
	}
	return nil
}

// batchFlags say how many clients are worked on at once.
type batchFlags struct {
	batch string
	perDC int
}

// register adds the flags; which says of which clients.
func (b *batchFlags) register(c *cobra.Command, which string) {
	c.Flags().StringVar(&b.batch, "batch", "10%", "`SIZE`: how many "+which+" at once after the first one, a number or a percentage")
	c.Flags().IntVar(&b.perDC, "batch-per-datacenter", 5, "`N` "+which+" at once in one datacenter")
}

func (b *batchFlags) vars(vars *expression.Map) error {
	if _, err := nomad.Batches(nil, b.batch, b.perDC); err != nil {
		return usageError("--batch: %w", err)
	}
	if b.perDC < 1 {
		return usageError("--batch-per-datacenter must be at least 1, not %d", b.perDC)
	}
	vars.Set("batch", b.batch)
	vars.Set("batch_per_datacenter", int64(b.perDC))
	return nil
}

// riskFlags accept by name what else stands in the way of a new version.
type riskFlags struct {
	down       []string
	notes      []string
	skipMinors bool
}

func (r *riskFlags) register(c *cobra.Command, fleet *fleetFlags) {
	acceptDownFlag(c, &r.down, fleet)
	flags := c.Flags()
	flags.BoolVar(&r.skipMinors, "allow-unsupported-skip", false, "go over more than two minor versions at once, which Nomad does not support")
	flags.StringSliceVar(&r.notes, "accept-note", nil, "go on although this upgrade `NOTE` of Nomad, by the id that the plan names, speaks against it; may be given more than once")
}

func (r *riskFlags) vars(vars *expression.Map) {
	vars.Set("accept_down", expression.FromGo(r.down))
	vars.Set("accept_notes", expression.FromGo(r.notes))
	vars.Set("allow_unsupported_skip", r.skipMinors)
}

// acceptDownFlag adds --accept-down to a command.
func acceptDownFlag(c *cobra.Command, down *[]string, fleet *fleetFlags) {
	c.Flags().StringSliceVar(down, "accept-down", nil, "go on although the server `HOST` is dead, while the others are a majority; may be given more than once")
	_ = c.RegisterFlagCompletionFunc("accept-down", fleet.completeHosts)
}

// stopSignal is the signal that somebody insists on: KILL, or none.
type stopSignal string

func (k *stopSignal) register(c *cobra.Command, usage string) {
	c.Flags().StringVar((*string)(k), "stop-signal", "", usage)
	_ = c.RegisterFlagCompletionFunc("stop-signal", cobra.FixedCompletions([]string{"KILL"}, cobra.ShellCompDirectiveNoFileComp))
}

func (k *stopSignal) check() error {
	if *k != "" && *k != "KILL" {
		return usageError("--stop-signal knows only KILL, not %q: without it drover picks the signal itself", string(*k))
	}
	return nil
}
