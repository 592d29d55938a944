// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/nomad"
	"drover/internal/testrelease"
	"drover/internal/wire"
)

var toNew = map[string]any{"version": "1.11.0"}

func TestNomadFacts(t *testing.T) {
	c := newFakeCluster(t, 3, 1)
	result := c.must("s3", "nomad_facts", nil)
	var facts nomad.HostFacts
	if !newCluster(&Call{Fleet: c}).readFact("s3", factNomad, &facts) {
		t.Fatal("no fact")
	}
	if !facts.Leader || facts.Role != "server" || facts.ServerID != "id-s3" || facts.API.Address != "127.0.0.1:4646" || len(facts.RaftServers) != 3 || facts.VersionRunning.String() != "1.10.5" {
		t.Errorf("facts %+v", facts)
	}
	if !slices.Equal(result.Groups, []string{GroupServers}) {
		t.Errorf("groups %v", result.Groups)
	}
	if groups := c.must("c1", "nomad_facts", nil).Groups; !slices.Equal(groups, []string{GroupClients}) {
		t.Errorf("groups %v", groups)
	}
	c.agent("s1").running = false
	c.must("s1", "nomad_facts", nil)
	newCluster(&Call{Fleet: c}).readFact("s1", factNomad, &facts)
	if facts.Role != "server" || facts.Running || facts.ServerID != "id-s1" || facts.VersionDisk.String() != "1.10.5" {
		t.Errorf("facts of a server that is down: %+v", facts)
	}
}

