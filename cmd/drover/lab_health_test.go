// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
	"drover/internal/nomad"
)

// A cluster that is well, then with several faults at once, each of which is to be named with its host.
func TestLabHealth(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 2, Job: true}, "operator")
	r.sub("all is well", (*rig).healthWell)
	r.sub("the version that runs is proven, another is not", (*rig).healthProven)
	r.sub("a stopped client, a broken server, a package, a peers.json and a unit that kills", (*rig).healthPlanted)
	r.sub("quorum is lost", (*rig).healthWithoutQuorum)
}

// overview is what health says, as a program reads it.
func (r *rig) overview(want int, more ...string) nomad.Overview {
	r.t.Helper()
	a := r.run(append([]string{"health", "--output", "json"}, more...)...)
	var overview struct {
		nomad.Overview
		Well bool `json:"well"`
	}
	if err := json.Unmarshal([]byte(a.out), &overview); err != nil || a.code != want || overview.Well != (want == exitOK) {
		r.t.Fatalf("%v: %s", err, a)
	}
	return overview.Overview
}

// wantFound checks that there are these problems, as "kind host", and no others.
func (r *rig) wantFound(problems []nomad.Problem, want ...string) {
	r.t.Helper()
	left := map[string]bool{}
	for _, name := range want {
		left[name] = true
	}
	for _, problem := range problems {
		name := problem.Kind + " " + problem.Host
		if _, expected := left[name]; !expected {
			r.t.Errorf("also found %s: %s", name, problem)
		}
		left[name] = false
	}
	for name, missing := range left {
		if missing {
			r.t.Errorf("%s was not found; these were: %s", name, nomad.Words(problems))
		}
	}
}

func (r *rig) healthWell() {
	a := r.run("health")
	r.t.Log(a)
	wantAnswer(r.t, a, exitOK, "3 voters, 1 may fail", "autopilot: healthy", "6 allocations running", "The cluster is well.")
	overview := r.overview(exitOK)
	r.wantFound(overview.Problems)
	r.wantFound(overview.Notes)
	cluster := overview.Clusters[0]
	for _, row := range overview.Servers {
		if row.Applied < cluster.Reached || cluster.Reached == 0 || row.Gossip != "alive" || row.Protocol != 3 || !row.Voter {
			r.t.Errorf("%+v, index %d", row, cluster.Reached)
		}
	}
}

func (r *rig) healthProven() {
	began := time.Now()
	wantAnswer(r.t, r.run("health", "--verify", oldVersion), exitOK, "everything has been well for 1") // 10 s, or a little more
	if took := time.Since(began); took < 10*time.Second {
		r.t.Errorf("ten seconds of stability were proven in %s", took)
	}
	began = time.Now()
	a := r.run("health", "--verify", newVersion)
	wantAnswer(r.t, a, exitFailed, "c1, c2, s1, s2, s3: it runs "+oldVersion+" and not "+newVersion, "drover upgrade --to "+newVersion, "It is not proven that "+newVersion+" has arrived.")
	if took := time.Since(began); took > 10*time.Second {
		r.t.Errorf("what does not pass was waited for: %s", took)
	}
}

// healthPlanted breaks several things at the same time.
func (r *rig) healthPlanted() {
	t := r.t
	r.write("s1", "/opt/nomad/server/raft/peers.json", "[]")
	install(t, r.binary, r.path("s2", "usr/local/bin/nomad"))
	r.onHost("c1", "mkdir", "/etc/systemd/system/nomad.service.d")
	r.write("c1", "/etc/systemd/system/nomad.service.d/kill.conf", "[Service]\nKillMode=control-group")
	r.onHost("c1", "systemctl", "daemon-reload")
	r.onHost("c2", "systemctl", "stop", "nomad")
	r.write("s3", "/etc/nomad.d/zz-broken.hcl", "server {")
	r.onHost("s3", "systemctl", "restart", "nomad")
	r.eventually("systemd to have tried s3 again", 20*time.Second, func() bool {
		return slices.ContainsFunc(r.overview(exitFailed).Problems, func(p nomad.Problem) bool { return p.Kind == "crash_loop" })
	})
	r.eventually("the others to have a leader", 20*time.Second, func() bool {
		return slices.ContainsFunc(r.overview(exitFailed).Problems, func(p nomad.Problem) bool { return p.Kind == "quorum" })
	})
	a := r.run("health")
	t.Log(a)
	wantAnswer(t, a, exitFailed, "s1: /opt/nomad/server/raft/peers.json is there", "s3: systemd starts its agent over and over", "c2: its agent does not run",
		"c1: KillMode=control-group", "s2: it runs "+oldVersion+", and /usr/local/bin/nomad has been replaced by "+newVersion, "2 of 3 voters answer", "The cluster is not well.")
	a = r.run("health", "--verify", oldVersion)
	wantAnswer(t, a, exitFailed, "s2: it runs "+oldVersion+", and /usr/local/bin/nomad has been replaced", "It is not proven")
	if err := os.Remove(r.path("s1", "opt/nomad/server/raft/peers.json")); err != nil {
		t.Fatal(err)
	}
}

