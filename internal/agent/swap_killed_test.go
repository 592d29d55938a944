// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bytes"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/internal/wire"
)

// commit orders the swap without waiting for its outcome.
func (b *bench) commit(c *client, token string) {
	b.t.Helper()
	stream, err := c.session.OpenStream()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, message := range []any{wire.Header{Op: "swap_commit"}, wire.SwapCommit{Token: token}} {
		if err := wire.WriteMessage(stream, message); err != nil {
			b.t.Fatal(err)
		}
	}
}

func agentDies(b *bench) {
	c, cmd := b.connect()
	b.commit(c, b.prepare(c, asClient).Token)
	b.sh("while ! grep -q exchanging /var/lib/drover/swap/nomad.service/*/steps.jsonl; do sleep 0.005; done; pkill -9 -f '^/opt/drover-agent serve'")
	_ = cmd.Wait()
	again, _ := b.connect()
	out := b.awaitEnd(again)
	if out.State != wire.SwapDone {
		b.t.Errorf("outcome: %+v", out)
	}
	b.expect(newVersion, newVersion)
}

// powerFails cuts the power once the binary is exchanged. The unit is not enabled, so only the resumed transaction
// starts it.
func powerFails(b *bench) {
	c, _ := b.connect()
	b.commit(c, b.prepare(c, asClient).Token)
	b.sh("systemctl disable nomad 2>/dev/null; while ! grep -q exchanged /var/lib/drover/swap/nomad.service/*/steps.jsonl; do :; done")
	b.reboot()
	again, _ := b.connect()
	out := b.awaitEnd(again)
	b.t.Log(out.State, stepNames(out), out.Error)
	if out.State != wire.SwapDone {
		b.t.Errorf("outcome: %+v", out)
	}
	b.expect(newVersion, newVersion)
}

// reboot cuts the power and waits until the host is back.
func (b *bench) reboot() {
	b.t.Helper()
	if err := b.lab.Kill(b.ctx, b.host); err != nil {
		b.t.Fatal(err)
	}
	if err := b.lab.Boot(b.ctx, b.host); err != nil {
		b.t.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Second); ; {
		if out, err := b.lab.Output(b.ctx, b.host, "systemctl", "is-active", "basic.target"); err == nil && strings.TrimSpace(out) == "active" {
			break
		}
		if time.Now().After(end) {
			b.t.Fatal("the host does not come back")
		}
	}
}

// oldDiesFirst kills the process that swaps after the exchange, and the old agent, so that systemd restarts the unit
// with the new binary before anything was stopped.
func oldDiesFirst(b *bench) {
	c, _ := b.connect()
	token := b.prepare(c, asClient).Token
	killer, err := b.lab.OnHost(b.ctx, b.host, "/usr/local/bin/nomad-old", "kill-at", "1", "with-agent")
	if err != nil {
		b.t.Fatal(err)
	}
	said := startWatching(b.t, killer)
	got := get[wire.SwapOutcome](b.t, c, wire.SwapCommit{Token: token}, nil)
	_ = killer.Wait()
	b.t.Log(said(), got.State, stepNames(got), got.Error)
	version := newVersion
	if got.State == wire.SwapUntouched {
		version = oldVersion
	} else if got.State != wire.SwapDone {
		b.t.Errorf("outcome: %+v", got)
	}
	b.expect(version, version)
}

// awaitEnd asks until the only transaction on record has ended.
func (b *bench) awaitEnd(c *client) wire.SwapOutcome {
	b.t.Helper()
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); {
		out := get[wire.HelloResult](b.t, c, wire.Hello{Run: "run", Lock: true}, nil).Outcomes
		if len(out) == 1 && out[0].State != wire.SwapRunning {
			return out[0]
		}
	}
	b.t.Fatal("the transaction does not end")
	return wire.SwapOutcome{}
}

// killedEverywhere kills the process that swaps at each step of a good swap and of a reverted one. However it went, the
// host must end with Nomad running, whole, and with the outcome on record.
func killedEverywhere(b *bench) {
	const committed, checked, failed, reverted = 1, 10, 10, 17
	for _, run := range []struct {
		how      string
		from, to int
	}{{"", committed, checked}, {"crash", failed, reverted}} {
		for step, how := run.from, run.how; step <= run.to; step++ {
			b.reset()
			b.behave(newVersion, how)
			c, _ := b.connect()
			token := b.prepare(c, func(p *wire.SwapPrepare) { asClient(p); p.Signal = wire.StopTERM }).Token
			killer, err := b.lab.OnHost(b.ctx, b.host, "/usr/local/bin/nomad-old", "kill-at", strconv.Itoa(step))
			if err != nil {
				b.t.Fatal(err)
			}
			said := startWatching(b.t, killer)
			got := get[wire.SwapOutcome](b.t, c, wire.SwapCommit{Token: token}, nil)
			_ = killer.Wait()
			want, version := wire.SwapDone, newVersion
			if how == "crash" {
				want, version = wire.SwapReverted, oldVersion
			}
			b.t.Logf("%q, killed at step %d: %s, %s, steps %s", how, step, said(), got.State, stepNames(got))
			if got.State != want {
				b.t.Errorf("killed at step %d (%q): %+v", step, how, got)
			}
			b.expect(version, version)
			c.session.Close()
		}
	}
}

// startWatching starts the killer and returns once it watches; the function gives what it said at last.
func startWatching(t *testing.T, killer *exec.Cmd) func() string {
	t.Helper()
	var text bytes.Buffer
	out, err := killer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killer.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("watching\n"))
	if _, err := io.ReadFull(out, line); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _, _ = io.Copy(&text, out); close(done) }()
	return func() string { <-done; return strings.TrimSpace(text.String()) }
}

func stepNames(out wire.SwapOutcome) string {
	var names []string
	for _, step := range out.Steps {
		names = append(names, step.Name)
	}
	return strings.Join(names, ", ")
}
