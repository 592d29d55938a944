// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"drover/internal/console"
	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/playbooks"
)

// replaceServersFlags say what new servers get, and which risks are accepted.
type replaceServersFlags struct {
	playFlags
	installFlags
	update bool
	check  bool
	yes    bool
}

func newReplaceServersCommand(s streams) *cobra.Command {
	r := &replaceServersFlags{}
	command := &cobra.Command{
		Use:   "replace-servers --to VERSION [--from HOST | --config PATH] [--binary FILE | --binary-dir DIR | --mirror URL]",
		Short: "Replace servers by new hosts",
		Long: `replace-servers brings Nomad to the hosts of the inventory's group new_servers. Then, by turns, one new server joins and gets its
vote, and one of the group old_servers goes: it is taken out of the raft configuration, stopped, and its unit disabled; the leader
goes last. Before each removal every other voter has to answer for itself. The files of old servers stay.

New servers get the configuration and the unit of an old one (--from; default: the first of old_servers), with their own name and
address, or files of this machine (--config; one whose name ends in .j2 is a template). Before anything is touched it shows what it
will do, and asks. At the end it tells which files of which hosts still name a server that is gone, or edits them
(--update-retry-join). Run again, it goes on where it stopped.

It is the ready playbook "replace-servers" (drover playbook show replace-servers).`,
		Example: `  drover replace-servers -i hosts.ini --to 1.11.0
  drover replace-servers -i hosts.ini --to 1.11.0 --check
  drover replace-servers -i hosts.ini --to 1.11.0 --from s2 --update-retry-join
  drover replace-servers -i hosts.ini --to 1.11.0 --accept-down s3`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context(), s) },
	}
	r.register(command)
	return command
}

func (r *replaceServersFlags) register(c *cobra.Command) {
	r.fleetFlags.register(c)
	r.installFlags.register(c, "server", "server.heartbeat_grace=20s")
	r.source.playbook, r.source.batch, r.source.maxFail = "replace-servers", "10%", -1
	flags := c.Flags()
	flags.BoolVar(&r.update, "update-retry-join", false, "put the new servers in the places of the old ones in the lists of servers of all agents' configurations")
	flags.StringSliceVar(&r.source.down, "accept-down", nil, "go on although this server is dead, while the others are a majority; may be given more than once")
	flags.BoolVar(&r.source.skipMinors, "allow-unsupported-skip", false, "go over more than two minor versions at once, which Nomad does not support")
	flags.StringSliceVar(&r.source.notes, "accept-note", nil, "go on although an upgrade note of Nomad, by the id that the plan names, speaks against it; may be given more than once")
	flags.BoolVar(&r.check, "check", false, "only show what would be done; the exit code is 12 when there is something to do")
	flags.BoolVar(&r.yes, "yes", false, "do not ask")
	_ = c.RegisterFlagCompletionFunc("from", r.completeHosts)
	_ = c.RegisterFlagCompletionFunc("accept-down", r.completeHosts)
}

func (r *replaceServersFlags) run(ctx context.Context, s streams) error {
	vars, err := r.installFlags.vars()
	if err != nil {
		return err
	}
	vars.Set("update_retry_join", r.update)
	switch {
	case r.limit != "":
		return usageError("replace-servers goes by the inventory's groups new_servers and old_servers, and asks every server of the cluster: leave --limit out")
	case !r.yes && !r.check && !terminal(s.in):
		return usageError("without a terminal nobody can be asked: add --yes (--check shows what it would do)")
	}
	book, _, err := playbooks.LoadLibrary("replace-servers", playbooks.Options{})
	if err != nil {
		return err
	}
	fl, err := r.open(s, "", true)
	if err != nil {
		return err
	}
	defer fl.close()
	r.likeFirst(fl, vars, "old_servers")
	plan := &nomad.ServerReplacement{}
	if err := r.survey(ctx, fl, "replace-servers-plan", "nomad_replace_servers_check", "replacement", vars, plan); err != nil {
		return err
	}
	if err := showServerReplacement(s, r.output, plan, r.check); err != nil {
		return err
	}
	switch {
	case plan.Verdict() == nomad.VerdictRefused:
		return &exit{code: exitRefused}
	case r.check && plan.Verdict() == nomad.VerdictChanges:
		return &exit{code: exitChanges}
	case r.check:
		return nil
	case !r.yes:
		if err := confirm(s); err != nil {
			return err
		}
	}
	return r.carry(ctx, s, fl, book, vars)
}

// carry runs the ready playbook, and repeats at its end what it found to be left to the user.
func (r *replaceServersFlags) carry(ctx context.Context, s streams, fl *fleet, book *playbooks.Playbook, vars *expression.Map) error {
	shown, done := r.sink(s)
	defer done()
	stale := &staleLists{to: shown}
	summary, err := r.recorded(ctx, fl, book, vars, stale, asked{command: "replace-servers", target: "Nomad " + r.source.to})
	if err == nil {
		err = stale.tell()
	}
	done()
	return fl.ended(summary, err)
}

// staleLists passes events on and keeps what nomad_retry_join found.
type staleLists struct {
	to    event.Sink
	lines []event.Event
}

func (l *staleLists) Emit(e event.Event) error {
	if e.Kind == event.HostResult && e.Module == "nomad_retry_join" {
		text, err := json.Marshal(e.Result)
		if err != nil {
			return err
		}
		var found struct {
			Stale []string `json:"stale"`
		}
		if json.Unmarshal(text, &found) == nil {
			for _, line := range found.Stale {
				l.lines = append(l.lines, event.Event{Kind: event.Warning, Host: e.Host, Message: e.Host + ": " + line + ", and that server is gone"})
			}
		}
	}
	return l.to.Emit(e)
}

func (l *staleLists) tell() error {
	for _, line := range l.lines {
		if err := l.to.Emit(line); err != nil {
			return err
		}
	}
	return nil
}

// showServerReplacement prints what will be done; as JSON only where nothing follows that is JSON too.
func showServerReplacement(s streams, output string, plan *nomad.ServerReplacement, alone bool) error {
	if output != "json" {
		fmt.Fprint(s.out, plan.Page())
		return nil
	}
	if plan.Verdict() != nomad.VerdictRefused && !alone {
		return nil
	}
	return console.NewEncoder(s.out).Encode(struct {
		*nomad.ServerReplacement
		Verdict string `json:"verdict"`
	}{plan, plan.Verdict()})
}
