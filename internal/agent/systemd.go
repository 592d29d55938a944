// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"drover/internal/wire"
)

// manager is systemd, over D-Bus. Root talks to systemd directly, so that a dead dbus-daemon stops nobody.
type manager struct {
	conn     *dbus.Conn
	redactor redactor
}

func connectSystemd(ctx context.Context) (*manager, error) {
	if err := requireSystemd(); err != nil {
		return nil, err
	}
	dial := dbus.NewSystemConnectionContext
	if os.Geteuid() == 0 {
		dial = dbus.NewSystemdConnectionContext
	}
	conn, err := dial(ctx)
	if err != nil && os.Geteuid() == 0 {
		conn, err = dbus.NewSystemConnectionContext(ctx)
	}
	if err != nil {
		return nil, failure(wire.KindFailed, "talk to systemd: %v", err)
	}
	return &manager{conn: conn, redactor: newRedactor()}, nil
}

func (m *manager) close() { m.conn.Close() }

// service is a unit as systemd shows it, with what only the agent needs.
type service struct {
	wire.UnitState
	environment []string
	envFiles    []envFile
	workingDir  string
	id          string // the name that systemd gives it, where the other is an alias
	job         uint32 // 0: none is queued or running
}

type envFile struct {
	path     string
	optional bool
}

// unitName is what may be a service's name; it also becomes part of paths.
var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,200}\.service$`)

// serviceName completes and checks a unit's name.
func serviceName(name string) (string, error) {
	if name != "" && !regexp.MustCompile(`\.[a-z]+$`).MatchString(name) {
		name += ".service"
	}
	if !unitName.MatchString(name) {
		return "", failure(wire.KindInvalid, "%q is not the name of a service unit", name)
	}
	return name, nil
}

// service asks for a unit. One that does not exist has LoadState not-found.
func (m *manager) service(ctx context.Context, name string) (service, error) {
	all, err := m.conn.GetAllPropertiesContext(ctx, name)
	if err != nil {
		return service{}, fmt.Errorf("ask systemd about %s: %w", name, err)
	}
	p := properties(all)
	s := service{
		UnitState: wire.UnitState{
			Name: name, LoadState: p.text("LoadState"), ActiveState: p.text("ActiveState"), SubState: p.text("SubState"),
			UnitFileState: p.text("UnitFileState"), Result: p.text("Result"), Type: p.text("Type"),
			MainPID: int(p.number("MainPID")), NRestarts: int(p.number("NRestarts")), InvocationID: p.hex("InvocationID"),
			KillMode: p.text("KillMode"), KillSignal: int(p.number("KillSignal")), SendSIGKILL: p.flag("SendSIGKILL"),
			Restart: p.text("Restart"), User: p.text("User"), Group: p.text("Group"), FragmentPath: p.text("FragmentPath"),
			DropInPaths: p.list("DropInPaths"), NeedDaemonReload: p.flag("NeedDaemonReload"),
			ExecStartPre:     len(p.commands("ExecStartPre")) > 0,
			ExecStop:         len(p.commands("ExecStop")) > 0,
			RefuseManual:     p.firstSet("RefuseManualStop", "RefuseManualStart"),
			TimeoutStartUSec: p.number("TimeoutStartUSec"), TimeoutStopUSec: p.number("TimeoutStopUSec"),
			ActiveEnterUSec: p.number("ActiveEnterTimestamp"),
		},
		environment: p.list("Environment"), workingDir: p.text("WorkingDirectory"), id: p.text("Id"), job: p.job(),
	}
	if commands := p.commands("ExecStart"); len(commands) > 0 {
		s.ExecStartPath, s.ExecStart = commands[0].path, m.redactor.arguments(commands[0].argv)
	}
	for _, f := range p.envFiles() {
		s.envFiles = append(s.envFiles, f)
		s.EnvironmentFiles = append(s.EnvironmentFiles, f.path)
	}
	return s, nil
}

// loaded asks for a unit that must exist.
func (m *manager) loaded(ctx context.Context, name string) (service, error) {
	s, err := m.service(ctx, name)
	if err != nil {
		return s, err
	}
	if s.LoadState == "not-found" {
		if other := withoutUnit(name); other != nil {
			return s, other
		}
		return s, failure(wire.KindNotFound, "there is no unit %s on this host", name)
	}
	return s, nil
}

// job queues a job and waits for its result, which is one of systemd's words: done, canceled, timeout, failed,
// dependency, skipped. Should the signal get lost (systemd re-executed itself), the queue is asked every second.
func (m *manager) job(ctx context.Context, name string, queue func(context.Context, string, string, chan<- string) (int, error)) (string, error) {
	result := make(chan string, 1)
	id, err := queue(ctx, name, "replace", result)
	if err != nil {
		return "", fmt.Errorf("queue a job for %s: %w", name, err)
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case word := <-result:
			return word, nil
		case <-ctx.Done():
			return "", failure(wire.KindTimeout, "waiting for systemd's job on %s", name)
		case <-ticker.C:
			s, err := m.service(ctx, name)
			if err != nil {
				return "", err
			}
			if s.job != uint32(id) {
				select {
				case word := <-result:
					return word, nil
				default:
					return "unknown", nil
				}
			}
		}
	}
}

func (m *manager) start(ctx context.Context, name string) (string, error) {
	return m.job(ctx, name, m.conn.StartUnitContext)
}

func (m *manager) stop(ctx context.Context, name string) (string, error) {
	return m.job(ctx, name, m.conn.StopUnitContext)
}

func (m *manager) reload(ctx context.Context) error {
	if err := m.conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("make systemd read its unit files again: %w", err)
	}
	return nil
}

// resetFailed clears a unit's failed state and its start limit. A unit that is not loaded has neither.
func (m *manager) resetFailed(ctx context.Context, name string) error {
	err := m.conn.ResetFailedUnitContext(ctx, name)
	if err != nil && ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}
