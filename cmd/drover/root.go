// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drover/internal/printable"
)

// streams are what a command may talk to.
type streams struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	// interrupted ends the wait for an answer; nil: nothing does.
	interrupted <-chan struct{}
}

// warn tells of something that does not stop the command.
func (s streams) warn(format string, args ...any) {
	fmt.Fprintln(s.err, "warning: "+printable.Text(fmt.Sprintf(format, args...)))
}

// terminal tells whether a stream is one.
func terminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Exit codes. Up to 8 and from 99 on they are Ansible's.
const (
	exitOK          = 0
	exitError       = 1  // a mistake in a file, an answer that was needed and did not come, something unforeseen
	exitFailed      = 2  // a task failed on a host
	exitUnreachable = 4  // a host could not be reached (6: one failed and another was unreachable)
	exitUsage       = 5  // a flag or argument is wrong
	exitRefused     = 10 // drover refuses: it would put quorum, allocations or data at risk
	exitLocked      = 11 // another run holds a host
	exitChanges     = 12 // commands that only show: there is something to do
	exitInterrupted = 99
)

const exitCodes = `
Exit codes:
  0   done, or nothing to do
  1   a mistake in a file, or something unforeseen
  2   a task failed on a host
  4   a host could not be reached (6: both)
  5   a flag or argument is wrong
  10  refused: it would put quorum, allocations or data at risk
  11  another run holds a host
  12  there is something to do (plan; raft-v3, recover and replace-servers with --check)
  99  interrupted`

// exit ends a command with a code. Its error, when there is one, has yet to be told.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// run is the whole program: arguments in, exit code out.
func run(s streams, args []string) int {
	ctx, stop := interruptible(s.err)
	defer stop()
	s.interrupted = ctx.Done()
	root, begun := newRoot(s), false
	refine(root, &begun)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	var ended *exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &ended):
		if ended.err != nil {
			fmt.Fprintln(s.err, "drover: "+printable.Text(ended.err.Error()))
		}
		return ended.code
	case !begun:
		fmt.Fprintln(s.err, "drover: "+printable.Text(inWords(err)))
		return exitUsage
	default:
		fmt.Fprintln(s.err, "drover: "+printable.Text(err.Error()))
		return exitError
	}
}

// abortKey finds the context that ends when a person insists.
type abortKey struct{}

// interruptible gives a context that ends at the first interrupt, when nothing new is started, and carries a second one that
// ends at the second interrupt, when what runs is no longer waited for. A hang-up ends neither.
func interruptible(talk io.Writer) (context.Context, func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP)
	abort, abortNow := context.WithCancel(context.Background())
	graceful, finishUp := context.WithCancel(context.WithValue(abort, abortKey{}, abort))
	done := make(chan struct{})
	go func() {
		for _, next := range []struct {
			end  func()
			says string
		}{
			{finishUp, "interrupted: nothing new is begun; a second interrupt also cancels what is still under way"},
			{abortNow, "interrupted again: what is under way is cancelled"},
		} {
			select {
			case <-signals:
				fmt.Fprintln(talk, "\ndrover: "+next.says)
				next.end()
			case <-done:
				return
			}
		}
	}()
	return graceful, func() {
		signal.Stop(signals)
		close(done)
		abortNow()
	}
}

// abortContext is the context that ends at the second interrupt.
func abortContext(ctx context.Context) context.Context {
	if abort, ok := ctx.Value(abortKey{}).(context.Context); ok {
		return abort
	}
	return ctx
}

func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "drover",
		Short: "Move Nomad clusters from one version to the next, in place",
		Long: `drover moves HashiCorp Nomad clusters from one version to the next: over SSH, from a bastion, in place, without an outage.

It asks the cluster before each step whether it may go on: quorum is never risked, the leader is done last, no allocation is restarted.`,
		Example: `  drover plan    -i hosts.ini --to 1.11.0    # what will happen; touches nothing
  drover upgrade -i hosts.ini --to 1.11.0    # servers one at a time, then clients in batches
  drover run     -i hosts.ini playbook.yml   # your own steps
  drover health  -i hosts.ini                # how the cluster is`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newPlanCommand(s), newUpgradeCommand(s), newEnterpriseCommand(s), newUpgradeClientsCommand(s), newReplaceClientsCommand(s), newReplaceServersCommand(s), newRaftV3Command(s), newRecoverCommand(s), newRunCommand(s), newHealthCommand(s), newExecCommand(s),
		newRunsCommand(s), newInventoryCommand(s), newDocCommand(s), newPlaybookCommand(s), newLabCommand(s.in, s.out, s.err), newDemoCommand(s), newVersionCommand(s),
	)
	root.SetUsageTemplate(root.UsageTemplate() + "{{if not .HasParent}}" + exitCodes + "\n{{end}}")
	return root
}
