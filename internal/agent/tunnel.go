// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

const dialTimeout = 10 * time.Second

// tunnel dials from the host, replies, and then carries bytes both ways until either side ends.
func tunnel(ctx context.Context, c *call, request wire.Tunnel) (none, error) {
	if request.Network != "tcp" && request.Network != "unix" {
		return none{}, failure(wire.KindInvalid, "a tunnel goes to tcp or unix, not %q", request.Network)
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, request.Network, request.Address)
	if err != nil {
		refused := classify(err)
		if errors.Is(err, unix.ECONNREFUSED) {
			refused.Kind = wire.KindNotFound
		}
		return none{}, refused
	}
	defer conn.Close()
	c.taken = true
	if err := wire.WriteMessage(c.stream, wire.Reply{Result: []byte("{}")}); err != nil {
		return none{}, nil
	}
	stop := context.AfterFunc(ctx, func() { conn.Close(); c.stream.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(conn, c.stream)
		// The caller has closed its side: let the answer that is on its way come through.
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	_, _ = io.Copy(c.stream, conn)
	c.stream.Close()
	conn.Close()
	// The far end is gone; a caller that does not close its side is not waited for.
	_ = c.stream.SetReadDeadline(time.Now().Add(dialTimeout))
	<-done
	return none{}, nil
}
