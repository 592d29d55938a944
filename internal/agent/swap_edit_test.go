// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/internal/wire"
)

const (
	editedConfig = "data_dir = \"/opt/nomad\"\n# edited\n"
	peersPath    = "/opt/nomad/server/raft/peers.json"
	peersText    = `[{"id":"x"}]`
)

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// withEdits restarts a server with its configuration edited and a new file beside raft's, after a backup.
func withEdits(p *wire.SwapPrepare) {
	p.Staged, p.SHA256, p.Version = "", "", ""
	p.Server = true
	p.Backup = &wire.SwapBackup{From: "/opt/nomad/server", Keep: 2}
	p.Edits = []wire.SwapEdit{
		{Path: "/etc/nomad.d/nomad.hcl", Content: []byte(editedConfig), Before: sha("data_dir = \"/opt/nomad\"\n")},
		{Path: peersPath, Content: []byte(peersText), Like: "/opt/nomad/server/raft/raft.db"},
	}
}

// crashing adds an edit that makes the agent end before it touches raft's files.
func crashing(p *wire.SwapPrepare) {
	withEdits(p)
	p.Edits = append(p.Edits, wire.SwapEdit{Path: "/etc/nomad.d/BEHAVIOUR-" + oldVersion, Content: []byte("crash-early")})
}

// expectFiles looks at what edits leave: the configuration, raft's file, and names that should not be there.
func (b *bench) expectFiles(edited bool) {
	b.t.Helper()
	got := b.sh("cat /etc/nomad.d/nomad.hcl; stat -c '%a %U %s' /etc/nomad.d/nomad.hcl; cat /opt/nomad/server/raft/raft.db; echo; ls -A /etc/nomad.d /opt/nomad/server/raft | grep -v :")
	want := "data_dir = \"/opt/nomad\"\n640 games 24\nold\n\n\nnomad.hcl\n\nraft.db"
	if edited {
		want = editedConfig + "640 games 33\n" + peersText + "\nnomad.hcl\n\nraft.db"
	}
	if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		b.t.Errorf("files: got\n%s\nwant\n%s", got, want)
	}
}

func (b *bench) resetForEdits() {
	b.t.Helper()
	b.reset()
	b.sh("rm -rf /opt/nomad/server.drover-*; chown games:games /etc/nomad.d/nomad.hcl; chmod 640 /etc/nomad.d/nomad.hcl; chown games:games /opt/nomad/server/raft/raft.db; chmod 600 /opt/nomad/server/raft/raft.db")
}

func TestLabSwapEdits(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		name string
		run  func(*bench)
	}{
		{"files are edited while the agent is stopped", editedWhileStopped},
		{"a pause ends by itself, by the word to go on, and by a start", pauses},
		{"edits that fail, or end in a crash, are taken back", editsTakenBack},
		{"killed at every step", editsKilled},
		{"power fails in a pause", powerFailsPaused},
		{"what cannot be edited is refused before the stop", editsRefused},
	} {
		t.Run(test.name, func(t *testing.T) {
			here := *b
			here.t = t
			test.run(&here)
		})
	}
}

func editedWhileStopped(b *bench) {
	b.resetForEdits()
	c, _ := b.connect()
	for range 3 {
		b.sh("printf 'data_dir = \"/opt/nomad\"\\n' > /etc/nomad.d/nomad.hcl; printf 'old\\n' > /opt/nomad/server/raft/raft.db")
		got := b.swap(c, withEdits)
		if got.State != wire.SwapDone || got.NewPID == got.OldPID || len(got.Edited) != 2 {
			b.t.Fatalf("outcome: %+v", got)
		}
		if copied := b.sh("cat " + got.Backup + "/raft/raft.db; stat -c '%a %U' " + got.Backup + "/raft/raft.db"); copied != "old\n600 games" {
			b.t.Errorf("the copy holds %q", copied)
		}
		if left := b.sh("grep -rl '# edited' /var/lib/drover/swap || true"); left != "" {
			b.t.Errorf("what the configuration holds was left in %s", left)
		}
		if _, err := try[wire.SwapOutcome](c, wire.SwapRevert{ID: got.ID}, nil); !wire.IsKind(err, wire.KindInvalid) {
			b.t.Errorf("revert on request: %v", err)
		}
	}
	b.expect(oldVersion, oldVersion)
	b.expectFiles(true)
	if kept := b.sh("ls -d /opt/nomad/server.drover-backup-* | wc -l"); kept != "2" {
		b.t.Errorf("%s copies were kept, want 2", kept)
	}
	b.resetForEdits()
	both := b.swap(c, func(p *wire.SwapPrepare) {
		staged := *p
		withEdits(p)
		p.Staged, p.SHA256, p.Version = staged.Staged, staged.SHA256, staged.Version
	})
	if both.State != wire.SwapDone {
		b.t.Errorf("with another binary: %+v", both)
	}
	b.expect(newVersion, newVersion)
	b.expectFiles(true)
}

