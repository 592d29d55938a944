// SPDX-License-Identifier: MPL-2.0

package nomad

import "testing"

func TestWayOnNamesTheHostAsTheInventoryDoes(t *testing.T) {
	agent := LookFailure{Kind: "no_systemd", Text: "systemd does not run this host", Remedy: "leave this host out with --limit '!HOST', HOST as the inventory calls it, and upgrade it by hand"}
	if got, want := agent.orWithout("c2"), "leave this host out with --limit '!c2', and upgrade it by hand"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
	lost := LookFailure{Kind: LookUnreachable, Text: "connection refused"}
	if got, want := lost.orWithout("c2"), "repair the connection, or go on without it with --skip-unreachable"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
}
