// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"drover/executor"
	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/modules"
	"drover/playbooks"
)

// playFlags are the options of a run of a playbook.
type playFlags struct {
	fleetFlags
	tags, skipTags []string
	check, diff    bool
	become         bool
	becomeUser     string
	startAt        string
	forceHandlers  bool
}

func (p *playFlags) register(c *cobra.Command) {
	p.fleetFlags.register(c)
	flags := c.Flags()
	flags.StringSliceVarP(&p.tags, "tags", "t", nil, "only tasks with these `TAGS`")
	flags.StringSliceVar(&p.skipTags, "skip-tags", nil, "no tasks with these `TAGS`")
	flags.BoolVarP(&p.check, "check", "C", false, "change nothing; say what would change")
	flags.BoolVarP(&p.diff, "diff", "D", false, "show what changes in files")
	flags.BoolVarP(&p.become, "become", "b", false, "act as root (sudo) where a task does not say")
	flags.StringVar(&p.becomeUser, "become-user", "", "with -b: act as this `USER` instead of root")
	flags.StringVar(&p.startAt, "start-at-task", "", "begin at the task with this `NAME`")
	flags.BoolVar(&p.forceHandlers, "force-handlers", false, "run notified handlers also on hosts that failed")
}

func newRunCommand(s streams) *cobra.Command {
	p := &playFlags{}
	command := &cobra.Command{
		Use:   "run PLAYBOOK",
		Short: "Run a playbook",
		Long: `run carries out a playbook: a file, or the name of a ready one (drover playbook list). The language is Ansible's, as far as it
goes (drover doc lists what tasks can do); what it does not know it refuses before a host is touched.`,
		Example: `  drover run site.yml -i hosts.ini
  drover run site.yml -i hosts.ini --check --diff
  drover run site.yml -i hosts.ini -l 'web:!web3' -t restart -e level=debug`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := loadPlaybook(s, args[0])
			if err != nil {
				return err
			}
			return p.run(c.Context(), s, book, nil)
		},
	}
	p.register(command)
	_ = command.RegisterFlagCompletionFunc("tags", completeTags)
	_ = command.RegisterFlagCompletionFunc("skip-tags", completeTags)
	command.ValidArgsFunction = completePlaybooks
	return command
}

// loadPlaybook reads a file, or a ready playbook when there is no such file.
func loadPlaybook(s streams, name string) (*playbooks.Playbook, error) {
	load := playbooks.Load
	if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
		if _, err := playbooks.Open(name); err != nil {
			return nil, fmt.Errorf("there is no file %s, and no ready playbook of that name%s", name, nearestHint(name, libraryNames()))
		}
		load = playbooks.LoadLibrary
	}
	book, warnings, err := load(name, playbooks.Options{})
	for _, warning := range warnings {
		s.warn("%s", warning)
	}
	return book, err
}

// run opens the fleet and carries out a playbook; more are extra variables that commands add.
func (p *playFlags) run(ctx context.Context, s streams, book *playbooks.Playbook, more *expression.Map) error {
	fl, err := p.open(s, filepath.Dir(book.File), !p.check)
	if err != nil {
		return err
	}
	defer fl.close()
	p.warnOfTags(s, book)
	return p.play(ctx, s, fl, book, more, asked{command: "run", target: book.File})
}

// warnOfTags tells of tags that no task has: then everything is passed over, which looks like success.
func (p *playFlags) warnOfTags(s streams, book *playbooks.Playbook) {
	known := append(tagsOf(book), "always", "never", "tagged", "untagged", "all")
	for _, tag := range slices.Concat(p.tags, p.skipTags) {
		if !slices.Contains(known, tag) {
			s.warn("no task of %s has the tag %q%s", book.File, tag, nearestHint(tag, known))
		}
	}
}

// variables are those given with -e, and those that a command adds.
func (p *playFlags) variables(more *expression.Map) (*expression.Map, error) {
	extra, err := playbooks.ParseExtraVars(p.extraVars, readInput)
	if err != nil {
		return nil, usageError("--extra-vars: %w", err)
	}
	for key, value := range more.All() {
		extra.Set(key, value)
	}
	return extra, nil
}

// carryOut runs a playbook over an open fleet; what it does is on record only if the sink sees to that.
func (p *playFlags) carryOut(ctx context.Context, fl *fleet, book *playbooks.Playbook, more *expression.Map, sink event.Sink) (*executor.Summary, error) {
	extra, err := p.variables(more)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(book.File)
	return executor.Run(ctx, executor.Options{
		Playbook: book, Inventory: fl.inventory, Limit: p.limit, ExtraVars: extra,
		Tags: p.tags, SkipTags: p.skipTags, StartAt: p.startAt,
		Check: p.check, Diff: p.diff, Forks: p.forks, ForceHandlers: p.forceHandlers,
		Become: p.become, BecomeUser: p.becomeUser,
		Connect: fl, Sink: sink, Secrets: fl.secrets, Abort: abortContext(ctx), Run: fl.moduleRun(),
		Files:      func(name string) (string, error) { return findFile(dir, name) },
		LeaderLast: modules.LeaderLast,
		Lookup:     fl.lookup, MadeGroups: []string{modules.GroupServers, modules.GroupClients},
	})
}

func (f *fleet) moduleRun() modules.Run {
	return modules.Run{
		ID: f.runID, Holder: f.holder,
		Directory:   filepath.Join(runsDir(f.s), f.runID),
		Cache:       cacheDir(f.s),
		Releases:    releases,
		Proxy:       proxy,
		Environment: f.s.getenv,
	}
}

// lookup answers lookup('env', NAME) and lookup('file', NAME) in expressions.
func (f *fleet) lookup(what, name string) (any, error) {
	switch what {
	case "env":
		return f.s.getenv(name), nil
	case "file":
		text, err := readInput(name)
		return string(text), err
	}
	return nil, fmt.Errorf("lookup(%q) is not known; there is env and file", what)
}

// findFile looks where Ansible looks: as it is, then beside the playbook in files/, then beside the playbook.
func findFile(dir, name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, candidate := range []string{filepath.Join(dir, "files", name), filepath.Join(dir, name)} {
		if _, err := os.Stat(candidate); err == nil {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("there is no file %s in %s or in its files folder", name, dir)
}

// verdict turns a finished run into an exit code.
func (f *fleet) verdict(summary *executor.Summary) error {
	code := exitOK
	switch {
	case summary.Interrupted || summary.Aborted:
		return &exit{exitInterrupted, errors.New("to go on, run the same command again")}
	case f.locked.Load() != nil:
		return &exit{code: exitLocked}
	case len(summary.Refused) > 0:
		return &exit{code: exitRefused}
	}
	// A run can be stopped although no host failed, as when nobody knows the leader; that is no success either.
	if len(summary.Failed) > 0 || summary.Stopped != "" && len(summary.Unreachable) == 0 {
		code |= exitFailed
	}
	if len(summary.Unreachable) > 0 {
		code |= exitUnreachable
	}
	if code != exitOK {
		return &exit{code: code}
	}
	return nil
}