func pauses(b *bench) {
	pause := func(ms int64) func(*wire.SwapPrepare) {
		return func(p *wire.SwapPrepare) { withEdits(p); p.PauseMS = ms }
	}
	for _, test := range []struct {
		name string
		ms   int64
		end  func(c *client, id string) wire.SwapOutcome
		took time.Duration
	}{
		{"by itself", 1500, func(c *client, _ string) wire.SwapOutcome { return b.awaitEnd(c) }, 1500 * time.Millisecond},
		{"by the word", 60000, func(c *client, id string) wire.SwapOutcome {
			return get[wire.SwapOutcome](b.t, c, wire.SwapContinue{ID: id}, nil)
		}, 0},
		{"by a start", 60000, func(c *client, _ string) wire.SwapOutcome {
			b.sh("systemctl start nomad")
			return b.awaitEnd(c)
		}, 0},
		{"after the agent died", 2000, func(c *client, _ string) wire.SwapOutcome {
			b.sh("pkill -9 -f '^/opt/drover-agent serve'")
			again, _ := b.connect()
			return b.awaitEnd(again)
		}, 0},
	} {
		b.resetForEdits()
		c, _ := b.connect()
		begin := time.Now()
		waits := b.swap(c, pause(test.ms))
		if waits.State != wire.SwapRunning || !waits.Paused || time.Since(begin) > 5*time.Second {
			b.t.Fatalf("%s: the commit said %+v after %s", test.name, waits, time.Since(begin))
		}
		if test.ms > 5000 {
			if state := b.sh("systemctl is-active nomad || true"); state != "inactive" && state != "failed" {
				b.t.Errorf("%s: in its pause the unit is %s", test.name, state)
			}
		}
		got := test.end(c, waits.ID)
		if got.State != wire.SwapDone || got.Paused || time.Since(begin) < test.took || time.Since(begin) > 30*time.Second {
			b.t.Errorf("%s: %+v after %s", test.name, got, time.Since(begin))
		}
		b.expect(oldVersion, oldVersion)
		b.expectFiles(true)
		c.session.Close()
	}
}

func editsTakenBack(b *bench) {
	b.resetForEdits()
	c, _ := b.connect()
	got := b.swap(c, crashing)
	if got.State != wire.SwapReverted || !strings.Contains(got.Hint, "files") {
		b.t.Errorf("a crash before raft: %+v", got)
	}
	b.expect(oldVersion, oldVersion)
	b.expectFiles(false)

	b.resetForEdits()
	token := b.prepare(c, withEdits).Token
	b.sh("echo '# mine' >> /etc/nomad.d/nomad.hcl")
	got = get[wire.SwapOutcome](b.t, c, wire.SwapCommit{Token: token}, nil)
	if got.State != wire.SwapReverted || !strings.Contains(got.Error, "somebody else has changed it") {
		b.t.Errorf("a file that has changed: %+v", got)
	}
	if text := b.sh("tail -n1 /etc/nomad.d/nomad.hcl; ls " + peersPath + " 2>&1 || true"); !strings.HasPrefix(text, "# mine\n") || !strings.Contains(text, "No such file") {
		b.t.Errorf("after the refusal: %s", text)
	}

	b.resetForEdits()
	got = b.swap(c, func(p *wire.SwapPrepare) {
		withEdits(p)
		p.Edits = append(p.Edits, wire.SwapEdit{Path: "/etc/nomad.d/BEHAVIOUR-" + oldVersion, Content: []byte("crash-raft")})
	})
	if got.State != wire.SwapFailed || !strings.Contains(got.Error, "raft") || !strings.Contains(got.Hint, "edited files stay") {
		b.t.Errorf("a crash after raft: %+v", got)
	}
	b.sh("ls /etc/nomad.d/BEHAVIOUR-" + oldVersion)
}

