// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"drover/internal/modules"
	"drover/internal/wire"
)

// host is one account on one host. It holds no connection itself: each use takes the pool's, which connects again where
// that one was lost.
type host struct {
	pool   *Pool
	target Target
	become bool
}

var _ modules.Host = (*host)(nil)

func (h *host) Name() string { return h.target.Name }

func (h *host) session(ctx context.Context) (*session, error) {
	c, err := h.pool.connect(ctx, h.target)
	if err != nil {
		return nil, unreachable(h.target.Name, err)
	}
	var become *Become
	if h.become {
		become = &h.target.Become
	}
	s, err := c.agent(ctx, become)
	var refused *wire.Error
	if errors.As(err, &refused) {
		return nil, fmt.Errorf("%s: %w", h.target.Name, err)
	}
	if err != nil {
		return nil, unreachable(h.target.Name, err)
	}
	return s, nil
}

// Call is modules.Host.
func (h *host) Call(ctx context.Context, request wire.Request, body io.Reader, reply any) error {
	s, err := h.session(ctx)
	if err != nil {
		return err
	}
	return h.outcome(s.call(ctx, request, body, reply, nil))
}

// Receive is modules.Host.
func (h *host) Receive(ctx context.Context, request wire.Request, reply any, into io.Writer) error {
	s, err := h.session(ctx)
	if err != nil {
		return err
	}
	return h.outcome(s.call(ctx, request, nil, reply, into))
}

// Dial is modules.Host.
func (h *host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	s, err := h.session(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.dial(ctx, network, address)
	if err != nil {
		return nil, h.outcome(err)
	}
	return conn, nil
}

// outcome gives an error the shape that modules.Host promises.
func (h *host) outcome(err error) error {
	var lost *lostError
	if errors.As(err, &lost) {
		return unreachable(h.target.Name, err)
	}
	return err
}
