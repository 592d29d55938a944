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

	"drover/internal/wire"
)

// plan checks that a swap can be done and writes down what exactly it is. Nothing is brought beside the installed binary yet.
// earlier are the files that earlier preparations brought.
func (a *Agent) plan(ctx context.Context, m *manager, request wire.SwapPrepare, earlier []string) (plan, service, target, error) {
	s, err := m.loaded(ctx, request.Unit)
	if err != nil {
		return plan{}, s, target{}, err
	}
	if err := checkUnit(s, request); err != nil {
		return plan{}, s, target{}, err
	}
	at, err := a.startable(ctx, m, s, request)
	if err != nil {
		return plan{}, s, at, err
	}
	home, err := a.home()
	if err != nil {
		return plan{}, s, at, err
	}
	p := plan{ID: newID(), Kind: kindSwap, Request: request}
	p.Copies = filepath.Join(home, homeSwap, request.Unit, p.ID, "copies")
	if p.OldTicks, err = expectedProcess(s, request.MainPID); err != nil {
		return p, s, at, err
	}
	if err := p.chooseBackup(); err != nil {
		return p, s, at, err
	}
	if err := p.chooseEdits(); err != nil {
		return p, s, at, err
	}
	if p.restarts() {
		if err := p.keepBinary(at); err != nil {
			return p, s, at, err
		}
		return p, s, at, a.checkCopies(home, p)
	}
	size, err := a.checkStaged(ctx, request)
	if err != nil {
		return p, s, at, err
	}
	if err := a.chooseNames(ctx, &p, at); err != nil {
		return p, s, at, err
	}
	if err := a.claim(ctx, &p, size, earlier); err != nil {
		return p, s, at, err
	}
	return p, s, at, a.checkCopies(home, p)
}

// restarts tells a transaction that leaves the binary alone.
func (p plan) restarts() bool { return p.Request.Staged == "" }

// startable finds what the unit's next start will run, and refuses what must not be exchanged where that is asked for.
func (a *Agent) startable(ctx context.Context, m *manager, s service, request wire.SwapPrepare) (target, error) {
	if request.Staged != "" {
		return a.exchangeable(ctx, m, s)
	}
	if err := refuseContainer(s); err != nil {
		return target{}, err
	}
	if err := refuseManual(s); err != nil {
		return target{}, err
	}
	return installed(s)
}

// keepBinary plans a restart of what is installed. Where another file runs, a restart would change the version unasked.
func (p *plan) keepBinary(at target) error {
	id, err := idOf(at.file)
	if err != nil {
		return fmt.Errorf("look at the installed binary: %w", err)
	}
	p.Binary, p.Placed = at.place(), at.file
	p.Old, p.New, p.Back = id, id, id
	if p.Request.MainPID == 0 {
		return nil
	}
	if running, err := runningFile(p.Request.MainPID); err != nil || running != id {
		refused := failure(wire.KindInvalid, "process %d does not run %s as it is now: a restart would change the version", p.Request.MainPID, at.file)
		refused.Hint = "nothing was stopped; bring the version to where it should be first, with drover upgrade"
		return refused
	}
	return nil
}

// chooseNames looks at what runs and what is installed, and settles the names of the files.
func (a *Agent) chooseNames(ctx context.Context, p *plan, at target) error {
	line, _ := a.version(ctx, at.file, nil)
	oldVersion, _ := nomadVersion(line)
	running, path := a.runningNomad(ctx, p.Request.MainPID)
	return p.choose(at, oldVersion, running, path)
}

// runningNomad is the file that a process executes and its path, where it is Nomad and still runs. What is no Nomad is not kept as
// one: a unit may have another main process.
func (a *Agent) runningNomad(ctx context.Context, pid int) (fileID, string) {
	exe := fmt.Sprintf("/proc/%d/exe", pid)
	line, err := a.version(ctx, exe, nil)
	if _, nomad := nomadVersion(line); pid == 0 || err != nil || !nomad {
		return fileID{}, ""
	}
	id, err := idOf(exe)
	path, pathErr := os.Readlink(exe)
	if err != nil || pathErr != nil {
		return fileID{}, ""
	}
	return id, path
}

