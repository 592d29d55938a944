// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/modules"
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
	maxFail    float64
	stopSignal string
	allowLeave bool
	outage     bool
	down       []string
	skip       bool
	skipMinors bool
	notes      []string
	mirror     string
	releaseKey string
	via        []string
	playbook   string // the ready playbook that carries the plan out
}

func (u *upgradeFlags) register(c *cobra.Command) {
	u.fleetFlags.register(c)
	flags := c.Flags()
	flags.StringVar(&u.to, "to", "", "the version to upgrade to, such as 1.11.0")
	flags.StringVar(&u.binary, "binary", "", "the new Nomad: a binary or a release zip (default: HashiCorp's releases)")
	flags.StringVar(&u.binaryDir, "binary-dir", "", "a directory of release zips or binaries; each host's architecture is picked, SHA256SUMS beside them checked")
	flags.StringVar(&u.mirror, "mirror", "", "fetch the release from this http(s) URL, laid out as "+releases+" (the default)")
	flags.StringVar(&u.releaseKey, "release-key", "", "the public key file (ASCII armour) whose signature of a release counts (default: HashiCorp's key)")
	flags.BoolVar(&u.servers, "servers", false, "only servers")
	flags.BoolVar(&u.clients, "clients", false, "only clients")
	flags.StringVar(&u.batch, "batch", "10%", "clients at once after the first one: a number or a percentage")
	flags.IntVar(&u.perDC, "batch-per-datacenter", 5, "clients at once in one datacenter")
	flags.Float64Var(&u.maxFail, "max-fail-percentage", -1, "the share of the clients that may fail or be skipped; without it the first that fails ends the run")
	flags.StringVar(&u.stopSignal, "stop-signal", "", "KILL: stop all agents of this run with SIGKILL, for those that any other signal makes leave or drain; choose them with --limit")
	flags.BoolVar(&u.allowLeave, "allow-leave", false, "where no signal is safe: let a server leave raft when it stops, and wait until it votes again (it needs retry_join to come back)")
	flags.BoolVar(&u.outage, "accept-outage", false, "go on where the control plane will pause because there is no spare vote")
	flags.StringSliceVar(&u.down, "accept-down", nil, "go on although this server is dead, while the others are a majority; may be given more than once")
	flags.BoolVar(&u.skip, "skip-unreachable", false, "go on without clients that cannot be reached")
	flags.BoolVar(&u.skipMinors, "allow-unsupported-skip", false, "go over more than two minor versions at once, which Nomad does not support")
	flags.StringSliceVar(&u.notes, "accept-note", nil, "go on although an upgrade note of Nomad, by the id that the plan names, speaks against it; may be given more than once")
	flags.StringSliceVar(&u.via, "via", nil, "a version to stop over at, such as 1.10.5; may be given more than once (default: chosen from --binary-dir, or from the last releases of each minor version)")
	c.MarkFlagsMutuallyExclusive("servers", "clients")
	c.MarkFlagsMutuallyExclusive("binary", "via")
	c.MarkFlagsMutuallyExclusive("binary", "binary-dir", "mirror")
	_ = c.RegisterFlagCompletionFunc("accept-down", u.completeHosts)
	_ = c.RegisterFlagCompletionFunc("stop-signal", cobra.FixedCompletions([]string{"KILL"}, cobra.ShellCompDirectiveNoFileComp))
}

// vars are the variables that the ready playbooks of an upgrade read.
func (u *upgradeFlags) vars() (*expression.Map, error) {
	if u.to == "" {
		return nil, usageError("say which version to upgrade to: --to 1.11.0")
	}
	target, err := nomad.ParseVersion(u.to)
	if err != nil {
		return nil, usageError("--to: %w", err)
	}
	if err := u.checkEdition(target); err != nil {
		return nil, err
	}
	if err := checkVia(u.via, target); err != nil {
		return nil, err
	}
	if u.stopSignal != "" && u.stopSignal != "KILL" {
		return nil, usageError("--stop-signal knows only KILL, not %q: without it drover picks the signal itself", u.stopSignal)
	}
	if err := u.checkBatches(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(u.binary, "http://") || strings.HasPrefix(u.binary, "https://") {
		return nil, usageError("--binary takes a file, not a URL: --mirror URL fetches a release and checks its signature")
	}
	if u.mirror != "" {
		if err := modules.CheckMirror(u.mirror); err != nil {
			return nil, usageError("--mirror: %w", err)
		}
	}
	binary, err := pathOf("binary", u.binary, false)
	if err != nil {
		return nil, err
	}
	binaryDir, err := pathOf("binary-dir", u.binaryDir, true)
	if err != nil {
		return nil, err
	}
	releaseKey, err := pathOf("release-key", u.releaseKey, false)
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
	if u.maxFail >= 0 {
		vars.Set("max_fail_percentage", u.maxFail)
	}
	vars.Set("accept_notes", expression.FromGo(u.notes))
	vars.Set("mirror", u.mirror)
	vars.Set("via", expression.FromGo(u.via))
	vars.Set("to_enterprise", u.playbook == "enterprise")
	vars.Set("release_key", releaseKey)
	return vars, nil
}

// checkBatches refuses sizes and shares that are none.
func (u *upgradeFlags) checkBatches() error {
	if _, err := nomad.Batches(nil, u.batch, u.perDC); err != nil {
		return usageError("--batch: %w", err)
	}
	if u.given == nil {
		return nil
	}
	if u.given("batch-per-datacenter") && u.perDC < 1 {
		return usageError("--batch-per-datacenter must be at least 1, not %d", u.perDC)
	}
	if u.given("max-fail-percentage") && (u.maxFail < 0 || u.maxFail > 100) {
		return usageError("--max-fail-percentage is from 0 to 100, not %g", u.maxFail)
	}
	return nil
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

// pathOf is the path that a flag names, absolute: a playbook looks for others beside itself, and the user means the working directory.
func pathOf(flag, path string, directory bool) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", usageError("--%s: %w", flag, err)
	case info.IsDir() && !directory && flag == "binary":
		return "", usageError("--binary: %s is a directory; --binary-dir takes those", path)
	case info.IsDir() && !directory:
		return "", usageError("--%s: %s is a directory, and a file is needed", flag, path)
	case !info.IsDir() && directory:
		return "", usageError("--%s: %s is not a directory; --binary takes a file", flag, path)
	}
	return filepath.Abs(path)
}

// releases is where Nomad is fetched from when no flag and no task says otherwise.
const releases = "https://releases.hashicorp.com"

// proxy is what the bastion's environment says: HTTPS_PROXY, HTTP_PROXY and NO_PROXY. The error of a bad one would repeat its password.
func proxy(request *http.Request) (*url.URL, error) {
	through, err := http.ProxyFromEnvironment(request)
	if err != nil {
		return nil, errors.New("the environment names a proxy (HTTPS_PROXY or HTTP_PROXY) that is not a URL")
	}
	return through, nil
}
