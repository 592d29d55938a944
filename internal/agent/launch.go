// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"drover/internal/wire"
)

// transientName is the service that carries a transaction.
func transientName(p plan) string {
	unit := strings.NewReplacer("@", "-", `\`, "-").Replace(strings.TrimSuffix(p.Request.Unit, ".service"))
	return "drover-swap-" + unit + "-" + p.ID + ".service"
}

// launch starts the transaction's service. It restarts, without limit, until the transaction says that it has ended:
// each start carries on from the record.
func launch(ctx context.Context, m *manager, r *record) error {
	name := transientName(r.plan)
	if err := m.resetFailed(ctx, name); err != nil {
		return err
	}
	properties := []dbus.Property{
		dbus.PropDescription("drover swaps the Nomad binary of " + r.plan.Request.Unit),
		// The last argument's name in the library says the opposite of what systemd takes it for: true is the "-" of
		// ExecStart=-, which makes every end a success, and a success is not restarted (dbus-execute.c, systemd 252).
		dbus.PropExecStart([]string{filepath.Join(r.dir, agentFile), "swap", r.dir}, false),
		{Name: "Type", Value: godbus.MakeVariant("simple")},
		{Name: "Restart", Value: godbus.MakeVariant("on-failure")},
		{Name: "RestartUSec", Value: godbus.MakeVariant(uint64(100 * time.Millisecond / time.Microsecond))},
		{Name: "StartLimitIntervalUSec", Value: godbus.MakeVariant(uint64(0))},
		{Name: "OOMScoreAdjust", Value: godbus.MakeVariant(int32(-1000))},
		// On a busy host each step between stop and start would wait for its turn.
		{Name: "Nice", Value: godbus.MakeVariant(int32(-15))},
		{Name: "CollectMode", Value: godbus.MakeVariant("inactive-or-failed")},
	}
	result := make(chan string, 1)
	if _, err := m.conn.StartTransientUnitContext(ctx, name, "fail", properties, result); err != nil {
		// systemd before 236 knows neither the start limit under this name nor CollectMode.
		properties = slices.DeleteFunc(properties, func(p dbus.Property) bool {
			return p.Name == "StartLimitIntervalUSec" || p.Name == "CollectMode"
		})
		if _, again := m.conn.StartTransientUnitContext(ctx, name, "fail", properties, result); again != nil {
			return failure(wire.KindFailed, "start the service that swaps the binary: %v", err)
		}
	}
	return nil
}

// relaunch starts the service of an unfinished transaction unless it is at work.
func relaunch(ctx context.Context, m *manager, r *record) error {
	s, err := m.service(ctx, transientName(r.plan))
	if err != nil {
		return err
	}
	// While a host boots, the service is inactive until its job's turn comes.
	if s.job != 0 || s.ActiveState == "active" || s.ActiveState == "activating" || s.ActiveState == "deactivating" {
		return nil
	}
	if again, err := readRecord(r.dir); err != nil || again.ended() {
		return err
	}
	if s.LoadState == "loaded" {
		_, err := m.conn.StartUnitContext(ctx, s.Name, "replace", make(chan string, 1))
		return err
	}
	return launch(ctx, m, r)
}

// resumeSwaps carries on what a power cut or a person has interrupted on a unit, and takes away what it left behind. The
// other units of the host are the business of whoever holds their locks.
func (a *Agent) resumeSwaps(ctx context.Context, unit string) error {
	all, err := a.recordsOf(unit)
	if err != nil || (len(all) == 0 && !exists(dropInPath(unit))) {
		return err
	}
	m, err := connectSystemd(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	busy := false
	for _, r := range all {
		if !r.has(stepCommitted) || r.ended() {
			continue
		}
		busy = true
		if err := relaunch(ctx, m, r); err != nil {
			return err
		}
	}
	if busy {
		return nil
	}
	return removeDropIn(ctx, m, unit)
}

func dropInPath(unit string) string {
	return filepath.Join("/run/systemd/system", unit+".d", "zzz-drover-stop.conf")
}

// installDropIn makes the unit stop by another signal than its own, until the next boot at the latest.
func installDropIn(ctx context.Context, m *manager, unit, signal string) error {
	path := dropInPath(unit)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("set the stop signal: %w", err)
	}
	text := "# drover sets the stop signal for one restart.\n[Service]\nKillSignal=SIG" + signal + "\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("set the stop signal: %w", err)
	}
	return m.reload(ctx)
}

// removeDropIn takes the drop-in away again, also one that a crash left.
func removeDropIn(ctx context.Context, m *manager, unit string) error {
	path := dropInPath(unit)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the stop signal's drop-in: %w", err)
	}
	os.Remove(filepath.Dir(path)) // fails, rightly, where others have drop-ins
	return m.reload(ctx)
}
