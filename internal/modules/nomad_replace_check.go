// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"

	"drover/internal/nomad"
)

func nomadReplaceCheckModule() Module {
	return Module{
		Name:  "nomad_replace_check",
		Short: "Say what replacing clients by new ones will do, and everything that stands in the way",
		Doc: "Run once. Looks at every host of the inventory, and touches none. New clients must have no Nomad, or the one that this installation makes; old ones must be clients that nobody else is draining; " +
			"no server may be older than the new clients, of another edition, or turn away clients of their version, and a bad release is refused as by nomad_preflight. All problems are named, not only the first. " + unitDoc,
		Args: []Arg{
			versionArg(),
			{Name: "new", Kind: List, Required: true, Doc: "The hosts that become clients."},
			{Name: "old", Kind: List, Required: true, Doc: "The clients that are given up."},
			{Name: "from", Kind: String, Doc: "The host whose configuration the new clients get."},
			dataDirArg(),
			{Name: "purge", Kind: Boolean, Default: false, Doc: "The servers will forget the old nodes."},
			{Name: "batch", Kind: String, Default: "10%", Doc: "Old clients at once after the first one: a number or a percentage."},
			{Name: "batch_per_datacenter", Kind: Integer, Default: 5, Doc: "Old clients at once in one datacenter."},
		},
		Local: true,
		Check: CheckReads,
		Returns: []Arg{
			{Name: "verdict", Kind: String, Doc: "clean, changes or refused."},
			{Name: "replacement", Kind: Dict, Doc: "target, from, purge, new and old (each with host, action, reason, ...), batches, warnings, problems."},
		},
		Example: `- nomad_replace_check:
    version: 1.11.0
    new: "{{ groups['new_clients'] }}"
    old: "{{ groups['old_clients'] }}"
  run_once: true`,
		Run: nomadReplaceCheck,
	}
}

func nomadReplaceCheck(ctx context.Context, call *Call) (*Result, error) {
	target, err := targetVersion(call)
	if err != nil {
		return nil, err
	}
	c := newCluster(call)
	defer c.close()
	survey := c.survey(ctx)
	r := nomad.NewClientReplacement(survey, target, nomad.ReplaceOptions{
		Occupied: c.occupied(ctx, call.Args.Strings("new")),
		New:      call.Args.Strings("new"), Old: call.Args.Strings("old"), From: call.Args.String("from"), Purge: call.Args.Bool("purge"),
		Batch: call.Args.String("batch"), PerDC: int(call.Args.Int("batch_per_datacenter")),
	})
	message := fmt.Sprintf("%d new clients, %d old ones", len(r.New), len(r.Old))
	return judged("replacement", &r, r.Problems, message, message)
}
