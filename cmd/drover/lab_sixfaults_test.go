// SPDX-License-Identifier: MPL-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"drover/internal/lab"
)

// One plan of a cluster with six things wrong at once, each of another kind, names them all and how to go on from each.
func TestLabPlanSixFaults(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 3, Plain: 1}, "drover")
	r.onHost("s2", "systemctl", "stop", "ssh")
	r.onHost("c1", "sh", "-c", `mkdir -p /etc/systemd/system/nomad.service.d && printf '[Service]\nKillMode=control-group\n' > /etc/systemd/system/nomad.service.d/kill.conf && systemctl daemon-reload`)
	r.onHost("c2", "sh", "-c", "mkdir -p /var/lib/drover && mount -t tmpfs -o size=30m,mode=700 small /var/lib/drover")
	if leader, _ := r.roles(); leader != "s1" {
		if err := r.transfer(leader, "s1"); err != nil {
			t.Fatal(err)
		}
	}
	r = r.as(strings.Join(slices.DeleteFunc(r.knownHosts(), func(line string) bool { return strings.HasPrefix(line, "c3,") }), ""))
	r.inventory = r.edited(func(text string) string { return without(text, "s3 ") })
	p := r.pictures()
	before := p.calm(t)
	a := r.run("plan", "--to", newVersion, "--binary", r.binary, "--timeout", "2")
	t.Log("the page:\n" + a.out)
	text := strings.Join(strings.Fields(a.out), " ")
	for fault, words := range map[string][]string{
		"a server without sshd":               {"s2: unreachable", "connection refused", "--accept-down"},
		"a unit that kills tasks":             {"c1: the unit's KillMode is control-group", "set KillMode=process", "--limit '!c1'"},
		"a full disk":                         {"c2:", "/var/lib/drover", "free", "--limit '!c2'"},
		"a host key that nobody knows":        {"c3:", "key is unknown", "SHA256:", "--accept-new"},
		"a server missing from the inventory": {"s3.global at 10.64.1.3:4647", "not in the inventory", "add its host"},
		"a host without Nomad":                {"h1: there is no unit nomad.service", "nomad_unit", "remove the host"},
	} {
		for _, word := range words {
			if !strings.Contains(text, word) {
				t.Errorf("%s: it does not say %q", fault, word)
			}
		}
	}
	wantAnswer(t, a, exitRefused, "nothing was touched")
	p.want(t, before)
	again := r.run("plan", "--to", newVersion, "--binary", r.binary, "--timeout", "2")
	if a.out != again.out {
		t.Errorf("the same plan again reads otherwise:\n%s", again.out)
	}
}
