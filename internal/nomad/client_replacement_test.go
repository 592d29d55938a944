// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
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
			r := NewClientReplacement(test.survey, version(test.target), test.options)
			if diff := cmp.Diff(test.want, r.Page()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The version of new clients is judged as that of an upgrade is: by itself, and by what the servers run.
func TestReplacementVersions(t *testing.T) {
	tests := map[string]struct {
		servers, target string
		problem         string // "": none
		warning         string
	}{
		"the servers' own":                   {"1.10.5", "1.10.5", "", ""},
		"older than the servers":             {"1.11.0", "1.10.5", "", ""},
		"Enterprise on both":                 {"1.10.5+ent", "1.10.5+ent", "", ""},
		"newer than the servers":             {"1.10.5", "1.11.0", "s1: this server runs 1.10.5, and a client must not be newer than its servers", ""},
		"Enterprise on community servers":    {"1.11.0", "1.11.0+ent", "s1: this server runs the community edition and the new clients would run the enterprise edition (ent) (use a binary of the servers' edition: its version is written like 1.11.0)", ""},
		"community on Enterprise servers":    {"1.11.0+ent", "1.10.5", "its version is written like 1.10.5+ent", ""},
		"another edition of Enterprise":      {"1.11.0+ent", "1.11.0+ent.hsm", "its version is written like 1.11.0+ent)", ""},
		"newer and Enterprise":               {"1.10.5", "1.11.0+ent", "the enterprise edition (ent)", ""},
		"withdrawn":                          {"1.10.5", "1.9.2", "1.9.2 is a bad release: it can lose the whole state of the cluster, and was withdrawn (use 1.9.3 or a later patch release)", ""},
		"bad for the servers":                {"1.8.4", "1.7.1", "1.7.1 is a bad release", ""},
		"bad and too old":                    {"1.10.5", "1.4.0", "1.4.0 is a bad release", ""},
		"too old for the servers":            {"1.9.3", "1.5.17", "s1: this server runs 1.9.3, and servers of 1.9 and later turn away clients before 1.6", ""},
		"as old as the servers still take":   {"1.10.5", "1.6.0", "", ""},
		"old, and so are the servers":        {"1.8.4", "1.5.17", "", ""},
		"with a fault that a patch repaired": {"1.6.10", "1.5.4", "", "1.5.4 has a known fault"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := replacing()
			for i := range 3 {
				s.Hosts[i].VersionRunning = version(test.servers)
			}
			r := NewClientReplacement(s, version(test.target), ReplaceOptions{New: []string{"h1"}, Old: []string{"c1"}, From: "c1"})
			problems, warnings := Words(r.Problems), Words(r.Warnings)
			if want := test.problem == ""; (r.Verdict() == VerdictChanges) != want || !strings.Contains(problems, test.problem) {
				t.Errorf("verdict %s, problems %q, want %q", r.Verdict(), problems, test.problem)
			}
			if !strings.Contains(warnings, test.warning) {
				t.Errorf("warnings %q, want %q", warnings, test.warning)
			}
		})
	}
}

// A release that is bad is no reason against giving up old clients beside new ones that run it already.
func TestReplacementOfABadReleaseThatRuns(t *testing.T) {
	s, _ := replacing()
	for i := range s.Hosts[:5] {
		s.Hosts[i].VersionRunning = version("1.9.2")
	}
	r := NewClientReplacement(s, version("1.9.2"), ReplaceOptions{New: []string{"c2"}, Old: []string{"c1"}, From: "c1"})
	if r.Verdict() != VerdictChanges {
		t.Errorf("verdict %s: %s", r.Verdict(), Words(r.Problems))
	}
}
