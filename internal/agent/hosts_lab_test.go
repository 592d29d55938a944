// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"

	"drover/internal/wire"
)

// beside lists what is in the directory of the installed binary, without the one that the tests start from.
func (b *bench) beside() string {
	b.t.Helper()
	return strings.ReplaceAll(b.sh("ls -A /usr/local/bin | grep -v '^nomad-old$'"), "\n", " ")
}

// sameAs tells whether two files on the host have the same content.
func (b *bench) sameAs(one, other string) bool {
	b.t.Helper()
	return b.sh("cmp -s "+one+" "+other+" && echo same || echo different") == "same"
}

// replace does what a package manager does to a binary that runs: another file gets its name. The old version with a byte more
// stands for what it brings.
func (b *bench) replace(path string) {
	b.t.Helper()
	b.sh("cp -p /usr/local/bin/nomad-old " + path + ".dpkg-new; echo >> " + path + ".dpkg-new; cp -p " + path + ".dpkg-new /root/packaged; mv " + path + ".dpkg-new " + path)
}

// replacedBinary has a file on disk that is not what runs.
func replacedBinary(b *bench) {
	const path = "/usr/local/bin/nomad"
	b.replace(path)
	c, _ := b.connect()
	seen := get[wire.AgentResult](b.t, c, wire.Agent{Unit: "nomad"}, nil)
	if !seen.ExeDeleted || seen.ExeInode == seen.BinaryStat.Inode {
		b.t.Errorf("agent: %+v", seen)
	}
	b.prepare(c, asClient)
	if names := b.beside(); names != "nomad nomad.drover-1.11.0 nomad.drover-running" {
		b.t.Errorf("prepared: %s", names)
	}
	c.session.Close()
	b.awaitBeside("nomad") // what was prepared and not begun is taken away

	b.sh("mkdir -p /etc/systemd/system/nomad.service.d; printf '[Service]\\nKillSignal=SIGINT\\n' > /etc/systemd/system/nomad.service.d/zzzz.conf; systemctl daemon-reload")
	c, _ = b.connect()
	got := b.swap(c, func(p *wire.SwapPrepare) { asClient(p); p.Signal = wire.StopTERM })
	b.sh("rm -r /etc/systemd/system/nomad.service.d; systemctl daemon-reload")
	if got.State != wire.SwapUntouched || !b.sameAs(path, "/root/packaged") || b.beside() != "nomad" {
		b.t.Errorf("untouched: %+v, beside %s", got, b.beside())
	}

	b.behave(newVersion, "crash")
	if got := b.swap(c, asClient); got.State != wire.SwapReverted || !b.sameAs(path, "/usr/local/bin/nomad-old") || b.beside() != "nomad" {
		b.t.Errorf("what ran did not come back: %+v, beside %s", got, b.beside())
	}
	b.expect(oldVersion, oldVersion)

	b.replace(path)
	b.behave(newVersion, "")
	got = b.swap(c, asClient)
	if got.State != wire.SwapDone || got.Previous != path+suffixPrevious || !b.sameAs(got.Previous, "/usr/local/bin/nomad-old") || b.beside() != "nomad nomad.drover-previous" {
		b.t.Errorf("done: %+v, beside %s", got, b.beside())
	}
	b.expect(newVersion, newVersion)
	if back := get[wire.SwapOutcome](b.t, c, wire.SwapRevert{ID: got.ID}, nil); back.State != wire.SwapReverted || !b.sameAs(path, "/usr/local/bin/nomad-old") {
		b.t.Errorf("reverted on request: %+v", back)
	}
	b.expect(oldVersion, oldVersion)
}

// awaitBeside waits until the directory of the binary holds just that.
func (b *bench) awaitBeside(want string) {
	b.t.Helper()
	got := b.sh(`for i in $(seq 100); do got=$(ls -A /usr/local/bin | grep -v '^nomad-old$' | tr '\n' ' '); test "$got" = "` + want + ` " && break; sleep 0.1; done; echo $got`)
	if got != want {
		b.t.Errorf("beside the binary is %q, want %q", got, want)
	}
}

