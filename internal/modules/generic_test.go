// SPDX-License-Identifier: MPL-2.0

package modules_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/wire"

	"github.com/google/go-cmp/cmp"
)

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// outcome is what a test looks at; an empty field of keys is not compared.
type outcome struct {
	changed, failed, skipped bool
	message                  string
	data                     map[string]any // these keys must be there
	diff                     string
	err                      string
}

func compare(t *testing.T, want outcome, result *modules.Result, err error) {
	t.Helper()
	if want.err != "" {
		if err == nil || !strings.Contains(err.Error(), want.err) {
			t.Errorf("error %v, want %q", err, want.err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if result.Changed != want.changed || result.Failed != want.failed || result.Skipped != want.skipped {
		t.Errorf("changed %t failed %t skipped %t, want %t %t %t", result.Changed, result.Failed, result.Skipped, want.changed, want.failed, want.skipped)
	}
	if !strings.Contains(result.Message, want.message) {
		t.Errorf("message %q, want %q in it", result.Message, want.message)
	}
	if want.diff != result.Diff {
		t.Errorf("diff (-want +got):\n%s", cmp.Diff(want.diff, result.Diff))
	}
	got := data(result)
	for key, value := range want.data {
		if diff := cmp.Diff(value, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

func TestCommandAndShell(t *testing.T) {
	ran := wire.RunResult{Stdout: "a\nb\n\n", Stderr: "w\n", Start: 1700000000_000000000, End: 1700000003_250000000}
	for _, test := range []struct {
		name string
		task task
		want outcome
	}{
		{
			"words",
			task{module: "command", args: map[string]any{"cmd": `echo 'a b' "c\"d" e\ f # g`, "chdir": "/tmp"}, steps: []step{
				{request: wire.Run{Argv: []string{"echo", "a b", `c"d`, "e f", "#", "g"}, Dir: "/tmp"}, reply: ran},
			}},
			outcome{changed: true, data: map[string]any{
				"rc": int64(0), "stdout": "a\nb", "stderr": "w", "stdout_lines": []any{"a", "b"}, "delta": "0:00:03.250000",
				"start": "2023-11-14 22:13:20.000000", "end": "2023-11-14 22:13:23.250000",
				"cmd": []any{"echo", "a b", `c"d`, "e f", "#", "g"},
			}},
		},
		{
			"argv",
			task{module: "command", args: map[string]any{"argv": []any{"seq", 3, "$HOME"}, "strip_empty_ends": false}, steps: []step{
				{request: wire.Run{Argv: []string{"seq", "3", "$HOME"}}, reply: ran},
			}},
			outcome{changed: true, data: map[string]any{"stdout": "a\nb\n\n"}},
		},
		{
			"shell",
			task{module: "shell", args: map[string]any{"cmd": "ls | wc -l", "stdin": "x"}, steps: []step{
				{request: wire.Run{Argv: []string{"/bin/sh", "-c", "ls | wc -l"}, Stdin: "x\n"}, reply: wire.RunResult{RC: 3, Stderr: "no"}},
			}},
			outcome{changed: true, failed: true, message: "non-zero return code", data: map[string]any{"rc": int64(3), "cmd": "ls | wc -l", "stderr_lines": []any{"no"}}},
		},
		{
			"environment",
			task{module: "shell", args: map[string]any{"cmd": "env", "executable": "/bin/bash"}, env: map[string]string{"NOMAD_ADDR": "x"}, steps: []step{
				{request: wire.Run{Argv: []string{"/bin/bash", "-c", "env"}, Env: map[string]string{"NOMAD_ADDR": "x"}}, reply: ran},
			}},
			outcome{changed: true},
		},
		{
			"creates",
			task{module: "command", args: map[string]any{"cmd": "x", "creates": "/f"}, steps: []step{
				{request: wire.Run{Argv: []string{"x"}, Creates: "/f"}, reply: wire.RunResult{Skipped: "/f exists"}},
			}},
			outcome{message: "/f exists", data: map[string]any{"stdout": "skipped, /f exists", "rc": int64(0)}},
		},
		{
			"no such program",
			task{module: "command", args: map[string]any{"cmd": "nomda"}, steps: []step{
				{request: wire.Run{Argv: []string{"nomda"}}, err: &wire.Error{Kind: wire.KindNotFound, Message: "no program nomda"}},
			}},
			outcome{failed: true, message: "no program nomda", data: map[string]any{"rc": int64(2), "stdout": ""}},
		},
		{
			"lost",
			task{module: "command", args: map[string]any{"cmd": "x"}, steps: []step{
				{request: wire.Run{Argv: []string{"x"}}, err: &modules.Unreachable{Host: "h1", Err: errors.New("cut")}},
			}},
			outcome{err: "h1: cut"},
		},
		{"check", task{module: "command", args: map[string]any{"cmd": "x"}, check: true}, outcome{skipped: true, message: "would run"}},
		{
			"check with creates",
			task{module: "command", args: map[string]any{"cmd": "x", "creates": "/f"}, check: true, steps: []step{
				{request: wire.Stat{Path: "/f", Follow: true}, reply: wire.StatResult{}},
			}},
			outcome{changed: true, message: "would run"},
		},
		{
			"check with removes",
			task{module: "shell", args: map[string]any{"cmd": "x", "removes": "/f"}, check: true, steps: []step{
				{request: wire.Stat{Path: "/f", Follow: true}, reply: wire.StatResult{}},
			}},
			outcome{message: "skipped, since /f does not exist"},
		},
		{"nothing", task{module: "command"}, outcome{err: "no command is given"}},
		{"quote", task{module: "command", args: map[string]any{"cmd": "echo 'x"}}, outcome{err: "cmd: a quote is not closed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, err := test.task.run(t)
			compare(t, test.want, result, err)
		})
	}
}

func TestCopy(t *testing.T) {
	source := filepath.Join(t.TempDir(), "nomad.hcl")
	if err := os.WriteFile(source, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := wire.StatResult{Exists: true, Type: "file", Size: 4, Mode: 0o640, User: "nomad", Group: "nomad", UID: 99, GID: 98, SHA256: sum("old\n")}
	same := old
	same.SHA256 = sum("new\n")
	look := func(path string) wire.Request { return wire.Stat{Path: path, Follow: true, Hash: true} }
	put := wire.Write{Path: "/etc/n", Size: 4, SHA256: sum("new\n")}
	args := func(more map[string]any) map[string]any {
		all := map[string]any{"content": "new\n", "dest": "/etc/n"}
		for key, value := range more {
			all[key] = value
		}
		return all
	}
	full := put
	full.Mode, full.Owner, full.Group, full.Backup = pointer(uint32(0o600)), "root", "0", true
	for _, test := range []struct {
		name string
		task task
		want outcome
	}{
		{
			"new file",
			task{module: "copy", args: args(nil), steps: []step{
				{request: look("/etc/n"), reply: wire.StatResult{}},
				{request: put, body: "new\n", reply: wire.WriteResult{Changed: true}},
			}},
			outcome{changed: true, data: map[string]any{"dest": "/etc/n", "checksum": sum("new\n"), "size": int64(4)}},
		},
		{
			"everything",
			task{module: "copy", args: args(map[string]any{"mode": "0600", "owner": "root", "group": "0", "backup": true}), steps: []step{
				{request: look("/etc/n"), reply: old},
				{request: full, body: "new\n", reply: wire.WriteResult{Changed: true, Backup: "/etc/n.1~"}},
			}},
			outcome{changed: true, data: map[string]any{"backup_file": "/etc/n.1~"}},
		},
		{
			"unchanged",
			task{module: "copy", args: args(map[string]any{"mode": "0640", "owner": "nomad", "group": "98"}), steps: []step{
				{request: look("/etc/n"), reply: same},
			}},
			outcome{data: map[string]any{"mode": "0640", "owner": "nomad", "checksum": sum("new\n"), "state": "file"}},
		},
		{
			"only the mode",
			task{module: "copy", args: args(map[string]any{"mode": "0600"}), steps: []step{
				{request: look("/etc/n"), reply: same},
				{request: wire.File{Path: "/etc/n", State: "file", Mode: pointer(uint32(0o600))}, reply: wire.FileResult{Changed: true, After: same}},
			}},
			outcome{changed: true},
		},
		{
			"only the mode, in a check",
			task{module: "copy", args: args(map[string]any{"mode": "0600"}), check: true, diff: true, steps: []step{
				{request: look("/etc/n"), reply: same},
				{
					request: wire.File{Path: "/etc/n", State: "file", Mode: pointer(uint32(0o600)), Check: true},
					reply:   wire.FileResult{Changed: true, Before: same, After: same},
				},
			}},
			outcome{changed: true, diff: "--- before: /etc/n\n+++ after: /etc/n\n@@ -1,4 +1,4 @@\n state: file\n-mode: 0640\n+mode: 0600\n owner: nomad\n group: nomad\n"},
		},
		{
			"not forced",
			task{module: "copy", args: args(map[string]any{"force": false}), steps: []step{{request: look("/etc/n"), reply: old}}},
			outcome{},
		},
		{
			"file into directory",
			task{module: "copy", args: map[string]any{"src": "nomad.hcl", "dest": "/etc"}, files: map[string]string{"nomad.hcl": source}, steps: []step{
				{request: look("/etc"), reply: wire.StatResult{Exists: true, Type: "directory"}},
				{request: look("/etc/nomad.hcl"), reply: same},
			}},
			outcome{data: map[string]any{"dest": "/etc/nomad.hcl"}},
		},
		{
			"file with a slash",
			task{module: "copy", args: map[string]any{"src": "nomad.hcl", "dest": "/etc/"}, files: map[string]string{"nomad.hcl": source}, steps: []step{
				{request: look("/etc/nomad.hcl"), reply: wire.StatResult{}},
				{request: wire.Write{Path: "/etc/nomad.hcl", Size: 4, SHA256: sum("new\n")}, body: "new\n", reply: wire.WriteResult{Changed: true}},
			}},
			outcome{changed: true},
		},
		{
			"check with diff writes nothing",
			task{module: "copy", args: args(nil), check: true, diff: true, steps: []step{
				{request: look("/etc/n"), reply: old},
				{request: wire.Read{Path: "/etc/n", Max: 1 << 20}, reply: wire.ReadResult{Size: 4}, content: "old\n"},
			}},
			outcome{changed: true, diff: "--- before: /etc/n\n+++ after: /etc/n\n@@ -1 +1 @@\n-old\n+new\n"},
		},
		{
			"dictionary",
			task{module: "copy", args: map[string]any{"content": map[string]any{"a": 1}, "dest": "/j"}, steps: []step{
				{request: look("/j"), reply: wire.StatResult{}},
				{request: wire.Write{Path: "/j", Size: 7, SHA256: sum(`{"a":1}`)}, body: `{"a":1}`, reply: wire.WriteResult{Changed: true}},
			}},
			outcome{changed: true},
		},
		{"checksum", task{module: "copy", args: args(map[string]any{"checksum": sum("other")})}, outcome{err: "and not " + sum("other")}},
		{"no content", task{module: "copy", args: map[string]any{"dest": "/x"}}, outcome{err: "give src or content"}},
		{"number", task{module: "copy", args: map[string]any{"content": 1.10, "dest": "/x"}}, outcome{err: "write it in quotes"}},
		{
			"content onto directory",
			task{module: "copy", args: args(nil), steps: []step{{request: look("/etc/n"), reply: wire.StatResult{Exists: true, Type: "directory"}}}},
			outcome{err: "dest /etc/n is a directory"},
		},
		{"directory as source", task{module: "copy", args: map[string]any{"src": "d", "dest": "/x"}, files: map[string]string{"d": filepath.Dir(source)}}, outcome{err: "is not a regular file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, err := test.task.run(t)
			compare(t, test.want, result, err)
		})
	}
}

func TestFile(t *testing.T) {
	directory := wire.StatResult{Exists: true, Type: "directory", Mode: 0o755, User: "root", Group: "root"}
	for _, test := range []struct {
		name string
		task task
		want outcome
	}{
		{
			"directory",
			task{module: "file", args: map[string]any{"path": "/d", "state": "directory", "mode": "0750", "recurse": true}, steps: []step{
				{request: wire.File{Path: "/d", State: "directory", Mode: pointer(uint32(0o750)), Recurse: true}, reply: wire.FileResult{Changed: true, After: directory}},
			}},
			outcome{changed: true, data: map[string]any{"path": "/d", "state": "directory", "mode": "0755", "owner": "root"}},
		},
		{
			"no state takes what is there",
			task{module: "file", args: map[string]any{"dest": "/d", "owner": "nomad"}, steps: []step{
				{request: wire.Stat{Path: "/d", Follow: true}, reply: directory},
				{request: wire.File{Path: "/d", State: "directory", Owner: "nomad"}, reply: wire.FileResult{After: directory}},
			}},
			outcome{},
		},
		{
			"check with diff",
			task{module: "file", args: map[string]any{"path": "/d", "state": "absent"}, check: true, diff: true, steps: []step{
				{request: wire.File{Path: "/d", State: "absent", Check: true}, reply: wire.FileResult{Changed: true, Before: directory, After: directory}},
			}},
			outcome{changed: true, diff: "--- before: /d\n+++ after: /d\n@@ -1,4 +1 @@\n-state: directory\n-mode: 0755\n-owner: root\n-group: root\n+state: absent\n"},
		},
		{
			"link",
			task{module: "file", args: map[string]any{"path": "/l", "src": "/t", "state": "link", "force": true}, steps: []step{
				{request: wire.File{Path: "/l", State: "link", Source: "/t", Force: true}, reply: wire.FileResult{Changed: true, After: wire.StatResult{Exists: true, Type: "link"}}},
			}},
			outcome{changed: true, data: map[string]any{"state": "link"}},
		},
		{"link without source", task{module: "file", args: map[string]any{"path": "/l", "state": "link"}}, outcome{err: "needs src"}},
		{"source without link", task{module: "file", args: map[string]any{"path": "/l", "src": "/t", "state": "touch"}}, outcome{err: "only for state link and hard"}},
		{"recurse without directory", task{module: "file", args: map[string]any{"path": "/l", "recurse": true, "state": "touch"}}, outcome{err: "only for state directory"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, err := test.task.run(t)
			compare(t, test.want, result, err)
		})
	}
}

func TestStatAndSlurp(t *testing.T) {
	state := wire.StatResult{Exists: true, Type: "file", Size: 5, Mode: 0o4750, UID: 1, User: "u", GID: 2, Group: "g", ModTime: 1500000000, SHA256: "ab"}
	result, err := task{module: "stat", args: map[string]any{"path": "/f"}, steps: []step{{request: wire.Stat{Path: "/f", Hash: true}, reply: state}}}.run(t)
	if err != nil {
		t.Fatal(err)
	}
	got := data(result)["stat"].(map[string]any)
	for key, want := range map[string]any{
		"exists": true, "isreg": true, "isdir": false, "mode": "4750", "size": int64(5), "mtime": 1.5, "checksum": "ab", "pw_name": "u",
		"xusr": true, "wgrp": false, "rgrp": true, "roth": false, "isuid": true, "isgid": false,
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	missing, err := task{module: "stat", args: map[string]any{"path": "/f", "follow": true, "get_checksum": false}, steps: []step{
		{request: wire.Stat{Path: "/f", Follow: true}, reply: wire.StatResult{}},
	}}.run(t)
	compare(t, outcome{data: map[string]any{"stat": map[string]any{"exists": false}}}, missing, err)
	read, err := task{module: "slurp", args: map[string]any{"src": "/f"}, steps: []step{
		{request: wire.Read{Path: "/f", Max: 16 << 20}, reply: wire.ReadResult{Size: 2}, content: "hi"},
	}}.run(t)
	compare(t, outcome{data: map[string]any{"content": "aGk=", "encoding": "base64", "source": "/f"}}, read, err)
	_, err = task{module: "slurp", args: map[string]any{"src": "/f"}, steps: []step{
		{request: wire.Read{Path: "/f", Max: 16 << 20}, err: &wire.Error{Kind: wire.KindNotFound, Message: "no /f"}},
	}}.run(t)
	compare(t, outcome{err: "no /f"}, nil, err)
}

func TestSystemd(t *testing.T) {
	after := wire.UnitState{Name: "x.service", ActiveState: "active", SubState: "running", UnitFileState: "enabled", MainPID: 7}
	result, err := task{module: "service", args: map[string]any{"name": "x", "state": "restarted", "enabled": false, "daemon_reload": true}, check: true, steps: []step{
		{request: wire.UnitControl{Name: "x", State: "restarted", Enabled: pointer(false), DaemonReload: true, Check: true}, reply: wire.UnitControlResult{Changed: true, After: after}},
	}}.run(t)
	compare(t, outcome{changed: true, data: map[string]any{"name": "x", "state": "started", "enabled": true}}, result, err)
	if status := data(result)["status"].(map[string]any); status["MainPID"] != int64(7) || status["ActiveState"] != "active" {
		t.Errorf("status %v", status)
	}
	guard := &wire.Error{Kind: wire.KindInvalid, Message: "nomad.service runs Nomad", Hint: "use nomad_swap"}
	_, err = task{module: "systemd", args: map[string]any{"name": "nomad", "state": "stopped"}, steps: []step{
		{request: wire.UnitControl{Name: "nomad", State: "stopped"}, err: guard},
	}}.run(t)
	compare(t, outcome{err: "use nomad_swap"}, nil, err)
	_, err = task{module: "systemd", args: map[string]any{"name": "nomad", "state": "stopped", "unguarded": true}, steps: []step{
		{request: wire.UnitControl{Name: "nomad", State: "stopped", Unguarded: true}, reply: wire.UnitControlResult{}},
	}}.run(t)
	if err != nil {
		t.Error(err)
	}
	_, err = task{module: "systemd", args: map[string]any{"name": "x"}}.run(t)
	compare(t, outcome{err: "give state, enabled, masked or daemon_reload"}, nil, err)
}

func TestLocalModules(t *testing.T) {
	vars := expression.Variables{"n": int64(3), "list": []any{"a"}}
	for _, test := range []struct {
		name string
		task task
		want outcome
	}{
		{"assert", task{module: "assert", args: map[string]any{"that": []any{"n == 3", "list"}}}, outcome{err: `condition "list" gives a list, and a condition must give true or false`}},
		{"assert holds", task{module: "assert", args: map[string]any{"that": "n == 3", "success_msg": "fine"}}, outcome{message: "fine"}},
		{"assert quiet", task{module: "assert", args: map[string]any{"that": true, "quiet": true}}, outcome{}},
		{
			"assert fails",
			task{module: "assert", args: map[string]any{"that": []any{"n == 3", "n > 3", "nope"}, "fail_msg": "too few"}},
			outcome{failed: true, message: "too few", data: map[string]any{"assertion": "n > 3", "evaluated_to": false}},
		},
		{"assert undefined", task{module: "assert", args: map[string]any{"that": "nope == 1"}}, outcome{err: `"nope" is undefined`}},
		{"fail", task{module: "fail", args: map[string]any{"msg": "no"}}, outcome{failed: true, message: "no"}},
		{"fail without msg", task{module: "fail"}, outcome{failed: true, message: "failed as requested"}},
		{"debug", task{module: "debug", args: map[string]any{"msg": "hi"}}, outcome{message: "hi"}},
		{"debug list", task{module: "debug", args: map[string]any{"msg": []any{1}}}, outcome{data: map[string]any{"msg": []any{int64(1)}}}},
		{"debug var", task{module: "debug", args: map[string]any{"var": "n + 1"}}, outcome{data: map[string]any{"n + 1": int64(4)}}},
		{"debug undefined", task{module: "debug", args: map[string]any{"var": "nope"}}, outcome{data: map[string]any{"nope": "VARIABLE IS NOT DEFINED!"}}},
		{"debug verbosity", task{module: "debug", args: map[string]any{"msg": "hi", "verbosity": 2}}, outcome{skipped: true}},
		{"set_fact", task{module: "set_fact", args: map[string]any{"a": 1, "b": "x", "cacheable": true}}, outcome{data: map[string]any{"ansible_facts": map[string]any{"a": int64(1), "b": "x"}}}},
		{"set_fact name", task{module: "set_fact", args: map[string]any{"a-b": 1}}, outcome{err: `"a-b" cannot be the name of a variable`}},
		{"set_fact nothing", task{module: "set_fact"}, outcome{err: "no variable is given"}},
		{"pause for a person", task{module: "pause", args: map[string]any{"prompt": "Sure?"}}, outcome{err: "pause would wait for a person"}},
		{"pause too long", task{module: "pause", args: map[string]any{"minutes": 99999}}, outcome{err: "between 0 and 24 hours"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.task.vars = vars
			result, err := test.task.run(t)
			compare(t, test.want, result, err)
		})
	}
	result, err := task{module: "set_fact", args: map[string]any{"a": 1}}.run(t)
	if value, _ := result.Facts.Get("a"); err != nil || value != int64(1) {
		t.Errorf("facts %v, %v", result.Facts, err)
	}
}
