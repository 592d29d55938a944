// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetns runs fn with the calling thread in a network namespace. The thread is never unlocked, so the Go runtime ends
// it with the goroutine and no other goroutine can run in the wrong namespace. fn must do its system calls itself, not in goroutines.
func inNetns(name string, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := enterNetns(name); err != nil {
			result <- err
			return
		}
		result <- fn()
	}()
	return <-result
}

func enterNetns(name string) error {
	ns, err := os.Open(netnsPath(name))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	return nil
}

// Dial connects from the lab's switch, which sees every host that is not cut, to "HOST:PORT", HOST being a name
// of this lab or an address. It fits http.Transport's DialContext.
func (l *Lab) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	if host, err := l.Host(name); err == nil {
		name = host.fleetAddress().String()
	} else if net.ParseIP(name) == nil {
		// A name would be resolved in a goroutine of its own, outside the namespace.
		return nil, err
	}
	var conn net.Conn
	err = inNetns(l.state.switchNetns(), func() error {
		var dialer net.Dialer
		var err error
		conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(name, port))
		return err
	})
	return conn, err
}

// Command prepares a command that runs where a bastion would stand: in the lab's network, with this machine's files
// and environment. Its exit code and signals are the command's own.
func (l *Lab) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + netnsPath(l.state.bastionNetns()), "--"}, args...)...)
}

// Become replaces this process by a command in the bastion's network namespace. It returns only when that fails.
func (l *Lab) Become(argv, env []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("find %s: %w", argv[0], err)
	}
	runtime.LockOSThread()
	if err := enterNetns(l.state.bastionNetns()); err != nil {
		return err
	}
	if err := unix.Exec(path, argv, env); err != nil {
		return fmt.Errorf("exec %s: %w", path, err)
	}
	return nil
}

// cleanEnv is the environment of everything that a lab starts: Nomad exits at once with a variable such as AWS_CA_BUNDLE in it.
func cleanEnv() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		"LANG=C.UTF-8",
	}
}
