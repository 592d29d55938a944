// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tune wraps a TCP connection for SSH: unacknowledged data fails it within limit, and every read is acknowledged at
// once. Without that, sshd's Nagle and our delayed acknowledgement wait for each other, some 40 ms per connection.
func tune(conn net.Conn, limit time.Duration) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	// These only improve; a kernel that refuses them still carries the connection.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
	})
	return &quickConn{TCPConn: tcp, raw: raw}
}

type quickConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

func (q *quickConn) Read(p []byte) (int, error) {
	n, err := q.TCPConn.Read(p)
	if n > 0 {
		_ = q.raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		})
	}
	return n, err
}
