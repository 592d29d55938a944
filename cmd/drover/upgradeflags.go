// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/nomad"
)

// upgradeFlags say to what, with which binary and how carefully a cluster is upgraded; plan and upgrade have the same.
type upgradeFlags struct {
	playFlags
	to         string
	binary     string
	binaryDir  string
	servers    bool
	clients    bool
	batch      string
	perDC      int
	stopSignal string
	allowLeave bool
	outage     bool
	down       []string
	skip       bool
	skipMinors bool
	notes      []string
	mirror     string
	releaseKey string
}

func (u *upgradeFlags) register(c *cobra.Command) {
	u.fleetFlags.register(c)
	flags := c.Flags()
	flags.StringVar(&u.to, "to", "", "the version to upgrade to, such as 1.11.0")
	flags.StringVar(&u.binary, "binary", "", "the new Nomad: a binary or a release zip")
	flags.StringVar(&u.binaryDir, "binary-dir", "", "a directory of release zips or binaries; each host's architecture is picked")
	flags.StringVar(&u.mirror, "mirror", "", "fetch the release from this URL, laid out as HashiCorp's releases, instead of from there")
	flags.StringVar(&u.releaseKey, "release-key", "", "the public key (ASCII armour) that signs the releases of the mirror, instead of HashiCorp's")
	flags.BoolVar(&u.servers, "servers", false, "only servers")
	flags.BoolVar(&u.clients, "clients", false, "only clients")
	flags.StringVar(&u.batch, "batch", "10%", "clients at once after the first one: a number or a percentage")
	flags.IntVar(&u.perDC, "batch-per-datacenter", 5, "clients at once in one datacenter")
	flags.StringVar(&u.stopSignal, "stop-signal", "", "KILL: stop agents with SIGKILL, where no other signal keeps a server from leaving or a client from draining")
	flags.BoolVar(&u.allowLeave, "allow-leave", false, "where no signal is safe: let a server leave raft when it stops (it needs retry_join to come back)")
	flags.BoolVar(&u.outage, "accept-outage", false, "go on where the control plane will pause because there is no spare vote")
	flags.StringSliceVar(&u.down, "accept-down", nil, "go on although this server is dead, while the others are a majority; may be given more than once")
	flags.BoolVar(&u.skip, "skip-unreachable", false, "go on without clients that cannot be reached")
	flags.BoolVar(&u.skipMinors, "allow-unsupported-skip", false, "go over more than two minor versions at once, which Nomad does not support")
	flags.StringSliceVar(&u.notes, "accept-note", nil, "go on although an upgrade note of Nomad, by the id that the plan names, speaks against it; may be given more than once")
	c.MarkFlagsMutuallyExclusive("servers", "clients")
	c.MarkFlagsMutuallyExclusive("binary", "binary-dir")
	_ = c.RegisterFlagCompletionFunc("accept-down", u.completeHosts)
	_ = c.RegisterFlagCompletionFunc("stop-signal", cobra.FixedCompletions([]string{"KILL"}, cobra.ShellCompDirectiveNoFileComp))
}

// vars are the variables that the ready playbooks of an upgrade read.
func (u *upgradeFlags) vars() (*expression.Map, error) {
	if u.to == "" {
		return nil, usageError("say which version to upgrade to: --to 1.11.0")
	}
	if _, err := nomad.ParseVersion(u.to); err != nil {
		return nil, usageError("--to: %w", err)
	}
	if u.stopSignal != "" && u.stopSignal != "KILL" {
		return nil, usageError("--stop-signal knows only KILL, not %q: without it drover picks the signal itself", u.stopSignal)
	}
	if _, err := nomad.Batches(nil, u.batch, u.perDC); err != nil {
		return nil, usageError("--batch: %w", err)
	}
	binary, err := newNomad(u.binary, false)
	if err != nil {
		return nil, err
	}
	binaryDir, err := newNomad(u.binaryDir, true)
	if err != nil {
		return nil, err
	}
	releaseKey, err := newNomad(u.releaseKey, false)
	if err != nil {
		return nil, err
	}
	vars := expression.NewMap()
	vars.Set("version", u.to)
	vars.Set("binary", binary)
	vars.Set("binary_dir", binaryDir)
	vars.Set("only", map[bool]string{true: "servers"}[u.servers]+map[bool]string{true: "clients"}[u.clients])
	vars.Set("stop_signal", u.stopSignal)
	vars.Set("allow_leave", u.allowLeave)
	vars.Set("accept_outage", u.outage)
	vars.Set("accept_down", expression.FromGo(u.down))
	vars.Set("skip_unreachable", u.skip)
	vars.Set("allow_unsupported_skip", u.skipMinors)
	vars.Set("accept_notes", expression.FromGo(u.notes))
	vars.Set("mirror", u.mirror)
	vars.Set("release_key", releaseKey)
	return vars, nil
}

// newNomad is the path that a flag names, absolute: a playbook looks for others beside itself, and the user means the working directory.
func newNomad(path string, directory bool) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", usageError("the new Nomad: %w", err)
	case info.IsDir() && !directory:
		return "", usageError("--binary: %s is a directory; --binary-dir takes those", path)
	case !info.IsDir() && directory:
		return "", usageError("--binary-dir: %s is not a directory; --binary takes a file", path)
	}
	return filepath.Abs(path)
}
