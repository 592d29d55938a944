// SPDX-License-Identifier: MPL-2.0

package nomad

import "testing"

func TestWayOnNamesTheHostAsTheInventoryDoes(t *testing.T) {
	agent := LookFailure{Kind: "no_systemd", Text: "systemd does not run this host", Remedy: "leave this host out with --limit '!HOST', HOST as the inventory calls it, and upgrade it by hand"}
	for _, test := range []struct {
		failed LookFailure
		want   string
	}{
		{agent, "c2: systemd does not run this host (leave this host out with --limit '!c2', and upgrade it by hand)"},
		{LookFailure{Kind: LookUnreachable, Text: "connection refused"}, "c2: unreachable: connection refused (repair the connection, or go on without it with --skip-unreachable)"},
		{LookFailure{Kind: LookOther, Text: "nomad.service is masked", Remedy: "systemctl unmask nomad.service"}, "c2: nomad.service is masked (systemctl unmask nomad.service, or go on without it with --limit '!c2')"},
	} {
		if got := test.failed.problem("c2").String(); got != test.want {
			t.Errorf("%q, not %q", got, test.want)
		}
	}
}

func TestAHostThatIsMaskedIsLeftOutByItsLimit(t *testing.T) {
	s := fleetOf(3)
	s.lose("c2", LookFailure{Kind: LookOther, Text: "nomad.service is masked", Remedy: "systemctl unmask nomad.service"})
	if plan := NewPlan(s, version("1.11.0"), Options{Hosts: []string{"s1", "s2", "s3", "c1", "c3"}}); plan.Verdict() != VerdictChanges {
		t.Errorf("problems: %v", plan.Problems)
	}
}