// linkedBinary puts a link in the place of the binary: ExecStart names it, and it chooses the version.
func (b *bench) linkedBinary() {
	b.t.Helper()
	b.sh("systemctl stop nomad; cd /usr/local/bin && mv nomad nomad-1.10.5 && ln -s nomad-1.10.5 nomad; rm -f /opt/nomad/up; systemctl reset-failed nomad; systemctl start nomad; while ! test -s /opt/nomad/up; do sleep 0.02; done")
}

func (b *bench) unlink() { b.sh("rm -f /usr/local/bin/nomad-1.*") }

func linkedSwap(b *bench) {
	defer b.unlink()
	b.linkedBinary()
	c, _ := b.connect()
	seen := get[wire.AgentResult](b.t, c, wire.Agent{Unit: "nomad"}, nil)
	if seen.Link != "/usr/local/bin/nomad" || seen.Binary != "/usr/local/bin/nomad-1.10.5" || len(seen.SharedBy) != 0 {
		b.t.Errorf("agent: %+v", seen)
	}
	b.behave(newVersion, "crash")
	if got := b.swap(c, asClient); got.State != wire.SwapReverted || b.beside() != "nomad nomad-1.10.5" {
		b.t.Errorf("reverted: %+v, beside %s", got, b.beside())
	}
	b.expect(oldVersion, oldVersion)
	b.behave(newVersion, "")
	got := b.swap(c, asClient)
	if got.State != wire.SwapDone || got.Previous != "/usr/local/bin/nomad-1.10.5" || b.sh("readlink /usr/local/bin/nomad") != "nomad-1.11.0" || b.beside() != "nomad nomad-1.10.5 nomad-1.11.0" {
		b.t.Errorf("done: %+v, beside %s", got, b.beside())
	}
	b.expect(newVersion, newVersion)
	if back := get[wire.SwapOutcome](b.t, c, wire.SwapRevert{ID: got.ID}, nil); back.State != wire.SwapReverted || b.beside() != "nomad nomad-1.10.5" {
		b.t.Errorf("reverted on request: %+v, beside %s", back, b.beside())
	}
	b.expect(oldVersion, oldVersion)
	b.put("/usr/local/bin/nomad-1.11.0", []byte("something else"), "0755")
	if _, err := try[wire.StageResult](c, b.stageRequest(), nil); !wire.IsKind(err, wire.KindInvalid) || !strings.Contains(err.Error(), "nomad-1.11.0") {
		b.t.Errorf("a taken name: %v", err)
	}
}

// hostsKilled kills the process that swaps at the steps that move files of a reverted swap of a link, and of one of a binary that was replaced.
func hostsKilled(b *bench) {
	defer b.unlink()
	for kind, steps := range map[string][]int{"link": {2, 5, 11, 13}, "replaced": {2, 3, 4, 10, 11, 12, 13}} {
		for _, step := range steps {
			b.reset()
			b.unlink()
			want := "nomad"
			if kind == "link" {
				b.linkedBinary()
				want = "nomad nomad-1.10.5"
			} else {
				b.replace("/usr/local/bin/nomad")
			}
			b.behave(newVersion, "crash")
			c, _ := b.connect()
			token := b.prepare(c, asClient).Token
			killer, err := b.lab.OnHost(b.ctx, b.host, "/usr/local/bin/nomad-old", "kill-at", strconv.Itoa(step))
			if err != nil {
				b.t.Fatal(err)
			}
			said := startWatching(b.t, killer)
			got := get[wire.SwapOutcome](b.t, c, wire.SwapCommit{Token: token}, nil)
			_ = killer.Wait()
			b.t.Logf("%s, killed at step %d: %s, %s, steps %s", kind, step, said(), got.State, stepNames(got))
			if got.State != wire.SwapReverted || !b.sameAs("/usr/local/bin/nomad", "/usr/local/bin/nomad-old") {
				b.t.Errorf("%s, killed at step %d: %+v", kind, step, got)
			}
			b.expect(oldVersion, oldVersion)
			get[none](b.t, c, wire.SwapSettle{ID: got.ID}, nil)
			if names := b.beside(); names != want {
				b.t.Errorf("%s, killed at step %d: beside the binary is %s", kind, step, names)
			}
			c.session.Close()
		}
	}
}

