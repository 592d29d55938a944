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

// plan checks that a swap can be done and writes down what exactly it is.
func (a *Agent) plan(ctx context.Context, m *manager, request wire.SwapPrepare) (plan, error) {
	s, err := m.loaded(ctx, request.Unit)
	if err != nil {
		return plan{}, err
	}
	if err := checkUnit(s, request); err != nil {
		return plan{}, err
	}
	at, err := a.exchangeable(ctx, m, s)
	if err != nil {
		return plan{}, err
	}
	binary := at.file
	p := plan{
		ID: newID(), Kind: kindSwap, Request: request, Binary: binary, Previous: binary + ".drover-previous",
		BootID: bootID(), StopBy: uptime() + stopSlack + wire.SwapPermission*1e6,
	}
	home, err := a.home()
	if err != nil {
		return plan{}, err
	}
	p.Copies = filepath.Join(home, homeSwap, request.Unit, p.ID, "copies")
	if p.OldTicks, err = expectedProcess(s, request.MainPID); err != nil {
		return plan{}, err
	}
	if p.Old, err = idOf(binary); err != nil {
		return plan{}, fmt.Errorf("look at the installed binary: %w", err)
	}
	if err := a.checkStaged(ctx, s, &p); err != nil {
		return plan{}, err
	}
	return p, a.checkCopies(home, p)
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

// checkStaged proves that the staged binary is the promised one and can take the installed one's place by a rename.
func (a *Agent) checkStaged(ctx context.Context, s service, p *plan) error {
	staged := p.Request.Staged
	if filepath.Dir(staged) != filepath.Dir(p.Binary) || staged == p.Binary {
		return failure(wire.KindInvalid, "the staged binary %s is not beside the installed %s", staged, p.Binary)
	}
	sum, _, err := a.cache.hash(ctx, staged)
	if err != nil {
		return fmt.Errorf("the staged binary: %w", err)
	}
	if sum != p.Request.SHA256 {
		return failure(wire.KindChecksum, "the staged binary %s has SHA-256 %s, expected %s", staged, sum, p.Request.SHA256)
	}
	as, err := serviceAccount(ctx, s)
	if err != nil {
		return err
	}
	line, err := a.version(ctx, staged, as)
	if err != nil {
		return err
	}
	if got, ok := nomadVersion(line); !ok || got != p.Request.Version {
		return failure(wire.KindInvalid, "the staged binary %s says %q, expected Nomad v%s", staged, line, p.Request.Version)
	}
	if p.New, err = idOf(staged); err != nil {
		return fmt.Errorf("look at the staged binary: %w", err)
	}
	if p.New == p.Old {
		return failure(wire.KindInvalid, "the staged binary %s is the installed one already", staged)
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
