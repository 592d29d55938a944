// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/lab"
)

// One key of a real agent's configuration is set, in the file that decides and in a drop-in, and nothing else of it changes.
func TestLabConfig(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Version: "1.2.6"}, "operator")
	// An owner, a mode and line ends that are nobody's default.
	server := r.path("s1", "etc/nomad.d/server.hcl")
	before := crlf(t, server)
	r.onHost("s1", "chown", "daemon:games", "/etc/nomad.d/server.hcl")
	r.onHost("s1", "chmod", "0604", "/etc/nomad.d/server.hcl")
	after := strings.Replace(before, "}\r\n}\r\n", "}\r\n  raft_protocol = 3\r\n}\r\n", 1)
	r.sub("--check and --diff show it and change nothing", func(r *rig) { r.configChecked(server, before) })
	r.sub("the file that decides is edited", func(r *rig) { r.configEdited(server, before, after) })
	r.sub("a flag decides", (*rig).configFlag)
	r.sub("taken out again", func(r *rig) {
		wantAnswer(r.t, r.config("key: server.raft_protocol\n        state: absent"), exitOK, "changed=1")
		wantContent(r.t, server, before)
	})
	r.sub("a drop-in", (*rig).configDropIn)
	r.sub("the installed binary rejects it", (*rig).configRejected)
	r.sub("by the ready playbook", (*rig).configByPlaybook)
	r.sub("the running agent proves it", (*rig).configEffective)
}

// crlf gives a file the line ends of Windows.
func crlf(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(string(text), "\n", "\r\n")
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	return changed
}