// TestNomadHealthLooksItself asks agents of hosts that nomad_facts has not seen, as after a first try that was too early.
func TestNomadHealthLooksItself(t *testing.T) {
	c := newFakeCluster(t, 3, 1)
	c.agent("s1").running, c.agent("c1").alive = false, false
	result, err := c.do(t.Context(), "s1", "nomad_health", nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(result.Message, "nothing is known") || strings.Contains(result.Message, "is not there") || !strings.Contains(result.Message, "s1: its agent does not run") || !strings.Contains(result.Message, "c1: its agent runs and does not answer: no socket") {
		t.Error(result.Message)
	}
	if want := []string{"looking at s1, s2, s3, c1"}; !slices.Equal(c.said, want) {
		t.Errorf("said %q, want %q", c.said, want)
	}
}

func TestNomadUpgradeOfAWholeCluster(t *testing.T) {
	c := newFakeCluster(t, 3, 2)
	c.agent("c1").process = []wire.AllocProcess{{Alloc: "11111111-a", Task: "web", PID: 7, Start: 70}}
	c.factsOfAll()
	if message := c.must("s1", "nomad_preflight", toNew).Message; !strings.Contains(message, "5 of 5 hosts to upgrade") {
		t.Error(message)
	}
	c.staged("1.11.0")
	for _, name := range []string{"s1", "s2", "s3"} {
		c.must(name, "nomad_transfer_leadership", toNew)
		if !c.must(name, "nomad_swap", toNew).Changed {
			t.Errorf("%s was not swapped", name)
		}
		c.must(name, "nomad_server_healthy", toNew)
	}
	if !slices.Equal(c.transfers, []string{"s1"}) || c.term != 4 {
		t.Errorf("transfers %v, term %d", c.transfers, c.term)
	}
	for _, name := range []string{"c1", "c2"} {
		c.must(name, "nomad_allocs", map[string]any{"state": "record"})
		c.must(name, "nomad_swap", toNew)
		c.must(name, "nomad_client_ready", toNew)
		c.must(name, "nomad_allocs", map[string]any{"state": "verified"})
	}
	for _, a := range c.agents {
		pid := a.pid
		if c.must(a.name, "nomad_swap", toNew).Changed || a.pid != pid {
			t.Errorf("the second run changed %s", a.name)
		}
		if !slices.Contains(a.log, "swap_settle") {
			t.Errorf("%s: the transaction was not settled", a.name)
		}
	}
	c.factsOfAll()
	if message := c.must("s1", "nomad_preflight", toNew).Message; !strings.Contains(message, "nothing to do") {
		t.Error(message)
	}
	if c.must("s1", "nomad_snapshot", toNew).Changed {
		t.Error("a snapshot on a run that changes nothing")
	}
}

func TestNomadServerHealthySaysWhatIsMissing(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.factsOfAll()
	c.agent("s1").contact = "never"
	_, err := c.do(t.Context(), "s1", "nomad_server_healthy", map[string]any{"version": "1.11.0", "timeout": 0.3})
	for _, want := range []string{"runs 1.10.5, not 1.11.0", "not heard from the leader since it started", "last words"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestNomadAllocsNoticesANewProcess(t *testing.T) {
	c := newFakeCluster(t, 1, 1)
	agent := c.agent("c1")
	agent.process = []wire.AllocProcess{{Alloc: "11111111-a", Task: "web", PID: 7, Start: 70}, {Alloc: "22222222-b", Task: "old", PID: 8, Start: 80}}
	c.factsOfAll()
	c.must("c1", "nomad_allocs", map[string]any{"state": "record"})
	agent.process = []wire.AllocProcess{{Alloc: "11111111-a", Task: "web", PID: 7, Start: 71}}
	_, err := c.do(t.Context(), "c1", "nomad_allocs", map[string]any{"state": "verified", "timeout": 0.1})
	if err == nil || !strings.Contains(err.Error(), "process 7 of task web in allocation 11111111 has ended") || strings.Contains(err.Error(), "22222222") {
		t.Errorf("error %v", err)
	}
}

func TestNomadAllocsOfAClientThatWasDown(t *testing.T) {
	c := newFakeCluster(t, 1, 1)
	c.factsOfAll()
	known, _ := c.Variable("c1", factNomad)
	var down nomad.HostFacts
	newCluster(&Call{Fleet: c}).readFact("c1", factNomad, &down)
	down.NodeID = ""
	c.facts["c1"].Set(factNomad, factMapValue(down))
	c.must("c1", "nomad_allocs", map[string]any{"state": "record"})
	c.facts["c1"].Set(factNomad, known) // it was repaired
	c.must("c1", "nomad_allocs", map[string]any{"state": "verified"})
}

func TestNomadAllocsAreVerifiedThoughTheClientIsSilent(t *testing.T) {
	c := newFakeCluster(t, 1, 1)
	agent := c.agent("c1")
	agent.process = []wire.AllocProcess{{Alloc: "11111111-a", Task: "web", PID: 7, Start: 70}}
	c.factsOfAll()
	c.must("c1", "nomad_allocs", map[string]any{"state": "record"})
	var silent nomad.HostFacts
	newCluster(&Call{Fleet: c}).readFact("c1", factNomad, &silent)
	silent.NodeID = ""
	c.facts["c1"].Set(factNomad, factMapValue(silent))
	agent.process = nil
	if _, err := c.do(t.Context(), "c1", "nomad_allocs", map[string]any{"state": "verified", "timeout": 0.1}); err == nil {
		t.Error("a task that has ended was not noticed")
	}
}

func TestNomadSnapshot(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.factsOfAll()
	c.stuck = true
	result := c.must("s1", "nomad_snapshot", toNew)
	if c.writes != 1 {
		t.Errorf("%d writes to un-stick the cluster", c.writes)
	}
	for _, key := range []string{"snapshot", "keystore"} {
		path, _ := result.Data.Get(key)
		info, err := os.Stat(path.(string))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", key, info, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.run.Directory, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestNomadSnapshotAsksALivingServer: a task that runs once is for the first host, and that may be the one that is down.
func TestNomadSnapshotAsksALivingServer(t *testing.T) {
	tests := map[string]struct {
		servers int
		plant   func(*fakeCluster)
		source  string // whose keystore is copied; "": nothing is saved
	}{
		"the first is down":    {3, func(c *fakeCluster) { c.agent("s1").running = false }, "s3"},
		"the leader answers":   {3, func(*fakeCluster) {}, "s3"},
		"nobody leads":         {3, func(c *fakeCluster) { c.agent("s1").running = false; c.agent("s3").leader = false }, "s2"},
		"the only one is down": {1, func(c *fakeCluster) { c.agent("s1").running = false }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, test.servers, 0)
			test.plant(c)
			c.factsOfAll()
			result := c.must("s1", "nomad_snapshot", toNew)
			if test.source == "" {
				if result.Changed || !strings.Contains(result.Message, "no server of region global runs") {
					t.Errorf("%+v", result)
				}
				return
			}
			keystore, _ := result.Data.Get("keystore")
			if filepath.Base(keystore.(string)) != "keystore-"+test.source+".tar" {
				t.Errorf("keystore %v, want that of %s", keystore, test.source)
			}
		})
	}
	c := newFakeCluster(t, 1, 0)
	c.agent("s1").alive = false
	c.factsOfAll()
	if _, err := c.do(t.Context(), "s1", "nomad_snapshot", toNew); err == nil || !strings.Contains(err.Error(), "no server answers: s1:") {
		t.Errorf("a server that runs and does not answer: %v", err)
	}
}

func TestVerifySnapshotNoticesDamage(t *testing.T) {
	if err := nomad.VerifySnapshot(strings.NewReader(string(snapshotOf("state", strings.Repeat("0", 64))))); err == nil {
		t.Error("a wrong checksum was accepted")
	}
	if err := nomad.VerifySnapshot(strings.NewReader("cut")); err == nil {
		t.Error("no archive was accepted")
	}
}

func TestNomadPreflightNamesMissingRights(t *testing.T) {
	c := newFakeCluster(t, 3, 0)
	c.factsOfAll()
	c.denied = true
	_, err := c.do(t.Context(), "s1", "nomad_preflight", toNew)
	var refused interface{ Refused() bool }
	if !errors.As(err, &refused) {
		t.Fatalf("not refused: %v", err)
	}
	for _, want := range []string{"may not take a snapshot", "may not move leadership", "may not read the raft configuration"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	for _, a := range c.agents {
		if slices.ContainsFunc(a.log, func(op string) bool { return strings.HasPrefix(op, "swap") || op == "stage" }) {
			t.Errorf("%s was touched: %v", a.name, a.log)
		}
	}
}

func TestNomadPreflightLooksAtTheNewBinary(t *testing.T) {
	c := newFakeCluster(t, 3, 1)
	c.factsOfAll()
	empty := t.TempDir()
	script := filepath.Join(empty, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, where := range map[string]struct{ argument, path, want string }{
		"a directory without one": {"binary_dir", empty, empty + " has none of nomad_1.11.0_linux_amd64.zip"},
		"not a program":           {"binary", script, script + " is not a Linux program"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.do(t.Context(), "s1", "nomad_preflight", map[string]any{"version": "1.11.0", where.argument: where.path})
			var refused interface{ Refused() bool }
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), where.want) || !strings.Contains(err.Error(), "1 problems") {
				t.Errorf("want one refusal with %q, got %v", where.want, err)
			}
		})
	}
}

func TestNomadStageSendsOnceAndOnlyWhereNeeded(t *testing.T) {
	c := newFakeCluster(t, 1, 1)
	c.factsOfAll()
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, "nomad-1.11.0"), testrelease.Program(t, "amd64", "1.11.0"), 0o700); err != nil {
		t.Fatal(err)
	}
	args := map[string]any{"version": "1.11.0", "directory": directory}
	for _, name := range []string{"s1", "c1"} {
		if !c.must(name, "nomad_stage", args).Changed {
			t.Errorf("%s: nothing was staged", name)
		}
		var staged stagedFact
		if !newCluster(&Call{Fleet: c}).readFact(name, factStaged, &staged) || staged.Path != "/usr/bin/nomad.drover-1.11.0" || len(staged.SHA256) != 64 {
			t.Errorf("fact %+v", staged)
		}
	}
	files, err := filepath.Glob(filepath.Join(c.run.Directory, "binaries", "*.zst"))
	if err != nil || len(files) != 1 {
		t.Errorf("compressed %v, %v", files, err)
	}
	sent := c.agent("s1").received
	c.must("s1", "nomad_stage", args)
	if c.agent("s1").received != sent || sent == 0 {
		t.Errorf("sent %d bytes, then %d", sent, c.agent("s1").received)
	}
	c.agent("c1").disk, c.agent("c1").version = "1.11.0", "1.11.0"
	c.factsOfAll()
	if message := c.must("c1", "nomad_stage", args).Message; !strings.Contains(message, "already runs") {
		t.Error(message)
	}
	if _, err := c.do(t.Context(), "s1", "nomad_stage", map[string]any{"version": "1.11.1", "directory": t.TempDir()}); err == nil || !strings.Contains(err.Error(), "nomad_1.11.1_linux_amd64.zip") {
		t.Errorf("error %v", err)
	}
}

