// SPDX-License-Identifier: MPL-2.0

// Package wire holds the messages that drover and its agent exchange, and how they are framed.
//
// The agent's stdin and stdout carry, after one marker line, a yamux session that drover opens as the client. A call is
// one stream: a framed JSON Header, a framed JSON request, an optional body of raw bytes (drover to agent), then a
// framed JSON Reply and an optional body (agent to drover). Bodies are sent in chunks, each with its length before it, and end with an empty chunk, so
// that a body cut short is never mistaken for a whole one. A stream whose request is Tunnel carries raw bytes after
// its Reply. Nothing here imports more than the standard library, since both sides link it.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// Version of the protocol. Both sides must have the same.
	Version = 1
	// MaxMessage bounds one framed JSON message, in bytes. JSON writes a control character in six bytes, and what a program
	// printed, 1 MiB of each kind, fits also when it is nothing else.
	MaxMessage = 16 << 20
	// MaxChunk bounds one chunk of a body, in bytes.
	MaxChunk = 256 << 10
)

// Source identifies the source tree that a program was built from; the build sets it in drover and in the agents that
// it embeds (-ldflags -X). drover refuses an agent whose Source differs from its own.
var Source = "unknown"

// Marker is the line that the agent prints before the protocol starts. Whatever comes earlier is login noise.
func Marker() string { return fmt.Sprintf("drover-agent ready protocol=%d source=%s", Version, Source) }

// Request is a message that the agent answers. Op names the operation; the type itself is its argument.
type Request interface{ Op() string }

// Header opens each call.
type Header struct {
	Op      string `json:"op"`
	Timeout int64  `json:"timeout_ms"` // how long the agent may take, in milliseconds; 0: no limit of its own
	Body    bool   `json:"body"`       // a body follows the request
}

// Reply answers a call.
type Reply struct {
	Error  *Error          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Body   bool            `json:"body,omitempty"` // a body follows
}

// Kinds of Error that callers branch on.
const (
	KindNotFound   = "not_found"  // the file, unit or process does not exist
	KindPermission = "permission" // the operating system refused
	KindInvalid    = "invalid"    // the request makes no sense
	KindChecksum   = "checksum"   // bytes do not have the promised hash
	KindNoSpace    = "no_space"   // the disk is full
	KindTimeout    = "timeout"    // a time limit ran out; the message says waiting for what
	KindStale      = "stale"      // a commit came too late after its prepare, or the host has changed in between
	KindLocked     = "locked"     // another run holds the unit
	KindFailed     = "failed"     // anything else
	// KindUnsupported is a host or agent that drover cannot upgrade as it is: no systemd, Nomad in a container, a read-only
	// filesystem, a binary that several agents share. Nothing was touched, and trying again does not help.
	KindUnsupported = "unsupported"
)

// Error is a failure on the host, in plain words, with what to do next where the agent knows.
type Error struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// IsKind tells whether err is, or wraps, an Error of the given kind.
func IsKind(err error, kind string) bool {
	var failure *Error
	return errors.As(err, &failure) && failure.Kind == kind
}

// WriteMessage frames v as JSON: four bytes of length, big endian, then the JSON.
func WriteMessage(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(text) > MaxMessage {
		return fmt.Errorf("message of %d bytes is over the limit of %d", len(text), MaxMessage)
	}
	framed := make([]byte, 4, 4+len(text))
	binary.BigEndian.PutUint32(framed, uint32(len(text)))
	_, err = w.Write(append(framed, text...))
	return err
}

// ReadMessage reads one framed JSON message into v.
func ReadMessage(r io.Reader, v any) error {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > MaxMessage {
		return fmt.Errorf("message of %d bytes is over the limit of %d", size, MaxMessage)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("message cut short: %w", err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}

// WriteBody copies all of r to w as chunks and ends the body.
func WriteBody(w io.Writer, r io.Reader) error {
	chunk := make([]byte, 4+MaxChunk)
	for {
		n, err := io.ReadFull(r, chunk[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(chunk, uint32(n))
			if _, werr := w.Write(chunk[:4+n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			_, err = w.Write([]byte{0, 0, 0, 0})
			return err
		}
		if err != nil {
			return err
		}
	}
}

// Body reads what WriteBody wrote and ends with io.EOF only when the empty chunk has come.
func Body(r io.Reader) io.Reader { return &body{from: r} }

type body struct {
	from io.Reader
	left uint32
	done bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	if b.left == 0 {
		var length [4]byte
		if _, err := io.ReadFull(b.from, length[:]); err != nil {
			return 0, fmt.Errorf("body cut short: %w", io.ErrUnexpectedEOF)
		}
		b.left = binary.BigEndian.Uint32(length[:])
		if b.left > MaxChunk {
			return 0, fmt.Errorf("chunk of %d bytes is over the limit of %d", b.left, MaxChunk)
		}
		if b.left == 0 {
			b.done = true
			return 0, io.EOF
		}
	}
	if uint32(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.from.Read(p)
	b.left -= uint32(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if n == 0 {
			err = fmt.Errorf("body cut short: %w", io.ErrUnexpectedEOF)
		}
	}
	return n, err
}
