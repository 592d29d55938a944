// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
)

// A task named alloc is what Nomad 1.11 does not take any more: refused by name, and let through by the id that the refusal names.
func TestLabNotesOfJobs(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Clients: 1}, "drover")
	job := map[string]any{"Job": map[string]any{
		"ID": "named", "Type": "service", "Datacenters": []string{"dc1"},
		"TaskGroups": []any{map[string]any{"Name": "g", "Count": 1, "EphemeralDisk": map[string]any{"SizeMB": 10}, "Tasks": []any{map[string]any{
			"Name": "alloc", "Driver": "raw_exec", "Config": map[string]any{"command": "/bin/sleep", "args": []string{"infinity"}}, "Resources": map[string]any{"CPU": 20, "MemoryMB": 16},
			"LogConfig": map[string]any{"MaxFiles": 1, "MaxFileSizeMB": 1},
		}}}},
	}}
	if err := r.lab.Call(t.Context(), "s1", "PUT", "/v1/jobs", job, nil); err != nil {
		t.Fatal(err)
	}
	r.eventually("the task to run", 30*time.Second, func() bool {
		found, err := r.lab.Tasks("c1")
		return err == nil && len(found) == 1
	})
	tasks := r.tasks()
	r.sub("refused", func(r *rig) {
		before := r.mainPIDs()
		wantAnswer(r.t, r.upgrade(), exitRefused, "there is 1 job with a task named alloc", "default/named (task alloc)", "--accept-note alloc-task-1.11")
		wantAnswer(r.t, r.upgrade("--accept-note", "alloc"), exitRefused, "--accept-note alloc: there is no such note")
		r.wantUntouched(before)
	})
	r.sub("accepted", func(r *rig) {
		wantAnswer(r.t, r.upgrade("--accept-note", "alloc-task-1.11"), exitOK, "there is 1 job with a task named alloc")
		r.wantVersion(newVersion)
		r.wantTasks(tasks)
	})
}

// A cluster of 1.2.6 holds most of what later versions do not start with. One plan names all of it, with file and line.
func TestLabNotesOfOldSettings(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Clients: 1, Version: "1.2.6"}, "drover")
	var said bytes.Buffer
	binary, err := lab.Nomad(t.Context(), oldVersion, "", r.lab.Options().Dirs.Cache, &said)
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	r.write("s1", "/etc/nomad.d/old.hcl", "server {\n  raft_protocol = 2\n}\nvault {\n  token = \"s.hidden\"\n}")
	r.write("c1", "/etc/nomad.d/old.json", "{\"plugin\": {\"raw_exec\": {\"config\": {\n  \"no_cgroups\": true}}},\n \"telemetry\": {\"prometheus_metrics\": tru}}")
	before := r.mainPIDs()
	a := r.run("plan", "--to", oldVersion, "--binary", binary, "--allow-unsupported-skip")
	wantAnswer(t, a, exitRefused,
		"s1: /etc/nomad.d/old.hcl:2 sets raft_protocol = 2, and Nomad 1.4 and later refuse to start with it",
		"s1: /etc/nomad.d/old.hcl:5 sets vault.token, and Nomad 1.10 and later ignore it", "--accept-note vault-token-1.10",
		"c1: /etc/nomad.d/old.json:2 sets plugin.raw_exec.config.no_cgroups = true, and Nomad 1.8 and later refuse to start with it",
		"c1: /etc/nomad.d/old.json:3 cannot be read as configuration from there on")
	if strings.Contains(a.out+a.err, "s.hidden") {
		t.Error("the plan shows a token")
	}
	wantAnswer(t, r.run("plan", "--to", oldVersion, "--binary", binary, "--allow-unsupported-skip", "--accept-note", "raw-exec-cgroups-1.8", "--accept-note", "vault-token-1.10"), exitRefused,
		"--accept-note raw-exec-cgroups-1.8: an agent that this note speaks of does not start", "s1: /etc/nomad.d/old.hcl:5 sets vault.token")
	r.wantUntouched(before)
}

// write puts a file onto a host.
func (r *rig) write(host, path, text string) {
	r.t.Helper()
	r.onHost(host, "sh", "-c", "cat > "+path+" <<'END'\n"+text+"\nEND")
}