func TestServersAreOrderedByAsking(t *testing.T) {
	c := newFakeCluster(t, 5, 1)
	c.factsOfAll()
	c.agent("s5").leader, c.agent("s2").leader = false, true
	c.agent("s4").quiet = true
	c.agent("s3").alive = false
	hosts, err := LeaderLast(context.Background(), c, c.run, true, []string{"s1", "s2", "s3", "s4", "s5"})
	if diff := cmp.Diff([]string{"s3", "s4", "s1", "s5", "s2"}, hosts); err != nil || diff != "" {
		t.Errorf("order (-want +got): %v\n%s", err, diff)
	}
	c.run.Sightings = NewSightings()
	facts, _ := newCluster(&Call{Fleet: c}).ownFacts("s2")
	c.run.Sightings.note("s2", facts)
	delete(c.facts, "s2")
	if hosts, err := LeaderLast(context.Background(), c, c.run, true, []string{"s1", "s4"}); err != nil || !slices.Equal(hosts, []string{"s4", "s1"}) {
		t.Errorf("with a leader that is left out: %v, %v", hosts, err)
	}
	c.agent("s2").leader = false
	if hosts, err := LeaderLast(context.Background(), c, c.run, true, []string{"s1", "s2"}); hosts != nil || err != nil {
		t.Errorf("without a leader: %v, %v", hosts, err)
	}
}

func TestCredentialsAreRefusedWhereAFileIsTooLarge(t *testing.T) {
	large := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(large, make([]byte, maximumCredential+1), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := func(name string) string { return map[string]string{"NOMAD_CACERT": large}[name] }
	c := newCluster(&Call{Name: "s1", Fleet: &raftFleet{names: []string{"s1"}}, Run: Run{Environment: environment}})
	if _, err := c.credentials("s1"); err == nil || err.Error() != "read nomad_cacert: "+large+" is larger than 1 MiB" {
		t.Errorf("error %v", err)
	}
}
