// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"drover/internal/printable"
	"drover/internal/wire"
)

// onSystemd runs one operation with a connection to systemd and a checked unit name.
func onSystemd[R any](ctx context.Context, name string, do func(*manager, string) (R, error)) (R, error) {
	var nothing R
	name, err := serviceName(name)
	if err != nil {
		return nothing, err
	}
	m, err := connectSystemd(ctx)
	if err != nil {
		return nothing, err
	}
	defer m.close()
	return do(m, name)
}

func unit(ctx context.Context, _ *call, request wire.Unit) (wire.UnitState, error) {
	return onSystemd(ctx, request.Name, func(m *manager, name string) (wire.UnitState, error) {
		s, err := m.service(ctx, name)
		return s.UnitState, err
	})
}

func unitControl(ctx context.Context, c *call, request wire.UnitControl) (wire.UnitControlResult, error) {
	return onSystemd(ctx, request.Name, func(m *manager, name string) (wire.UnitControlResult, error) {
		var result wire.UnitControlResult
		if request.DaemonReload && !request.Check {
			if err := m.reload(ctx); err != nil {
				return result, err
			}
		}
		before, err := m.service(ctx, name)
		if err != nil {
			return result, err
		}
		result.Before = before.UnitState
		if before.LoadState == "not-found" && !request.Check {
			return result, failure(wire.KindNotFound, "there is no unit %s on this host", name)
		}
		if !request.Unguarded && c.agent.runsNomad(ctx, before) {
			refused := failure(wire.KindInvalid, "%s runs Nomad, and is only started and stopped by the nomad_* modules, which ask the cluster first", name)
			refused.Hint = "use nomad_swap, or say unguarded: true on the task if you mean it"
			return result, refused
		}
		if late := uptime().Seconds() - request.Until; request.Until > 0 && late > 0 {
			return result, failure(wire.KindStale, "the permission to change %s has grown old: it ended %.1f s ago; nothing was changed", name, late)
		}
		changed, err := applyControl(ctx, m, name, request, before)
		if err != nil {
			return result, err
		}
		after, err := m.service(ctx, name)
		result.After, result.Changed = after.UnitState, changed
		return result, err
	})
}

// applyControl does what differs: mask before state when unmasking, state, then enablement.
func applyControl(ctx context.Context, m *manager, name string, request wire.UnitControl, before service) (bool, error) {
	changed := false
	masked := before.LoadState == "masked" || before.UnitFileState == "masked"
	if request.Masked != nil && *request.Masked != masked {
		changed = true
		if err := unlessCheck(request.Check, func() error { return setMasked(ctx, m, name, *request.Masked) }); err != nil {
			return false, err
		}
	}
	enabled := before.UnitFileState == "enabled" || before.UnitFileState == "enabled-runtime"
	if request.Enabled != nil && *request.Enabled != enabled && before.UnitFileState != "static" {
		changed = true
		if err := unlessCheck(request.Check, func() error { return setEnabled(ctx, m, name, *request.Enabled) }); err != nil {
			return false, err
		}
	}
	if request.State == "" {
		return changed, nil
	}
	queue, err := stateJob(m, request.State, before)
	if err != nil || queue == nil {
		return changed, err
	}
	return true, unlessCheck(request.Check, func() error {
		word, err := m.job(ctx, name, queue)
		if err != nil {
			return err
		}
		return jobError(ctx, m, name, request.State, word)
	})
}

type queueJob = func(context.Context, string, string, chan<- string) (int, error)

// stateJob chooses the job that leads to a state; nil when the unit is in it.
func stateJob(m *manager, state string, before service) (queueJob, error) {
	running := before.ActiveState == "active" || before.ActiveState == "reloading" || before.ActiveState == "activating"
	switch state {
	case "started":
		if running {
			return nil, nil
		}
		return m.conn.StartUnitContext, nil
	case "stopped":
		if !running && before.ActiveState != "deactivating" {
			return nil, nil
		}
		return m.conn.StopUnitContext, nil
	case "restarted":
		return m.conn.RestartUnitContext, nil
	case "reloaded":
		return m.conn.ReloadOrRestartUnitContext, nil
	}
	return nil, failure(wire.KindInvalid, "unknown unit state %q", state)
}

