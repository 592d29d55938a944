// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
	"drover/internal/wire"
)

// TestLabSwapNomad swaps a real single server. How long it is away beside a bare restart is measured by BenchmarkLabGap.
func TestLabSwapNomad(t *testing.T) {
	if err := lab.Requirements(); err != nil {
		absent(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	dirs := lab.FindDirs(os.Getenv)
	dirs.State = filepath.Join(t.TempDir(), "labs")
	path, err := lab.Nomad(ctx, newVersion, "", dirs.Cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.Up(ctx, lab.Options{Name: fmt.Sprintf("t-nomad-%d", os.Getpid()), Dirs: dirs, Servers: 1, Version: oldVersion}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background(), nil); err != nil {
			t.Error(err)
		}
	})
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, ctx: ctx, lab: l, host: "s1", new: binary}
	b.put("/opt/drover-agent", compile(t, "../../cmd/drover-agent", ""), "0755")
	c, _ := b.connect()
	now := get[wire.AgentResult](t, c, wire.Agent{Unit: "nomad"}, nil)
	sum := sha256.Sum256(binary)
	staged := get[wire.StageResult](t, c, wire.Stage{
		Unit: "nomad", Size: int64(len(binary)), SHA256: hex.EncodeToString(sum[:]), Version: newVersion,
	}, binary)
	t.Logf("stage: %+v", staged)

	state := get[wire.UnitState](t, c, wire.Unit{Name: "nomad"}, nil)
	prepared := get[wire.SwapPrepareResult](t, c, wire.SwapPrepare{
		Unit: "nomad", Staged: staged.Path, SHA256: hex.EncodeToString(sum[:]), Version: newVersion, MainPID: state.MainPID,
		Server: true, DataDir: now.DataDir, Listen: []int{4646, 4647},
	}, nil)
	t.Logf("prepared in %d ms, %d MiB copied", prepared.TookMS, len(binary)>>20)
	out := get[wire.SwapOutcome](t, c, wire.SwapCommit{Token: prepared.Token}, nil)
	after := get[wire.AgentResult](t, c, wire.Agent{Unit: "nomad"}, nil)
	if out.State != wire.SwapDone || !strings.HasPrefix(after.ExeVersion, "Nomad v"+newVersion) {
		t.Errorf("outcome %+v, then %+v", out, after)
	}
}
