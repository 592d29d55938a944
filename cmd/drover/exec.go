// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drover/executor"
	"drover/internal/console"
	"drover/internal/event"
	"drover/internal/printable"
	"drover/internal/wire"
	"drover/inventory"
)

type execCommand struct {
	s          streams
	fleet      fleetFlags
	become     bool
	becomeUser string
	limit      time.Duration
}

func newExecCommand(s streams) *cobra.Command {
	e := &execCommand{s: s}
	command := &cobra.Command{
		Use:   "exec PATTERN -- COMMAND [ARG...]",
		Short: "Run one command on hosts, all at once",
		Long: `exec runs a command on every host that the pattern names and prints what each answered. No shell is involved: for pipes and
variables say sh -c '...'. PATTERN is Ansible's: hosts, groups, all, and what to leave out ('servers:!s3').

The exit code is 0 when the command ended with 0 on every host, 2 when it did not on one, and 4 when a host could not be reached (6: both).`,
		Example: `  drover exec -i hosts.ini all -- uptime
  drover exec -i hosts.ini 'servers:!s3' -b -- nomad operator raft list-peers
  drover exec -i hosts.ini clients -- sh -c 'df -h /opt | tail -1'`,
		Args: func(c *cobra.Command, args []string) error {
			if c.ArgsLenAtDash() != 1 || len(args) < 2 {
				return usageError("say which hosts and which command: drover exec PATTERN -- COMMAND [ARG...]")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return e.run(c.Context(), args[0], args[1:]) },
	}
	e.fleet.register(command)
	command.ValidArgsFunction = func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return e.fleet.completeHosts(c, args, begun)
	}
	command.Flags().BoolVarP(&e.become, "become", "b", false, "run it as root (sudo)")
	command.Flags().StringVar(&e.becomeUser, "become-user", "", "with -b: as this `USER` instead of root")
	command.Flags().DurationVar(&e.limit, "limit-time", 10*time.Minute, "`TIME` that it may take on one host, such as 30s")
	return command
}

func (e *execCommand) run(ctx context.Context, pattern string, argv []string) error {
	fl, err := e.fleet.open(e.s, "", false)
	if err != nil {
		return err
	}
	defer fl.close()
	hosts, warnings, err := fl.inventory.Match(pattern)
	for _, warning := range warnings {
		e.s.warn("%s", warning)
	}
	if err != nil {
		return err
	}
	if hosts = inventory.Restrict(hosts, fl.hosts); len(hosts) == 0 {
		return fmt.Errorf("no host of %q is left after --limit %s", pattern, e.fleet.limit)
	}
	var (
		mu         sync.Mutex
		codes      int
		unfinished []string
		group      errgroup.Group
	)
	record, err := e.record(fl, hosts, argv)
	if err != nil {
		return err
	}
	progress, done := console.Waiting(quiet{}, e.s.err, e.fleet.lines(e.s))
	defer done()
	_ = progress.Emit(event.Event{Kind: event.PlayStart, Batch: hostNames(hosts)})
	_ = progress.Emit(event.Event{Kind: event.TaskStart})
	group.SetLimit(e.fleet.forks)
	for _, host := range hosts {
		group.Go(func() error {
			answer, err := e.onHost(ctx, fl, host, argv, progress, record)
			record.ended(host.Name, answer, err)
			mu.Lock()
			defer mu.Unlock()
			_ = progress.Emit(event.Event{Kind: event.HostResult, Host: host.Name})
			if err != nil && ctx.Err() != nil {
				unfinished = append(unfinished, host.Name)
				return nil
			}
			codes |= e.tell(host.Name, answer, err)
			return nil
		})
	}
	_ = group.Wait()
	done()
	if err := record.close(len(unfinished) > 0); err != nil {
		return lostRecord(err)
	}
	if ctx.Err() != nil && len(unfinished) > 0 {
		slices.Sort(unfinished)
		return &exit{exitInterrupted, fmt.Errorf("interrupted before it had ended on %s", strings.Join(unfinished, ", "))}
	}
	if codes != 0 {
		return &exit{code: codes}
	}
	return nil
}

// quiet takes events that only tell how far things are.
type quiet struct{}

func (quiet) Emit(event.Event) error { return nil }

func (e *execCommand) onHost(ctx context.Context, fl *fleet, host *inventory.Host, argv []string, progress event.Sink, record *execRecord) (*wire.RunResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.limit, fmt.Errorf("gave up after %s waiting for the command to end", e.limit))
	defer cancel()
	vars := fl.inventory.Vars(host)
	connected, err := fl.Connect(ctx, host.Name, executor.Connection{
		Become: e.become, BecomeUser: e.becomeUser, Vars: vars.Get,
	})
	if err != nil {
		return nil, err
	}
	if err := record.begins(host.Name); err != nil {
		return nil, err
	}
	_ = progress.Emit(event.Event{Kind: event.HostStart, Host: host.Name})
	var answer wire.RunResult
	if err := connected.Call(ctx, wire.Run{Argv: argv}, nil, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// execAnswer is one line of --output json.
type execAnswer struct {
	Host   string       `json:"host"`
	Status event.Status `json:"status"`
	Error  string       `json:"error,omitempty"`
	*wire.RunResult
}

// tell prints a host's answer and returns its part of the exit code.
func (e *execCommand) tell(host string, answer *wire.RunResult, err error) int {
	line := answerLine(host, answer, err)
	code := map[event.Status]int{event.OK: exitOK, event.Failed: exitFailed, event.Unreachable: exitUnreachable}[line.Status]
	if e.fleet.output == "json" {
		_ = console.NewEncoder(e.s.out).Encode(line)
		return code
	}
	switch {
	case err != nil:
		fmt.Fprintf(e.s.out, "%s | %s => %s\n", host, strings.ToUpper(string(line.Status)), printable.Text(line.Error))
	default:
		fmt.Fprintf(e.s.out, "%s | %s | rc=%d >>\n", host, strings.ToUpper(string(line.Status)), answer.RC)
		for _, text := range []string{answer.Stdout, answer.Stderr} {
			if text = strings.TrimRight(printable.Text(text), "\n"); text != "" {
				fmt.Fprintln(e.s.out, text)
			}
		}
	}
	return code
}
