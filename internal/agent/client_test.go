// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"drover/internal/wire"
)

// client is drover's side of a connection, as simple as can be.
type client struct {
	session *yamux.Session
}

type joined struct {
	io.Reader
	io.WriteCloser
}

func dialAgent(t *testing.T, conn io.ReadWriteCloser) *client {
	t.Helper()
	from := bufio.NewReader(conn)
	line, err := from.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != wire.Marker() {
		t.Fatalf("marker: got %q, %v; want %q", line, err, wire.Marker())
	}
	session, err := yamux.Client(joined{from, conn}, Session())
	if err != nil {
		t.Fatal(err)
	}
	return &client{session: session}
}

// inProcess serves an agent over a pipe.
func inProcess(t *testing.T, options Options) *client {
	t.Helper()
	if options.Dir == "" {
		options.Dir = t.TempDir()
	}
	if options.Homes == nil {
		options.Homes = []string{filepath.Join(t.TempDir(), "home")}
	}
	a, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- a.Serve(t.Context(), there) }()
	c := dialAgent(t, here)
	t.Cleanup(func() {
		c.session.Close()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the agent still serves 10 s after its connection ended")
		}
	})
	return c
}

// ask makes one call; a result body is returned whole.
func (c *client) ask(request wire.Request, body []byte, limit time.Duration, result any) ([]byte, error) {
	stream, err := c.session.OpenStream()
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	header := wire.Header{Op: request.Op(), Timeout: limit.Milliseconds(), Body: body != nil}
	if err := wire.WriteMessage(stream, header); err != nil {
		return nil, err
	}
	if err := wire.WriteMessage(stream, request); err != nil {
		return nil, err
	}
	if body != nil {
		if err := wire.WriteBody(stream, bytes.NewReader(body)); err != nil {
			return nil, err
		}
	}
	var reply wire.Reply
	if err := wire.ReadMessage(stream, &reply); err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, reply.Error
	}
	if err := json.Unmarshal(reply.Result, result); err != nil || !reply.Body {
		return nil, err
	}
	return io.ReadAll(wire.Body(stream))
}

// get makes a call that must succeed.
func get[R any](t *testing.T, c *client, request wire.Request, body []byte) R {
	t.Helper()
	result, err := try[R](c, request, body)
	if err != nil {
		t.Fatalf("%s: %v", request.Op(), err)
	}
	return result
}

func try[R any](c *client, request wire.Request, body []byte) (R, error) {
	var result R
	_, err := c.ask(request, body, 60*time.Second, &result)
	return result, err
}
