// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"
)

const maxJumps = 8

// jump is a connection to a host that others are reached through. All of them share it.
type jump struct {
	name   string
	client *ssh.Client
	done   chan struct{} // closed when the connection has ended
	gate   *semaphore.Weighted
}

func (j *jump) alive() bool {
	select {
	case <-j.done:
		return false
	default:
		return true
	}
}

// dial opens a channel to an address. A jump host that does not answer in time is dropped, so that the next use
// connects anew.
func (j *jump) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := j.client.DialContext(ctx, "tcp", address)
	if err == nil {
		return conn, nil
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		if refused.Reason == ssh.Prohibited {
			return nil, fmt.Errorf("jump host %s may not forward to %s (AllowTcpForwarding or PermitOpen in its sshd_config): %s", j.name, address, excerpt(refused.Message))
		}
		return nil, fmt.Errorf("jump host %s could not connect to %s: %s", j.name, address, excerpt(refused.Message))
	}
	_ = j.client.Close()
	if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("connect to %s through jump host %s: %w", address, j.name, cause)
	}
	return nil, fmt.Errorf("connect to %s through jump host %s: %w", address, j.name, err)
}

// hop returns the connected last jump host on the way to s, nil when there is none.
func (p *Pool) hop(ctx context.Context, s *settings) (*jump, error) {
	if len(s.jumps) == 0 {
		return nil, nil
	}
	if len(s.jumps) > maxJumps {
		return nil, final(fmt.Errorf("ProxyJump has %d hosts, over the limit of %d", len(s.jumps), maxJumps))
	}
	last := len(s.jumps) - 1
	target, err := parseHop(s.jumps[last])
	if err != nil {
		return nil, final(err)
	}
	target.CommonArgs.configFile = s.configFile
	via, err := p.resolve(ctx, target)
	if err != nil {
		return nil, final(err)
	}
	// As in OpenSSH, a chain is followed as written; a jump host's own ProxyJump counts only for the first one.
	if last > 0 {
		via.jumps, via.proxyCommand = s.jumps[:last], ""
	}
	key := strings.Join([]string{via.user, via.hostname, fmt.Sprint(via.port), strings.Join(via.jumps, ",")}, " ")
	if slices.Contains(s.trail, key) {
		return nil, final(fmt.Errorf("ProxyJump goes round in circles at %s", via.hostname))
	}
	via.trail = append(slices.Clone(s.trail), key)
	slot := p.jumpSlot(key)
	ctx, cancel := withTimeout(ctx, maxJumps*handshakeTries*via.timeout, "jump host "+via.hostname)
	defer cancel()
	j, err := slot.get(ctx, p, (*jump).alive, func(ctx context.Context) (*jump, error) {
		client, err := p.dial(ctx, &via)
		if err != nil {
			return nil, err
		}
		return p.newJump(via.hostname, client), nil
	})
	if err != nil {
		return nil, fmt.Errorf("jump host %s: %w", via.hostname, err)
	}
	return j, nil
}

func (p *Pool) newJump(name string, client *ssh.Client) *jump {
	j := &jump{name: name, client: client, done: make(chan struct{}), gate: semaphore.NewWeighted(int64(p.options.PerJump))}
	p.track(client)
	p.running.Go(func() {
		_ = client.Wait()
		p.untrack(client)
		close(j.done)
	})
	return j
}
