// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"

	"drover/internal/nomad"
)

func nomadReplaceServersCheckModule() Module {
	return Module{
		Name:  "nomad_replace_servers_check",
		Short: "Say what replacing servers by new ones will do, and everything that stands in the way",
		Doc: "Run once. Looks at every host of the inventory, and touches none. New servers must have no Nomad, or the one that this installation makes, and be as many as the old ones or more; old ones must be servers of this cluster that are no clients; " +
			"every voter has to answer, with raft protocol 3, and nothing may be newer than the version. Nomad's upgrade notes count as in nomad_preflight. All problems are named, not only the first. " + unitDoc,
		Args: []Arg{
			versionArg(),
			{Name: "new", Kind: List, Required: true, Doc: "The hosts that become servers."},
			{Name: "old", Kind: List, Required: true, Doc: "The servers that are given up."},
			{Name: "from", Kind: String, Doc: "The host whose configuration the new servers get."},
			dataDirArg(),
			{Name: "update", Kind: Boolean, Default: false, Doc: "Lists of servers in the agents' configurations will be edited."},
			{Name: "accept_down", Kind: List, Doc: "Servers that may be dead, by name; one of old is then only taken out of the raft configuration."},
			{Name: "allow_unsupported_skip", Kind: Boolean, Default: false, Doc: "Go over more than two minor versions."},
			{Name: "accept_notes", Kind: List, Doc: "Upgrade notes of Nomad that are accepted, by id."},
		},
		Local: true,
		Check: CheckReads,
		Returns: []Arg{
			{Name: "verdict", Kind: String, Doc: "clean, changes or refused."},
			{Name: "replacement", Kind: Dict, Doc: "target, from, new and old (each with host, action, reason, ...), sizes, sequence, pauses, warnings, problems."},
		},
		Example: `- nomad_replace_servers_check:
    version: 1.11.0
    new: "{{ groups['new_servers'] }}"
    old: "{{ groups['old_servers'] }}"
  run_once: true`,
		Run: nomadReplaceServersCheck,
	}
}

func nomadReplaceServersCheck(ctx context.Context, call *Call) (*Result, error) {
	target, err := targetVersion(call)
	if err != nil {
		return nil, err
	}
	c := newCluster(call)
	defer c.close()
	survey := c.survey(ctx)
	for _, name := range call.Fleet.Names("all") {
		if address := c.variable(name, "ansible_host"); address != "" {
			survey.Addresses[name] = address
		}
	}
	r := nomad.NewServerReplacement(survey, target, nomad.ServerReplaceOptions{
		Occupied: c.occupied(ctx, call.Args.Strings("new")),
		New:      call.Args.Strings("new"), Old: call.Args.Strings("old"), From: call.Args.String("from"), Update: call.Args.Bool("update"),
		Options: nomad.Options{
			Accepted:       nomad.Accepted{Down: call.Args.Strings("accept_down")},
			VersionOptions: nomad.VersionOptions{AllowUnsupportedSkip: call.Args.Bool("allow_unsupported_skip")},
			AcceptNotes:    call.Args.Strings("accept_notes"),
		},
	})
	message := fmt.Sprintf("%d new servers, %d old ones", len(r.New), len(r.Old))
	return judged("replacement", &r, r.Problems, message, message)
}
