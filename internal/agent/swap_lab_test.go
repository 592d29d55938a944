// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"drover/internal/lab"
	"drover/internal/wire"
)

const (
	oldVersion = "1.10.5"
	newVersion = "1.11.0"
)

// fakeUnit is the packaged unit of Nomad, with a shorter wait between restarts.
const fakeUnit = `[Unit]
Description=fake Nomad
[Service]
ExecStart=/usr/local/bin/nomad agent -config /etc/nomad.d
EnvironmentFile=-/etc/nomad.d/nomad.env
KillMode=process
KillSignal=SIGINT
Restart=on-failure
RestartSec=300ms
[Install]
WantedBy=multi-user.target
`

// bench is one real host with a fake Nomad on it, and the agent to try.
type bench struct {
	t    *testing.T
	ctx  context.Context
	lab  *lab.Lab
	host string
	new  []byte // the new version's binary
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if err := lab.Requirements(); err != nil {
		absent(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	t.Cleanup(cancel)
	dirs := lab.FindDirs(os.Getenv)
	dirs.State = filepath.Join(t.TempDir(), "labs")
	l, err := lab.Up(ctx, lab.Options{Name: fmt.Sprintf("t-swap-%d", os.Getpid()), Dirs: dirs, Plain: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background(), nil); err != nil {
			t.Error(err)
		}
	})
	b := &bench{t: t, ctx: ctx, lab: l, host: "h1", new: compile(t, "./testdata/fakenomad", "-X main.version="+newVersion)}
	b.put("/usr/local/bin/nomad-old", compile(t, "./testdata/fakenomad", "-X main.version="+oldVersion), "0755")
	b.put("/opt/drover-agent", compile(t, "../../cmd/drover-agent", ""), "0755")
	b.put("/etc/systemd/system/nomad.service", []byte(fakeUnit), "0644")
	b.reset()
	return b
}

func compile(t *testing.T, dir, flags string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-o", path, "-ldflags", "-s -w "+flags, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, text)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (b *bench) put(path string, text []byte, mode string) {
	b.t.Helper()
	cmd, err := b.lab.OnHost(b.ctx, b.host, "sh", "-c", fmt.Sprintf("mkdir -p %s && cat > %s.new && chmod %s %s.new && mv %s.new %s",
		filepath.Dir(path), path, mode, path, path, path))
	if err != nil {
		b.t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("put %s: %v\n%s", path, err, out)
	}
}

func (b *bench) sh(script string) string {
	b.t.Helper()
	out, err := b.lab.Output(b.ctx, b.host, "sh", "-c", script)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// reset puts the host back to the old version, running.
func (b *bench) reset() {
	b.t.Helper()
	b.sh(`systemctl daemon-reload; systemctl stop nomad; systemctl reset-failed nomad
rm -rf /opt/nomad /etc/nomad.d /var/lib/drover /usr/local/bin/nomad /usr/local/bin/nomad.drover-*
mkdir -p /opt/nomad/client /opt/nomad/server/raft /etc/nomad.d
echo old > /opt/nomad/server/raft/raft.db
echo 'data_dir = "/opt/nomad"' > /etc/nomad.d/nomad.hcl
cp /usr/local/bin/nomad-old /usr/local/bin/nomad
systemctl start nomad
while ! test -s /opt/nomad/up; do sleep 0.02; done`)
}

func (b *bench) behave(version, how string) {
	b.t.Helper()
	b.put("/etc/nomad.d/BEHAVIOUR-"+version, []byte(how), "0644")
}

// connect starts an agent on the host.
func (b *bench) connect() (*client, *exec.Cmd) {
	b.t.Helper()
	cmd, err := b.lab.OnHost(b.ctx, b.host, "/opt/drover-agent", "serve")
	if err != nil {
		b.t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	c := dialAgent(b.t, struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	b.t.Cleanup(func() {
		c.session.Close()
		in.Close()
		_ = cmd.Wait()
	})
	get[wire.HelloResult](b.t, c, wire.Hello{Run: "run", Holder: "a test", Lock: true}, nil)
	return c, cmd
}

func (b *bench) hash() string {
	sum := sha256.Sum256(b.new)
	return hex.EncodeToString(sum[:])
}

func (b *bench) stageRequest() wire.Stage {
	return wire.Stage{Unit: "nomad", Size: int64(len(b.new)), SHA256: b.hash(), Version: newVersion, Encoding: "zstd"}
}

func (b *bench) stage(c *client) wire.StageResult {
	b.t.Helper()
	return get[wire.StageResult](b.t, c, b.stageRequest(), pack(b.t, b.new))
}

func pack(t *testing.T, text []byte) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return encoder.EncodeAll(text, nil)
}

// prepare stages and prepares a swap of what runs now.
func (b *bench) prepare(c *client, change func(*wire.SwapPrepare)) wire.SwapPrepareResult {
	b.t.Helper()
	staged := b.stage(c)
	now := get[wire.UnitState](b.t, c, wire.Unit{Name: "nomad"}, nil)
	request := wire.SwapPrepare{
		Unit: "nomad", Staged: staged.Path, SHA256: b.hash(), Version: newVersion, MainPID: now.MainPID,
		DataDir: "/opt/nomad", Listen: []int{4646, 4647},
	}
	if change != nil {
		change(&request)
	}
	return get[wire.SwapPrepareResult](b.t, c, request, nil)
}

func asClient(p *wire.SwapPrepare) { p.Client, p.Hold = true, true }
func asServer(p *wire.SwapPrepare) { p.Server = true }

func (b *bench) swap(c *client, change func(*wire.SwapPrepare)) wire.SwapOutcome {
	b.t.Helper()
	return get[wire.SwapOutcome](b.t, c, wire.SwapCommit{Token: b.prepare(c, change).Token}, nil)
}

// expect checks the host itself: what runs, which state it has, and that nothing is left over.
func (b *bench) expect(version, state string) {
	b.t.Helper()
	got := b.sh(`pid=$(systemctl show -p MainPID --value nomad); /proc/$pid/exe version | head -n1
/usr/local/bin/nomad version | head -n1; cat /opt/nomad/client/state.db; echo; ls /run/systemd/system/nomad.service.d 2>/dev/null || true`)
	want := "Nomad v" + version + "\nNomad v" + version + "\n" + state
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("the host (-want +got):\n%s", diff)
	}
}

func TestLabSwap(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		name string
		run  func(*bench)
	}{
		{"operations on units", unitOperations},
		{"stage", stageOnHost},
		{"a client goes to the new version, is reverted on request", clientSwap},
		{"a client whose new binary crashes gets binary and state back", clientCrash},
		{"a server that crashed before raft is reverted", serverCrash},
		{"a server that crashed after raft keeps the new binary", serverCrashRaft},
		{"slow is not failed", slowStart},
		{"the stop signal is the asked one, once", stopSignal},
		{"a commit after its time is refused", lateCommit},
		{"a swap outlives agent and connection", agentDies},
		{"power fails in the middle", powerFails},
		{"an old agent that dies first is not started again over the new state", oldDiesFirst},
		{"killed at every step", killedEverywhere},
		{"state that cannot be kept brings the old binary back at once", uncopied},
		{"a signal that another drop-in overrules stops nothing", overruled},
		{"a disk that takes no record leaves nothing stopped", unrecorded},
		{"a binary that was replaced while it ran", replacedBinary},
		{"a link that chooses the version", linkedSwap},
		{"killed where files move, on such hosts", hostsKilled},
		{"two agents on one host", twoAgents},
		{"hosts that are not as expected", oddHosts},
		{"a home that is mounted noexec", noexecHome},
		{"a packaged binary", packaged},
		{"the gap", gap},
	} {
		t.Run(test.name, func(t *testing.T) {
			here := *b
			here.t = t
			here.reset()
			test.run(&here)
		})
	}
}

func unitOperations(b *bench) {
	c, _ := b.connect()
	got := get[wire.AgentResult](b.t, c, wire.Agent{Unit: "nomad"}, nil)
	want := wire.AgentResult{
		Running: true, Cmdline: []string{"/usr/local/bin/nomad", "agent", "-config", "/etc/nomad.d"}, Exe: "/usr/local/bin/nomad",
		ExeVersion: "Nomad v" + oldVersion, Binary: "/usr/local/bin/nomad", BinaryVersion: "Nomad v" + oldVersion,
		ConfigPaths: []string{"/etc/nomad.d"}, ConfigFiles: []string{"/etc/nomad.d/nomad.hcl"}, DataDir: "/opt/nomad",
		Listening: []string{"127.0.0.1:4646", "127.0.0.1:4647"}, StageFreeBytes: -1,
	}
	if got.Unit.MainPID == 0 || got.StartTicks == 0 || got.ExeInode != got.BinaryStat.Inode || got.ExeDevice != got.BinaryStat.Device || got.FreeBytes == 0 {
		b.t.Errorf("agent: %+v", got)
	}
	got.Unit, got.StartTicks, got.ExeInode, got.ExeDevice, got.BinaryStat, got.FreeBytes = wire.UnitState{}, 0, 0, 0, wire.StatResult{}, 0
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("agent (-want +got):\n%s", diff)
	}
	if _, err := try[wire.UnitControlResult](c, wire.UnitControl{Name: "nomad", State: "restarted"}, nil); !wire.IsKind(err, wire.KindInvalid) {
		b.t.Errorf("restarting a unit that runs Nomad: got %v, want a refusal", err)
	}
	before := get[wire.UnitState](b.t, c, wire.Unit{Name: "nomad"}, nil)
	late := wire.UnitControl{Name: "nomad", State: "stopped", Unguarded: true, Until: get[wire.FactsResult](b.t, c, wire.Facts{}, nil).UptimeSeconds - 1}
	if _, err := try[wire.UnitControlResult](c, late, nil); !wire.IsKind(err, wire.KindStale) {
		b.t.Errorf("stopping a unit a second too late: got %v, want a refusal", err)
	}
	enable := true
	control := get[wire.UnitControlResult](b.t, c, wire.UnitControl{Name: "nomad", State: "restarted", Enabled: &enable, Unguarded: true}, nil)
	if !control.Changed || control.After.MainPID == before.MainPID || control.After.UnitFileState != "enabled" {
		b.t.Errorf("unguarded restart: %+v", control)
	}
	again := get[wire.UnitControlResult](b.t, c, wire.UnitControl{Name: "nomad", State: "started", Enabled: &enable, Unguarded: true}, nil)
	if again.Changed {
		b.t.Errorf("the second time changed something: %+v", again)
	}
	log := get[wire.UnitLogResult](b.t, c, wire.UnitLog{Name: "nomad", Lines: 50}, nil)
	text := strings.Join(log.Lines, "\n")
	if !strings.Contains(text, "agent starts, version") || strings.Contains(text, "hvs.") {
		b.t.Errorf("log: %s", text)
	}
	if _, err := try[none](c, wire.Signal{Unit: "nomad", PID: before.MainPID, Signal: 1}, nil); !wire.IsKind(err, wire.KindStale) {
		b.t.Errorf("signal to the process before: got %v, want stale", err)
	}
	if _, err := try[wire.HelloResult](secondAgent(b), wire.Hello{Run: "other", Lock: true}, nil); !wire.IsKind(err, wire.KindLocked) || !strings.Contains(err.Error(), "a test") {
		b.t.Errorf("second run: got %v, want a refusal that names the holder", err)
	}
}

