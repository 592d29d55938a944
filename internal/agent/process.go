// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sort"
	"strings"
	"syscall"
	"time"

	"drover/internal/wire"
)

const (
	cleanPath       = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	defaultMaxBytes = 1 << 20
	maxOutput       = 1 << 20 // two of these, escaped as JSON, must fit in a message
	// How long a process that was killed, or whose children keep its output open, is waited for.
	outputGrace = 2 * time.Second
)

// command is a program to run: in its own process group, with nothing of the agent's environment.
type command struct {
	argv  []string
	env   map[string]string
	dir   string
	as    *account // nil: the agent's own user
	stdin string
	limit int // of stdout and of stderr each, in bytes
}

type outcome struct {
	rc             int
	stdout, stderr string
	truncated      bool
	start, end     time.Time
}

// execute runs a program to its end. When ctx ends first the whole process group is killed and the error says so.
func (c command) execute(ctx context.Context) (outcome, error) {
	if len(c.argv) == 0 || c.argv[0] == "" {
		return outcome{}, failure(wire.KindInvalid, "there is no program to run")
	}
	path, err := findProgram(c.argv[0])
	if err != nil {
		return outcome{}, err
	}
	cmd := exec.CommandContext(ctx, path, c.argv[1:]...)
	cmd.Args[0] = c.argv[0]
	cmd.Env = c.environment()
	cmd.Dir = c.dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Stdin = strings.NewReader(c.stdin)
	stdout, stderr := newHeadTail(c.limit), newHeadTail(c.limit)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.as != nil && c.as.uid != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.as.uid), Gid: uint32(c.as.gid), Groups: c.as.groups}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputGrace
	result := outcome{start: time.Now()}
	if err := cmd.Start(); err != nil {
		return outcome{}, fmt.Errorf("start %s: %w", c.argv[0], err)
	}
	err = cmd.Wait()
	result.end = time.Now()
	result.stdout, result.stderr = stdout.String(), stderr.String()
	result.truncated = stdout.truncated() || stderr.truncated()
	if ctx.Err() != nil {
		return result, failure(wire.KindTimeout, "%s was killed after %s: its time limit ran out or the caller went away",
			c.argv[0], result.end.Sub(result.start).Round(time.Millisecond))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return result, fmt.Errorf("run %s: %w", c.argv[0], err)
	}
	result.rc = exitCode(cmd.ProcessState)
	return result, nil
}

// exitCode is what a shell shows: 128 and the signal for a process that one killed.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

func (c command) environment() []string {
	values := map[string]string{"PATH": cleanPath, "LANG": "C.UTF-8", "HOME": "/", "SHELL": "/bin/sh"}
	who := c.as
	if who == nil {
		if self, err := lookupUser(context.Background(), fmt.Sprint(os.Geteuid())); err == nil {
			who = &self
		}
	}
	if who != nil {
		values["USER"], values["LOGNAME"] = who.name, who.name
		if who.home != "" {
			values["HOME"] = who.home
		}
	}
	for key, value := range c.env {
		values[key] = value
	}
	list := make([]string, 0, len(values))
	for key, value := range values {
		list = append(list, key+"="+value)
	}
	sort.Strings(list)
	return list
}

// findProgram looks a bare name up in the clean PATH, not in the agent's.
func findProgram(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(cleanPath, ":") {
		path := dir + "/" + name
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", failure(wire.KindNotFound, "there is no program %q in %s", name, cleanPath)
}

func run(ctx context.Context, _ *call, request wire.Run) (wire.RunResult, error) {
	skipped, err := unneeded(request)
	if err != nil || skipped != "" {
		return wire.RunResult{Skipped: skipped}, err
	}
	c := command{argv: request.Argv, env: request.Env, dir: request.Dir, stdin: request.Stdin, limit: request.MaxBytes}
	if c.limit <= 0 {
		c.limit = defaultMaxBytes
	}
	c.limit = min(c.limit, maxOutput)
	if request.User != "" {
		who, err := lookupUser(ctx, request.User)
		if err != nil {
			return wire.RunResult{}, err
		}
		if os.Geteuid() != 0 && who.uid != os.Geteuid() {
			return wire.RunResult{}, failure(wire.KindPermission, "running as %s needs an agent that is root", request.User)
		}
		c.as = &who
	}
	if request.Group != "" {
		gid, err := lookupGroup(ctx, request.Group)
		if err != nil {
			return wire.RunResult{}, err
		}
		if c.as == nil {
			who, err := lookupUser(ctx, fmt.Sprint(os.Geteuid()))
			if err != nil {
				return wire.RunResult{}, err
			}
			c.as = &who
		}
		c.as.gid = gid
	}
	result, err := c.execute(ctx)
	return wire.RunResult{
		RC: result.rc, Stdout: result.stdout, Stderr: result.stderr, Truncated: result.truncated,
		Start: result.start.UnixNano(), End: result.end.UnixNano(),
	}, err
}

// unneeded says why a program with creates or removes is not run; "" when it is.
func unneeded(request wire.Run) (string, error) {
	if request.Creates != "" {
		if _, err := os.Lstat(request.Creates); err == nil {
			return request.Creates + " exists", nil
		}
	}
	if request.Removes != "" {
		if _, err := os.Lstat(request.Removes); errors.Is(err, fs.ErrNotExist) {
			return request.Removes + " does not exist", nil
		}
	}
	return "", nil
}
