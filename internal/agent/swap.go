// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/printable"
	"drover/internal/wait"
	"drover/internal/wire"
)

// preparedSwaps are the permissions that this agent has given and that nobody has used.
type preparedSwaps struct {
	mu      sync.Mutex
	byToken map[string]permission
}

// permission allows one commit within five seconds. The time is taken by the monotonic clock.
type permission struct {
	dir  string
	plan plan
	at   time.Time
}

// stopSlack is how long after the permission's end a transaction that was committed in time may still begin to stop:
// its service has to start first.
const stopSlack = 5 * time.Second

const launchTimeout = 10 * time.Second

func swapPrepare(ctx context.Context, c *call, request wire.SwapPrepare) (wire.SwapPrepareResult, error) {
	began := time.Now()
	return onSystemd(ctx, request.Unit, func(m *manager, name string) (wire.SwapPrepareResult, error) {
		request.Unit = name
		a := c.agent
		if err := a.maySwap(ctx, name); err != nil {
			return wire.SwapPrepareResult{}, err
		}
		p, dir, err := a.prepareSwap(ctx, m, request)
		if err != nil || request.Place {
			return wire.SwapPrepareResult{TookMS: time.Since(began).Milliseconds()}, err
		}
		token := randomHex(16)
		a.prepared.mu.Lock()
		a.prepared.byToken[token] = permission{dir: dir, plan: p, at: time.Now()}
		a.prepared.mu.Unlock()
		return wire.SwapPrepareResult{Token: token, TookMS: time.Since(began).Milliseconds()}, nil
	})
}

// prepareSwap does all of a swap that touches neither what runs nor what is installed, and makes its record.
func (a *Agent) prepareSwap(ctx context.Context, m *manager, request wire.SwapPrepare) (plan, string, error) {
	earlier, err := a.clearUncommitted(ctx, m, request.Unit)
	if err != nil {
		return plan{}, "", err
	}
	p, s, at, err := a.plan(ctx, m, request, placedBy(earlier))
	dir := filepath.Dir(p.Copies)
	if err == nil {
		// The record comes first: whatever is brought is known to whoever cleans up.
		err = createRecord(dir, p)
	}
	for _, old := range earlier {
		// What the new plan uses again stays.
		if err == nil && old.Placed == p.Placed {
			old.Ours = false
		}
		if err == nil && old.Kept == p.Kept {
			old.Kept = ""
		}
		tidy(old, "", a.swapDirs())
	}
	if err == nil && !p.restarts() {
		_, err = unhurried(func() (none, error) { return none{}, a.bring(ctx, &p, at) })
		if err == nil {
			err = a.checkPlaced(ctx, s, p)
		}
	}
	if err == nil {
		err = keepEdits(ctx, p, request.Edits)
	}
	if err == nil {
		p.BootID, p.StopBy = bootID(), uptime()+stopSlack+wire.SwapPermission*1e6
		err = a.openTransaction(ctx, dir, p)
	}
	if err != nil && p.Kind != "" {
		a.abandon(dir, p)
	}
	return p, dir, err
}

func placedBy(plans []plan) []string {
	var paths []string
	for _, p := range plans {
		if p.Ours {
			paths = append(paths, p.Placed)
		}
	}
	return paths
}

// abandon removes what a swap that is not carried out has made.
func (a *Agent) abandon(dir string, p plan) {
	tidy(p, "", a.swapDirs())
	os.RemoveAll(dir)
}

// abandonPrepared removes what this agent, or one that was killed, has prepared for a unit and not committed. The unit's lock is
// held, so that it is nobody else's.
func (a *Agent) abandonPrepared(unit string) error {
	all, err := a.recordsOf(unit)
	for _, r := range all {
		if !r.has(stepCommitted) && !r.ended() {
			a.abandon(r.dir, r.plan)
		}
	}
	return err
}

// maySwap refuses an agent that could not do it, or that another run could get in the way of.
func (a *Agent) maySwap(ctx context.Context, unit string) error {
	if os.Geteuid() != 0 {
		return failure(wire.KindPermission, "a swap needs an agent that is root")
	}
	locked, err := a.locks.also(ctx, unit)
	if err == nil && !locked {
		err = failure(wire.KindInvalid, "a swap needs the lock on %s: say lock in hello first", unit)
	}
	return err
}

func randomHex(n int) string {
	bytes := make([]byte, n)
	_, _ = rand.Read(bytes) // never fails, see crypto/rand
	return hex.EncodeToString(bytes)
}

