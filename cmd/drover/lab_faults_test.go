// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// with is the same rig for a subtest.
func (r *rig) with(t *testing.T) *rig {
	here := *r
	here.t = t
	return &here
}

// sub runs a subtest; what comes after it builds on the state it leaves, so a failure ends the whole test.
func (r *rig) sub(name string, run func(r *rig)) {
	t := r.t.(*testing.T)
	t.Helper()
	if !t.Run(name, func(t *testing.T) { run(r.with(t)) }) {
		t.FailNow()
	}
}

// path is a file of a host, seen from outside.
func (r *rig) path(host, name string) string {
	return filepath.Join(r.lab.Dir(), "hosts", host, name)
}

// hostState is what a server says of itself.
type hostState struct {
	Stats struct {
		Raft struct {
			State string `json:"state"`
		} `json:"raft"`
	} `json:"stats"`
	Member struct {
		Tags map[string]string
	} `json:"member"`
}

func (r *rig) self(host string) (hostState, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
	defer cancel()
	var state hostState
	err := r.lab.Call(ctx, host, "GET", "/v1/agent/self", nil, &state)
	return state, err
}

// leads tells whether a server says that it is the leader.
func (r *rig) leads(host string) bool {
	state, err := r.self(host)
	return err == nil && state.Stats.Raft.State == "Leader"
}

// roles waits for a leader and names it and the others, by name.
func (r *rig) roles() (leader string, followers []string) {
	r.t.Helper()
	r.eventually("a leader", time.Minute, func() bool {
		leader, followers = "", nil
		for _, host := range r.lab.Hosts() {
			switch {
			case !host.IsServer():
			case r.leads(host.Name):
				leader = host.Name
			default:
				followers = append(followers, host.Name)
			}
		}
		return leader != ""
	})
	slices.Sort(followers)
	return leader, followers
}

// transfer moves leadership behind drover's back.
func (r *rig) transfer(from, to string) error {
	target, err := r.self(to)
	if err != nil {
		return err
	}
	err = r.lab.Call(r.t.Context(), from, "PUT", "/v1/operator/raft/transfer-leadership?id="+target.Member.Tags["id"], nil, nil)
	if err != nil {
		return fmt.Errorf("move leadership from %s to %s: %w", from, to, err)
	}
	for end := time.Now().Add(5 * time.Second); !r.leads(to); {
		if time.Now().After(end) {
			return fmt.Errorf("%s does not lead after the transfer", to)
		}
	}
	return nil
}

// swapPlaybook is one that swaps one host and asks nobody for a quorum.
func (r *rig) swapPlaybook(host, binary, more string) string {
	r.t.Helper()
	return r.playbook(fmt.Sprintf(`- hosts: all
  become: true
  tasks:
    - nomad_facts:
- hosts: %s
  become: true
  tasks:
    - nomad_stage:
        version: %s
        binary: %s
    - nomad_swap:
        version: %s
        %s
`, host, newVersion, binary, newVersion, more))
}

func (r *rig) playbook(text string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "playbook.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// standIn is a binary of the new version that does everything but come up.
func (r *rig) standIn() string {
	r.t.Helper()
	path := filepath.Join(r.state, "standin", "nomad")
	build := exec.CommandContext(r.t.Context(), "go", "build", "-o", path, "-ldflags", "-X main.version="+newVersion, "./testdata/standin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		r.t.Fatalf("build the stand-in: %v\n%s", err, out)
	}
	return path
}

// wantAnswer checks an exit code and the words that a person needs.
func wantAnswer(t testing.TB, a answer, code int, words ...string) {
	t.Helper()
	if a.code != code {
		t.Errorf("exit code %d, want %d", a.code, code)
	}
	text := strings.Join(strings.Fields(a.out+a.err), " ")
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("it does not say %q", word)
		}
	}
	if t.Failed() {
		t.Log(a)
	}
}

// wantUntouched checks that the agents have the processes that they had.
func (r *rig) wantUntouched(before map[string]int) {
	r.t.Helper()
	for host, pid := range before {
		if now, err := r.lab.AgentPID(host); err != nil || now != pid {
			r.t.Errorf("%s: the agent was process %d, now %d (%v)", host, pid, now, err)
		}
	}
}

// wantRuns checks what a host's process is, by its file, and that nothing is left over of the swap.
func (r *rig) wantRuns(host, version string) {
	r.t.Helper()
	r.eventually(host+" to run "+version, 30*time.Second, func() bool {
		out, err := r.lab.Output(r.t.Context(), host, "sh", "-c", `/proc/$(systemctl show -p MainPID --value nomad)/exe version`)
		first, _, _ := strings.Cut(out, "\n")
		return err == nil && first == "Nomad v"+version
	})
	if out := r.onHost(host, "sh", "-c", "/usr/local/bin/nomad version | head -n1"); strings.TrimSpace(out) != "Nomad v"+version {
		r.t.Errorf("%s: on disk is %s, not %s", host, out, version)
	}
	r.wantNoDropIn(host)
}

func (r *rig) wantNoDropIn(host string) {
	r.t.Helper()
	failed := r.t.Failed()
	defer func() {
		if r.t.Failed() && !failed {
			r.t.Log(r.swapRecord(host))
		}
	}()
	r.eventually("the stop signal's drop-in to be gone from "+host, 10*time.Second, func() bool {
		out, err := r.lab.Output(r.t.Context(), host, "sh", "-c", "ls /run/systemd/system/nomad.service.d 2>/dev/null; systemctl show -p DropInPaths --value nomad")
		return err == nil && !strings.Contains(out, "drover")
	})
}