// secondUnit is another Nomad on the same host, in a network and a data directory of its own.
const secondUnit = `[Service]
ExecStart=%s agent -config /etc/nomad.d
KillMode=process
KillSignal=SIGINT
PrivateNetwork=yes
BindPaths=/opt/nomad-b:/opt/nomad
Environment=SECRET=hvs.aaaaaaaaaaaaaaaa NOMAD_REGION=eu
`

func twoAgents(b *bench) {
	defer b.sh("systemctl stop nomad-b; rm -rf /etc/systemd/system/nomad-b.service /opt/nomad-b /usr/local/bin/nomad-b*; systemctl daemon-reload; systemctl reset-failed nomad-b || true")
	start := func(binary string) int {
		b.put("/etc/systemd/system/nomad-b.service", fmt.Appendf(nil, secondUnit, binary), "0644")
		b.sh("mkdir -p /opt/nomad-b/client; rm -f /opt/nomad-b/up; systemctl daemon-reload; systemctl restart nomad-b; while ! test -s /opt/nomad-b/up; do sleep 0.02; done")
		pid, _ := strconv.Atoi(b.sh("systemctl show -p MainPID --value nomad-b"))
		return pid
	}
	pid := start("/usr/local/bin/nomad")
	c, _ := b.connect()
	seen := get[wire.AgentResult](b.t, c, wire.Agent{Unit: "nomad"}, nil)
	if diff := cmp.Diff([]string{fmt.Sprintf("nomad-b.service (process %d)", pid)}, seen.SharedBy); diff != "" {
		b.t.Errorf("shared by (-want +got):\n%s", diff)
	}
	second := get[wire.AgentResult](b.t, c, wire.Agent{Unit: "nomad-b"}, nil)
	if diff := cmp.Diff([]string{"NOMAD_REGION", "SECRET"}, second.Environment); diff != "" {
		b.t.Errorf("environment (-want +got):\n%s", diff)
	}
	_, err := try[wire.StageResult](c, b.stageRequest(), nil)
	if !wire.IsKind(err, wire.KindUnsupported) || !strings.Contains(err.Error(), "nomad-b.service") {
		b.t.Errorf("staging for a shared binary: %v", err)
	}

	pid = start(b.sh("cp /usr/local/bin/nomad-old /usr/local/bin/nomad-b; echo /usr/local/bin/nomad-b"))
	other := secondAgent(b)
	get[wire.HelloResult](b.t, other, wire.Hello{Run: "other", Holder: "another test", Lock: true, Unit: "nomad-b"}, nil)
	if seen := get[wire.AgentResult](b.t, c, wire.Agent{Unit: "nomad"}, nil); len(seen.SharedBy) != 0 {
		b.t.Errorf("with binaries of their own: shared by %q", seen.SharedBy)
	}
	if got := b.swap(c, asClient); got.State != wire.SwapDone {
		b.t.Errorf("outcome: %+v", got)
	}
	request := wire.SwapPrepare{Unit: "nomad-b", Staged: stagedPath("/var/lib/drover", b.hash()), SHA256: b.hash(), Version: newVersion, MainPID: pid, Listen: []int{4646}}
	if _, err := try[wire.SwapPrepareResult](c, request, nil); !wire.IsKind(err, wire.KindLocked) || !strings.Contains(err.Error(), "another test") {
		b.t.Errorf("a unit that another run holds: %v", err)
	}
	stage := b.stageRequest()
	stage.Unit = "nomad-b"
	if got := get[wire.StageResult](b.t, other, stage, nil); got.NeedBody || got.Changed {
		b.t.Errorf("what is staged is found by the second unit: %+v", got)
	}
	token := get[wire.SwapPrepareResult](b.t, other, request, nil).Token
	if got := get[wire.SwapOutcome](b.t, other, wire.SwapCommit{Token: token}, nil); got.State != wire.SwapDone {
		b.t.Errorf("the second unit: %+v", got)
	}
	b.expect(newVersion, newVersion)
}