// secondAgent is one that has not said hello.
func secondAgent(b *bench) *client {
	cmd, err := b.lab.OnHost(b.ctx, b.host, "/opt/drover-agent")
	if err != nil {
		b.t.Fatal(err)
	}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	c := dialAgent(b.t, struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	b.t.Cleanup(func() { c.session.Close(); in.Close(); _ = cmd.Wait() })
	return c
}

func stageOnHost(b *bench) {
	c, _ := b.connect()
	check := b.stageRequest()
	check.Check = true
	if first := get[wire.StageResult](b.t, c, check, nil); !first.NeedBody {
		b.t.Errorf("nothing staged: %+v", first)
	}
	got := b.stage(c)
	want := wire.StageResult{Changed: true, Path: "/var/lib/drover/stage/" + b.hash() + "/nomad", Version: "Nomad v1.11.0", Validate: "ok"}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("stage (-want +got):\n%s", diff)
	}
	want.Changed = false
	if diff := cmp.Diff(want, get[wire.StageResult](b.t, c, b.stageRequest(), nil)); diff != "" {
		b.t.Errorf("staged already (-want +got):\n%s", diff)
	}
	b.behave(newVersion, "reject")
	_, err := try[wire.StageResult](c, b.stageRequest(), nil)
	if err == nil || !strings.Contains(err.Error(), "no such key") || strings.Contains(err.Error(), "2222") {
		b.t.Errorf("rejected configuration: got %v", err)
	}
	wrong := b.stageRequest()
	wrong.Version = "1.11.1"
	if _, err := try[wire.StageResult](c, wrong, pack(b.t, b.new)); !wire.IsKind(err, wire.KindInvalid) {
		b.t.Errorf("wrong version: got %v", err)
	}
	if left := get[wire.StatResult](b.t, c, wire.Stat{Path: "/var/lib/drover/stage/" + b.hash()}, nil); left.Exists {
		b.t.Errorf("a binary of another version was left: %+v", left)
	}
	if beside := b.sh("ls -A /usr/local/bin"); beside != "nomad\nnomad-old" {
		b.t.Errorf("beside the installed binary is %q", beside)
	}
}

