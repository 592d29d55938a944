// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/journal"
)

// droverAt is this program as drover, with a home of its own.
func droverAt(ctx context.Context, home string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, os.Args[0], args...)
	command.Args[0] = "drover"
	command.Dir = home
	command.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	return command
}

// longRun is a playbook that takes a while and reaches no host.
func longRun(t *testing.T, home string) {
	t.Helper()
	var book strings.Builder
	book.WriteString("- hosts: all\n  tasks:\n")
	for i := range 300 {
		fmt.Fprintf(&book, "    - debug: {msg: 'step %d of {{ inventory_hostname }}'}\n", i)
	}
	if err := os.WriteFile(filepath.Join(home, "long.yml"), []byte(book.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whenever drover is killed, its record reads back up to that moment, and what the screen has shown is in it.
func TestKilledRunLeavesAReadableRecord(t *testing.T) {
	home := t.TempDir()
	longRun(t, home)
	runs := filepath.Join(home, ".local", "state", "drover", "runs")
	died := 0
	for range 15 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		command := droverAt(ctx, home, "run", "long.yml", "-i", "a,b,c,d,e", "--output", "json")
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		last, shown := rand.IntN(3000), 0
		for lines := bufio.NewScanner(out); lines.Scan(); shown++ {
			if shown == last {
				_ = command.Process.Kill()
			}
		}
		_ = command.Wait()
		cancel()
		dir, err := journal.Find(runs, "last")
		if err != nil {
			t.Fatal(err)
		}
		j, err := journal.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		for _, err := range j.Events() {
			if err != nil {
				t.Fatalf("killed after %d events: %v", last, err)
			}
			kept++
		}
		if kept < shown {
			t.Errorf("%d events were shown and %d are on record", shown, kept)
		}
		if journal.Look(dir).State == journal.Died {
			died++
		}
		if err := journal.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if died == 0 {
		t.Error("no run was killed before its end")
	}
}

// smallHome is a home on a disk with so many bytes. It takes root, which CI has.
func smallHome(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("drover-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Skipf("this test mounts a small disk, which takes root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestFullDisk(t *testing.T) {
	for _, test := range []struct {
		name string
		room int
		says []string
		ran  bool
	}{
		{"before the run", 100 << 10, []string{"drover: nothing was started, because the run cannot be recorded", "no space left on device", "XDG_STATE_HOME"}, false},
		{"in the middle", 350 << 10, []string{"the run was stopped, because what it does can no longer be recorded", "no space left on device", "run the same command again"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := smallHome(t, test.room)
			longRun(t, home)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var out, talk bytes.Buffer
			command := droverAt(ctx, home, "run", "long.yml", "-i", "a,b,c,d,e")
			command.Stdout, command.Stderr = &out, &talk
			err := command.Run()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.ExitCode() != exitError {
				t.Errorf("%v", err)
			}
			for _, words := range test.says {
				if !strings.Contains(talk.String(), words) {
					t.Errorf("it does not say %q:\n%s", words, &talk)
				}
			}
			if ran := strings.Contains(out.String(), "step 0"); ran != test.ran || strings.Contains(out.String(), "step 299") {
				t.Errorf("ran %t, or went on:\n%.2000s", ran, &out)
			}
			if test.ran && !strings.Contains(out.String(), "PLAY RECAP") {
				t.Errorf("nobody sees how far it came:\n%s", &talk)
			}
		})
	}
}

// Nothing that anybody calls a secret is in a run's directory, nor on the screen.
func TestNoSecretIsOnRecord(t *testing.T) {
	home := t.TempDir()
	secrets := map[string]string{
		"extra variable": "sesame-extra", "inventory": "sesame-inventory", "sudo": "sesame-sudo", "NOMAD_TOKEN": "sesame-token",
		"playbook": "sesame-playbook", "vars file": "sesame-file", "set_fact": "sesame-fact", "nested": "sesame-nested",
		"variables file": "sesame-at-file", "no_log": "sesame-no-log",
	}
	files := map[string]string{
		"hosts.ini": "a ansible_become_password=sesame-inventory\n",
		"sudo":      "sesame-sudo\n",
		"vars.yml":  "file_password: sesame-file\n",
		"extra.yml": "login: {user: joe, passphrase: sesame-at-file}\n",
		"p.yml": `- hosts: all
  vars_files: [vars.yml]
  vars: {play_token: sesame-playbook, deep: {api_key: sesame-nested}}
  tasks:
    - set_fact: {made_secret: "sesame-{{ 'fact' }}"}
    - debug: msg="{{ password }} {{ ansible_become_password }} {{ play_token }} {{ file_password }} {{ made_secret }} {{ deep.api_key }} {{ login }}"
    - debug: msg="{{ lookup('env', 'NOMAD_TOKEN') }} {{ lookup('file', 'sudo') }}"
    - debug: {msg: "sesame-no-{{ 'log' }}"}
      no_log: true
    - fail: {msg: "it was {{ password }}"}
      loop: ["{{ password }}"]
`,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := droverAt(ctx, home, "run", "p.yml", "-i", "hosts.ini", "-e", "password=sesame-extra", "-e", "@extra.yml", "--become-password-file", "sudo", "-vv", "--diff")
	command.Env = append(command.Env, "NOMAD_TOKEN=sesame-token")
	shown, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(shown), "FAILED! => ") {
		t.Fatalf("%v\n%s", err, shown)
	}
	record, err := os.ReadDir(filepath.Join(home, ".local", "state", "drover", "runs"))
	if err != nil || len(record) != 1 {
		t.Fatalf("%v, %v", record, err)
	}
	all := string(shown)
	for _, name := range []string{journal.PlanFile, journal.EventsFile} {
		text, err := os.ReadFile(filepath.Join(home, ".local", "state", "drover", "runs", record[0].Name(), name))
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	for what, text := range secrets {
		if strings.Contains(all, text) {
			t.Errorf("%s is in what was shown or recorded:\n%s", what, all)
		}
	}
	for _, kept := range []string{"joe", "no_log is set"} {
		if !strings.Contains(all, kept) {
			t.Errorf("%q is not there, so this test sees nothing", kept)
		}
	}
}

// Only a playbook of the user's own may not be safe to run twice, and only it takes --start-at-task.
func TestHowToGoOn(t *testing.T) {
	for command, want := range map[string]string{
		"run": "run the same playbook again", "exec": "look at the hosts that failed", "upgrade": "give the same command again", "enterprise": "give the same command again",
		"upgrade-clients": "give the same command again", "raft-v3": "give the same command again", "recover": "give the same command again", "replace-servers": "give the same command again",
	} {
		for _, state := range []journal.State{journal.State(event.Broken), journal.State(event.Interrupted), journal.Died} {
			told := story{runLine: runLine{State: state, Command: command}}
			if got := told.goOn(); !strings.HasPrefix(got, want) {
				t.Errorf("%s, %s: %s", command, state, got)
			}
		}
	}
}

func TestAcceptedRisks(t *testing.T) {
	for _, test := range []struct {
		name string
		vars *expression.Map
		want string
	}{
		{"none", expression.NewMap(), ""},
		{"flags that are not given", expression.MapOf("accept_outage", false, "accept_down", []any{}, "stop_signal", ""), ""},
		{
			"all", expression.MapOf("accept_down", []any{"s1", "s2"}, "accept_outage", true, "skip_unreachable", true, "allow_leave", true, "allow_unsupported_skip", true, "stop_signal", "KILL", "accept_notes", []any{"ecs-1.10"}),
			"--accept-down s1, --accept-down s2, --accept-note ecs-1.10, --accept-outage, --skip-unreachable, --allow-leave, --allow-unsupported-skip, --stop-signal KILL",
		},
		{"given with -e", expression.MapOf("accept_outage", "true", "allow_leave", "false"), "--accept-outage"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var flags []string
			for _, risk := range acceptedRisks(test.vars) {
				flags = append(flags, risk.Flag)
				if risk.Accepts == "" {
					t.Errorf("%s says nothing", risk.Flag)
				}
			}
			if got := strings.Join(flags, ", "); got != test.want {
				t.Errorf("%s", got)
			}
		})
	}
}

// killed runs a command and kills it once it has said a word: killed pausing drover run p.yml.
func killed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: killed WORD COMMAND [ARG...]")
	}
	command := exec.Command(args[1], args[2:]...)
	command.Dir = ts.Getenv("WORK")
	command.Env = []string{"HOME=" + ts.Getenv("WORK"), "PATH=" + os.Getenv("PATH")}
	talk, err := command.StderrPipe()
	ts.Check(err)
	ts.Check(command.Start())
	late := time.AfterFunc(time.Minute, func() { _ = command.Process.Kill() })
	defer late.Stop()
	said := false
	for lines := bufio.NewScanner(talk); lines.Scan(); {
		if said = said || strings.Contains(lines.Text(), args[0]); said {
			_ = command.Process.Kill()
		}
	}
	_ = command.Wait()
	if !said {
		ts.Fatalf("it never said %q", args[0])
	}
}

// tamper changes one letter in the middle of the newest record, as a bad disk does.
func tamper(ts *testscript.TestScript, _ bool, _ []string) {
	dir, err := journal.Find(filepath.Join(ts.Getenv("WORK"), ".local", "state", "drover", "runs"), "last")
	ts.Check(err)
	name := filepath.Join(dir, journal.EventsFile)
	text, err := os.ReadFile(name)
	ts.Check(err)
	ts.Check(os.WriteFile(name, bytes.Replace(text, []byte(`"play_start"`), []byte(`"play_stirt"`), 1), 0o600))
}