// jobError says how a job failed, with the unit's state.
func jobError(ctx context.Context, m *manager, name, state, word string) error {
	s, err := m.service(ctx, name)
	if err != nil {
		return err
	}
	if word == "done" || word == "skipped" {
		return nil
	}
	if word == "unknown" && (s.ActiveState == "active") == (state != "stopped") {
		return nil
	}
	kind := wire.KindFailed
	if word == "timeout" {
		kind = wire.KindTimeout
	}
	failed := failure(kind, "%s did not become %s: systemd's job ended with %q, the unit is %s (%s, result %s)",
		name, state, word, s.ActiveState, s.SubState, s.Result)
	failed.Hint = "see the unit's journal"
	return failed
}

func unlessCheck(check bool, do func() error) error {
	if check {
		return nil
	}
	return do()
}

func setMasked(ctx context.Context, m *manager, name string, masked bool) error {
	var err error
	if masked {
		_, err = m.conn.MaskUnitFilesContext(ctx, []string{name}, false, true)
	} else {
		_, err = m.conn.UnmaskUnitFilesContext(ctx, []string{name}, false)
	}
	if err != nil {
		return fmt.Errorf("change the mask of %s: %w", name, err)
	}
	return m.reload(ctx)
}

func setEnabled(ctx context.Context, m *manager, name string, enabled bool) error {
	var err error
	if enabled {
		_, _, err = m.conn.EnableUnitFilesContext(ctx, []string{name}, false, false)
	} else {
		_, err = m.conn.DisableUnitFilesContext(ctx, []string{name}, false)
	}
	if err != nil {
		return fmt.Errorf("change the enablement of %s: %w", name, err)
	}
	return m.reload(ctx)
}

const maxLogLines = 1000

func unitLog(ctx context.Context, _ *call, request wire.UnitLog) (wire.UnitLogResult, error) {
	name, err := serviceName(request.Name)
	if err != nil {
		return wire.UnitLogResult{}, err
	}
	lines, err := journal(ctx, name, request.Lines)
	return wire.UnitLogResult{Lines: lines}, err
}

// journal reads the last lines of a unit, fit for a person's eyes.
func journal(ctx context.Context, name string, n int) ([]string, error) {
	n = min(max(n, 1), maxLogLines)
	result, err := command{
		argv:  []string{"journalctl", "--no-pager", "--quiet", "--output=short-iso", "--lines=" + strconv.Itoa(n), "--unit=" + name},
		limit: 1 << 20,
	}.execute(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the journal of %s: %w", name, err)
	}
	if result.rc != 0 {
		return nil, failure(wire.KindFailed, "read the journal of %s: %s", name, newRedactor().clean(printable.Text(result.stderr)))
	}
	return newRedactor().lines(result.stdout, n), nil
}

func signalUnit(ctx context.Context, _ *call, request wire.Signal) (none, error) {
	return onSystemd(ctx, request.Unit, func(m *manager, name string) (none, error) {
		s, err := m.loaded(ctx, name)
		if err != nil {
			return none{}, err
		}
		if request.PID <= 1 || s.MainPID != request.PID {
			return none{}, failure(wire.KindStale, "the main process of %s is %d now, not %d", name, s.MainPID, request.PID)
		}
		// The pidfd is opened before the second look, so the signal cannot reach a process that got the number later.
		fd, err := unix.PidfdOpen(request.PID, 0)
		if err != nil {
			return none{}, failure(wire.KindNotFound, "process %d of %s has just ended", request.PID, name)
		}
		defer unix.Close(fd)
		if again, err := m.service(ctx, name); err != nil || again.MainPID != request.PID {
			return none{}, errors.Join(failure(wire.KindStale, "the main process of %s has just changed", name), err)
		}
		if err := unix.PidfdSendSignal(fd, unix.Signal(request.Signal), nil, 0); err != nil {
			return none{}, fmt.Errorf("signal process %d of %s: %w", request.PID, name, err)
		}
		return none{}, nil
	})
}
