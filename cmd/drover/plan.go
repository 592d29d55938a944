// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"drover/internal/console"
	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/printable"
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
}

func (u *upgradeFlags) register(c *cobra.Command) {
	u.fleetFlags.register(c)
	flags := c.Flags()
	flags.StringVar(&u.to, "to", "", "the version to upgrade to, such as 1.11.0")
	flags.StringVar(&u.binary, "binary", "", "the new Nomad: a binary or a release zip")
	flags.StringVar(&u.binaryDir, "binary-dir", "", "a directory of release zips or binaries; each host's architecture is picked")
	flags.BoolVar(&u.servers, "servers", false, "only servers")
	flags.BoolVar(&u.clients, "clients", false, "only clients")
	flags.StringVar(&u.batch, "batch", "10%", "clients at once after the first one: a number or a percentage")
	flags.IntVar(&u.perDC, "batch-per-datacenter", 5, "clients at once in one datacenter")
	flags.StringVar(&u.stopSignal, "stop-signal", "", "KILL: stop agents with SIGKILL, where no other signal keeps a server from leaving or a client from draining")
	flags.BoolVar(&u.allowLeave, "allow-leave", false, "where no signal is safe: let a server leave raft when it stops (it needs retry_join to come back)")
	flags.BoolVar(&u.outage, "accept-outage", false, "go on where the control plane will pause because there is no spare vote")
	flags.StringSliceVar(&u.down, "accept-down", nil, "go on although this server is dead, while the others are a majority; may be given more than once")
	flags.BoolVar(&u.skip, "skip-unreachable", false, "go on without clients that cannot be reached")
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

func newPlanCommand(s streams) *cobra.Command {
	u := &upgradeFlags{}
	command := &cobra.Command{
		Use:   "plan --to VERSION",
		Short: "Show what an upgrade will do and what stands in the way",
		Long: `plan asks every host and the cluster and shows, host by host and in order, what an upgrade would do and why, what it would skip, and
everything that stands in the way. It touches nothing but the agent's own directory on each host.

The exit code is 0 when there is nothing to do, 12 when there is, and 10 when something stands in the way.`,
		Example: `  drover plan -i hosts.ini --to 1.11.0
  drover plan -i hosts.ini --to 1.11.0 --servers --output json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			vars, err := u.vars()
			if err != nil {
				return err
			}
			fl, err := u.open(s, "", false)
			if err != nil {
				return err
			}
			defer fl.close()
			plan, err := u.plan(c.Context(), fl, vars)
			if err != nil {
				return err
			}
			if err := showPlan(s, u.output, plan); err != nil {
				return err
			}
			switch plan.Verdict() {
			case nomad.VerdictRefused:
				return &exit{code: exitRefused}
			case nomad.VerdictChanges:
				return &exit{code: exitChanges}
			}
			return nil
		},
	}
	u.register(command)
	return command
}

// plan runs the ready playbook that surveys the cluster, and takes the plan out of its last task.
func (u *upgradeFlags) plan(ctx context.Context, fl *fleet, vars *expression.Map) (*nomad.Plan, error) {
	plan := &nomad.Plan{}
	return plan, u.survey(ctx, fl, "plan", "nomad_preflight", "plan", vars, plan)
}

// showPlan prints a plan for a person, or as JSON. It is sorted, so that two plans can be compared.
func showPlan(s streams, output string, plan *nomad.Plan) error {
	if output == "json" {
		return console.NewEncoder(s.out).Encode(struct {
			*nomad.Plan
			Verdict string `json:"verdict"`
		}{plan, plan.Verdict()})
	}
	fmt.Fprintf(s.out, "Upgrade to Nomad %s\n", plan.Target)
	steps(s.out, "Will be done, in this order:", plan.Steps, nomad.ActionUpgrade)
	steps(s.out, "Refused:", plan.Steps, nomad.ActionRefused)
	steps(s.out, "Left alone:", plan.Steps, nomad.ActionNone)
	if len(plan.Pauses) > 0 {
		fmt.Fprintln(s.out, "\nPauses to expect:")
		for _, pause := range plan.Pauses {
			fmt.Fprintln(s.out, "  "+printable.Text(pause))
		}
	}
	problems(s.out, "Warnings:", plan.Warnings)
	problems(s.out, "What stands in the way:", plan.Problems)
	fmt.Fprintln(s.out)
	switch plan.Verdict() {
	case nomad.VerdictRefused:
		fmt.Fprintf(s.out, "Refused: %d %s in the way; nothing was touched.\n", len(plan.Problems), plural(len(plan.Problems), "thing stands", "things stand"))
	case nomad.VerdictChanges:
		fmt.Fprintln(s.out, "Nothing stands in the way.")
	default:
		fmt.Fprintln(s.out, "There is nothing to do.")
	}
	return nil
}

func steps(out io.Writer, title string, all []nomad.Step, action string) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	number := 0
	for _, step := range all {
		if step.Action != action {
			continue
		}
		if number == 0 {
			fmt.Fprintf(out, "\n%s\n", title)
		}
		number++
		role := step.Role
		if step.Leader {
			role += ", leader"
		}
		reason := step.Reason
		if step.Signal != "" {
			reason += "; stopped with SIG" + step.Signal + ", by a drop-in for this stop only"
		}
		fmt.Fprintf(table, "  %d\t%s\t%s\t%s\n", number, step.Host, role, printable.Text(reason))
	}
	_ = table.Flush()
}

func problems(out io.Writer, title string, all []nomad.Problem) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	for _, problem := range all {
		where := ""
		if problem.Host != "" {
			where = problem.Host + ": "
		}
		fmt.Fprintf(out, "  - %s%s\n", where, printable.Text(problem.Text))
		if problem.Remedy != "" {
			fmt.Fprintf(out, "      to go on: %s\n", printable.Text(problem.Remedy))
		}
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