// oddHosts are those that drover works on all the same, or refuses in words, before anything is touched.
func oddHosts(b *bench) {
	before := b.sh("systemctl show -p MainPID --value nomad")
	refused := func(what string, err error, words ...string) {
		b.t.Helper()
		for _, word := range words {
			if !wire.IsKind(err, wire.KindUnsupported) || !strings.Contains(err.Error(), word) {
				b.t.Errorf("%s: got %v, want a refusal with %q", what, err, word)
			}
		}
	}
	c, _ := b.connect()
	_, err := try[wire.AgentResult](c, wire.Agent{Unit: "nope"}, nil)
	refused("no such unit", err, "there is no unit nope.service", "process "+before, "nomad_unit: nomad.service")

	b.sh(`unshare --pid --net --fork --kill-child /usr/local/bin/nomad-old agent -config /none >/dev/null 2>&1 & for i in $(seq 100); do boxed=$(pgrep -f '^/usr/local/bin/nomad-old agent') && break; sleep 0.02; done; echo $boxed > /run/boxed`)
	_, err = try[wire.AgentResult](c, wire.Agent{Unit: "nope"}, nil)
	boxed := b.sh("cat /run/boxed; kill $(cat /run/boxed)")
	refused("a container beside it", err, "process "+boxed+" is a Nomad agent in a container", "process "+before+" is a Nomad agent that nomad.service runs")

	b.sh("mount -t tmpfs tmpfs /run/systemd")
	_, err = try[wire.AgentResult](c, wire.Agent{Unit: "nomad"}, nil)
	_, stageErr := try[wire.StageResult](c, b.stageRequest(), nil)
	b.sh("umount -l /run/systemd")
	refused("without systemd", err, "systemd does not run this host", "process "+before, "--limit")
	refused("staging without systemd", stageErr, "systemd does not run this host")

	b.sh("mount --bind /usr/local/bin /usr/local/bin && mount -o remount,ro,bind /usr/local/bin")
	if seen := get[wire.AgentResult](b.t, c, wire.Agent{Unit: "nomad"}, nil); !seen.ReadOnly {
		b.t.Errorf("a read-only directory is not seen: %+v", seen)
	}
	_, err = try[wire.StageResult](c, b.stageRequest(), nil)
	b.sh("umount -l /usr/local/bin")
	refused("read-only", err, "/usr/local/bin/nomad", "read-only", "--limit")

	b.sh("printf '[Service]\\nExecStart=/usr/bin/docker run hashicorp/nomad agent\\n' > /etc/systemd/system/boxed.service; systemctl daemon-reload")
	_, err = try[wire.AgentResult](c, wire.Agent{Unit: "boxed"}, nil)
	b.sh("rm /etc/systemd/system/boxed.service; systemctl daemon-reload")
	refused("in a container", err, "boxed.service starts docker", "--limit")

	b.sh("mkdir -p /var/lib/drover; mount -t tmpfs -o size=1m,mode=755 tmpfs /var/lib/drover")
	_, err = try[wire.StageResult](c, b.stageRequest(), nil)
	b.sh("umount -l /var/lib/drover")
	if !wire.IsKind(err, wire.KindNoSpace) || !strings.Contains(err.Error(), "/var/lib/drover/stage/") {
		b.t.Errorf("no space to stage: %v", err)
	}
	b.sh("mkdir -p /mnt/small; mount -t tmpfs -o size=8m tmpfs /mnt/small; cp -p /usr/local/bin/nomad* /mnt/small/; dd if=/dev/zero of=/mnt/small/fill bs=1k 2>/dev/null; mount --bind /mnt/small /usr/local/bin")
	_, err = try[wire.StageResult](c, b.stageRequest(), nil)
	b.sh("umount -l /usr/local/bin; umount -l /mnt/small")
	if !wire.IsKind(err, wire.KindNoSpace) || !strings.Contains(err.Error(), "/usr/local/bin/nomad.drover-"+newVersion) {
		b.t.Errorf("no space beside the binary: %v", err)
	}
	if now := b.sh("systemctl show -p MainPID --value nomad"); now != before || b.beside() != "nomad" || b.sh("ls /var/lib/drover/stage 2>/dev/null || true") != "" {
		b.t.Errorf("something was touched: process %s, was %s; beside the binary %s", now, before, b.beside())
	}
}

