// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"drover/internal/wire"
)

const (
	stateCopy   = "state.db"
	noStateCopy = "no-state.db" // the client had no state yet
	raftCopy    = "raft.json"
	syncedCopy  = "synced" // the copies would survive a power cut
	maxRaft     = 10000
)

// raftFile is one line of the fingerprint of server/raft: any write by a raft store changes a size or a time, opening
// a BoltDB store included.
type raftFile struct {
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"`
	Inode uint64 `json:"inode"`
}

// keep takes, with no agent running, what a revert needs: a client's state database and a server's fingerprint.
// Where the new binary runs already it is too late, and nothing is kept, so nothing will be reverted.
func (t *transaction) keep() error {
	if t.noteOf(stepStopped) != "" || t.has(stepCopied) {
		return nil
	}
	if err := os.MkdirAll(t.plan.Copies, 0o700); err != nil {
		return fmt.Errorf("keep what a revert needs: %w", err)
	}
	if t.plan.Request.Client {
		if err := keepState(clientState(t.plan), t.plan.Copies); err != nil {
			return err
		}
	}
	if t.plan.Request.Server {
		fingerprint, err := raftFingerprint(raftDir(t.plan))
		if err != nil {
			return err
		}
		if err := saveJSON(filepath.Join(t.plan.Copies, raftCopy), fingerprint); err != nil {
			return err
		}
	}
	return t.mark(stepCopied, "")
}

// keepState copies a client's database; the filesystem shares the blocks where it can.
func keepState(from, dir string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(filepath.Join(dir, noStateCopy), nil, 0o600)
	}
	if err != nil {
		return fmt.Errorf("copy the client's state: %w", err)
	}
	defer in.Close()
	partial := filepath.Join(dir, stateCopy+".partial")
	out, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("copy the client's state: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(partial) // on a full disk the outcome needs its place
		return fmt.Errorf("copy the client's state: %w", err)
	}
	return os.Rename(partial, filepath.Join(dir, stateCopy))
}

// syncCopies makes the copies last; after the start, since it would lengthen the gap.
func (t *transaction) syncCopies() error {
	synced := filepath.Join(t.plan.Copies, syncedCopy)
	if !exists(t.plan.Copies) || exists(synced) {
		return t.out.Sync()
	}
	f, err := os.Open(filepath.Join(t.plan.Copies, stateCopy))
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make the copies last: %w", err)
	}
	if err := errors.Join(syncDir(t.plan.Copies), os.WriteFile(synced, nil, 0o600)); err != nil {
		return fmt.Errorf("make the copies last: %w", err)
	}
	return t.out.Sync()
}

func raftFingerprint(dir string) (map[string]raftFile, error) {
	files := map[string]raftFile{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if len(files) >= maxRaft {
			return failure(wire.KindFailed, "there are more than %d files in %s", maxRaft, dir)
		}
		files[path] = raftFile{Size: info.Size(), Mtime: info.ModTime().UnixNano(), Inode: info.Sys().(*syscall.Stat_t).Ino}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at raft's files: %w", err)
	}
	return files, nil
}

// copiesAllow says why what was kept does not allow the old binary to come back; nil if it does.
func copiesAllow(p plan) error {
	if p.Request.Client && !exists(filepath.Join(p.Copies, stateCopy)) && !exists(filepath.Join(p.Copies, noStateCopy)) {
		return failure(wire.KindNotFound, "the client's state from before the new binary is not kept")
	}
	if (p.Kind == kindRevert || p.BootID != bootID()) && p.Request.Client && !exists(filepath.Join(p.Copies, syncedCopy)) {
		return failure(wire.KindNotFound, "a power cut may have damaged the copy of the client's state")
	}
	if !p.Request.Server {
		return nil
	}
	var before map[string]raftFile
	if err := loadJSON(filepath.Join(p.Copies, raftCopy), &before); err != nil {
		return failure(wire.KindNotFound, "how raft's files were before the new binary is not known: %v", err)
	}
	now, err := raftFingerprint(raftDir(p))
	if err != nil {
		return err
	}
	for path, file := range now {
		if before[path] != file {
			return failure(wire.KindInvalid, "the new binary has written to %s, and an older Nomad may not be able to read that", path)
		}
	}
	if len(now) != len(before) {
		return failure(wire.KindInvalid, "the new binary has removed files from %s", raftDir(p))
	}
	return nil
}

// beginRevert decides whether the old binary may come back, and if so brings it.
func (t *transaction) beginRevert(ctx context.Context, why string, log []string) (ending, error) {
	if err := copiesAllow(t.plan); err != nil {
		return t.stays(why, err, log), nil
	}
	if err := t.step(stepReverting, why); err != nil {
		return ending{}, err
	}
	e, err := t.revert(ctx)
	if log != nil {
		e.Log = log
	}
	return e, err
}

