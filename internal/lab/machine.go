// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"drover/internal/words"
)

// Each host has two groups in every cgroup hierarchy: one for the loop that starts it again after a reboot, and one for the
// machine itself. Without the second, systemd-nspawn would put the systemd of all hosts into one group, where they manage each other's services.
const (
	loopGroup    = "loop"
	machineGroup = "machine"
)

func (l *Lab) groupDirs(parts ...string) []string {
	path := filepath.Join(append([]string{cgroupParent, l.state.Name}, parts...)...)
	var dirs []string
	for _, h := range l.groups {
		dirs = append(dirs, filepath.Join(h.mount, path))
	}
	return dirs
}

func (l *Lab) makeGroups(host string) error {
	for _, h := range l.groups {
		for _, leaf := range []string{loopGroup, machineGroup} {
			if err := h.make(strings.Join([]string{cgroupParent, l.state.Name, host, leaf}, "/")); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Lab) machineName(host string) string { return "drover-" + l.state.Name + "-" + host }

// nspawnArgs are systemd-nspawn's. There is no systemd and no machined outside: hence keep-unit and no registration.
// The filter lets Nomad's exec driver have a session keyring and landlock.
func (l *Lab) nspawnArgs(host string) []string {
	return []string{
		"systemd-nspawn", "--quiet", "--boot", "--keep-unit", "--register=no", "--link-journal=no",
		"--resolv-conf=off", "--timezone=off", "--console=pipe",
		"--directory=" + l.hostRoot(host),
		"--machine=" + l.machineName(host),
		"--hostname=" + host,
		"--network-namespace-path=" + netnsPath(l.state.hostNetns(host)),
		"--system-call-filter=@keyring landlock_create_ruleset landlock_add_rule landlock_restrict_self",
	}
}

// bootScript runs a host until it powers off. nspawn exits with 133 when the host rebooted and expects to be started again.
func (l *Lab) bootScript(host string) string {
	var text strings.Builder
	text.WriteString("#!/bin/sh\n")
	for _, dir := range l.groupDirs(host, loopGroup) {
		fmt.Fprintf(&text, "echo 0 > %s/cgroup.procs || exit 1\n", words.Quote(dir))
	}
	text.WriteString("while :; do\n  (\n")
	for _, dir := range l.groupDirs(host, machineGroup) {
		fmt.Fprintf(&text, "    echo 0 > %s/cgroup.procs || exit 1\n", words.Quote(dir))
	}
	text.WriteString("    exec")
	for _, arg := range l.nspawnArgs(host) {
		text.WriteString(" " + words.Quote(arg))
	}
	text.WriteString("\n  )\n  test $? -eq 133 || exit\ndone\n")
	return text.String()
}

// start boots a host and returns at once. The process is no child of this one, so the host outlives it and nobody has to reap it.
func (l *Lab) start(ctx context.Context, host string) error {
	script := "boot/" + host + ".sh"
	if err := l.writeFile(script, l.bootScript(host)); err != nil {
		return err
	}
	if err := os.MkdirAll(l.path("console"), 0o700); err != nil {
		return fmt.Errorf("start %s: %w", host, err)
	}
	console, err := os.OpenFile(l.consolePath(host), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", host, err)
	}
	defer console.Close()
	cmd := exec.CommandContext(ctx, "setsid", "--fork", "/bin/sh", l.path(script))
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = cleanEnv(), console, console, "/"
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start %s: %w", host, err)
	}
	return nil
}

func (l *Lab) consolePath(host string) string { return l.path("console/" + host + ".log") }

// Kill cuts a host's power: every process of it ends at once.
func (l *Lab) Kill(ctx context.Context, name string) error {
	if _, err := l.Host(name); err != nil {
		return err
	}
	if err := killGroups(ctx, l.groupDirs(name)); err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	if err := removeGroups(ctx, l.groupDirs(name)); err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	return l.forget(name)
}

// nspawnRun is where systemd-nspawn keeps its locks and its mount propagation.
const nspawnRun = "/run/systemd/nspawn"

// forget removes what a killed systemd-nspawn leaves under /run.
func (l *Lab) forget(host string) error {
	var stat unix.Stat_t
	if err := unix.Stat(l.hostRoot(host), &stat); err == nil {
		lock := fmt.Sprintf("%s/locks/inode-%d:%d", nspawnRun, stat.Dev, stat.Ino)
		if err := os.Remove(lock); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clear the lock of %s: %w", host, err)
		}
	}
	for _, dir := range []string{"propagate", "unix-export"} {
		path := filepath.Join(nspawnRun, dir, l.machineName(host))
		// Never into a mount that is still there: only empty directories go.
		_ = unix.Unmount(path, unix.MNT_DETACH)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clear what nspawn left of %s: %w", host, err)
		}
	}
	return nil
}

// Boot starts a host that was killed or powered off.
func (l *Lab) Boot(ctx context.Context, name string) error {
	if _, err := l.Host(name); err != nil {
		return err
	}
	if len(groupPids(l.groupDirs(name))) > 0 {
		return fmt.Errorf("boot %s: it is running", name)
	}
	if err := l.makeGroups(name); err != nil {
		return fmt.Errorf("boot %s: %w", name, err)
	}
	return l.start(ctx, name)
}
