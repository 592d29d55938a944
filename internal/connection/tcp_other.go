// SPDX-License-Identifier: MPL-2.0

//go:build !linux

package connection

import (
	"net"
	"time"
)

// tune has nothing to set on this operating system.
func tune(conn net.Conn, _ time.Duration) net.Conn { return conn }
