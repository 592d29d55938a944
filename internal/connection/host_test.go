// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/internal/wire"
)

func TestAgentIsSentOnceAndAnswers(t *testing.T) {
	server := startSSHD(t)
	ctx := limited(t, 60*time.Second)
	dir := server.target().AgentDirs[0]
	for run := range 2 {
		p := New(server.options())
		h, err := p.Host(ctx, server.target(), false)
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		var stat wire.StatResult
		if err := h.Call(ctx, wire.Stat{Path: "/etc/passwd"}, nil, &stat); err != nil || !stat.Exists {
			t.Fatalf("run %d: stat: %+v, %v", run, stat, err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		programs, err := filepath.Glob(filepath.Join(dir, "drover-agent-*"))
		if err != nil || len(programs) != 1 {
			t.Fatalf("programs on the host: %v, %v", programs, err)
		}
		if run == 0 {
			// Whether it is written again shows in its time.
			if err := os.Chtimes(programs[0], time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if info, err := os.Stat(programs[0]); err != nil || info.ModTime().Unix() != 1 {
			t.Errorf("the second run sent the agent again: %v, %v", info.ModTime(), err)
		}
	}
}

// What a host was found to have is believed only while the file is the same one.
func TestAgentThatChangedIsSentAgain(t *testing.T) {
	server := startSSHD(t)
	ctx := limited(t, 60*time.Second)
	connect := func() {
		t.Helper()
		p := New(server.options())
		defer p.Close()
		if _, err := p.Host(ctx, server.target(), false); err != nil {
			t.Fatal(err)
		}
	}
	connect()
	connect()
	programs, err := filepath.Glob(filepath.Join(server.target().AgentDirs[0], "drover-agent-*"))
	if err != nil || len(programs) != 1 {
		t.Fatalf("programs on the host: %v, %v", programs, err)
	}
	before, err := os.Stat(programs[0])
	if err != nil {
		t.Fatal(err)
	}
	var f *os.File
	for f, err = os.OpenFile(programs[0], os.O_WRONLY, 0); errors.Is(err, syscall.ETXTBSY); f, err = os.OpenFile(programs[0], os.O_WRONLY, 0) {
		if ctx.Err() != nil {
			t.Fatal("the agent of a closed connection still runs")
		}
		runtime.Gosched()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("#!/bin/sh\necho tampered\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(programs[0], before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	connect()
	text, err := os.ReadFile(programs[0])
	if err != nil || strings.HasPrefix(string(text), "#!") {
		t.Errorf("a changed program of the same size and modification time was started: %v", err)
	}
}
