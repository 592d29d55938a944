// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"sync/atomic"
	"time"

	"drover/executor"
	"drover/internal/connection"
	"drover/internal/modules"
	"drover/internal/secret"
	"drover/internal/wire"
	"drover/inventory"
)

// fleet is the hosts of an inventory and the connections to them: what every command that reaches hosts begins with.
type fleet struct {
	s         streams
	flags     *fleetFlags
	inventory *inventory.Inventory
	hosts     []*inventory.Host // after --limit
	pool      *connection.Pool
	become    secret.Text
	secrets   *secret.Redactor // what neither screen nor record shows
	runID     string
	holder    string
	onRecord  bool
	locked    atomic.Pointer[error] // that another run holds a host, once that was found
}

// open reads the inventory and prepares connections; nothing is dialled yet. lock says whether root agents hold their hosts
// for this run.
func (f *fleetFlags) open(s streams, playbookDir string, lock bool) (*fleet, error) {
	if err := f.check(s); err != nil {
		return nil, err
	}
	hosts, warnings, err := inventory.Load(inventory.Options{Sources: f.inventories, PlaybookDir: playbookDir})
	for _, warning := range warnings {
		s.warn("%s", warning)
	}
	if err != nil {
		return nil, f.inventoryError(err)
	}
	fl := &fleet{s: s, flags: f, inventory: hosts, hosts: hosts.Hosts()}
	if f.limit != "" {
		if fl.hosts, err = hosts.Limit(f.limit); err != nil {
			return nil, usageError("%w", err)
		}
	}
	if len(fl.hosts) == 0 {
		return nil, fmt.Errorf("the inventory %s has no hosts", strings.Join(f.inventories, ", "))
	}
	if fl.become, err = f.becomePassword(s); err != nil {
		return nil, err
	}
	fl.secrets = &secret.Redactor{}
	fl.secrets.Keep(fl.become.Reveal())
	fl.secrets.Keep(s.getenv("NOMAD_TOKEN"))
	now := time.Now()
	fl.runID, fl.holder = newRunID(now), holder(now)
	fl.pool = connection.New(fl.connectionOptions(lock))
	return fl, nil
}

func (f *fleet) close() error { return f.pool.Close() }

// holder says who runs this, for the person who finds a host locked.
func holder(now time.Time) string {
	name := "somebody"
	if current, err := user.Current(); err == nil {
		name = current.Username
	}
	machine, err := os.Hostname()
	if err != nil {
		machine = "an unnamed machine"
	}
	return fmt.Sprintf("%s on %s since %s (process %d)", name, machine, now.Format(time.RFC3339), os.Getpid())
}

func (f *fleet) connectionOptions(lock bool) connection.Options {
	options := connection.Options{
		Forks:       f.flags.forks,
		Home:        f.s.getenv("HOME"),
		AcceptNew:   f.flags.acceptNew,
		AgentSocket: f.s.getenv("SSH_AUTH_SOCK"),
		Environ:     os.Environ(),
		Run:         f.runID,
		Holder:      f.holder,
		Lock:        lock,
		Free:        f.flags.unheld,
		Warn: func(host, text string) {
			f.s.warn("[%s] %s", host, text)
		},
	}
	if f.flags.sshConfig != "" {
		options.ConfigFiles = []string{f.flags.sshConfig}
	}
	if current, err := user.Current(); err == nil {
		options.User = current.Username
	}
	if terminal(f.s.in) {
		options.Passphrase = func(file string) (secret.Text, error) {
			return askSecret(f.s, "passphrase of "+file+": ")
		}
	}
	return options
}

// Connect satisfies executor.Connector.
func (f *fleet) Connect(ctx context.Context, host string, settings executor.Connection) (modules.Host, error) {
	target, err := f.target(host, settings)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", host, err)
	}
	connected, err := f.pool.Host(ctx, target, settings.Become)
	var refused *wire.Error
	if errors.As(err, &refused) && refused.Kind == wire.KindLocked {
		err = fmt.Errorf("%s: %w", host, refused)
		f.locked.CompareAndSwap(nil, &err)
	}
	return connected, err
}

// lockedElsewhere is the end of a run that found a host held by another one; nil when none was.
func (f *fleet) lockedElsewhere() error {
	if found := f.locked.Load(); found != nil {
		return &exit{exitLocked, *found}
	}
	return nil
}

// target reads how a host is reached from its variables; flags fill what they leave open, as in Ansible.
func (f *fleet) target(host string, settings executor.Connection) (connection.Target, error) {
	text := func(names ...string) string {
		for _, name := range names {
			if value, ok := settings.Vars(name); ok && value != nil {
				return fmt.Sprint(value)
			}
		}
		return ""
	}
	if kind := text("ansible_connection"); kind != "" && kind != "ssh" && kind != "smart" {
		return connection.Target{}, fmt.Errorf("ansible_connection %q is not supported: drover connects by ssh", kind)
	}
	if method := text("ansible_become_method"); method != "" && method != "sudo" {
		return connection.Target{}, fmt.Errorf("ansible_become_method %q is not supported: drover becomes root by sudo", method)
	}
	args := strings.TrimSpace(strings.Join([]string{
		cmp.Or(text("ansible_ssh_common_args"), f.flags.sshCommonArgs), text("ansible_ssh_extra_args"),
	}, " "))
	parsed, err := connection.ParseCommonArgs(args)
	if err != nil {
		return connection.Target{}, fmt.Errorf("ansible_ssh_common_args: %w", err)
	}
	port, err := portNumber(text("ansible_port", "ansible_ssh_port"))
	if err != nil {
		return connection.Target{}, err
	}
	target := connection.Target{
		Name:       host,
		Address:    text("ansible_host", "ansible_ssh_host"),
		Port:       port,
		User:       cmp.Or(settings.RemoteUser, text("ansible_user", "ansible_ssh_user"), f.flags.user),
		Password:   secret.New(text("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")),
		CommonArgs: parsed,
		Timeout:    time.Duration(f.flags.timeout) * time.Second,
		Unit:       text("nomad_unit"),
		Become: connection.Become{
			Method:   "sudo",
			User:     cmp.Or(settings.BecomeUser, text("ansible_become_user")),
			Password: f.become,
			Exe:      text("ansible_become_exe"),
		},
	}
	if password := text("ansible_become_password", "ansible_become_pass"); password != "" {
		target.Become.Password = secret.New(password)
	}
	f.secrets.Keep(target.Password.Reveal())
	f.secrets.Keep(target.Become.Password.Reveal())
	if key := cmp.Or(text("ansible_ssh_private_key_file", "ansible_private_key_file"), f.flags.privateKey); key != "" {
		target.KeyFiles = []string{key}
	}
	if dir := text("ansible_remote_tmp", "drover_agent_dir"); dir != "" {
		target.AgentDirs = []string{dir}
	}
	return target, nil
}

func portNumber(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	var port int
	if _, err := fmt.Sscanf(text, "%d", &port); err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("ansible_port %q is no port", text)
	}
	return port, nil
}

// hostNames are those that the run works on, in inventory order.
func hostNames(hosts []*inventory.Host) []string {
	names := make([]string, len(hosts))
	for i, host := range hosts {
		names[i] = host.Name
	}
	return names
}