func clientSwap(b *bench) {
	c, _ := b.connect()
	got := b.swap(c, asClient)
	if got.State != wire.SwapDone || got.NewPID == got.OldPID || got.Previous == "" || got.Stopped == 0 || got.Gone < got.Stopped || got.Started < got.Gone || got.Checked < got.Started {
		b.t.Errorf("outcome: %+v", got)
	}
	b.expect(newVersion, newVersion)
	back := get[wire.SwapOutcome](b.t, c, wire.SwapRevert{ID: got.ID}, nil)
	if back.State != wire.SwapReverted {
		b.t.Errorf("revert: %+v", back)
	}
	b.expect(oldVersion, oldVersion)
	get[none](b.t, c, wire.SwapSettle{ID: got.ID}, nil)
	get[none](b.t, c, wire.SwapSettle{ID: back.ID}, nil)
	if left := get[wire.HelloResult](b.t, c, wire.Hello{Run: "run", Lock: true}, nil).Outcomes; len(left) != 0 {
		b.t.Errorf("outcomes after settle: %+v", left)
	}
}

func clientCrash(b *bench) {
	c, _ := b.connect()
	b.behave(newVersion, "crash")
	got := b.swap(c, asClient)
	if got.State != wire.SwapReverted || !strings.Contains(strings.Join(got.Log, "\n"), "crashes as told") {
		b.t.Errorf("outcome: %+v", got)
	}
	b.expect(oldVersion, oldVersion)
}