// newID sorts by time.
func newID() string { return time.Now().UTC().Format("20060102T150405.000") + "-" + randomHex(3) }

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// openTransaction makes the record and puts a copy of the agent into it: the service must not depend on the directory
// that the connection put the agent in. The copy is run once, so that a filesystem without exec shows now.
func (a *Agent) openTransaction(ctx context.Context, dir string, p plan) error {
	if err := createRecord(dir, p); err != nil {
		return err
	}
	binary := filepath.Join(dir, agentFile)
	err := copyProgram(ctx, a.options.Binary, binary, p.Binary)
	if err == nil {
		var got outcome
		got, err = command{argv: []string{binary, "version"}}.execute(ctx)
		if err == nil && got.rc != 0 {
			err = failure(wire.KindFailed, "%s version ended with code %d: %s", binary, got.rc, printable.Text(got.stderr))
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		return fmt.Errorf("keep a copy of the agent that can run on its own: %w", err)
	}
	return nil
}

// copyProgram copies a program. It gets the extended attributes of the unit's own binary: where SELinux rules, systemd
// may execute that label. Capabilities among them do no harm to a program that root runs.
func copyProgram(ctx context.Context, from, to, like string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mode := uint32(0o700)
	_, err = landing{path: to, like: like, size: info.Size(), mode: &mode, uid: 0, gid: 0}.land(ctx, f)
	return err
}

// clearUncommitted removes the records that earlier prepares for the unit left, and refuses when a transaction is at work on it. It
// returns their plans: what they brought beside the installed binary may be used again.
func (a *Agent) clearUncommitted(ctx context.Context, m *manager, unit string) ([]plan, error) {
	all, err := a.recordsOf(unit)
	if err != nil {
		return nil, err
	}
	var left []plan
	for _, r := range all {
		if r.ended() {
			continue
		}
		if r.has(stepCommitted) {
			return left, failure(wire.KindLocked, "another swap (%s) is at work on %s", r.plan.ID, unit)
		}
		if err := os.RemoveAll(r.dir); err != nil {
			return left, fmt.Errorf("remove a swap that was prepared but never begun: %w", err)
		}
		left = append(left, r.plan)
	}
	a.prepared.mu.Lock()
	for token, p := range a.prepared.byToken {
		if p.plan.Request.Unit == unit {
			delete(a.prepared.byToken, token)
		}
	}
	a.prepared.mu.Unlock()
	return left, removeDropIn(ctx, m, unit)
}

func swapCommit(ctx context.Context, c *call, request wire.SwapCommit) (wire.SwapOutcome, error) {
	a := c.agent
	a.prepared.mu.Lock()
	p, known := a.prepared.byToken[request.Token]
	delete(a.prepared.byToken, request.Token)
	a.prepared.mu.Unlock()
	if !known {
		return wire.SwapOutcome{}, failure(wire.KindStale, "this permission was used already, or never given; nothing was stopped")
	}
	if err := a.maySwap(ctx, p.plan.Request.Unit); err != nil {
		return wire.SwapOutcome{}, err
	}
	if late := time.Since(p.at); late > wire.SwapPermission*time.Millisecond {
		a.abandon(p.dir, p.plan)
		return wire.SwapOutcome{}, failure(wire.KindStale, "the commit came %s after its prepare, %d ms are allowed; nothing was stopped",
			late.Round(time.Millisecond), wire.SwapPermission)
	}
	return onSystemd(context.WithoutCancel(ctx), p.plan.Request.Unit, func(m *manager, name string) (wire.SwapOutcome, error) {
		s, err := m.loaded(ctx, name)
		if err == nil && (s.MainPID != p.plan.Request.MainPID || startTicks(s.MainPID) != p.plan.OldTicks) {
			err = failure(wire.KindStale, "the main process of %s is %d now, it was %d when the swap was prepared; nothing was stopped",
				name, s.MainPID, p.plan.Request.MainPID)
		}
		if err != nil {
			a.abandon(p.dir, p.plan)
			return wire.SwapOutcome{}, err
		}
		if err := commit(ctx, m, p.dir); err != nil {
			return wire.SwapOutcome{}, err
		}
		return awaitOutcome(ctx, m, p.dir)
	})
}

// commit makes the record a transaction and starts its service.
func commit(ctx context.Context, m *manager, dir string) error {
	r, err := openRecord(dir)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.step(stepCommitted, ""); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	// From here on the caller's going away must not leave it open whether there is a service.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), launchTimeout)
	defer cancel()
	launched := launch(ctx, m, r)
	if launched == nil {
		return nil
	}
	if err := unix.Flock(int(r.out.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // the answer was lost, but the service is at work: it holds the record
	}
	return errors.Join(launched, r.end(ending{State: wire.SwapUntouched, Error: launched.Error()}))
}

// awaitOutcome waits for the transaction's end or its pause. Should the caller's time run out before, the outcome says that it is
// still running, which is no error: the transaction goes on by itself.
func awaitOutcome(ctx context.Context, m *manager, dir string) (wire.SwapOutcome, error) {
	for round := 1; ; round++ {
		r, err := readRecord(dir)
		if err != nil {
			return wire.SwapOutcome{}, fmt.Errorf("read the record of the swap: %w", err)
		}
		// A service that is gone without an outcome is started again: systemd itself would only give up on it
		// if someone had stopped it.
		if !r.ended() && round%100 == 0 {
			if err := relaunch(ctx, m, r); err != nil {
				return wire.SwapOutcome{}, err
			}
		}
		if r.ended() || r.paused() || wait.For(ctx, 20*time.Millisecond) != nil {
			return r.outcome()
		}
	}
}

func swapRevert(ctx context.Context, c *call, request wire.SwapRevert) (wire.SwapOutcome, error) {
	a := c.agent
	parent, err := findRecord(a.swapDirs(), request.ID)
	if err != nil {
		return wire.SwapOutcome{}, err
	}
	if err := a.maySwap(ctx, parent.plan.Request.Unit); err != nil {
		return wire.SwapOutcome{}, err
	}
	return onSystemd(context.WithoutCancel(ctx), parent.plan.Request.Unit, func(m *manager, name string) (wire.SwapOutcome, error) {
		left, err := a.clearUncommitted(ctx, m, name)
		for _, old := range left {
			tidy(old, "", a.swapDirs())
		}
		if err != nil {
			return wire.SwapOutcome{}, err
		}
		s, err := m.loaded(ctx, name)
		if err != nil {
			return wire.SwapOutcome{}, err
		}
		p := parent.plan
		p.Kind, p.ID = kindRevert, newID()
		p.Request.MainPID, p.OldTicks = s.MainPID, startTicks(s.MainPID)
		p.BootID, p.StopBy = bootID(), uptime()+stopSlack
		if err := revertible(parent); err != nil {
			return wire.SwapOutcome{}, err
		}
		dir := filepath.Join(filepath.Dir(parent.dir), p.ID)
		if err := a.openTransaction(ctx, dir, p); err != nil {
			return wire.SwapOutcome{}, err
		}
		if err := commit(ctx, m, dir); err != nil {
			return wire.SwapOutcome{}, err
		}
		return awaitOutcome(ctx, m, dir)
	})
}

func swapContinue(ctx context.Context, c *call, request wire.SwapContinue) (wire.SwapOutcome, error) {
	a := c.agent
	r, err := findRecord(a.swapDirs(), request.ID)
	if err != nil {
		return wire.SwapOutcome{}, err
	}
	if err := a.maySwap(ctx, r.plan.Request.Unit); err != nil {
		return wire.SwapOutcome{}, err
	}
	if !r.has(stepCommitted) {
		return wire.SwapOutcome{}, failure(wire.KindInvalid, "swap %s was never committed", r.plan.ID)
	}
	return onSystemd(context.WithoutCancel(ctx), r.plan.Request.Unit, func(m *manager, _ string) (wire.SwapOutcome, error) {
		if err := os.WriteFile(filepath.Join(r.dir, goFile), nil, 0o600); err != nil {
			return wire.SwapOutcome{}, fmt.Errorf("end the pause of swap %s: %w", r.plan.ID, err)
		}
		return awaitOutcome(ctx, m, r.dir)
	})
}

func swapSettle(_ context.Context, c *call, request wire.SwapSettle) (none, error) {
	a := c.agent
	r, err := findRecord(a.swapDirs(), request.ID)
	if err != nil {
		return none{}, err
	}
	if !r.ended() {
		return none{}, failure(wire.KindInvalid, "swap %s is still at work", request.ID)
	}
	if err := a.settle(r); err != nil {
		return none{}, err
	}
	if err := a.pruneStaged(); err != nil {
		return none{}, err
	}
	return none{}, a.prune(r.plan.Request.Unit)
}

// settle removes what only a revert needs and marks the record.
func (a *Agent) settle(r *record) error {
	out, err := r.outcome()
	if err != nil {
		return err
	}
	tidy(r.plan, out.State, a.swapDirs())
	for _, path := range []string{r.plan.Copies, filepath.Join(r.dir, agentFile)} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("settle swap %s: %w", r.plan.ID, err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.dir, settledFile), nil, 0o600); err != nil {
		return fmt.Errorf("settle swap %s: %w", r.plan.ID, err)
	}
	return nil
}

// keptRecords is how many settled transactions of a unit stay on record.
const keptRecords = 10

func (a *Agent) prune(unit string) error {
	all, err := a.recordsOf(unit)
	if err != nil {
		return err
	}
	var settled []*record
	for _, r := range all {
		if exists(filepath.Join(r.dir, settledFile)) {
			settled = append(settled, r)
		}
	}
	for len(settled) > keptRecords {
		if err := os.RemoveAll(settled[0].dir); err != nil {
			return fmt.Errorf("remove an old record: %w", err)
		}
		settled = settled[1:]
	}
	return nil
}

func noCancel() context.Context { return context.Background() }
