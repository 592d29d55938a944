// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"slices"

	"drover/internal/agentconfig"
	"drover/internal/expression"
	"drover/internal/nomad"
)

// joinServers makes a configuration that was taken over name the servers of join. One that names no servers at all gets a list of those that are known,
// since a new server without one would not find the cluster.
func (in *installation) joinServers() error {
	names := in.call.Args.Strings("join")
	if len(names) == 0 {
		return nil
	}
	var joining []string
	for _, name := range names {
		joining = append(joining, in.joinAddress(name))
	}
	var sources []agentconfig.Source
	for _, f := range in.configuration() {
		sources = append(sources, agentconfig.Source{Path: f.path, Text: f.content})
	}
	edits, err := nomad.ExtendJoins(sources, joining)
	if err != nil {
		return err
	}
	for _, edit := range edits {
		i := slices.IndexFunc(in.files, func(f installFile) bool { return f.config && f.path == edit.Path })
		in.files[i].content = edit.After
	}
	enabled, err := in.text("server", "enabled")
	if err != nil || enabled != "true" || nomad.NamesServers(sources) {
		return err
	}
	for _, name := range in.servers("") {
		if address := in.joinAddress(name); !slices.Contains(joining, address) {
			joining = append(joining, address)
		}
	}
	return in.set(agentconfig.Path{"server", "server_join", "retry_join"}, expression.FromGo(joining))
}
