// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"maps"
	"os"
	"strings"
	"testing"

	"drover/internal/lab"
)

const enterpriseVersion = newVersion + "+ent"

// From the community edition to Enterprise. No Enterprise binary can be had for a test, so that a stand-in plays it: Nomad that calls
// itself +ent and prints for `license inspect` what Enterprise's documentation shows.
func TestLabEnterprise(t *testing.T) {
	needLab(t)
	var said bytes.Buffer
	binary, err := lab.Enterprise(t.Context(), newVersion, lab.FindDirs(os.Getenv).Cache, &said)
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	r := newRig(t, lab.Options{Servers: 1, Clients: 1, Job: true}, "drover")
	r.binary = binary
	to := []string{"--to", enterpriseVersion, "--binary", binary, "--yes"}
	enterprise := append([]string{"enterprise"}, to...)
	before := r.mainPIDs()
	refused := func(name, plant string, command []string, words ...string) {
		r.sub(name, func(r *rig) {
			r.onHost("s1", "sh", "-c", plant)
			a := r.run(command...)
			wantAnswer(r.t, a, exitRefused, words...)
			if after := r.mainPIDs(); !maps.Equal(before, after) {
				r.t.Errorf("agents were restarted: %v became %v", before, after)
			}
			if out := r.onHost("s1", "cat", "/etc/nomad.d/nomad.env"); strings.Contains(a.out+a.err, "top-secret") && strings.Contains(out, "top-secret") {
				r.t.Errorf("the licence is shown: %s", a)
			}
		})
	}
	refused("an upgrade changes no edition", "true", append([]string{"upgrade"}, to...), "runs the community edition and the new binary is the enterprise edition")
	refused("no licence", "true", enterprise, "FAILED! => Nomad 1.11.0+ent would not start with the licence there, and nothing was stopped: nothing names a licence")
	refused("a licence that is not there", "echo 'server { license_path = \"/etc/nomad.d/license\" }' > /etc/nomad.d/license.hcl", enterprise, "does not call the licence (license_path /etc/nomad.d/license) valid", "no such file")
	refused("an expired one", "echo expired > /etc/nomad.d/license", enterprise, "license expiration date is before version build date")
	refused("of another product", "echo vault > /etc/nomad.d/license", enterprise, "is for vault, not for nomad")
	refused("in the environment, and never shown", "rm /etc/nomad.d/license.hcl; echo NOMAD_LICENSE=top-secret >> /etc/nomad.d/nomad.env", enterprise, "the variable NOMAD_LICENSE) is for")
	r.sub("a valid one", func(r *rig) {
		r.onHost("s1", "sh", "-c", "sed -i /NOMAD_LICENSE/d /etc/nomad.d/nomad.env; echo valid > /etc/nomad.d/license; echo NOMAD_LICENSE_PATH=/etc/nomad.d/license >> /etc/nomad.d/nomad.env")
		a := r.must(enterprise...)
		if !strings.Contains(a.out, "licence valid (the variable NOMAD_LICENSE_PATH), expires on 2099-01-01") {
			r.t.Errorf("it does not say what it found: %s", a)
		}
		for _, host := range r.agentHosts() {
			if line := r.onHost(host, "/usr/local/bin/nomad", "version"); !strings.HasPrefix(line, "Nomad v"+enterpriseVersion) {
				r.t.Errorf("%s has %q", host, line)
			}
		}
	})
	r.sub("a second run changes nothing", func(r *rig) {
		before := r.mainPIDs()
		a := r.must(enterprise...)
		if after := r.mainPIDs(); !maps.Equal(before, after) || !strings.Contains(a.out, "nothing to do") {
			r.t.Errorf("agents were %v and are %v: %s", before, after, a)
		}
	})
}