// noexecHome has the first place for what drover keeps mounted noexec.
func noexecHome(b *bench) {
	b.sh("mkdir -p /var/lib/drover; mount -t tmpfs -o noexec,mode=755 tmpfs /var/lib/drover")
	defer b.sh("umount -l /var/lib/drover; rm -rf /opt/drover")
	c, _ := b.connect()
	if staged := b.stage(c); !strings.HasPrefix(staged.Path, "/opt/drover/stage/") {
		b.t.Errorf("staged: %+v", staged)
	}
	got := b.swap(c, asClient)
	if got.State != wire.SwapDone {
		b.t.Errorf("outcome: %+v", got)
	}
	c.session.Close()
	b.sh("umount -l /var/lib/drover")
	again, _ := b.connect()
	if left := get[wire.HelloResult](b.t, again, wire.Hello{Run: "run", Lock: true}, nil).Outcomes; len(left) != 1 || left[0].ID != got.ID {
		b.t.Errorf("what is on record in the second place: %+v", left)
	}
	b.sh("mount -t tmpfs -o noexec,mode=755 tmpfs /var/lib/drover")
	if mode := b.sh("stat -c %a /opt/drover /opt/drover/stage /opt/drover/swap"); mode != "711\n711\n700" {
		b.t.Errorf("modes of drover's own directories: %s", mode)
	}
}

// packaged installs Nomad as a Debian package, and starts it by the path that the package does not have.
func packaged(b *bench) {
	b.sh(`mkdir -p /root/deb/DEBIAN /root/deb/usr/bin /etc/systemd/system/nomad.service.d
printf 'Package: nomad\nVersion: 1.10.5-1\nArchitecture: all\nMaintainer: a test <t@example.org>\nDescription: fake\n' > /root/deb/DEBIAN/control
cp /usr/local/bin/nomad-old /root/deb/usr/bin/nomad; dpkg-deb -b /root/deb /root/nomad.deb >/dev/null; dpkg -i /root/nomad.deb >/dev/null
printf '[Service]\nExecStart=\nExecStart=/bin/nomad agent -config /etc/nomad.d\n' > /etc/systemd/system/nomad.service.d/path.conf; systemctl daemon-reload`)
	defer b.sh("rm -r /root/deb /root/nomad.deb /etc/systemd/system/nomad.service.d; systemctl daemon-reload; dpkg --purge nomad >/dev/null 2>&1")
	c, _ := b.connect()
	for range 2 { // asked, then remembered
		if seen := get[wire.AgentResult](b.t, c, wire.Agent{Unit: "nomad"}, nil); seen.Package != "nomad (dpkg)" || seen.Binary != "/usr/bin/nomad" {
			b.t.Errorf("owner %q of %s", seen.Package, seen.Binary)
		}
	}
}
