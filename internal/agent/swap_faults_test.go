// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"fmt"
	"strings"
	"time"

	"drover/internal/wire"
)

// beginCommit begins a prepared swap and hands over its outcome when it has ended.
func (b *bench) beginCommit(c *client, token string) <-chan wire.SwapOutcome {
	ended := make(chan wire.SwapOutcome, 1)
	go func() {
		out, _ := try[wire.SwapOutcome](c, wire.SwapCommit{Token: token}, nil)
		ended <- out
	}()
	return ended
}

// awaitRunning waits until a process of the version runs that is not the one before.
func (b *bench) awaitRunning(version string, before int) {
	b.t.Helper()
	b.sh(fmt.Sprintf(`for i in $(seq 100); do pid=$(systemctl show -p MainPID --value nomad)
test $pid != 0 -a $pid != %d && /proc/$pid/exe version 2>/dev/null | grep -q %s && exit 0; sleep 0.1; done; exit 1`, before, version))
}

// uncopied fills the disk after the preparation found enough space for the client's state; there is room for the record.
func uncopied(b *bench) {
	b.sh("mkdir -p /var/lib/drover/swap; mount -t tmpfs -o size=48m tmpfs /var/lib/drover/swap; printf 0 > /opt/nomad/client/state.db; truncate -s 5M /opt/nomad/client/state.db")
	defer b.sh("umount -l /var/lib/drover/swap")
	c, _ := b.connect()
	before := get[wire.UnitState](b.t, c, wire.Unit{Name: "nomad"}, nil).MainPID
	token := b.prepare(c, asClient).Token
	b.sh("dd if=/dev/zero of=/var/lib/drover/swap/fill bs=1M 2>/dev/null; truncate -s -512K /var/lib/drover/swap/fill")
	begin := time.Now()
	ended := b.beginCommit(c, token)
	b.awaitRunning(oldVersion, before)
	if took := time.Since(begin); took > 10*time.Second {
		b.t.Errorf("no agent ran for %s", took)
	}
	if got := <-ended; got.State != wire.SwapReverted || !strings.Contains(got.Error, "was not started") {
		b.t.Errorf("outcome: %+v", got)
	}
}

// overruled has a drop-in of the administrator with the last word.
func overruled(b *bench) {
	b.sh(`mkdir -p /etc/systemd/system/nomad.service.d
printf '[Service]\nKillSignal=SIGINT\n' > /etc/systemd/system/nomad.service.d/zzzz.conf; systemctl daemon-reload`)
	defer b.sh("rm -r /etc/systemd/system/nomad.service.d; systemctl daemon-reload")
	c, _ := b.connect()
	before := get[wire.UnitState](b.t, c, wire.Unit{Name: "nomad"}, nil).MainPID
	got := b.swap(c, func(p *wire.SwapPrepare) { asClient(p); p.Signal = wire.StopTERM })
	if got.State != wire.SwapUntouched || !strings.Contains(got.Error, "would be stopped with signal 2") {
		b.t.Errorf("outcome: %+v", got)
	}
	if now := get[wire.UnitState](b.t, c, wire.Unit{Name: "nomad"}, nil).MainPID; now != before {
		b.t.Errorf("process %d was stopped, %d runs", before, now)
	}
}

// unrecorded takes the disk of the records away, and the transaction with it, while no agent runs.
func unrecorded(b *bench) {
	b.sh(`mkdir -p /etc/systemd/system/nomad.service.d; touch /run/hold
printf '[Service]\nExecStopPost=/bin/sh -c "touch /run/held; while test -e /run/hold; do sleep 0.02; done"\n' > /etc/systemd/system/nomad.service.d/hold.conf
systemctl daemon-reload`)
	defer b.sh("rm -rf /run/hold /run/held /etc/systemd/system/nomad.service.d; systemctl daemon-reload")
	c, _ := b.connect()
	before := get[wire.UnitState](b.t, c, wire.Unit{Name: "nomad"}, nil).MainPID
	ended := b.beginCommit(c, b.prepare(c, asClient).Token)
	b.sh(`while ! test -e /run/held; do sleep 0.02; done
mount --bind /var/lib/drover/swap /var/lib/drover/swap && mount -o remount,ro,bind /var/lib/drover/swap
pkill -9 -f '[d]rover-agent swap '; sleep 0.3; rm /run/hold`)
	b.awaitRunning(newVersion, before)
	b.sh("umount -l /var/lib/drover/swap")
	if out := <-ended; out.State != wire.SwapDone && out.State != wire.SwapFailed {
		b.t.Errorf("outcome: %+v", out)
	}
	b.expect(newVersion, newVersion)
}
