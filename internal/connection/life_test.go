// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"drover/internal/modules"
	"drover/internal/wire"
)

func connected(t testing.TB, options Options, target Target) modules.Host {
	t.Helper()
	h, err := pool(t, options).Host(limited(t, 30*time.Second), target, false)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestNoiseBeforeTheMarker(t *testing.T) {
	noise := filepath.Join(t.TempDir(), "noise")
	write(t, noise, strings.Repeat("\x1b[31mWelcome! drover-agent ready?\r\n", 1000)+"no newline at the end ")
	server := startSSHD(t, with(`ForceCommand cat `+noise+`; eval "$SSH_ORIGINAL_COMMAND"`))
	// With a forced command there is no SFTP, so the agent must be there already.
	plain := startSSHD(t, alongside(server))
	target := plain.target()
	target.AgentDirs, target.KeyFiles = server.target().AgentDirs, server.target().KeyFiles
	reached(t, server.options(), target)
	reached(t, server.options(), server.target())
	t.Run("bounded", func(t *testing.T) {
		write(t, noise, strings.Repeat("x", maxNoise+1))
		refused(t, server.options(), server.target(), "no sign of the agent")
	})
}

func TestCallersShareOneDial(t *testing.T) {
	server := startSSHD(t)
	p := pool(t, server.options())
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := p.Host(limited(t, 30*time.Second), server.target(), true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(server.log.String(), "Accepted publickey"); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

func TestBodiesAndTunnels(t *testing.T) {
	server := startSSHD(t)
	h := connected(t, server.options(), server.target())
	ctx := limited(t, 30*time.Second)
	for _, size := range []int{0, 1, smallBody - 1, smallBody, smallBody + 1, 9 << 20} {
		var got wire.RunResult
		if err := h.Call(ctx, wire.Write{Path: "count"}, bytes.NewReader(make([]byte, size)), &got); err != nil || got.RC != size {
			t.Errorf("body of %d bytes: %d arrived, %v", size, got.RC, err)
		}
	}
	var into bytes.Buffer
	if err := h.Receive(ctx, wire.Read{Path: "x"}, nil, &into); err != nil || into.Len() != 1<<20 {
		t.Errorf("received %d bytes, %v", into.Len(), err)
	}
	err := h.Call(ctx, wire.Write{Path: "full"}, io.LimitReader(zeros{}, 64<<20), nil)
	if !wire.IsKind(err, wire.KindNoSpace) {
		t.Errorf("a body that is refused half way: %v", err)
	}
	broken := errors.New("local disk is broken")
	err = h.Call(ctx, wire.Write{Path: "count"}, io.MultiReader(io.LimitReader(zeros{}, 1<<20), failing{broken}), nil)
	if !errors.Is(err, broken) {
		t.Errorf("a body that cannot be read: %v", err)
	}
	conn, err := h.Dial(ctx, "tcp", server.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	greeting := make([]byte, 8)
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "SSH-2.0-" {
		t.Errorf("through the tunnel: %q, %v", greeting, err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := io.ReadAll(conn); !errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
		t.Errorf("deadline of a tunnel: %v", err)
	}
	if _, err := h.Dial(ctx, "tcp", "127.0.0.1:1"); !wire.IsKind(err, wire.KindFailed) {
		t.Errorf("a tunnel to nowhere: %v", err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestCancelEndsTheCallOnTheHost(t *testing.T) {
	server := startSSHD(t)
	h := connected(t, server.options(), server.target())
	mark := filepath.Join(server.dir, "mark")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	err := h.Call(ctx, wire.Run{Argv: []string{"hang", mark}}, nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(started), err)
	}
	appears(t, mark)
	if err := h.Call(limited(t, 5*time.Second), wire.Ping{}, nil, nil); err != nil {
		t.Errorf("the session is not usable any more: %v", err)
	}
}

// appears waits for a file that the stand-in writes.
func appears(t *testing.T, file string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the host did not write %s", file)
		}
	}
}

func TestAgentThatDies(t *testing.T) {
	server := startSSHD(t)
	h := connected(t, server.options(), server.target())
	err := h.Call(limited(t, 10*time.Second), wire.Run{Argv: []string{"die"}}, nil, nil)
	lost(t, err, "waiting for run", "the agent on the host has died", "status 7", "told to die")
	if err := h.Call(limited(t, 10*time.Second), wire.Ping{}, nil, nil); err != nil {
		t.Errorf("the next call does not start it again: %v", err)
	}
	if n := strings.Count(server.log.String(), "Accepted publickey"); n != 1 {
		t.Errorf("%d logins, want that the connection was kept", n)
	}
}

func lost(t *testing.T, err error, want ...string) {
	t.Helper()
	var unreachable *modules.Unreachable
	if !errors.As(err, &unreachable) {
		t.Fatalf("got %v, want an Unreachable", err)
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error lacks %q: %v", text, err)
		}
	}
}

func TestAgentThatIsKilled(t *testing.T) {
	server := startSSHD(t)
	p := pool(t, server.options())
	hello, err := greeting(limited(t, 30*time.Second), p, server.target(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(hello.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again, err := greeting(limited(t, 30*time.Second), p, server.target(), false)
	for err == nil && again.PID == hello.PID { // until the news has arrived
		again, err = greeting(limited(t, 30*time.Second), p, server.target(), false)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// relay forwards connections to an address until it is told to stop forwarding, keeping them open.
type relay struct {
	listener net.Listener
	stalled  atomic.Bool
	all      sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

func startRelay(t *testing.T, address string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l}
	r.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			onward, err := net.Dial("tcp", address)
			if err != nil {
				_ = conn.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, conn, onward)
			r.mu.Unlock()
			r.all.Go(func() { r.copy(conn, onward) })
			r.all.Go(func() { r.copy(onward, conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); r.cut(); r.all.Wait() })
	return r
}

func (r *relay) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if r.stalled.Load() {
			continue // swallowed, as by a firewall
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
}

func (r *relay) port() int { return r.listener.Addr().(*net.TCPAddr).Port }

func TestConnectionThatIsCut(t *testing.T) {
	server := startSSHD(t)
	relay := startRelay(t, server.address())
	options, target := server.options(), server.target()
	target.Port = relay.port()
	target.CommonArgs = mustArgs(t, "-o StrictHostKeyChecking=no")
	options.Interval, options.Misses, options.Redial = 50*time.Millisecond, 3, time.Millisecond
	t.Run("silence", func(t *testing.T) {
		h := connected(t, options, target)
		relay.stalled.Store(true)
		started := time.Now()
		err := h.Call(limited(t, 20*time.Second), wire.Stat{Path: "/"}, nil, nil)
		lost(t, err, "waiting for stat", "has not answered for")
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("noticed after %s", took)
		}
		relay.stalled.Store(false)
		if err := h.Call(limited(t, 20*time.Second), wire.Ping{}, nil, nil); err != nil {
			t.Errorf("not dialled again: %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		h := connected(t, options, target)
		mark := filepath.Join(server.dir, "cut")
		ended := make(chan error, 1)
		go func() { ended <- h.Call(limited(t, 20*time.Second), wire.Run{Argv: []string{"hang", mark}}, nil, nil) }()
		appears(t, mark+".begun")
		relay.cut()
		lost(t, <-ended, "waiting for run", "ssh connection")
	})
	t.Run("stalled from the start", func(t *testing.T) {
		relay.stalled.Store(true)
		target.Timeout = 200 * time.Millisecond
		refused(t, options, target, "gave up after 200ms")
	})
}

func TestCloseEndsCallsUnderWay(t *testing.T) {
	server := startSSHD(t)
	p := New(server.options())
	h, err := p.Host(limited(t, 20*time.Second), server.target(), false)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- h.Call(context.Background(), wire.Run{Argv: []string{"hang", filepath.Join(server.dir, "x")}}, nil, nil)
	}()
	if err := h.Call(limited(t, 20*time.Second), wire.Ping{}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	lost(t, <-ended, "run")
	if err := h.Call(limited(t, 20*time.Second), wire.Ping{}, nil, nil); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}
