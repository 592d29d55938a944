// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
	"drover/internal/wire"
)

// TestLabSwapNomad swaps a real single server, and compares the time without an API with that of a bare restart.
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
	var out wire.SwapOutcome
	gap := b.outage(func() { out = get[wire.SwapOutcome](t, c, wire.SwapCommit{Token: prepared.Token}, nil) })
	after := get[wire.AgentResult](t, c, wire.Agent{Unit: "nomad"}, nil)
	if out.State != wire.SwapDone || !strings.HasPrefix(after.ExeVersion, "Nomad v"+newVersion) {
		t.Errorf("outcome %+v, then %+v", out, after)
	}
	var bares []time.Duration
	for range 3 {
		bares = append(bares, b.outage(func() { b.sh("systemctl restart nomad") }))
	}
	t.Logf("from the stop to the new process %s", time.Duration(out.Started-out.Stopped))
	slices.Sort(bares)
	t.Logf("prepare took %d ms; no API for %s in bare restarts, for %s in the swap", prepared.TookMS, bares, gap)
	// The first start of a version is slower than the later ones, and the machine may be busy: this only finds a swap that
	// does work of its own in the gap.
	if gap > 2*bares[len(bares)-1] {
		t.Errorf("no API for %s, at most %s in bare restarts", gap, bares[len(bares)-1])
	}
}

// outage tells how long the host's own API did not answer while something was done.
func (b *bench) outage(do func()) time.Duration {
	b.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	var from time.Time
	last := time.Now() // the outage may have begun before the first question
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(b.ctx, time.Second)
		err := b.lab.Call(ctx, b.host, "GET", "/v1/agent/self", nil, nil)
		cancel()
		now := time.Now()
		switch {
		case err != nil && from.IsZero():
			from = last
		case err == nil && !from.IsZero():
			<-done
			return now.Sub(from)
		case err == nil:
			last = now
		}
	}
	b.t.Fatal("the API did not go and come back")
	return 0
}
