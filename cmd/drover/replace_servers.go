// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/nomad"
)

// replaceServersFlags say what new servers get, and which risks are accepted.
type replaceServersFlags struct {
	playFlags
	installFlags
	riskFlags
	update  bool
	consent consent
}

func newReplaceServersCommand(s streams) *cobra.Command {
	r := &replaceServersFlags{consent: consent{always: true}}
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
	r.installFlags.register(c, &r.fleetFlags, "server", "server.heartbeat_grace=20s")
	r.riskFlags.register(c, &r.fleetFlags)
	r.consent.registerCheck(c)
	r.consent.registerYes(c)
	c.MarkFlagsMutuallyExclusive("check", "yes")
	c.Flags().BoolVar(&r.update, "update-retry-join", false, "put the new servers in the places of the old ones in the lists of servers of all agents' configurations")
}

func (r *replaceServersFlags) run(ctx context.Context, s streams) error {
	vars, err := r.vars()
	if err != nil {
		return err
	}
	fl, err := r.consent.begin(s, &r.fleetFlags, !r.consent.check)
	if err != nil {
		return err
	}
	defer fl.close()
	r.likeFirst(fl, vars, "old_servers")
	plan := &nomad.ServerReplacement{}
	if err := r.survey(ctx, fl, "replace-servers-plan", "nomad_replace_servers_check", "replacement", vars, plan); err != nil {
		return err
	}
	if goOn, err := r.consent.agreed(s, r.output, plan); err != nil || !goOn {
		return err
	}
	stale := &staleLists{}
	return r.carry(ctx, s, fl, "replace-servers", vars, asked{
		command: "replace-servers", target: "Nomad " + r.to, through: stale.through, last: stale.tell,
	})
}

func (r *replaceServersFlags) vars() (*expression.Map, error) {
	if r.limit != "" {
		return nil, usageError("replace-servers goes by the inventory's groups new_servers and old_servers, and asks every server of the cluster: leave --limit out")
	}
	vars, err := r.installFlags.vars()
	if err != nil {
		return nil, err
	}
	r.riskFlags.vars(vars)
	vars.Set("update_retry_join", r.update)
	return vars, nil
}

// staleLists passes events on and keeps what nomad_retry_join found, to repeat at the end what is left to the user.
type staleLists struct {
	to    event.Sink
	lines []event.Event
}

func (l *staleLists) through(to event.Sink) event.Sink {
	l.to = to
	return l
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

func (l *staleLists) tell(to event.Sink) error {
	for _, line := range l.lines {
		if err := to.Emit(line); err != nil {
			return err
		}
	}
	return nil
}
