// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"drover/internal/wire"
)

const (
	streamWindow = 4 << 20 // bytes: 80 MB/s over 50 ms
	closeWait    = time.Second
	helloLimit   = 30 * time.Second
)

// session is the conversation with one agent.
type session struct {
	connection *connection
	process    *process
	mux        *yamux.Session
	hello      wire.HelloResult

	heard atomic.Int64 // when the agent last sent anything, Unix nanoseconds
	mu    sync.Mutex
	why   error // the first reason for the end, when it was found here
}

// openSession starts an agent and greets it.
func (c *connection) openSession(ctx context.Context, become *Become) (*session, error) {
	p, err := c.startAgent(ctx, become)
	if err != nil {
		return nil, err
	}
	s := &session{connection: c, process: p}
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = false // keepAlive below says what was missed
	config.ConnectionWriteTimeout = c.pool.options.silence()
	config.MaxStreamWindowSize = streamWindow
	config.StreamOpenTimeout = 0 // a call has its own deadline
	config.StreamCloseTimeout = time.Minute
	config.LogOutput = io.Discard
	s.mux, err = yamux.Client(pipe{s}, config)
	if err != nil {
		p.close()
		return nil, fmt.Errorf("start the agent's session: %w", err)
	}
	c.pool.running.Go(s.keepAlive)
	ctx, cancel := withTimeout(ctx, helloLimit, "the agent's greeting")
	defer cancel()
	root := become != nil && become.user() == "root" || become == nil && c.settings.user == "root"
	options := c.pool.options
	request := wire.Hello{Run: options.Run, Holder: options.Holder, Lock: options.Lock && root, Free: options.Free && root, Unit: c.target.Unit}
	if err := s.call(ctx, request, nil, &s.hello, nil); err != nil {
		s.end(err)
		return nil, fmt.Errorf("greet the agent: %w", err)
	}
	return s, nil
}

func (s *session) alive() bool { return !s.mux.IsClosed() }

// end closes the session, noting why.
func (s *session) end(why error) {
	s.mu.Lock()
	if s.why == nil {
		s.why = why
	}
	s.mu.Unlock()
	_ = s.mux.Close()
}

// keepAlive pings the agent until the session ends. An agent from which nothing came for Misses intervals is dead, and
// so is the SSH connection under it.
func (s *session) keepAlive() {
	options := s.connection.pool.options
	ticker := time.NewTicker(options.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-s.mux.CloseChan():
			_ = s.mux.Close() // waits for whoever is closing it
			return
		case <-ticker.C:
		}
		if time.Since(time.Unix(0, s.heard.Load())) < options.Interval {
			continue // it speaks anyway
		}
		_, err := s.mux.Ping()
		if err == nil || s.mux.IsClosed() {
			continue
		}
		silent := time.Since(time.Unix(0, s.heard.Load()))
		if silent >= options.silence() {
			// The network's end first: what is still being written to it would hold up everything else.
			s.note(fmt.Errorf("the host has not answered for %s: the network, the host or its sshd is gone", silent.Round(time.Millisecond)))
			_ = s.connection.client.Close()
			_ = s.mux.Close()
			return
		}
	}
}

func (s *session) note(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		s.why = why
	}
}

// lost says why the session has ended, in words.
func (s *session) lost() error {
	s.mu.Lock()
	why := s.why
	s.mu.Unlock()
	if why != nil {
		return why
	}
	select {
	case <-s.connection.pool.ctx.Done():
		return errClosed
	default:
	}
	select {
	case <-s.process.done:
	case <-time.After(exitWait):
	}
	select {
	case <-s.connection.done:
		if cause := s.connection.cause; cause != nil && !errors.Is(cause, io.EOF) {
			return fmt.Errorf("the ssh connection broke: %s", excerpt(cause.Error()))
		}
		return errors.New("the host closed the ssh connection (did it reboot, did sshd or the network stop?)")
	default:
	}
	how := "it ended"
	select {
	case <-s.process.done:
		if s.process.ended != nil {
			how = excerpt(s.process.ended.Error())
		}
	default:
	}
	return fmt.Errorf("the agent on the host has died (%s)%s", how, s.process.stderr.said())
}

// pipe is the agent's standard input and output as yamux wants them.
type pipe struct{ *session }

func (p pipe) Read(b []byte) (int, error) {
	n, err := p.process.output.Read(b)
	if n > 0 {
		p.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

func (p pipe) Write(b []byte) (int, error) { return p.process.input.Write(b) }

// Close ends the session. A peer that does not confirm it in time, because it is gone, takes the connection with it, so
// that nothing waits on it for ever.
func (p pipe) Close() error {
	closed := make(chan struct{})
	p.connection.pool.running.Go(func() {
		defer close(closed)
		p.process.close()
		<-p.process.done
	})
	select {
	case <-closed:
	case <-p.connection.done:
	case <-time.After(closeWait):
		_ = p.connection.client.Close()
	}
	return nil
}