func wantContent(t testing.TB, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// config runs a playbook of one task, nomad_config with these arguments.
func (r *rig) config(arguments string, more ...string) answer {
	r.t.Helper()
	book := r.playbook("- hosts: s1\n  become: true\n  gather_facts: false\n  tasks:\n    - nomad_config:\n        " + arguments + "\n")
	return r.run(append([]string{"run", book}, more...)...)
}

// configFiles lists what is in the directory of the configuration, with owners and modes.
func (r *rig) configFiles() string {
	r.t.Helper()
	return r.onHost("s1", "find", "/etc/nomad.d", "/run", "-maxdepth", "1", "(", "-path", "/etc/nomad.d/*", "-o", "-name", "drover-config*", ")", "-printf", "%f %u:%g %m\n")
}

const setRaft = "key: server.raft_protocol\n        value: 3\n        backup: true"

func (r *rig) configChecked(server, before string) {
	files := r.configFiles()
	a := r.config(setRaft, "--check", "--diff")
	wantAnswer(r.t, a, exitOK, "changed=1", "+ raft_protocol = 3", "before: /etc/nomad.d/server.hcl")
	wantContent(r.t, server, before)
	if diff := cmp.Diff(files, r.configFiles()); diff != "" {
		r.t.Error(diff)
	}
}

func (r *rig) configEdited(server, before, after string) {
	pids := r.mainPIDs()
	wantAnswer(r.t, r.config(setRaft, "--diff", "-v"), exitOK, "changed=1", "+ raft_protocol = 3", "server.raft_protocol set to 3 in server.hcl", `"validate": "absent"`)
	wantContent(r.t, server, after)
	if got := strings.TrimSpace(r.onHost("s1", "stat", "-c", "%U:%G %a", "/etc/nomad.d/server.hcl")); got != "daemon:games 604" {
		r.t.Errorf("owner and mode: %s", got)
	}
	kept, err := filepath.Glob(server + ".*~")
	if err != nil || len(kept) != 1 {
		r.t.Fatalf("backups: %v, %v", kept, err)
	}
	wantContent(r.t, kept[0], before)
	files := r.configFiles()
	wantAnswer(r.t, r.config(setRaft), exitOK, "changed=0")
	wantContent(r.t, server, after)
	if diff := cmp.Diff(files, r.configFiles()); diff != "" || strings.Contains(files, "drover-config") {
		r.t.Errorf("%s\n%s", files, diff)
	}
	if diff := cmp.Diff(pids, r.mainPIDs()); diff != "" {
		r.t.Errorf("the agent was restarted: %s", diff)
	}
	wantAnswer(r.t, r.config("key: server.raft_protocol\n        value: 3\n        state: effective"), exitFailed, "has server.raft_protocol = 2, not 3")
}

// configFlag lets the unit set the protocol by a flag, which no file beats.
func (r *rig) configFlag() {
	dropIn := r.path("s1", "etc/systemd/system/nomad.service.d/flag.conf")
	if err := os.MkdirAll(filepath.Dir(dropIn), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(dropIn, []byte("[Service]\nExecStart=\nExecStart=/usr/local/bin/nomad agent -config /etc/nomad.d -raft-protocol=2\n"), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.onHost("s1", "systemctl", "daemon-reload")
	for _, arguments := range []string{setRaft, "key: server.raft_protocol\n        state: absent"} {
		wantAnswer(r.t, r.config(arguments), exitRefused, "server.raft_protocol is set by the flag -raft-protocol", "ExecStart", "nothing was written")
	}
	if err := os.RemoveAll(filepath.Dir(dropIn)); err != nil {
		r.t.Fatal(err)
	}
	r.onHost("s1", "systemctl", "daemon-reload")
}

const setTelemetry = "key: telemetry.publish_allocation_metrics\n        value: true\n        where: dropin"

func (r *rig) configDropIn() {
	file := r.path("s1", "etc/nomad.d/zz-drover.hcl")
	wantAnswer(r.t, r.config(setTelemetry, "--check", "--diff"), exitOK, "changed=1", "+ publish_allocation_metrics = true")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		r.t.Errorf("--check left %s: %v", file, err)
	}
	wantAnswer(r.t, r.config(setTelemetry), exitOK, "changed=1")
	wantContent(r.t, file, "telemetry {\n  publish_allocation_metrics = true\n}\n")
	if got := strings.TrimSpace(r.onHost("s1", "stat", "-c", "%U:%G %a", "/etc/nomad.d/zz-drover.hcl")); got != "daemon:games 604" {
		r.t.Errorf("owner and mode: %s, want those of the file before it", got)
	}
	wantAnswer(r.t, r.config(setTelemetry), exitOK, "changed=0")
	wantAnswer(r.t, r.config("key: server.enabled\n        value: false\n        where: dropin"), exitFailed, "a drop-in cannot take it back", "nothing was written")
	wantAnswer(r.t, r.config("key: region\n        value: eu\n        where: dropin\n        dropin: aa.hcl"), exitFailed, "comes after /etc/nomad.d/aa.hcl", "nothing was written")
}

// configRejected installs a Nomad that has `config validate`, beside the process that runs on.
func (r *rig) configRejected() {
	old, err := os.ReadFile(r.path("s1", "usr/local/bin/nomad"))
	if err != nil {
		r.t.Fatal(err)
	}
	kept := filepath.Join(r.t.TempDir(), "nomad")
	if err := os.WriteFile(kept, old, 0o755); err != nil {
		r.t.Fatal(err)
	}
	install(r.t, r.binary, r.path("s1", "usr/local/bin/nomad"))
	files := r.configFiles()
	wantAnswer(r.t, r.config("key: server.no_such_key\n        value: 1"), exitFailed, "the installed Nomad on s1 rejects the configuration with server.no_such_key changed", "nothing was written")
	if diff := cmp.Diff(files, r.configFiles()); diff != "" {
		r.t.Error(diff)
	}
	wantAnswer(r.t, r.config("key: server.rejoin_after_leave\n        value: true", "-v"), exitOK, `"validate": "ok"`)
	wantAnswer(r.t, r.config("key: server.rejoin_after_leave\n        state: absent"), exitOK, "changed=1")
	install(r.t, kept, r.path("s1", "usr/local/bin/nomad"))
}

// configByPlaybook sets a key with the ready playbook; that the agent has it is proven after the restart of the next part.
func (r *rig) configByPlaybook() {
	server := r.path("s1", "etc/nomad.d/server.hcl")
	before, err := os.ReadFile(server)
	if err != nil {
		r.t.Fatal(err)
	}
	pids := r.mainPIDs()
	book := func(vars string, more ...string) answer {
		return r.run(append([]string{"run", "config", "--limit", "nomad_servers", "-e", vars}, more...)...)
	}
	wantAnswer(r.t, book(setGrace, "--check", "--diff"), exitOK, "+", `heartbeat_grace = "17s"`, "changed=1")
	wantContent(r.t, server, string(before))
	wantAnswer(r.t, book(setGrace), exitOK, "changed=1")
	wantContent(r.t, server, strings.TrimSuffix(string(before), "}\r\n")+"  heartbeat_grace = \"17s\"\r\n}\r\n")
	wantAnswer(r.t, book(setGrace), exitOK, "changed=0")
	wantAnswer(r.t, book(setGrace+" prove=true"), exitFailed, "server.heartbeat_grace", "it reads its files when it starts")
	wantAnswer(r.t, book("key=server.heartbeat_grace"), exitFailed, "Say which key and what becomes of it")
	r.wantUntouched(pids)
}

const setGrace = "key=server.heartbeat_grace value=17s"

func (r *rig) configEffective() {
	effective := strings.Replace(setTelemetry, "where: dropin", "state: effective", 1)
	wantAnswer(r.t, r.config(effective), exitFailed, "has telemetry.publish_allocation_metrics = false, not true", "it reads its files when it starts")
	r.onHost("s1", "systemctl", "restart", "nomad")
	deadline := time.Now().Add(30 * time.Second)
	for r.config(effective).code != exitOK && time.Now().Before(deadline) {
		r.t.Log("not yet")
	}
	wantAnswer(r.t, r.config(effective), exitOK, "changed=0")
	wantAnswer(r.t, r.config("key: server.raft_protocol\n        value: 2\n        state: effective"), exitOK)
	wantAnswer(r.t, r.run("run", "config", "-e", setGrace+" prove=true"), exitOK, "changed=0")
}
