// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drover/internal/wire"
)

func TestServe(t *testing.T) {
	// Registered first, so it looks last, when the connection has been closed.
	t.Cleanup(func() { goleak.VerifyNone(t) })
	c := inProcess(t, Options{})
	get[none](t, c, wire.Ping{}, nil)
	hello := get[wire.HelloResult](t, c, wire.Hello{}, nil)
	if hello.PID != os.Getpid() || hello.Arch != runtime.GOARCH || hello.Source != wire.Source {
		t.Errorf("hello: %+v", hello)
	}
	if facts := get[wire.FactsResult](t, c, wire.Facts{}, nil); facts.Kernel == "" || facts.Processors < 1 || facts.MemoryBytes <= 0 {
		t.Errorf("facts: %+v", facts)
	}
	if _, err := try[none](c, unknownOp{}, nil); !wire.IsKind(err, wire.KindInvalid) {
		t.Errorf("unknown operation: got %v", err)
	}
	if _, err := try[none](c, wire.Read{Path: "etc/passwd"}, nil); !wire.IsKind(err, wire.KindInvalid) {
		t.Errorf("relative path: got %v", err)
	}
}

type unknownOp struct{}

func (unknownOp) Op() string { return "no_such" }

func TestPanicIsOneCallsError(t *testing.T) {
	a, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	// A call without an agent makes the operation dereference nil.
	_, err = a.perform(t.Context(), "hello", &call{request: json.RawMessage(`{"lock":true}`)})
	if err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("got %v, want an error that says panicked", err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	first := inProcess(t, Options{LockDir: dir})
	second := inProcess(t, Options{LockDir: dir})
	get[wire.HelloResult](t, first, wire.Hello{Run: "one", Holder: "ann@bastion since 10:00", Lock: true}, nil)
	_, err := try[wire.HelloResult](second, wire.Hello{Run: "two", Holder: "bob", Lock: true}, nil)
	if !wire.IsKind(err, wire.KindLocked) || !strings.Contains(err.Error(), "ann@bastion since 10:00") {
		t.Errorf("second run: got %v, want a refusal that names the holder", err)
	}
	get[wire.HelloResult](t, second, wire.Hello{Run: "two"}, nil)
	_, err = try[wire.HelloResult](second, wire.Hello{Run: "two", Free: true}, nil)
	if !wire.IsKind(err, wire.KindLocked) || !strings.Contains(err.Error(), "ann@bastion since 10:00") {
		t.Errorf("one who looks: got %v, want a refusal that names the holder", err)
	}
	get[wire.HelloResult](t, second, wire.Hello{Run: "two", Free: true, Unit: "nomad-b"}, nil)
	first.session.Close()
	for end := time.Now().Add(10 * time.Second); ; {
		if _, err = try[wire.HelloResult](second, wire.Hello{Run: "two", Lock: true}, nil); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the lock did not end with its connection: %v", err)
		}
	}
}

func TestTunnel(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()
	c := inProcess(t, Options{})
	stream, err := c.session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	// The call's own limit is for the dial; the tunnel outlives it.
	_ = wire.WriteMessage(stream, wire.Header{Op: "tunnel", Timeout: 1})
	_ = wire.WriteMessage(stream, wire.Tunnel{Network: "tcp", Address: listener.Addr().String()})
	var reply wire.Reply
	if err := wire.ReadMessage(stream, &reply); err != nil || reply.Error != nil {
		t.Fatalf("reply: %+v, %v", reply, err)
	}
	for _, word := range []string{"ping", "pong"} {
		if _, err := io.WriteString(stream, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(stream, got); err != nil || string(got) != word {
			t.Fatalf("echo: got %q, %v; want %q", got, err, word)
		}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := try[none](c, wire.Tunnel{Network: "tcp", Address: closed.Addr().String()}, nil); !wire.IsKind(err, wire.KindNotFound) {
		t.Errorf("refused connection: got %v", err)
	}
}
