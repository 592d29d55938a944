// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var updateScripts = flag.Bool("update-scripts", false, "write what drover prints now into the stories")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"drover": main})
}

// TestStories runs what a person types, and compares what they see. None of it needs a host.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *updateScripts,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("ESC", "\x1b")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "interrupt": interrupt, "killed": killed, "tamper": tamper,
		},
	})
}

// exits runs a command and compares its exit code: exits 5 drover run.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	wantCode(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func wantCode(ts *testscript.TestScript, want string, err error) {
	code := 0
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		code = ended.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

// interrupt runs a command, sends it SIGINT so many times once it has said a word, and compares its exit code. What it told
// is in the files told and results: interrupt 99 1 pausing drover run p.yml.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: interrupt CODE TIMES WORD COMMAND [ARG...]")
	}
	times, err := strconv.Atoi(args[1])
	ts.Check(err)
	command := exec.Command(args[3], args[4:]...)
	command.Dir = ts.Getenv("WORK")
	command.Env = []string{"HOME=" + ts.Getenv("WORK"), "PATH=" + os.Getenv("PATH")}
	var results strings.Builder
	command.Stdout = &results
	talk, err := command.StderrPipe()
	ts.Check(err)
	ts.Check(command.Start())
	late := time.AfterFunc(time.Minute, func() { _ = command.Process.Kill() })
	defer late.Stop()
	var told strings.Builder
	for lines := bufio.NewScanner(talk); lines.Scan(); {
		fmt.Fprintln(&told, lines.Text())
		// Each signal waits for the word that shows that drover has come so far.
		if times > 0 && (strings.Contains(lines.Text(), args[2]) || strings.Contains(lines.Text(), "drover: interrupted:")) {
			times--
			ts.Check(command.Process.Signal(os.Interrupt))
		}
	}
	ended := command.Wait()
	ts.Check(os.WriteFile(ts.MkAbs("told"), []byte(told.String()), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("results"), []byte(results.String()), 0o600))
	ts.Logf("%s%s", results.String(), told.String())
	wantCode(ts, args[0], ended)
}