// checkUnit refuses a unit that cannot be swapped without harm.
func checkUnit(s service, request wire.SwapPrepare) error {
	if s.LoadState != "loaded" {
		return failure(wire.KindInvalid, "%s is %s, so it could not be started again", s.Name, s.LoadState)
	}
	if request.Client && s.MainPID > 0 && s.KillMode != "process" {
		refused := failure(wire.KindInvalid, "%s has KillMode=%s: stopping it would kill the tasks of this Nomad client", s.Name, s.KillMode)
		refused.Hint = "set KillMode=process in the unit, as HashiCorp's own has it, and run daemon-reload"
		return refused
	}
	if s.ExecStop && s.MainPID > 0 {
		refused := failure(wire.KindInvalid, "%s has an ExecStop, so that no signal that is known to be safe would stop it: what it runs may drain the node or make a server leave", s.Name)
		refused.Hint = "reset it with a drop-in (ExecStop=, empty) and run daemon-reload; nothing was stopped"
		return refused
	}
	signals := []string{wire.StopUnit, wire.StopINT, wire.StopTERM, wire.StopKILL}
	if !slices.Contains(signals, request.Signal) {
		return failure(wire.KindInvalid, "unknown stop signal %q", request.Signal)
	}
	if request.Server || request.Client {
		info, err := os.Stat(request.DataDir)
		if err != nil || !filepath.IsAbs(request.DataDir) || !info.IsDir() {
			return failure(wire.KindInvalid, "the data directory %q of %s is not one on this host", request.DataDir, s.Name)
		}
	}
	return nil
}

// expectedProcess names the process that is to be stopped for good.
func expectedProcess(s service, pid int) (uint64, error) {
	if s.MainPID != pid {
		return 0, failure(wire.KindStale, "the main process of %s is %d, not %d", s.Name, s.MainPID, pid)
	}
	if pid == 0 {
		return 0, nil
	}
	ticks := startTicks(pid)
	if ticks == 0 {
		return 0, failure(wire.KindStale, "process %d of %s has just ended", pid, s.Name)
	}
	return ticks, nil
}

// checkStaged proves that what the request names is what drover staged and what was promised, and returns its size.
func (a *Agent) checkStaged(ctx context.Context, request wire.SwapPrepare) (int64, error) {
	own := false
	for _, home := range a.options.Homes {
		own = own || request.Staged == stagedPath(home, request.SHA256)
	}
	if !own {
		return 0, failure(wire.KindInvalid, "%s is not where drover stages a binary with SHA-256 %s", request.Staged, request.SHA256)
	}
	sum, size, err := a.cache.hash(ctx, request.Staged)
	if err != nil {
		return 0, fmt.Errorf("the staged binary: %w", err)
	}
	if sum != request.SHA256 {
		return 0, failure(wire.KindChecksum, "the staged binary %s has SHA-256 %s, expected %s", request.Staged, sum, request.SHA256)
	}
	return size, nil
}

// checkPlaced runs the new binary from where it will be run, as the unit's user.
func (a *Agent) checkPlaced(ctx context.Context, s service, p plan) error {
	as, err := serviceAccount(ctx, s)
	if err != nil {
		return err
	}
	line, err := a.version(ctx, p.Placed, as)
	if err != nil {
		return err
	}
	if got, ok := nomadVersion(line); !ok || got != p.Request.Version {
		return failure(wire.KindInvalid, "the new binary %s says %q, expected Nomad v%s", p.Placed, line, p.Request.Version)
	}
	return nil
}

// checkCopies makes sure that the copies, made while the agent is down, will find space.
func (a *Agent) checkCopies(home string, p plan) error {
	dir, err := makeHome(home, homeSwap, 0o700)
	if err != nil {
		return err
	}
	need := int64(spaceReserve)
	if p.Request.Client {
		info, err := os.Stat(clientState(p))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at the client's state: %w", err)
		}
		if err == nil {
			need += info.Size()
		}
	}
	return enoughSpace(dir, need, "the copies that a revert needs")
}

// clientState is the database in which a Nomad client keeps its allocations (client/state/db_bolt.go).
func clientState(p plan) string { return filepath.Join(p.Request.DataDir, "client", "state.db") }

func raftDir(p plan) string { return filepath.Join(p.Request.DataDir, "server", "raft") }
