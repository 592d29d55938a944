// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Task is a process of an allocation, as this machine's kernel sees it.
type Task struct {
	Host  string `json:"host"`
	Alloc string `json:"alloc"`
	Group string `json:"group"`
	Name  string `json:"task"`
	PID   int    `json:"pid"`   // outside of the host's own pid namespace
	Start uint64 `json:"start"` // clock ticks after the boot of this machine: a pid with another start is another process
}

// Tasks lists the processes of a client's allocations, helpers of Nomad not included.
func (l *Lab) Tasks(host string) ([]Task, error) {
	if _, err := l.Host(host); err != nil {
		return nil, err
	}
	var tasks []Task
	for _, pid := range groupPids(l.groupDirs(host, machineGroup)) {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // ended since it was listed
		}
		vars := environment(environ)
		if vars["NOMAD_ALLOC_ID"] == "" {
			continue
		}
		start, err := startTime(pid)
		if err != nil {
			continue
		}
		tasks = append(tasks, Task{
			Host: host, Alloc: vars["NOMAD_ALLOC_ID"], Group: vars["NOMAD_GROUP_NAME"],
			Name: vars["NOMAD_TASK_NAME"], PID: pid, Start: start,
		})
	}
	return tasks, nil
}

func environment(text []byte) map[string]string {
	vars := map[string]string{}
	for _, entry := range bytes.Split(text, []byte{0}) {
		if name, value, ok := strings.Cut(string(entry), "="); ok {
			vars[name] = value
		}
	}
	return vars
}

// startTime reads field 22 of /proc/PID/stat; the command before it, in parentheses, may contain anything.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("read the start time of pid %d: short stat", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// initPid finds the host's systemd, pid 1 of a pid namespace one level below.
func (l *Lab) initPid(host string) (int, error) {
	for _, pid := range groupPids(l.groupDirs(host, machineGroup)) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			ids, ok := strings.CutPrefix(line, "NSpid:")
			// A task of the exec driver is the first process of a namespace too, one level further down.
			if fields := strings.Fields(ids); ok && len(fields) == 2 && fields[1] == "1" {
				return pid, nil
			}
		}
	}
	return 0, fmt.Errorf("host %s is not running", host)
}

// OnHost prepares a command that runs as root inside a host, without SSH and also while its network is cut.
func (l *Lab) OnHost(ctx context.Context, host string, argv ...string) (*exec.Cmd, error) {
	if _, err := l.Host(host); err != nil {
		return nil, err
	}
	pid, err := l.initPid(host)
	if err != nil {
		return nil, err
	}
	args := append([]string{
		"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--",
	}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = cleanEnv()
	return cmd, nil
}

// Output runs a command as root inside a host and returns what it printed; the error carries what it complained about.
func (l *Lab) Output(ctx context.Context, host string, argv ...string) (string, error) {
	cmd, err := l.OnHost(ctx, host, argv...)
	if err != nil {
		return "", err
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s on %s: %s: %w", argv[0], host, bytes.TrimSpace(complaint.Bytes()), err)
	}
	return string(out), nil
}
