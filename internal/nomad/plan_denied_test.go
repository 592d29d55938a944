// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"slices"
	"strings"
	"testing"
)

// TestPlanWithoutAToken: nothing is known of a cluster whose servers refuse the token, whatever versions run.
func TestPlanWithoutAToken(t *testing.T) {
	deny := func(s *Survey, why string, hosts ...string) {
		for _, host := range hosts {
			f := s.of(host)
			f.Answers, f.Leader, f.RaftServers, f.Problem, f.Denied = false, false, nil, "403 (Permission denied)", why
		}
		s.Raft = RaftConfiguration{}
	}
	tests := map[string]struct {
		plant func(*Survey)
		to    string
		want  string
	}{
		"the version that runs":     {func(s *Survey) { deny(s, DeniedPermission, "s1", "s2", "s3", "c1", "c2") }, "1.10.5", "want one (403): s1, s2, s3; nothing is known"},
		"a newer one":               {func(s *Survey) { deny(s, DeniedToken, "s1", "s2", "s3", "c1", "c2") }, "1.11.0", "want one (403): c1, c2, s1, s2, s3; nothing is known"},
		"no server answers, no 403": {func(s *Survey) { deny(s, "", "s1", "s2", "s3") }, "1.10.5", "no server answers, so that nothing is known of the cluster"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := survey()
			test.plant(&s)
			plan := NewPlan(s, version(test.to), Options{})
			words := Words(plan.Problems)
			if plan.Verdict() != VerdictRefused || !strings.Contains(words, test.want) || strings.Contains(words, "--limit") || strings.Contains(words, "--accept-outage") {
				t.Errorf("%s: %s", plan.Verdict(), words)
			}
			if strings.Contains(words, "403") != strings.Contains(words, "NOMAD_TOKEN") {
				t.Errorf("the way on: %s", words)
			}
		})
	}
}

// TestPlanOffersNoLimitThatLeavesNobody: where all hosts are refused, leaving them out is no way on.
func TestPlanOffersNoLimitThatLeavesNobody(t *testing.T) {
	refuse := func(hosts ...string) string {
		s := survey()
		for _, host := range hosts {
			s.of(host).ReadOnly = true
		}
		plan := NewPlan(s, version("1.11.0"), Options{})
		return plan.Page()
	}
	if page := refuse("c1", "c2", "s1", "s2", "s3"); strings.Contains(page, "--limit") || !strings.Contains(page, "mounted read-only") {
		t.Error(page)
	}
	if page := refuse("c1", "s1", "s2", "s3"); !strings.Contains(page, "--limit '!c1:!s1:!s2:!s3'") {
		t.Error(page)
	}
}

// TestPlanNamesRaftV3ForAHalfMigratedServer: an accepted outage would stop a server that has no leader because of its raft configuration.
func TestPlanNamesRaftV3ForAHalfMigratedServer(t *testing.T) {
	s := survey()
	s.Hosts = slices.Clone(s.Hosts[:1])
	f := &s.Hosts[0]
	f.Leader, f.RaftServers, s.Raft = false, []RaftServer{{ID: f.RPC, Address: f.RPC, Voter: true}}, RaftConfiguration{}
	for _, outage := range []bool{false, true} {
		plan := NewPlan(s, version("1.11.0"), Options{Accepted: Accepted{Outage: outage}})
		words := Words(plan.Problems)
		if plan.Verdict() != VerdictRefused || !strings.Contains(words, "s1 is half migrated") || !strings.Contains(words, "drover raft-v3") || strings.Contains(words, "--accept-outage") {
			t.Errorf("%s: %s", plan.Verdict(), words)
		}
	}
}
