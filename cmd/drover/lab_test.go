// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
	"drover/internal/lab/watch"
)

// The upgrades that tests make.
const (
	oldVersion = "1.10.5"
	newVersion = "1.11.0"
)

// droverBinary is the program that a user runs: the build that `make test` names, or one made now.
func droverBinary(t testing.TB) string {
	t.Helper()
	if built := os.Getenv("DROVER"); built != "" {
		return built
	}
	build := exec.CommandContext(t.Context(), "make", "-s", "build")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	path, err := filepath.Abs("../../bin/drover")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// needLab says in one line why a lab test cannot run here. Where CI runs none may be left out.
func needLab(t testing.TB) {
	t.Helper()
	err := lab.Requirements()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("no lab can be brought up: %v", err)
	default:
		t.Skipf("no lab can be brought up: %v", err)
	}
}

// rig is a lab and the drover that is tried on it.
type rig struct {
	t         testing.TB
	lab       *lab.Lab
	drover    string
	user      string
	inventory string
	binary    string // the new version's
	state     string // drover's own files
}

func newRig(t testing.TB, options lab.Options, user string) *rig {
	t.Helper()
	needLab(t)
	options.Name = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(t.Name(), "Test"), "Benchmark"), "/", "-"))
	options.Name = options.Name[:min(len(options.Name), 20)]
	options.Dirs = lab.FindDirs(os.Getenv)
	if options.Version == "" {
		options.Version = oldVersion
	}
	var said bytes.Buffer
	binary, err := lab.Nomad(t.Context(), newVersion, "", options.Dirs.Cache, &said)
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	r := &rig{t: t, drover: droverBinary(t), user: user, binary: binary, state: t.TempDir()}
	if r.lab, err = lab.Up(t.Context(), options, &said); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	t.Cleanup(r.down)
	text, err := r.lab.Inventory(user)
	if err != nil {
		t.Fatal(err)
	}
	r.inventory = filepath.Join(r.state, "hosts.ini")
	if err := os.WriteFile(r.inventory, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// down takes the lab down, once.
func (r *rig) down() {
	if r.lab == nil {
		return
	}
	options := r.lab.Options()
	r.lab = nil
	if err := lab.Down(context.Background(), options.Dirs, options.Name, nil); err != nil {
		r.t.Errorf("take the lab down: %v", err)
	}
}

// command prepares drover in the lab's bastion. A plan that names no source gets the lab's binary: no way leads from here to HashiCorp's releases.
func (r *rig) command(args ...string) *exec.Cmd {
	named := func(arg string) bool { return strings.HasPrefix(arg, "--binary") || arg == "--mirror" }
	if args[0] == "plan" && !slices.ContainsFunc(args, named) {
		args = append(slices.Clone(args), "--binary", r.binary)
	}
	args = append([]string{r.drover, args[0], "-i", r.inventory}, args[1:]...)
	if r.user == "operator" {
		args = append(args, "--become-password-file", r.lab.PasswordFile())
	}
	command := r.lab.Command(r.t.Context(), args...)
	command.Env = []string{"HOME=" + r.state, "PATH=" + os.Getenv("PATH"), "XDG_STATE_HOME=" + r.state, "XDG_CACHE_HOME=" + filepath.Join(r.state, "cache")}
	return command
}

// answer is what a command printed and how it ended.
type answer struct {
	out, err string
	code     int
	took     time.Duration
}

func (a answer) String() string {
	return fmt.Sprintf("exit code %d after %s\nstdout:\n%s\nstderr:\n%s", a.code, a.took.Round(time.Millisecond), a.out, a.err)
}

func (r *rig) run(args ...string) answer {
	r.t.Helper()
	return finish(r.t, r.command(args...))
}

func finish(t testing.TB, command *exec.Cmd) answer {
	t.Helper()
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	began := time.Now()
	err := command.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%s: %v", command, err)
	}
	return answer{out.String(), errOut.String(), command.ProcessState.ExitCode(), time.Since(began)}
}

// must is run for a command that has to succeed.
func (r *rig) must(args ...string) answer {
	r.t.Helper()
	a := r.run(args...)
	if a.code != 0 {
		r.t.Fatalf("drover %s: %s", strings.Join(args, " "), a)
	}
	return a
}

func (r *rig) upgrade(more ...string) answer {
	r.t.Helper()
	return r.run(append([]string{"upgrade", "--to", newVersion, "--binary", r.binary, "--yes"}, more...)...)
}

// watched runs do while the cluster is looked at from outside.
func (r *rig) watched(do func()) *watch.Report {
	r.t.Helper()
	watcher, err := watch.Start(r.t.Context(), r.lab)
	if err != nil {
		r.t.Fatal(err)
	}
	do()
	report, err := watcher.Stop(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

// onHost runs a command on a host, outside of drover, and must succeed.
func (r *rig) onHost(host string, argv ...string) string {
	r.t.Helper()
	out, err := r.lab.Output(r.t.Context(), host, argv...)
	if err != nil {
		r.t.Fatalf("%s: %s: %v", host, strings.Join(argv, " "), err)
	}
	return out
}

// agentHosts are those with Nomad.
func (r *rig) agentHosts() []string {
	var names []string
	for _, host := range r.lab.Hosts() {
		if host.RunsNomad() {
			names = append(names, host.Name)
		}
	}
	return names
}

// mainPIDs are the agents' processes.
func (r *rig) mainPIDs() map[string]int {
	r.t.Helper()
	pids := map[string]int{}
	for _, name := range r.agentHosts() {
		pid, err := r.lab.AgentPID(name)
		if err != nil {
			r.t.Fatal(err)
		}
		pids[name] = pid
	}
	return pids
}

// wantVersion checks what every agent says that it runs.
func (r *rig) wantVersion(want string) {
	r.t.Helper()
	for _, host := range r.lab.Status(r.t.Context()) {
		if host.RunsNomad() && host.Nomad != want {
			r.t.Errorf("%s runs %q, not %s", host.Name, host.Nomad, want)
		}
	}
}