func serverCrash(b *bench) {
	c, _ := b.connect()
	b.behave(newVersion, "crash-early")
	if got := b.swap(c, asServer); got.State != wire.SwapReverted {
		b.t.Errorf("outcome: %+v", got)
	}
	b.expect(oldVersion, oldVersion)
}

func serverCrashRaft(b *bench) {
	c, _ := b.connect()
	b.behave(newVersion, "crash-raft")
	got := b.swap(c, asServer)
	if got.State != wire.SwapFailed || got.Hint == "" || !strings.Contains(got.Error, "raft") {
		b.t.Errorf("outcome: %+v", got)
	}
	if version := b.sh("/usr/local/bin/nomad version | head -n1"); version != "Nomad v"+newVersion {
		b.t.Errorf("on disk is %s, want the new binary", version)
	}
}

func slowStart(b *bench) {
	c, _ := b.connect()
	b.behave(newVersion, "slow")
	if got := b.swap(c, asClient); got.State != wire.SwapDone || got.Checked-got.Started < int64(3*time.Second) {
		b.t.Errorf("outcome: %+v", got)
	}
	b.expect(newVersion, newVersion)
}

func stopSignal(b *bench) {
	c, _ := b.connect()
	got := b.swap(c, func(p *wire.SwapPrepare) { asClient(p); p.Signal = wire.StopTERM })
	if signal := b.sh("cat /opt/nomad/signal"); got.State != wire.SwapDone || signal != "terminated" {
		b.t.Errorf("stopped by %s: %+v", signal, got)
	}
	b.expect(newVersion, newVersion)
}

func lateCommit(b *bench) {
	c, _ := b.connect()
	token := b.prepare(c, asClient).Token
	b.sh("sleep 5.2") // the permission's life is what is tested
	if _, err := try[wire.SwapOutcome](c, wire.SwapCommit{Token: token}, nil); !wire.IsKind(err, wire.KindStale) {
		b.t.Errorf("late commit: got %v, want stale", err)
	}
	token = b.prepare(c, asClient).Token
	b.sh("systemctl restart nomad")
	if _, err := try[wire.SwapOutcome](c, wire.SwapCommit{Token: token}, nil); !wire.IsKind(err, wire.KindStale) {
		b.t.Errorf("commit after a restart: got %v, want stale", err)
	}
	if _, err := try[wire.SwapOutcome](c, wire.SwapCommit{Token: token}, nil); !wire.IsKind(err, wire.KindStale) {
		b.t.Errorf("used permission: got %v, want stale", err)
	}
	b.expect(oldVersion, oldVersion)
}

// gap compares how long no agent is up in a swap with a bare restart.
func gap(b *bench) {
	measure := func() time.Duration {
		var times [2]int64
		for i, what := range []string{"down", "up"} {
			times[i], _ = strconv.ParseInt(b.sh("cat /opt/nomad/"+what), 10, 64)
		}
		return time.Duration(times[1] - times[0])
	}
	var bares, swaps []time.Duration
	c, _ := b.connect()
	for range 5 {
		b.reset()
		b.sh("rm /opt/nomad/up; systemctl restart nomad; while ! test -s /opt/nomad/up; do sleep 0.01; done")
		bares = append(bares, measure())
		if got := b.swap(c, asClient); got.State != wire.SwapDone {
			b.t.Fatalf("outcome: %+v", got)
		}
		swaps = append(swaps, measure())
	}
	slices.Sort(bares)
	slices.Sort(swaps)
	b.t.Logf("gaps of a bare restart %s, of a swap %s", bares, swaps)
	if swaps[2] > bares[2]+150*time.Millisecond {
		b.t.Errorf("the gap of a swap is %s, that of a bare restart %s (medians)", swaps[2], bares[2])
	}
}
