// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"

	"drover/internal/wire"
)

const (
	// smallBody travels in the same write as its request, bytes.
	smallBody = 64 << 10
	// grace is what the agent gets beyond a call's deadline to say itself what it was waiting for.
	grace = time.Second
	// tunnelLimit bounds opening a tunnel whose caller gave no deadline.
	tunnelLimit = 30 * time.Second
)

// lostError says that the connection went while a call was under way.
type lostError struct {
	op  string
	why error
}

func (l *lostError) Error() string {
	return fmt.Sprintf("connection lost while waiting for %s: %v", l.op, l.why)
}

func (l *lostError) Unwrap() error { return l.why }

// call makes one round trip: header, request and a small body in one write, then the reply.
func (s *session) call(ctx context.Context, request wire.Request, body io.Reader, reply any, into io.Writer) error {
	head, rest, err := opening(ctx, request, body)
	if err != nil {
		return err
	}
	stream, err := s.mux.OpenStream()
	if err != nil {
		return &lostError{request.Op(), s.lost()}
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { interrupt(ctx, stream) })
	defer stop()
	answer, err := s.exchange(stream, head, rest)
	if err == nil && answer.Error != nil {
		return answer.Error
	}
	if err == nil && reply != nil && len(answer.Result) > 0 {
		if err := json.Unmarshal(answer.Result, reply); err != nil {
			return fmt.Errorf("%s: decode the agent's reply: %w", request.Op(), err)
		}
	}
	if err == nil && answer.Body {
		err = receive(stream, into)
	}
	return s.explain(ctx, request, err)
}

// interrupt ends the reads and writes of a call whose context has ended. After a deadline the agent gets a moment to answer
// that its own time limit, which is the same, ran out waiting for what.
func interrupt(ctx context.Context, stream *yamux.Stream) {
	until := time.Now()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		until = until.Add(grace)
	}
	_ = stream.SetDeadline(until)
}

// opening encodes what begins a call. rest is what of the body did not fit.
func opening(ctx context.Context, request wire.Request, body io.Reader) (head []byte, rest io.Reader, err error) {
	header := wire.Header{Op: request.Op(), Body: body != nil}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline).Milliseconds()
		if left <= 0 {
			return nil, nil, fmt.Errorf("%s: %w", request.Op(), context.DeadlineExceeded)
		}
		header.Timeout = left
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", request.Op(), context.Cause(ctx))
	}
	var buffer bytes.Buffer
	if err := wire.WriteMessage(&buffer, header); err != nil {
		return nil, nil, err
	}
	if err := wire.WriteMessage(&buffer, request); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", request.Op(), err)
	}
	if body == nil {
		return buffer.Bytes(), nil, nil
	}
	start := make([]byte, smallBody)
	n, err := io.ReadFull(body, start)
	switch {
	case err == nil:
		return buffer.Bytes(), io.MultiReader(bytes.NewReader(start), body), nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = wire.WriteBody(&buffer, bytes.NewReader(start[:n]))
		return buffer.Bytes(), nil, err
	}
	return nil, nil, &bodyError{err}
}

// bodyError says that the caller's own body could not be read.
type bodyError struct{ err error }

func (b *bodyError) Error() string { return "read what is to be sent: " + b.err.Error() }

func (b *bodyError) Unwrap() error { return b.err }

type watchedReader struct {
	io.Reader
	err error
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// exchange writes a call and reads the reply. A large body is written beside the reading, since the agent may refuse
// it before it is through.
func (s *session) exchange(stream *yamux.Stream, head []byte, rest io.Reader) (wire.Reply, error) {
	var reply wire.Reply
	if _, err := stream.Write(head); err != nil {
		return reply, err
	}
	if rest == nil {
		return reply, wire.ReadMessage(stream, &reply)
	}
	from := &watchedReader{Reader: rest}
	written := make(chan struct{})
	go func() {
		// How writing ended tells less than the reply.
		_ = wire.WriteBody(stream, from)
		if from.err != nil {
			_ = stream.SetReadDeadline(time.Now()) // the agent would wait for the rest
		}
		close(written)
	}()
	err := wire.ReadMessage(stream, &reply)
	_ = stream.SetWriteDeadline(time.Now())
	<-written
	if from.err != nil {
		return reply, &bodyError{from.err}
	}
	return reply, err
}

func receive(stream io.Reader, into io.Writer) error {
	if into == nil {
		into = io.Discard
	}
	buffer := make([]byte, wire.MaxChunk)
	_, err := io.CopyBuffer(struct{ io.Writer }{into}, wire.Body(stream), buffer)
	return err
}

// explain turns a failed exchange into what the caller must know: its own context, its own body, or the connection.
func (s *session) explain(ctx context.Context, request wire.Request, err error) error {
	var own *bodyError
	var failure *wire.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own), errors.As(err, &failure):
		return fmt.Errorf("%s: %w", request.Op(), err)
	case s.mux.IsClosed():
		return &lostError{request.Op(), s.lost()}
	case ctx.Err() != nil:
		return fmt.Errorf("%s: the agent did not answer in time: %w", request.Op(), context.Cause(ctx))
	case errors.Is(err, io.EOF), errors.Is(err, yamux.ErrConnectionReset):
		// The agent's last streams end a moment before its session does.
		select {
		case <-s.mux.CloseChan():
			return &lostError{request.Op(), s.lost()}
		case <-time.After(closeWait):
		}
	}
	return fmt.Errorf("%s: %w", request.Op(), err)
}

// dial opens a tunnel through the agent.
func (s *session) dial(ctx context.Context, network, address string) (net.Conn, error) {
	request := wire.Tunnel{Network: network, Address: address}
	ctx, cancel := withTimeout(ctx, tunnelLimit, "the host to connect to "+address)
	defer cancel()
	head, _, err := opening(ctx, request, nil)
	if err != nil {
		return nil, err
	}
	stream, err := s.mux.OpenStream()
	if err != nil {
		return nil, &lostError{request.Op(), s.lost()}
	}
	stop := context.AfterFunc(ctx, func() { interrupt(ctx, stream) })
	answer, err := s.exchange(stream, head, nil)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	stop()
	if err == nil && answer.Error == nil {
		_ = stream.SetDeadline(time.Time{})
		return &tunnel{Stream: stream}, nil
	}
	_ = stream.Close()
	if err == nil {
		return nil, answer.Error
	}
	return nil, s.explain(ctx, request, err)
}

// tunnel is a stream that carries raw bytes to an address.
type tunnel struct{ *yamux.Stream }

// Close also ends reads in progress, which yamux leaves waiting for the other side.
func (t *tunnel) Close() error {
	_ = t.SetReadDeadline(time.Now())
	return t.Stream.Close()
}