// healthWithoutQuorum takes a second server away.
func (r *rig) healthWithoutQuorum() {
	r.onHost("s2", "systemctl", "stop", "nomad")
	r.eventually("the last server to miss the leader", 30*time.Second, func() bool {
		return slices.ContainsFunc(r.overview(exitFailed).Problems, func(p nomad.Problem) bool { return p.Kind == "quorum" })
	})
	a := r.run("health")
	r.t.Log(a)
	wantAnswer(r.t, a, exitFailed, "quorum is lost: by s1's raft configuration 1 of 3 voters answer, and 2 are needed; missing: s2, s3", "drover recover", "c2, s2", "its agent does not run")
}

// A cluster with ACLs that is well is not called dead for want of a token; a replaced client is no problem, and a binary that is gone is one.
func TestLabHealthToken(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Clients: 1, ACL: true}, "operator")
	r.sub("a disabled client, and a binary that is gone", func(r *rig) {
		r.onHost("c1", "systemctl", "disable", "--now", "nomad")
		r.onHost("s1", "mv", "/usr/local/bin/nomad", "/usr/local/bin/nomad.away")
		a := r.run("health")
		r.t.Log(a)
		wantAnswer(r.t, a, exitFailed, "c1: its agent does not run, and its unit is disabled", "s1: its binary /usr/local/bin/nomad is not there")
		r.wantFound(r.overview(exitFailed).Problems, "binary_missing s1")
		r.onHost("s1", "mv", "/usr/local/bin/nomad.away", "/usr/local/bin/nomad")
		r.overview(exitOK)
	})
	r.sub("without a token, and with a wrong one", func(r *rig) {
		for what, line := range map[string]string{"given or it lacks agent:read": "", "ACL token not found": "nomad_token=00000000-0000-0000-0000-000000000000"} {
			inventory, err := os.ReadFile(r.inventory)
			if err != nil {
				r.t.Fatal(err)
			}
			var lines []string
			for _, old := range strings.Split(string(inventory), "\n") {
				if strings.HasPrefix(old, "nomad_token") {
					old = line
				}
				lines = append(lines, old)
			}
			other := r.inventory + ".other"
			if err := os.WriteFile(other, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
				r.t.Fatal(err)
			}
			given := r.inventory
			r.inventory = other
			a := r.run("health")
			r.t.Log(a)
			wantAnswer(r.t, a, exitFailed, what, "NOMAD_TOKEN", ":4647 leads, as s1 tells")
			r.wantFound(r.overview(exitFailed).Problems, "token ")
			for _, version := range []string{oldVersion, newVersion} {
				if a := r.run("plan", "--to", version); a.code != exitRefused || !strings.Contains(a.out, "NOMAD_TOKEN") || strings.Contains(a.out, "--limit") {
					r.t.Error(a)
				}
			}
			r.inventory = given
		}
	})
}

// A single server with raft protocol 2 is well; restarted with 3 it has no leader, and the reason is named.
func TestLabHealthProtocol2(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Version: "1.2.6", RaftProtocol: 2}, "drover")
	r.sub("autopilot's refusal is expected", func(r *rig) {
		a := r.run("health")
		r.t.Log(a)
		wantAnswer(r.t, a, exitOK, "raft protocol 2 is in force on s1", "drover raft-v3", "autopilot: no opinion", "The cluster is well.")
	})
	r.sub("restarted with protocol 3 and without peers.json", func(r *rig) {
		r.write("s1", "/etc/nomad.d/zz-raft.hcl", "server {\n  raft_protocol = 3\n}")
		r.onHost("s1", "systemctl", "restart", "nomad")
		r.eventually("the server to answer", 30*time.Second, func() bool {
			_, err := r.self("s1")
			return err == nil
		})
		a := r.run("health")
		r.t.Log(a)
		wantAnswer(r.t, a, exitFailed, "s1: it has no leader: it runs raft protocol 3", "without a peers.json", "drover raft-v3 rescues it")
	})
}
