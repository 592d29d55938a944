// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"drover/internal/console"
	"drover/internal/expression"
	"drover/internal/nomad"
)

// healthFlags say whether a version is to be proven, and how.
type healthFlags struct {
	playFlags
	verify string
	to     string
	stable int
	wait   int
}

func newHealthCommand(s streams) *cobra.Command {
	h := &healthFlags{}
	command := &cobra.Command{
		Use:   "health [--verify VERSION]",
		Short: "Show how a cluster is, and prove that an upgrade has arrived",
		Long: `health asks every agent for itself, every server about the others, and the leader about raft, autopilot, clients and jobs, and
compares the answers with each other and with the hosts. It shows what is wrong, where, why where the cause is known, and how to go on.
It touches nothing but the agent's own directory on each host.

--verify proves that an upgrade has arrived: every agent of the inventory and of the cluster runs the version, and nothing has been
wrong for 10 seconds. What may pass by itself, as after a restart, is waited for.

The exit code is 0 when all is well and 2 when something is wrong or could not be proven.`,
		Example: `  drover health -i hosts.ini
  drover health -i hosts.ini --output json
  drover health -i hosts.ini --verify 1.11.0`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return h.health(c.Context(), s) },
	}
	h.fleetFlags.register(command)
	flags := command.Flags()
	flags.StringVar(&h.verify, "verify", "", "prove that this `VERSION` runs everywhere and all is well")
	flags.StringVar(&h.to, "to", "", "`VERSION`: the same as --verify")
	flags.IntVar(&h.stable, "stable", 10, "with --verify: `SECONDS` in which nothing may be wrong")
	flags.IntVar(&h.wait, "wait", 60, "with --verify: `SECONDS` to wait for what may pass by itself")
	command.MarkFlagsMutuallyExclusive("verify", "to")
	return command
}

func (h *healthFlags) health(ctx context.Context, s streams) error {
	vars, err := h.vars()
	if err != nil {
		return err
	}
	fl, err := h.open(s, "", false)
	if err != nil {
		return err
	}
	defer fl.close()
	overview := &nomad.Overview{}
	if err := h.survey(ctx, fl, "health", "nomad_health", "overview", vars, overview); err != nil {
		return err
	}
	if err := showOverview(s, h.output, overview); err != nil {
		return err
	}
	if !overview.Well() {
		return &exit{code: exitFailed}
	}
	return nil
}

func (h *healthFlags) vars() (*expression.Map, error) {
	version := cmp.Or(h.verify, h.to)
	if version == "" {
		if h.given("stable") || h.given("wait") {
			return nil, usageError("--stable and --wait are about --verify VERSION")
		}
		return nil, nil
	}
	if _, err := nomad.ParseVersion(version); err != nil {
		return nil, usageError("--verify: %w", err)
	}
	if h.stable < 1 || h.wait < 0 {
		return nil, usageError("--stable is at least 1 second, and --wait at least 0")
	}
	return expression.MapOf("version", version, "stable", int64(h.stable), "wait", int64(h.wait)), nil
}

// showOverview prints an overview for a person, or as JSON.
func showOverview(s streams, output string, overview *nomad.Overview) error {
	if output == "json" {
		return console.NewEncoder(s.out).Encode(struct {
			*nomad.Overview
			Well bool `json:"well"`
		}{overview, overview.Well()})
	}
	fmt.Fprint(s.out, overview.Page())
	return nil
}
