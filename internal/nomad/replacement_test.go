// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReplacementPage(t *testing.T) {
	well, _ := replacing()
	bad, _ := replacing()
	bad.Hosts[3].Answers, bad.Hosts[3].Problem = false, "no token" // c2
	tests := map[string]struct {
		survey  Survey
		target  string
		options ReplaceOptions
		want    string
	}{
		"changes": {well, "1.10.5", ReplaceOptions{New: []string{"h1"}, Old: []string{"c1", "c2"}, From: "c1", Purge: true, Batch: "1", PerDC: 1}, `Replace clients by new ones with Nomad 1.10.5

New clients, configured like c1:
  h1: has no Nomad yet

Old clients, drained when all new ones are ready, then stopped and disabled; their files stay, and the servers forget their nodes:
  c1: is drained, stopped and disabled
  c2: is drained, stopped and disabled
  batch 1: c1
  batch 2: c2

Worth knowing:
  - 1 new clients take the place of 2: see that they have room for all allocations; a drain that finds none is cancelled
`},
		"refused": {bad, "1.11.0", ReplaceOptions{New: []string{"h1", "s1"}, Old: []string{"c2"}, From: "s1", Batch: "1", PerDC: 1}, `Replace clients by new ones with Nomad 1.11.0

New clients, configured like s1:
  h1: has no Nomad yet
  s1: refused

Old clients, drained when all new ones are ready, then stopped and disabled; their files stay:
  c2: refused

What stands in the way:
  - c2: its agent runs and does not answer: no token (check its log, or stop it by hand)
  - s1: it is to be the model for new clients, and no client is known there (name a client with --from, or files with --config)
  - s1: this host is a server (take it out of new_clients)
  - s1: this server runs 1.10.5, and a client must not be newer than its servers (upgrade the servers first (drover upgrade --servers))
  - s2: this server runs 1.10.5, and a client must not be newer than its servers (upgrade the servers first (drover upgrade --servers))
  - s3: this server runs 1.10.5, and a client must not be newer than its servers (upgrade the servers first (drover upgrade --servers))
`},
		"empty": {well, "1.10.5", ReplaceOptions{Batch: "1", PerDC: 1}, `Replace clients by new ones with Nomad 1.10.5

New clients:

Old clients, drained when all new ones are ready, then stopped and disabled; their files stay:

What stands in the way:
  - no new client is named (name the hosts in the inventory's group new_clients)
  - no old client is named (name the hosts in the inventory's group old_clients)
`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := NewReplacement(test.survey, version(test.target), test.options)
			if diff := cmp.Diff(test.want, r.Page()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
