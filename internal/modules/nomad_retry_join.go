// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"drover/internal/agentconfig"
	"drover/internal/nomad"
)

func nomadRetryJoinModule() Module {
	return Module{
		Name:  "nomad_retry_join",
		Short: "Find, and with update replace, what an agent's configuration names of servers that are gone",
		Doc: "Looks through the lists by which an agent finds servers when it starts: retry_join and start_join of server_join and of server, and servers of client. " +
			"Without update it tells which file and line names a server that is gone. With update it takes those out, puts the new servers in their places, with the port that the list uses, and leaves every other byte alone; " +
			"the result is tried with `config validate` of the installed binary first. Flags of the command line are only told. Nothing is restarted or reloaded: a running agent has learned by gossip or heartbeat who the servers are, and reads the list at its next start. " + unitDoc,
		Args: []Arg{
			{Name: "gone", Kind: List, Required: true, Doc: "The servers that are gone, by host."},
			{Name: "new", Kind: List, Required: true, Doc: "The servers that took their places, by host."},
			{Name: "update", Kind: Boolean, Default: false, Doc: "Edit the files."},
			{Name: "backup", Kind: Boolean, Default: false, Doc: "Keep the previous content beside the file. Nomad loads no backups."},
		},
		Check: CheckFull,
		Returns: []Arg{
			{Name: "stale", Kind: List, Doc: "What still names a server that is gone: FILE:LINE:COLUMN: KEY names ADDRESS."},
		},
		Example: `- nomad_retry_join:
    gone: "{{ groups['old_servers'] }}"
    new: "{{ groups['new_servers'] }}"
    update: true`,
		Run: nomadRetryJoin,
	}
}

func nomadRetryJoin(ctx context.Context, call *Call) (*Result, error) {
	c := newCluster(call)
	defer c.close()
	if facts, ok := c.facts(call.Name); ok && facts.Role == "none" && !facts.Running {
		return &Result{Message: "no agent is here", Data: mapOfStrings("stale", nil)}, nil
	}
	e := &configEdit{call: call, sums: map[string]string{}}
	if err := e.read(ctx); err != nil {
		return nil, err
	}
	var gone, joining []string
	for _, name := range call.Args.Strings("gone") {
		gone = append(gone, c.allAddresses(name)...)
	}
	for _, name := range call.Args.Strings("new") {
		joining = append(joining, c.joinAddress(name))
	}
	result := &Result{Message: "its lists of servers name none that is gone"}
	if call.Args.Bool("update") {
		files, err := e.renew(ctx, gone, joining)
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			result.Changed, result.Message = true, "the lists of servers name the new ones: "+strings.Join(files, ", ")
		}
	}
	stale, err := nomad.StaleJoins(e.sources, agentCommand(e.agent), gone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.Name, err)
	}
	var lines []string
	for _, s := range stale {
		lines = append(lines, s.String())
	}
	if len(lines) > 0 {
		result.Message = "still names servers that are gone, and looks for them at its next start: " + strings.Join(lines, "; ")
	}
	result.Data = mapOfStrings("stale", lines)
	return result, nil
}

// renew edits the files, and leaves in sources what they hold then.
func (e *configEdit) renew(ctx context.Context, gone, joining []string) ([]string, error) {
	edits, err := nomad.RenewJoins(e.sources, gone, joining)
	if err != nil || len(edits) == 0 {
		return nil, err
	}
	e.key = agentconfig.Path{"retry_join"}
	if !e.call.Check {
		if _, err := e.validate(ctx, edits); err != nil {
			return nil, err
		}
		if _, err := e.land(ctx, edits); err != nil {
			return nil, err
		}
	}
	var files []string
	for _, edit := range edits {
		files = append(files, edit.Path)
	}
	e.sources = withEdits(e.sources, edits)
	return files, nil
}

// allAddresses are the names and addresses by which a list may name a server.
func (c *cluster) allAddresses(name string) []string {
	facts, _ := c.facts(name)
	all := []string{name, c.variable(name, "ansible_host"), facts.NodeName}
	if host, _, err := net.SplitHostPort(facts.RPC); err == nil {
		all = append(all, host)
	}
	return slices.DeleteFunc(all, func(text string) bool { return text == "" })
}

// joinAddress is where others find a server: where it says itself that it is, else where the inventory has it.
func (c *cluster) joinAddress(name string) string {
	facts, _ := c.facts(name)
	if host, _, err := net.SplitHostPort(facts.RPC); err == nil && host != "" {
		return host
	}
	return cmp.Or(c.variable(name, "ansible_host"), name)
}
