// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"drover/internal/modules"
)

// finalError is a failure that trying again would only repeat, or make worse: a wrong password locks accounts.
type finalError struct{ error }

func (f *finalError) Unwrap() error { return f.error }

func final(err error) error { return &finalError{err} }

// obstacle is a final failure of a kind that callers tell apart; remedy says what to do about it.
func obstacle(kind, remedy, format string, args ...any) error {
	return final(&modules.Obstacle{Kind: kind, What: fmt.Sprintf(format, args...), Remedy: remedy})
}

func isFinal(err error) bool {
	var f *finalError
	return errors.As(err, &f)
}

func unreachable(host string, err error) error {
	var already *modules.Unreachable
	if errors.As(err, &already) {
		return err
	}
	return &modules.Unreachable{Host: host, Err: err}
}

// explainDial says in plain words why an address did not answer.
func explainDial(ctx context.Context, s *settings, address string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("connect to %s: %w", address, cause)
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("connect to %s: the name %q has no address (%w): give ansible_host or HostName", address, s.hostname, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connect to %s: connection refused: the host is up and nothing listens on that port: is sshd running, is ansible_port right?: %w", address, err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("connect to %s: no route to the host: is it up, is a ProxyJump needed?: %w", address, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("connect to %s: no answer: is it up, does a firewall drop the connection?: %w", address, err)
	}
	return fmt.Errorf("connect to %s: %w", address, err)
}

// explainHandshake says in plain words why the SSH handshake failed.
func explainHandshake(ctx context.Context, s *settings, a *attempt, err error) error {
	if isFinal(err) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("ssh handshake: %w", cause)
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "unable to authenticate"):
		tried := "nothing: there is no key file, no ssh-agent and no password"
		if len(a.tried) > 0 {
			tried = strings.Join(a.tried, ", ")
		}
		return obstacle(modules.ObstacleLoginRefused, "name the right user (ansible_user, -u) and key (ansible_ssh_private_key_file, --private-key)",
			"ssh: the host does not let user %q in; tried: %s (%s)", s.user, tried, excerpt(text))
	case strings.Contains(text, "Too many authentication failures"):
		return obstacle(modules.ObstacleLoginRefused, "set IdentitiesOnly yes with the right IdentityFile",
			"ssh: the host stopped after too many keys for user %q; tried: %s", s.user, strings.Join(a.tried, ", "))
	case strings.Contains(text, "no common algorithm"):
		return final(fmt.Errorf("ssh: the host and drover have no algorithm in common: %s", excerpt(text)))
	case dropped(err):
		return fmt.Errorf("ssh: the host closed the connection during the handshake (MaxStartups, a full disk or a firewall do that): %w", err)
	}
	return fmt.Errorf("ssh: %w", err)
}

// dropped tells whether the peer hung up, as sshd does on bursts (MaxStartups).
func dropped(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