// swapRecord is what a host has written down of its last swap, for the reader of a failure.
func (r *rig) swapRecord(host string) string {
	out, err := r.lab.Output(context.Background(), host, "sh", "-c",
		`cd /var/lib/drover/swap/nomad.service && cd "$(ls | tail -n1)" && cat steps.jsonl; ls; systemctl --no-pager list-units 'drover*'; journalctl --no-pager -n 60 -o short-precise -t systemd; ls -l /run/systemd/system/*.d; systemctl show -p DropInPaths nomad`)
	if err != nil {
		return err.Error()
	}
	return out
}

// gap is the time in which a host has no agent, made long enough to act in: systemd's stop job does not end before the
// gap is released, so that nothing has been told yet to start the agent again.
type gap struct {
	r    *rig
	host string
	fd   int
}

const holdFile = "/run/hold-nomad"

// holdGap lets the next stop of a host's agent wait, once its process is gone, until the gap is released.
func (r *rig) holdGap(host string) *gap {
	r.t.Helper()
	r.dropIn(host, "[Service]\nExecStopPost=/bin/sh -c \"while test -e "+holdFile+"; do sleep 0.02; done\"\n")
	r.onHost(host, "touch", holdFile)
	pid, err := r.lab.AgentPID(host)
	if err != nil {
		r.t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return &gap{r: r, host: host, fd: fd}
}

// await returns when the kernel says that the old agent is gone.
func (g *gap) await() {
	g.r.t.Helper()
	defer unix.Close(g.fd)
	for end := time.Now().Add(2 * time.Minute); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(g.fd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			g.r.t.Fatalf("%s: the old agent was not stopped (%v)", g.host, err)
		}
		return
	}
}

// release lets the stop end.
func (g *gap) release() {
	g.r.t.Helper()
	g.r.onHost(g.host, "rm", holdFile)
}

// killOnHost ends, with SIGKILL, the processes of a host whose command line holds all the words.
func (r *rig) killOnHost(host string, words ...string) int {
	r.t.Helper()
	killed := 0
	for _, line := range strings.Split(r.onHost(host, "sh", "-c", `for p in /proc/[0-9]*; do printf '%s ' "${p#/proc/}"; tr '\0' ' ' <"$p/cmdline" 2>/dev/null; echo; done`), "\n") {
		pid, cmdline, _ := strings.Cut(line, " ")
		program, _, _ := strings.Cut(cmdline, " ")
		matches := func(word string) bool { return strings.Contains(cmdline, word) }
		if !strings.Contains(program, "drover-agent") || slices.ContainsFunc(words, func(word string) bool { return !matches(word) }) {
			continue
		}
		if _, err := strconv.Atoi(pid); err == nil {
			// An agent whose drover was killed may end by itself meanwhile, which is as good.
			r.onHost(host, "sh", "-c", "kill -9 "+pid+" 2>/dev/null || [ ! -e /proc/"+pid+" ]")
			killed++
		}
	}
	if killed == 0 {
		r.t.Errorf("%s: no process of drover's agent %q was there to be killed", host, words)
	}
	return killed
}

// begin starts a command without waiting for it.
func (r *rig) begin(args ...string) *started {
	r.t.Helper()
	s := &started{command: r.command(args...), done: make(chan struct{})}
	out, err := os.Create(filepath.Join(r.t.TempDir(), "output"))
	if err != nil {
		r.t.Fatal(err)
	}
	s.output = out.Name()
	s.command.Stdout, s.command.Stderr = out, out
	if err := s.command.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		_ = s.command.Wait()
		out.Close()
		close(s.done)
	}()
	r.t.Cleanup(s.kill)
	return s
}

func (r *rig) beginUpgrade(more ...string) *started {
	r.t.Helper()
	return r.begin(append([]string{"upgrade", "--to", newVersion, "--binary", r.binary, "--yes"}, more...)...)
}

// started is a drover at work.
type started struct {
	command *exec.Cmd
	output  string
	done    chan struct{}
}

// kill ends it with SIGKILL, if it still is there.
func (s *started) kill() {
	_ = s.command.Process.Kill()
	<-s.done
}

// end waits until it has ended by itself.
func (s *started) end(t testing.TB, limit time.Duration) answer {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(limit):
		t.Errorf("drover has not ended after %s", limit)
		s.kill()
	}
	text, err := os.ReadFile(s.output)
	if err != nil {
		t.Fatal(err)
	}
	return answer{out: string(text), code: s.command.ProcessState.ExitCode()}
}

// tasks are the processes of all allocations.
func (r *rig) tasks() map[string]uint64 {
	r.t.Helper()
	found := map[string]uint64{}
	for _, host := range r.lab.Hosts() {
		if !host.IsClient() {
			continue
		}
		tasks, err := r.lab.Tasks(host.Name)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, task := range tasks {
			found[fmt.Sprintf("%s %s %d", task.Host, task.Alloc, task.PID)] = task.Start
		}
	}
	if len(found) == 0 {
		r.t.Fatal("no allocation has a process")
	}
	return found
}

func (r *rig) wantTasks(before map[string]uint64) {
	r.t.Helper()
	if now := r.tasks(); !maps.Equal(before, now) {
		r.t.Errorf("tasks were %v, are %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(now)))
	}
}
