// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"drover/internal/wire"
)

// Options say where an agent keeps things. Empty fields get the places that a host uses.
type Options struct {
	Dir     string   // cache of hashes and versions; default: beside the agent's binary
	LockDir string   // holds one lock per unit, UNIT.lock; default: /run/drover for root, Dir for others
	Homes   []string // places for staged binaries and records of swaps, the first usable one is taken; default: see homes
	Binary  string   // the agent's own binary, which a transaction copies; default: /proc/self/exe
}

// Agent answers the calls of one connection.
type Agent struct {
	options  Options
	cache    *cache
	locks    unitLocks
	prepared preparedSwaps
	calls    sync.WaitGroup
	slots    chan struct{} // bounds the calls in progress
	tunnels  chan struct{} // bounds the open tunnels, which live long and must not starve calls
}

const (
	maxCalls        = 32
	maxTunnels      = 128
	keepAlive       = 15 * time.Second
	writeTimeout    = 20 * time.Second
	streamWindow    = 4 << 20
	requestDeadline = 30 * time.Second
	finishDeadline  = 60 * time.Second
)

// New makes an agent.
func New(options Options) (*Agent, error) {
	if options.Binary == "" {
		options.Binary = "/proc/self/exe"
	}
	if options.Dir == "" {
		path, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the agent's own directory: %w", err)
		}
		options.Dir = filepath.Dir(path)
	}
	if options.LockDir == "" {
		options.LockDir = "/run/drover"
		if os.Geteuid() != 0 {
			options.LockDir = options.Dir
		}
	}
	if len(options.Homes) == 0 {
		options.Homes = defaultHomes()
	}
	return &Agent{
		options:  options,
		cache:    openCache(filepath.Join(options.Dir, "cache.json")),
		prepared: preparedSwaps{byToken: map[string]permission{}},
		slots:    make(chan struct{}, maxCalls),
		tunnels:  make(chan struct{}, maxTunnels),
	}, nil
}

// Session is how both sides configure yamux. Each side pings the other, so a dead peer is noticed by both within
// about 35 seconds; the window is wide enough for 80 MB/s over 50 ms.
func Session() *yamux.Config {
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = true
	config.KeepAliveInterval = keepAlive
	config.ConnectionWriteTimeout = writeTimeout
	config.MaxStreamWindowSize = streamWindow
	config.LogOutput = io.Discard
	return config
}

// Serve prints the marker and answers calls until the connection or ctx ends, then waits for the calls in progress,
// whose contexts have ended by then.
func (a *Agent) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	if _, err := io.WriteString(conn, wire.Marker()+"\n"); err != nil {
		return fmt.Errorf("print the marker: %w", err)
	}
	session, err := yamux.Server(conn, Session())
	if err != nil {
		return fmt.Errorf("start the session: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			break
		}
		a.calls.Go(func() { a.answer(ctx, stream) })
	}
	cancel()
	session.Close()
	return a.finish()
}

// finish waits for what is in hand, removes what was only prepared and gives up the locks.
func (a *Agent) finish() error {
	defer a.locks.release()
	done := make(chan struct{})
	go func() { a.calls.Wait(); close(done) }()
	select {
	case <-done:
		if os.Geteuid() != 0 {
			return nil
		}
		var err error
		for _, unit := range a.locks.held() {
			err = errors.Join(err, a.abandonPrepared(unit))
		}
		return err
	case <-time.After(finishDeadline):
		return errors.New("the connection ended, but a call was still at work a minute later")
	}
}

// call is one request on its way through the agent.
type call struct {
	agent   *Agent
	request json.RawMessage
	body    io.Reader // nil when none follows
	stream  net.Conn
	// reply is what follows the result as body.
	reply io.ReadCloser
	// taken says that the operation has written its reply itself and uses the stream as a tunnel.
	taken bool
}

// answer reads one call from its stream, runs it and replies.
func (a *Agent) answer(ctx context.Context, stream net.Conn) {
	defer stream.Close()
	var header wire.Header
	var request json.RawMessage
	_ = stream.SetReadDeadline(time.Now().Add(requestDeadline))
	if err := wire.ReadMessage(stream, &header); err != nil {
		return
	}
	if err := wire.ReadMessage(stream, &request); err != nil {
		_ = wire.WriteMessage(stream, wire.Reply{Error: failure(wire.KindInvalid, "read the request of %q: %v", header.Op, err)})
		return
	}
	_ = stream.SetReadDeadline(time.Time{})

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A tunnel lives as long as its two ends; its dial has a limit of its own.
	if header.Timeout > 0 && header.Op != (wire.Tunnel{}).Op() {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(header.Timeout)*time.Millisecond)
		defer cancel()
	}
	c := &call{agent: a, request: request, stream: stream}
	var body *watchedBody
	if header.Body {
		body = &watchedBody{from: wire.Body(stream), ended: func() { go watch(stream, cancel) }}
		c.body = body
	} else if header.Op != (wire.Tunnel{}).Op() {
		go watch(stream, cancel)
	}
	result, err := a.perform(ctx, header.Op, c)
	if c.taken {
		return
	}
	a.respond(ctx, c, result, err)
	if body != nil && !body.done {
		// The caller may still be sending what nobody needs; it reads the reply only afterwards.
		_ = stream.SetReadDeadline(time.Now().Add(finishDeadline))
		_, _ = io.Copy(io.Discard, body)
	}
}

// respond writes the reply and its body.
func (a *Agent) respond(ctx context.Context, c *call, result any, err error) {
	if c.reply != nil {
		defer c.reply.Close()
	}
	reply := wire.Reply{Body: err == nil && c.reply != nil}
	if err == nil {
		reply.Result, err = json.Marshal(result)
	}
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, context.DeadlineExceeded) && !errors.As(err, new(*wire.Error)) {
			err = failure(wire.KindTimeout, "the call's time limit ran out: %v", err)
		}
		reply = wire.Reply{Error: classify(err)}
	}
	if err := wire.WriteMessage(c.stream, reply); err != nil || !reply.Body {
		return
	}
	// A body that fails midway must not look whole: closing the stream without the last chunk says so.
	_ = wire.WriteBody(c.stream, c.reply)
}

// perform runs the operation; a panic in it is that operation's error and no other's.
func (a *Agent) perform(ctx context.Context, op string, c *call) (result any, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = failure(wire.KindFailed, "operation %s panicked: %v", op, cause)
		}
	}()
	run := operation(op)
	if run == nil {
		return nil, failure(wire.KindInvalid, "unknown operation %q", op)
	}
	slots := a.slots
	if op == (wire.Tunnel{}).Op() {
		slots = a.tunnels
	}
	if op != (wire.Ping{}).Op() {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return nil, failure(wire.KindTimeout, "too many calls at once: waited for one of %d to end", cap(slots))
		}
	}
	return run(ctx, c)
}

// watch ends a call's context when the caller closes the stream. Nothing more is expected on it, so any read that
// returns means that.
func watch(stream net.Conn, cancel context.CancelFunc) {
	var one [1]byte
	_, _ = stream.Read(one[:])
	cancel()
}

// watchedBody tells when the body has been read to its end.
type watchedBody struct {
	from  io.Reader
	ended func()
	done  bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err != nil && !b.done {
		b.done = true
		b.ended()
	}
	return n, err
}
