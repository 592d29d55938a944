// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/internal/modules"
	"drover/internal/secret"
	"drover/internal/wire"
)

// TestRealAgent is the same conversation with the program that drover ships.
func TestRealAgent(t *testing.T) {
	server := startSSHD(t, withUsers(""))
	agents, err := realAgent()
	if err != nil {
		t.Fatal(err)
	}
	options := server.options()
	options.Agents = agents
	p := pool(t, options)
	ctx := limited(t, 60*time.Second)
	target := server.as("operator", Become{Password: secret.New(sudoPassword)})
	for _, become := range []bool{false, true} {
		h, err := p.Host(ctx, target, become)
		if err != nil {
			t.Fatal(err)
		}
		useAgent(t, server, h)
	}
	hello, err := greeting(ctx, p, target, true)
	if err != nil || hello.UID != 0 || hello.Source != wire.Source {
		t.Errorf("hello: %+v, %v", hello, err)
	}
}

func useAgent(t *testing.T, server *sshd, h modules.Host) {
	t.Helper()
	ctx := limited(t, 30*time.Second)
	content := bytes.Repeat([]byte("drover"), 500_000)
	sum := sha256.Sum256(content)
	file := filepath.Join(server.dir, "home-operator", "file")
	request := wire.Write{Path: file, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
	if err := h.Call(ctx, request, bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if err := h.Receive(ctx, wire.Read{Path: file}, nil, &back); err != nil || !bytes.Equal(back.Bytes(), content) {
		t.Errorf("read back %d bytes, %v", back.Len(), err)
	}
	request.SHA256 = strings.Repeat("0", 64)
	if err := h.Call(ctx, request, bytes.NewReader(content), nil); !wire.IsKind(err, wire.KindChecksum) {
		t.Errorf("wrong hash: %v", err)
	}
	conn, err := h.Dial(ctx, "tcp", server.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	greeting := make([]byte, 4)
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "SSH-" {
		t.Errorf("through the tunnel: %q, %v", greeting, err)
	}
	short := limited(t, 300*time.Millisecond)
	err = h.Call(short, wire.Run{Argv: []string{"sleep", "60"}}, nil, nil)
	var lost *modules.Unreachable
	if err == nil || errors.As(err, &lost) {
		t.Errorf("a program that takes too long: %v", err)
	}
}

// TestSecondRunIsRefused is the lock on the unit, as the second bastion sees it.
func TestSecondRunIsRefused(t *testing.T) {
	server := startSSHD(t, withUsers(""))
	agents, err := realAgent()
	if err != nil {
		t.Fatal(err)
	}
	options := server.options()
	options.Agents, options.Lock, options.Holder = agents, true, "ann@bastion"
	ctx := limited(t, 60*time.Second)
	target := server.as("free", Become{})
	if _, err := pool(t, options).Host(ctx, target, true); err != nil {
		t.Fatal(err)
	}
	options.Run, options.Holder = "another", "bob@bastion"
	_, err = pool(t, options).Host(ctx, target, true)
	if !wire.IsKind(err, wire.KindLocked) || !strings.Contains(err.Error(), "ann@bastion") || !strings.HasPrefix(err.Error(), "n1: ") {
		t.Errorf("the second run: %v", err)
	}
	options.Lock, options.Free = false, true
	if _, err = pool(t, options).Host(ctx, target, true); !wire.IsKind(err, wire.KindLocked) || !strings.Contains(err.Error(), "ann@bastion") {
		t.Errorf("one who only looks: %v", err)
	}
}
