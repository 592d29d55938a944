// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Lab is one set of practice hosts, standing or being built.
type Lab struct {
	dir    string
	state  state
	groups []hierarchy
	lock   *os.File // held while the lab is being built or taken down
}

// Hosts lists the lab's hosts: servers, clients, plain hosts, the jump host.
func (l *Lab) Hosts() []Host { return slices.Clone(l.state.Hosts) }

// Options are those the lab was brought up with, defaults filled in.
func (l *Lab) Options() Options { return l.state.Options }

// Dir is the lab's folder, for root only.
func (l *Lab) Dir() string { return l.dir }

// Host finds a host by name.
func (l *Lab) Host(name string) (Host, error) {
	var names []string
	for _, host := range l.state.Hosts {
		if host.Name == name {
			return host, nil
		}
		names = append(names, host.Name)
	}
	return Host{}, fmt.Errorf("lab %q has no host %q: it has %s", l.state.Name, name, strings.Join(names, ", "))
}

// Up brings a lab up and returns when it is ready: SSH answers everywhere, the servers have a leader and are healthy, the
// clients are ready, the job's allocations run. What it does is said on out, which may be nil. When it fails, also because
// ctx ended, it takes down what it made, unless Options.Keep.
func Up(ctx context.Context, options Options, out io.Writer) (*Lab, error) {
	p := newProgress(out)
	o := options.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	p.say("lab %q: %d servers, %d clients, %d other hosts, Nomad %s", o.Name, o.Servers, o.Clients, len(makeHosts(o))-o.Servers-o.Clients, o.Version)
	if err := Requirements(); err != nil {
		return nil, err
	}
	groups, err := mountedHierarchies()
	if err != nil {
		return nil, err
	}
	lock, err := lockName(o.Dirs, o.Name)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	l := &Lab{dir: filepath.Join(o.Dirs.State, o.Name), groups: groups, lock: lock}
	l.state = state{Name: o.Name, Started: time.Now(), Options: o, Hosts: makeHosts(o)}
	if err := l.refuseSecond(); err != nil {
		return nil, err
	}
	if err := l.build(ctx, p); err != nil {
		return nil, l.giveUp(ctx, p, err)
	}
	l.lock = nil
	p.say("lab %q is up", o.Name)
	return l, nil
}

// refuseSecond keeps a lab from being built over another, or over what is left of one.
func (l *Lab) refuseSecond() error {
	places := append(l.groupDirs(), l.dir, netnsPath(l.state.bastionNetns()))
	for _, place := range places {
		if _, err := os.Stat(place); err == nil {
			return fmt.Errorf("lab %q exists already (%s): take it down with `drover lab down --name %s`, or choose another --name",
				l.state.Name, place, l.state.Name)
		}
	}
	return nil
}

// giveUp reports why a lab did not come up, with the last words of its hosts, and removes it.
func (l *Lab) giveUp(ctx context.Context, p *progress, cause error) error {
	cause = fmt.Errorf("bring up lab %q: %w", l.state.Name, cause)
	if l.state.Options.Keep {
		p.say("failed: the lab stays as it is, as --keep says")
		return cause
	}
	p.say("failed: taking down what stands")
	// The caller's context may be what ended the build; the removal has limits of its own.
	return errors.Join(cause, l.remove(context.WithoutCancel(ctx)))
}

func (l *Lab) build(ctx context.Context, p *progress) error {
	o := l.state.Options
	root, binary, err := ingredients(ctx, o, p)
	if err != nil {
		return err
	}
	l.state.Rootfs = root
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		return fmt.Errorf("make the lab's folder: %w", err)
	}
	if err := l.save(); err != nil {
		return err
	}
	p.say("network: a switch and %d hosts, each in a namespace of its own", len(l.state.Hosts))
	if err := l.buildNetwork(ctx); err != nil {
		return err
	}
	p.say("files: users, keys, sshd, Nomad")
	if err := l.writeFiles(ctx, binary); err != nil {
		return err
	}
	p.say("boot: %d hosts", len(l.state.Hosts))
	for _, host := range l.state.Hosts {
		if err := l.makeGroups(host.Name); err != nil {
			return err
		}
		if err := l.start(ctx, host.Name); err != nil {
			return err
		}
	}
	if err := l.waitReady(ctx, p); err != nil {
		return err
	}
	l.state.Ready = true
	return l.save()
}

// ingredients finds or makes the two things that labs share. Nomad comes first: a version that is not to be had ends it at once.
func ingredients(ctx context.Context, o Options, p *progress) (root, binary string, err error) {
	if o.Servers+o.Clients > 0 {
		if binary, err = findNomad(ctx, o.Version, o.NomadDir, o.Dirs.Cache, p); err != nil {
			return "", "", err
		}
	}
	if o.Rootfs != "" {
		return o.Rootfs, binary, checkRootfs(o.Rootfs)
	}
	root, err = rootfs(ctx, o.Dirs.Cache, p)
	return root, binary, err
}

// writeFiles makes everything that the hosts and their users read: keys, certificates, layers.
func (l *Lab) writeFiles(ctx context.Context, binary string) error {
	login, err := newKeyPair()
	if err != nil {
		return err
	}
	password, hash, err := newPassword()
	if err != nil {
		return err
	}
	hostKeys := map[string]keyPair{}
	for _, host := range l.state.Hosts {
		if hostKeys[host.Name], err = newKeyPair(); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		keyFile:        login.private,
		passwordFile:   password + "\n",
		knownHostsFile: knownHosts(l.state.Hosts, hostKeys),
		sshConfigFile:  l.sshConfig(),
	} {
		if err := l.writeFile(name, text); err != nil {
			return err
		}
	}
	ca, agents, err := l.certificates()
	if err != nil {
		return err
	}
	if err := l.mountLayers(); err != nil {
		return err
	}
	if err := l.writeBase(login.public, hash); err != nil {
		return err
	}
	tasks, _ := errgroup.WithContext(ctx)
	tasks.SetLimit(4)
	for _, host := range l.state.Hosts {
		tasks.Go(func() error { return l.writeHost(host, hostKeys[host.Name], binary, agents[certificateRole(host)], ca) })
	}
	return tasks.Wait()
}

// certificates makes the CA, one certificate per kind of agent and one for whoever asks the API. Without mTLS there are none.
func (l *Lab) certificates() (ca certificate, agents map[Role]certificate, err error) {
	if !l.state.Options.MTLS {
		return certificate{}, nil, nil
	}
	authority, err := newAuthority()
	if err != nil {
		return certificate{}, nil, err
	}
	agents = map[Role]certificate{}
	for _, role := range []Role{Server, Client} {
		if agents[role], err = authority.issue(string(role)); err != nil {
			return certificate{}, nil, err
		}
	}
	cli, err := authority.issue("cli")
	if err != nil {
		return certificate{}, nil, err
	}
	for name, text := range map[string]string{caFile: authority.cert, clientCertFile: cli.cert, clientKeyFile: cli.key} {
		if err := l.writeFile(name, text); err != nil {
			return certificate{}, nil, err
		}
	}
	return authority.certificate, agents, nil
}
