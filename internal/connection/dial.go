// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	handshakeTries = 3
	firstPause     = 200 * time.Millisecond // after a handshake that the peer dropped; doubles
)

// dial makes an authenticated SSH connection. It is bounded by s.timeout, which covers TCP, handshake and
// authentication, counted anew for each hop and for each try after the peer dropped the handshake.
func (p *Pool) dial(ctx context.Context, s *settings) (*ssh.Client, error) {
	via, err := p.hop(ctx, s)
	if err != nil {
		return nil, err
	}
	gate := p.gate
	if via != nil {
		gate = via.gate
	}
	pause := firstPause
	for try := 1; ; try++ {
		if err := gate.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("wait for a free place to dial: %w", context.Cause(ctx))
		}
		client, err := p.dialOnce(ctx, s, via)
		gate.Release(1)
		if err == nil || isFinal(err) || try == handshakeTries || !dropped(err) {
			return client, err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (p *Pool) dialOnce(ctx context.Context, s *settings, via *jump) (*ssh.Client, error) {
	ctx, cancel := withTimeout(ctx, s.timeout, "the ssh connection")
	defer cancel()
	address := net.JoinHostPort(s.hostname, strconv.Itoa(s.port))
	conn, err := p.carrier(ctx, s, via, address)
	if err != nil {
		return nil, err
	}
	client, err := p.handshake(ctx, conn, address, s)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return client, nil
}

// carrier opens what the SSH connection runs over: a proxy command's pipes, a jump host's channel or TCP.
func (p *Pool) carrier(ctx context.Context, s *settings, via *jump, address string) (net.Conn, error) {
	switch {
	case via != nil:
		return via.dial(ctx, address)
	case s.proxyCommand != "":
		return startProxy(s.proxyCommand, p.options.Environ)
	}
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: p.options.Interval, Interval: p.options.Interval, Count: p.options.Misses}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, explainDial(ctx, s, address, err)
	}
	return tune(conn, p.options.silence()), nil
}

func (p *Pool) handshake(ctx context.Context, conn net.Conn, address string, s *settings) (*ssh.Client, error) {
	algorithms, check, err := p.hostKeys.check(s, p.options.Warn)
	if err != nil {
		return nil, err
	}
	attempt := &attempt{settings: s, keys: &p.keys}
	defer attempt.close()
	config := &ssh.ClientConfig{
		Config:            preferred(),
		User:              s.user,
		Auth:              attempt.methods(),
		HostKeyCallback:   check,
		HostKeyAlgorithms: algorithms,
		ClientVersion:     "SSH-2.0-drover",
	}
	// A channel through a jump host knows no deadlines; closing ends the handshake on every kind of connection.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	transport, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err == nil && !stop() {
		_ = transport.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		stop()
		return nil, explainHandshake(ctx, s, attempt, err)
	}
	return ssh.NewClient(transport, channels, requests), nil
}

// preferred puts the algorithms first that cost least for their strength: AES-GCM before ChaCha20, which costs Go two and a
// half times as much on machines with AES instructions, and curve25519 before post-quantum key exchange, which stays allowed.
func preferred() ssh.Config {
	supported := ssh.SupportedAlgorithms()
	return ssh.Config{
		Ciphers:      ahead(supported.Ciphers, ssh.CipherAES128GCM, ssh.CipherAES256GCM),
		KeyExchanges: ahead(supported.KeyExchanges, ssh.KeyExchangeCurve25519),
		MACs:         supported.MACs,
	}
}

func ahead(all []string, favourites ...string) []string {
	ordered := append([]string{}, favourites...)
	for _, name := range all {
		found := false
		for _, favourite := range favourites {
			found = found || favourite == name
		}
		if !found {
			ordered = append(ordered, name)
		}
	}
	return ordered
}

// parseHop reads one element of ProxyJump: [user@]host[:port] or ssh://[user@]host[:port].
func parseHop(text string) (Target, error) {
	rest := strings.TrimPrefix(text, "ssh://")
	var target Target
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		target.User, rest = rest[:at], rest[at+1:]
	}
	host := rest
	if strings.HasPrefix(rest, "[") || strings.Count(rest, ":") == 1 {
		name, port, err := net.SplitHostPort(rest)
		switch {
		case err == nil:
			number, err := strconv.Atoi(port)
			if err != nil || number < 1 || number > 65535 {
				return Target{}, fmt.Errorf("ProxyJump %q: port %q is not a number from 1 to 65535", text, port)
			}
			host, target.Port = name, number
		case strings.HasSuffix(rest, "]"):
			host = strings.Trim(rest, "[]")
		default:
			return Target{}, fmt.Errorf("ProxyJump %q: %w", text, err)
		}
	}
	if host == "" {
		return Target{}, fmt.Errorf("ProxyJump %q: %w", text, errors.New("host is empty"))
	}
	target.Name = host
	return target, nil
}