// stays ends a transaction whose new binary cannot be taken back.
func (t *transaction) stays(why string, cause error, log []string) ending {
	hint := "the new binary stays in place; see the unit's journal, correct what it complains about and start the unit"
	if t.plan.Request.Server {
		hint += "; an older binary must not start on this data: if the server cannot be brought up, remove it from raft and let it join anew"
	}
	if t.plan.restarts() {
		hint = "the binary is the same and the edited files stay as they are; see the unit's journal, correct what it complains about and run again"
	}
	return ending{State: wire.SwapFailed, Error: why + "; not reverted: " + cause.Error(), Hint: hint, Log: log}
}

// revert stops the new agent, brings binary and state back and starts the old one.
func (t *transaction) revert(ctx context.Context) (ending, error) {
	why := t.noteOf(stepReverting)
	unit := t.plan.Request.Unit
	if !t.has(stepOldStarting) {
		if _, err := t.m.stop(ctx, unit); err != nil {
			return ending{}, err
		}
		if err := t.mark(stepOldStopped, ""); err != nil {
			return ending{}, err
		}
		// Until now the new agent may have been at work; only now is the answer final.
		if err := t.bringBack(); err != nil {
			word, started := t.m.start(ctx, unit)
			e := t.stays(why, err, t.log(ctx))
			e.Error += "; start: " + wordOr(word, started)
			return e, nil
		}
		if err := t.step(stepOldStarting, ""); err != nil {
			return ending{}, err
		}
	}
	if !t.has(stepOldStarted) || t.rebooted() {
		if err := t.m.resetFailed(ctx, unit); err != nil {
			return ending{}, err
		}
		word, err := t.m.start(ctx, unit)
		if err != nil {
			return ending{}, err
		}
		if err := t.step(stepOldStarted, "systemd's job: "+word); err != nil {
			return ending{}, err
		}
	}
	return t.checkReverted(ctx, why)
}

// bringBack puts the old files back. The order matters for a crash in between: while the new binary is installed the
// state may be of either, but the old binary never meets the new state.
func (t *transaction) bringBack() error {
	if now, err := idOf(t.plan.Binary); err == nil && now == t.plan.Back && t.has(stepOldBack) {
		return nil
	}
	// After a restart of the host the unit may have been started by that.
	if t.plan.Kind == kindSwap && !t.has(stepStarting) && !t.rebooted() {
		return t.backUnused()
	}
	// Taking the edits back changes what the fingerprint was taken of; by then the answer has been given.
	if !t.has(stepUnediting) {
		if err := copiesAllow(t.plan); err != nil {
			return err
		}
	}
	if err := t.unedit(); err != nil {
		return err
	}
	if t.plan.Request.Client {
		if err := t.restoreState(); err != nil {
			return err
		}
		if err := t.mark(stepStateBack, ""); err != nil {
			return err
		}
	}
	if err := exchangeBack(t.plan); err != nil {
		return err
	}
	return t.mark(stepOldBack, "")
}

// backUnused brings the old binary back after a new one that was never started, so that nothing has to be restored.
func (t *transaction) backUnused() error {
	if err := t.unedit(); err != nil {
		return err
	}
	if err := exchangeBack(t.plan); err != nil {
		return err
	}
	return t.mark(stepOldBack, "")
}

func (t *transaction) restoreState() error {
	path := clientState(t.plan)
	f, err := os.Open(filepath.Join(t.plan.Copies, stateCopy))
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the state that the new client made: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("bring the client's state back: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("bring the client's state back: %w", err)
	}
	_, err = landing{path: path, like: path, size: info.Size(), uid: -1, gid: -1}.land(noCancel(), f)
	return err
}

func (t *transaction) checkReverted(ctx context.Context, why string) (ending, error) {
	verdict, err := t.check(ctx, t.plan.Back)
	if err != nil {
		return ending{}, err
	}
	if verdict.good {
		return ending{State: wire.SwapReverted, NewPID: verdict.pid, Error: why, Hint: "the old binary runs again" + t.uneditedWord()}, t.step(stepChecked, "old binary")
	}
	return ending{
		State: wire.SwapFailed, NewPID: verdict.pid, Error: why + "; the old binary is back, but " + verdict.why,
		Hint: "see the unit's journal; the fault may not lie in the new binary", Log: t.log(ctx),
	}, nil
}

func (t *transaction) noteOf(name string) string {
	for _, step := range t.steps {
		if step.Name == name {
			return step.Note
		}
	}
	return ""
}
