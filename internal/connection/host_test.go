// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"os"
	"path/filepath"
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