// editsKilled kills the process at each step of a transaction with edits, a backup and a pause. However it went, the host must end with Nomad
// running and the files all edited or all as before.
func editsKilled(b *bench) {
	const committed, checked, reverted = 1, 14, 20
	for _, run := range []struct {
		change   func(*wire.SwapPrepare)
		from, to int
		state    string
	}{{withEdits, committed, checked, wire.SwapDone}, {crashing, checked - 1, reverted, wire.SwapReverted}} {
		for step := run.from; step <= run.to; step++ {
			b.resetForEdits()
			c, _ := b.connect()
			token := b.prepare(c, func(p *wire.SwapPrepare) { run.change(p); p.Signal, p.PauseMS = wire.StopTERM, 300 }).Token
			killer, err := b.lab.OnHost(b.ctx, b.host, "/usr/local/bin/nomad-old", "kill-at", strconv.Itoa(step))
			if err != nil {
				b.t.Fatal(err)
			}
			said := startWatching(b.t, killer)
			if _, err := try[wire.SwapOutcome](c, wire.SwapCommit{Token: token}, nil); err != nil {
				b.t.Fatal(err)
			}
			got := b.awaitEnd(c)
			_ = killer.Wait()
			b.t.Logf("killed at step %d: %s, %s, steps %s", step, said(), got.State, stepNames(got))
			if got.State != run.state {
				b.t.Errorf("killed at step %d: %+v", step, got)
			}
			b.expect(oldVersion, oldVersion)
			b.expectFiles(run.state == wire.SwapDone)
			c.session.Close()
		}
	}
}

// powerFailsPaused cuts the power while the transaction waits; the unit is not enabled.
func powerFailsPaused(b *bench) {
	b.resetForEdits()
	c, _ := b.connect()
	b.sh("systemctl disable nomad 2>/dev/null || true")
	if waits := b.swap(c, func(p *wire.SwapPrepare) { withEdits(p); p.PauseMS = 120000 }); !waits.Paused {
		b.t.Fatalf("outcome: %+v", waits)
	}
	b.sh("sync")
	b.reboot()
	again, _ := b.connect()
	if out := b.awaitEnd(again); out.State != wire.SwapDone {
		b.t.Errorf("outcome: %+v", out)
	}
	b.expect(oldVersion, oldVersion)
	b.expectFiles(true)
}

func editsRefused(b *bench) {
	b.resetForEdits()
	c, _ := b.connect()
	now := get[wire.UnitState](b.t, c, wire.Unit{Name: "nomad"}, nil)
	for name, test := range map[string]struct {
		change func(*wire.SwapPrepare)
		want   string
	}{
		"another content":  {func(p *wire.SwapPrepare) { p.Edits[0].Before = sha("other") }, "is not what it was when it was read"},
		"an existing file": {func(p *wire.SwapPrepare) { p.Edits[1].Path = "/opt/nomad/server/raft/raft.db" }, "is not what it was"},
		"no such owner":    {func(p *wire.SwapPrepare) { p.Edits[1].Like = "/nowhere" }, "/nowhere"},
		"one path twice": {func(p *wire.SwapPrepare) {
			p.Edits[1] = p.Edits[0]
			p.Edits[1].Path = "/etc/nomad.d/../nomad.d/nomad.hcl"
		}, "edited twice"},
		"a relative path":    {func(p *wire.SwapPrepare) { p.Edits[0].Path = "nomad.hcl" }, "not absolute"},
		"a pause for ever":   {func(p *wire.SwapPrepare) { p.PauseMS = wire.SwapLongestPause + 1 }, "a pause of"},
		"no such directory":  {func(p *wire.SwapPrepare) { p.Backup.From = "/opt/nomad/nothing" }, "/opt/nomad/nothing"},
		"a copy for nothing": {func(p *wire.SwapPrepare) { p.Backup.Keep = 0 }, "at least the new one"},
		"a full disk": {func(p *wire.SwapPrepare) {
			b.sh("mkdir -p /mnt/small; mount -t tmpfs -o size=1m tmpfs /mnt/small; mkdir /mnt/small/server; head -c 600000 /dev/urandom > /mnt/small/server/x")
			p.Backup.From = "/mnt/small/server"
		}, "not enough space for the copy"},
	} {
		request := wire.SwapPrepare{Unit: "nomad", MainPID: now.MainPID, DataDir: "/opt/nomad"}
		withEdits(&request)
		test.change(&request)
		_, err := try[wire.SwapPrepareResult](c, request, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			b.t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	b.sh("umount /mnt/small; cp /usr/local/bin/nomad /usr/local/bin/other; mv /usr/local/bin/other /usr/local/bin/nomad")
	request := wire.SwapPrepare{Unit: "nomad", MainPID: now.MainPID, DataDir: "/opt/nomad"}
	withEdits(&request)
	if _, err := try[wire.SwapPrepareResult](c, request, nil); err == nil || !strings.Contains(err.Error(), "would change the version") {
		b.t.Errorf("a binary that was replaced since: %v", err)
	}
	if got := b.sh("ls /var/lib/drover/swap/*/ 2>/dev/null; systemctl show -p MainPID --value nomad"); got != strconv.Itoa(now.MainPID) {
		b.t.Errorf("left: %s, want process %d", got, now.MainPID)
	}
}
