// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
)

// BenchmarkLabExec measures `drover exec all -- true` on twenty hosts beside a bare Go SSH client that does the same, in turns.
// The first run of drover, which sends the agent, is not counted.
func BenchmarkLabExec(b *testing.B) {
	r := newRig(b, lab.Options{Plain: 20}, "drover")
	floor := filepath.Join(b.TempDir(), "floor")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", floor, "./testdata/floor")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build the floor: %v\n%s", err, out)
	}
	bare := []string{floor, "drover", r.lab.KeyFile(), r.lab.KnownHostsFile(), "true"}
	for _, host := range r.lab.Hosts() {
		bare = append(bare, host.Address.String())
	}
	first := r.must("exec", "all", "--", "true")
	b.Logf("first contact, agents sent: %s", first.took)
	var drover, alone []time.Duration
	for b.Loop() {
		alone = append(alone, r.timed(r.lab.Command(b.Context(), bare...)))
		drover = append(drover, r.must("exec", "all", "--", "true").took)
	}
	report(b, drover, alone, "bare")
}

// BenchmarkLabUpgrade measures the whole upgrade of three servers and three clients beside a careful script of ssh, scp and curl, on
// labs of the same kind in turns.
func BenchmarkLabUpgrade(b *testing.B) {
	var drover, byHand []time.Duration
	for b.Loop() {
		byHand = append(byHand, upgradeByHand(b))
		r := newRig(b, lab.Options{Servers: 3, Clients: 3, Job: true}, "drover")
		a := r.upgrade()
		if a.code != 0 {
			b.Fatal(a)
		}
		r.wantVersion(newVersion)
		drover = append(drover, a.took)
		r.down()
	}
	report(b, drover, byHand, "by-hand")
}

func upgradeByHand(b *testing.B) time.Duration {
	b.Helper()
	r := newRig(b, lab.Options{Servers: 3, Clients: 3, Job: true}, "drover")
	defer r.down()
	var servers, clients []string
	for _, host := range r.lab.Hosts() {
		pair := fmt.Sprintf("%s=%s", host.Name, host.Address)
		if host.Role == lab.Server {
			servers = append(servers, pair)
		} else {
			clients = append(clients, pair)
		}
	}
	script, err := filepath.Abs("testdata/by-hand.sh")
	if err != nil {
		b.Fatal(err)
	}
	took := r.timed(r.lab.Command(b.Context(), script, r.lab.SSHConfigFile(), r.binary, oldVersion, newVersion,
		strings.Join(servers, " "), strings.Join(clients, " ")))
	r.wantVersion(newVersion)
	return took
}

// BenchmarkLabGap measures how long each agent is away in an upgrade beside a bare `systemctl restart` of the new version on the
// same hosts, watched in the same way.
func BenchmarkLabGap(b *testing.B) {
	swapped, bare := map[lab.Role][]time.Duration{}, map[lab.Role][]time.Duration{}
	for b.Loop() {
		r := newRig(b, lab.Options{Servers: 3, Clients: 3, Job: true}, "drover")
		r.addGaps(swapped, func() {
			if a := r.upgrade(); a.code != 0 {
				b.Fatal(a)
			}
		})
		r.addGaps(bare, func() {
			for _, host := range r.agentHosts() {
				r.restart(host)
			}
		})
		r.down()
	}
	for _, role := range []lab.Role{lab.Server, lab.Client} {
		b.Logf("%ss: in an upgrade %v, bare %v", role, swapped[role], bare[role])
		b.ReportMetric(float64(median(swapped[role]))/float64(median(bare[role])), "ratio-"+string(role))
	}
}

// addGaps sorts what a watched action costs by the role of the host.
func (r *rig) addGaps(to map[lab.Role][]time.Duration, do func()) {
	for _, absence := range r.watched(do).Absences {
		host, err := r.lab.Host(absence.Host)
		if err != nil {
			r.t.Fatal(err)
		}
		to[host.Role] = append(to[host.Role], absence.Gap())
	}
}

// restart restarts an agent the plain way and waits until the cluster is well again.
func (r *rig) restart(host string) {
	r.t.Helper()
	before := r.mainPIDs()[host]
	r.onHost(host, "systemctl", "restart", "nomad")
	r.eventually(host+" to be back", time.Minute, func() bool {
		pid, err := r.lab.AgentPID(host)
		if err != nil || pid == before || r.lab.Call(r.t.Context(), host, "GET", "/v1/agent/health", nil, nil) != nil {
			return false
		}
		var health struct{ Healthy bool }
		return r.lab.Call(r.t.Context(), "s1", "GET", "/v1/operator/autopilot/health", nil, &health) == nil && health.Healthy
	})
}

func (r *rig) timed(command *exec.Cmd) time.Duration {
	r.t.Helper()
	command.Env = []string{"HOME=" + r.state, "PATH=" + os.Getenv("PATH")}
	a := finish(r.t, command)
	if a.code != 0 {
		r.t.Fatalf("%s: %s", command, a)
	}
	return a.took
}

// report gives medians and the median of the ratios of the pairs.
func report(b *testing.B, drover, other []time.Duration, name string) {
	b.Helper()
	ratios := make([]float64, len(drover))
	for i := range drover {
		ratios[i] = float64(drover[i]) / float64(other[i])
	}
	slices.Sort(ratios)
	b.ReportMetric(median(drover).Seconds(), "s/drover")
	b.ReportMetric(median(other).Seconds(), "s/"+name)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.Logf("drover %v, %s %v", drover, name, other)
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}
