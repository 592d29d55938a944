// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"drover/internal/modules"
	"drover/internal/secret"
)

// account is one login on one host.
type account struct {
	host       string
	become     bool
	becomeUser string
	remoteUser string
}

// connections keeps one connection per host and account for the whole run.
type connections struct {
	mu   sync.Mutex
	open map[account]*opening
}

// opening is a connection that is being made, or that is there once ready is closed.
type opening struct {
	ready chan struct{}
	host  modules.Host
	err   error
}

// get returns the connection of an account; whoever asks first makes it, everyone else waits for that.
func (c *connections) get(ctx context.Context, key account, connect func() (modules.Host, error)) (modules.Host, error) {
	for {
		c.mu.Lock()
		current, ok := c.open[key]
		if !ok {
			current = &opening{ready: make(chan struct{})}
			c.open[key] = current
		}
		c.mu.Unlock()
		if !ok {
			return c.make(key, current, connect)
		}
		select {
		case <-current.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if current.err == nil {
			return current.host, nil
		}
		// The one who tried may have been cut off by its own task's timeout, which says nothing about the host.
		if !errors.Is(current.err, context.DeadlineExceeded) && !errors.Is(current.err, context.Canceled) || ctx.Err() != nil {
			return nil, current.err
		}
	}
}

func (c *connections) make(key account, o *opening, connect func() (modules.Host, error)) (modules.Host, error) {
	o.host, o.err = connect()
	if o.err != nil {
		c.mu.Lock()
		delete(c.open, key)
		c.mu.Unlock()
	}
	close(o.ready)
	return o.host, o.err
}

// forget drops the connections of a host that was lost, so that the next task connects anew.
func (c *connections) forget(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.open {
		if key.host == host {
			delete(c.open, key)
		}
	}
}

// connect reaches a host of the inventory.
func (r *run) connect(ctx context.Context, v *view, key account) (modules.Host, error) {
	if !r.store.has(key.host) {
		return nil, r.unknownHost(key.host)
	}
	return r.connections.get(ctx, key, func() (modules.Host, error) {
		variables := &sharedScope{scope: r.newScope(ctx, v, key.host, nil)}
		var broken error
		lookup := func(name string) (any, bool) {
			value, ok := plain(variables.Lookup(name))
			if err, failed := value.(error); failed {
				broken = errors.Join(broken, fmt.Errorf("variable %s of %s: %w", name, key.host, err))
				return nil, false
			}
			return value, ok
		}
		if kind, _ := lookup("ansible_connection"); kind == "local" {
			return nil, fmt.Errorf("host %s has ansible_connection=local; drover works on hosts over SSH and runs only modules such as assert, debug and set_fact here", key.host)
		}
		host, err := r.Connect.Connect(ctx, key.host, Connection{
			Become: key.become, BecomeUser: key.becomeUser, RemoteUser: key.remoteUser, Vars: lookup,
		})
		if broken != nil {
			return nil, broken
		}
		return host, err
	})
}

func (r *run) unknownHost(name string) error {
	return fmt.Errorf("host %q is not in the inventory%s", name, suggestion(name, r.store.hostNames()))
}

// fleet is the run's hosts as a module sees them.
type fleet struct {
	run  *run
	view *view
}

var _ modules.Fleet = fleet{}

func (f fleet) Names(group string) []string {
	if group == "all" {
		return f.run.store.hostNames()
	}
	return f.run.store.groupHosts(group)
}

func (f fleet) Host(ctx context.Context, name string, become bool) (modules.Host, error) {
	return f.run.connect(ctx, f.view, account{host: name, become: become})
}

func (f fleet) Variable(host, name string) (any, bool) {
	if !f.run.store.has(host) {
		return nil, false
	}
	value, ok := plain((&sharedScope{scope: f.run.newScope(f.run.hard, f.view, host, nil)}).Lookup(name))
	if _, failed := value.(error); failed {
		return nil, false
	}
	keepValue(f.run.record.secrets, secret.Named(name), value, 0)
	return value, ok
}
