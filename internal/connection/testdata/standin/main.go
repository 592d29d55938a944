// SPDX-License-Identifier: MPL-2.0

// Standin speaks the agent's protocol with operations made for tests of the connection alone.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/hashicorp/yamux"

	"drover/internal/wire"
)

type stdio struct {
	io.Reader
	io.WriteCloser
}

func main() {
	if _, err := os.Stdout.WriteString(wire.Marker() + "\n"); err != nil {
		log.Fatal(err)
	}
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = false
	config.LogOutput = io.Discard
	session, err := yamux.Server(stdio{os.Stdin, os.Stdout}, config)
	if err != nil {
		log.Fatal(err)
	}
	for {
		stream, err := session.Accept()
		if err != nil {
			return
		}
		go answer(stream)
	}
}

func answer(stream net.Conn) {
	defer stream.Close()
	var header wire.Header
	var request json.RawMessage
	if wire.ReadMessage(stream, &header) != nil || wire.ReadMessage(stream, &request) != nil {
		return
	}
	switch header.Op {
	case "hello":
		reply(stream, wire.HelloResult{Source: wire.Source, PID: os.Getpid(), UID: os.Getuid()}, false)
	case "tunnel":
		tunnel(stream, request)
	case "read":
		reply(stream, wire.ReadResult{Size: 1 << 20}, true)
		_ = wire.WriteBody(stream, io.LimitReader(zeros{}, 1<<20))
	case "write":
		refuseOrCount(stream, request)
	case "run":
		perform(stream, request)
	default:
		reply(stream, wire.StatResult{Exists: true}, false)
	}
}

func reply(stream net.Conn, result any, body bool) {
	text, err := json.Marshal(result)
	if err != nil {
		log.Fatal(err)
	}
	_ = wire.WriteMessage(stream, wire.Reply{Result: text, Body: body})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// refuseOrCount reads a body, or refuses it before it is through when the path says so.
func refuseOrCount(stream net.Conn, text json.RawMessage) {
	var request wire.Write
	_ = json.Unmarshal(text, &request)
	if request.Path == "full" {
		_ = wire.WriteMessage(stream, wire.Reply{Error: &wire.Error{Kind: wire.KindNoSpace, Message: "the disk is full"}})
		time.Sleep(time.Hour)
	}
	n, err := io.Copy(io.Discard, wire.Body(stream))
	if err != nil {
		_ = wire.WriteMessage(stream, wire.Reply{Error: &wire.Error{Kind: wire.KindFailed, Message: err.Error()}})
		return
	}
	reply(stream, wire.RunResult{RC: int(n)}, false)
}

// perform does what argv[0] names.
func perform(stream net.Conn, text json.RawMessage) {
	var request wire.Run
	_ = json.Unmarshal(text, &request)
	switch request.Argv[0] {
	case "hang":
		_ = os.WriteFile(request.Argv[1]+".begun", nil, 0o600)
		_, _ = stream.Read(make([]byte, 1)) // until the caller gives up
		_ = os.WriteFile(request.Argv[1], []byte("ended"), 0o600)
	case "die":
		_, _ = os.Stderr.WriteString("panic: the stand-in was told to die\n")
		os.Exit(7)
	}
}

func tunnel(stream net.Conn, text json.RawMessage) {
	var request wire.Tunnel
	_ = json.Unmarshal(text, &request)
	conn, err := net.Dial(request.Network, request.Address)
	if err != nil {
		_ = wire.WriteMessage(stream, wire.Reply{Error: &wire.Error{Kind: wire.KindFailed, Message: err.Error()}})
		return
	}
	defer conn.Close()
	reply(stream, struct{}{}, false)
	go func() { _, _ = io.Copy(conn, stream) }()
	_, _ = io.Copy(stream, conn)
}
