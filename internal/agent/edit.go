// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

// edit is one file that is written or removed while no agent runs. Its new content and a copy of what is replaced, with owner, mode
// and attributes, lie in the record. A file that has either content is known, so that an edit can be repeated from any point.
type edit struct {
	Path   string `json:"path"`
	Like   string `json:"like"`
	Before string `json:"before"` // SHA-256; "": there was no such file
	After  string `json:"after"`  // SHA-256; "": it is removed
}

const (
	maxEdits     = 64
	maxEditBytes = 4 << 20 // all of them together
)

func (p plan) newContent(i int) string { return filepath.Join(p.Copies, fmt.Sprintf("edit-%d.new", i)) }

func (p plan) oldContent(i int) string { return filepath.Join(p.Copies, fmt.Sprintf("edit-%d.old", i)) }

// chooseEdits checks the edits of the request and takes their content out of it: files of an agent's configuration hold secrets, which
// shall go with Copies.
func (p *plan) chooseEdits() error {
	wanted := p.Request.Edits
	p.Request.Edits = nil
	if p.Request.PauseMS < 0 || p.Request.PauseMS > wire.SwapLongestPause {
		return failure(wire.KindInvalid, "a pause of %d ms was asked for, at most %d are allowed", p.Request.PauseMS, wire.SwapLongestPause)
	}
	total := 0
	for _, w := range wanted {
		path, err := writeTarget(w.Path)
		if err != nil {
			return err
		}
		total += len(w.Content)
		e := edit{Path: path, Like: path, Before: w.Before}
		if !w.Remove {
			e.After = sumOf(w.Content)
		}
		if w.Like != "" {
			if _, err := os.Stat(w.Like); err != nil {
				return fmt.Errorf("the owner of %s: %w", path, err)
			}
			e.Like = w.Like
		}
		if slices.ContainsFunc(p.Edits, func(other edit) bool { return other.Path == path }) {
			return failure(wire.KindInvalid, "%s would be edited twice", path)
		}
		if readOnly(path) {
			return failure(wire.KindInvalid, "%s cannot be edited: its filesystem is mounted read-only", path)
		}
		if err := e.unchanged(); err != nil {
			return err
		}
		if err := enoughSpace(filepath.Dir(path), int64(len(w.Content)), path); err != nil {
			return err
		}
		p.Edits = append(p.Edits, e)
	}
	if len(wanted) > maxEdits || total > maxEditBytes {
		return failure(wire.KindInvalid, "%d edits of %d bytes are too many", len(wanted), total)
	}
	return nil
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// content is the SHA-256 of what a file holds now, "" where there is none.
func content(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", path, err)
	}
	return sumOf(text), nil
}

// unchanged refuses a file that is not what the caller saw.
func (e edit) unchanged() error {
	now, err := content(e.Path)
	if err != nil || now == e.Before {
		return err
	}
	return failure(wire.KindStale, "%s is not what it was when it was read: somebody else has changed it", e.Path)
}

// keepEdits puts new and old contents into the record.
func keepEdits(ctx context.Context, p plan, wanted []wire.SwapEdit) error {
	if len(p.Edits) == 0 {
		return nil
	}
	if err := os.MkdirAll(p.Copies, 0o700); err != nil {
		return fmt.Errorf("keep the edits: %w", err)
	}
	for i, e := range p.Edits {
		if e.After != "" {
			if err := writeSynced(p.newContent(i), wanted[i].Content); err != nil {
				return fmt.Errorf("keep the edits: %w", err)
			}
		}
		if e.Before == "" {
			continue
		}
		if err := landCopy(ctx, e.Path, p.oldContent(i), e.Path, e.Before); err != nil {
			return err
		}
	}
	return syncDir(p.Copies)
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// landCopy lands a copy of a file with the owner, mode and attributes of another.
func landCopy(ctx context.Context, from, to, like, sum string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = landing{path: to, like: like, size: info.Size(), sha256: sum, uid: -1, gid: -1}.land(ctx, f)
	return err
}

// edit makes the edits that have not been made. Nobody has consumed a file before the agent was started, so one that is as it was before
// its edit has yet to be edited.
func (t *transaction) edit(ctx context.Context) error {
	if len(t.plan.Edits) == 0 || t.has(stepEdited) {
		return nil
	}
	if !t.has(stepEditing) {
		if err := t.step(stepEditing, ""); err != nil {
			return err
		}
	}
	for i, e := range t.plan.Edits {
		now, err := content(e.Path)
		if err != nil {
			return err
		}
		if now == e.After && e.Like == e.Path {
			continue
		}
		// What has the content already may yet have the wrong owner.
		if now != e.After {
			if err := e.unchanged(); err != nil {
				return err
			}
		}
		if err := put(ctx, e.Path, t.plan.newContent(i), e.Like, e.After); err != nil {
			return fmt.Errorf("edit %s: %w", e.Path, err)
		}
	}
	return t.step(stepEdited, "")
}

// edited tells whether all files have been edited; what the agent consumed since counts as done once that is on record.
func (t *transaction) edited() bool {
	missing := func(e edit) bool {
		now, err := content(e.Path)
		return err != nil || now != e.After
	}
	return len(t.plan.Edits) > 0 && (t.has(stepEdited) || !slices.ContainsFunc(t.plan.Edits, missing))
}

// put gives a file the content of another, or removes it where sum is "".
func put(ctx context.Context, path, from, like, sum string) error {
	if sum != "" {
		return landCopy(ctx, from, path, like, sum)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// unedit takes back what was edited, the last first. What holds neither content is somebody else's by now and stays; a file that resists keeps
// none of the others from going back, since half of the edits may be worse than all or none.
func (t *transaction) unedit() error {
	if !t.has(stepEditing) {
		return nil
	}
	if !t.has(stepUnediting) {
		if err := t.step(stepUnediting, ""); err != nil {
			return err
		}
	}
	var resisted []error
	for i, e := range slices.Backward(t.plan.Edits) {
		now, err := content(e.Path)
		switch {
		case errors.Is(err, unix.EISDIR):
			continue
		case err != nil:
			resisted = append(resisted, err)
			continue
		case now != e.After || now == e.Before:
			continue
		}
		if err := put(noCancel(), e.Path, t.plan.oldContent(i), t.plan.oldContent(i), e.Before); err != nil {
			resisted = append(resisted, fmt.Errorf("take the edit of %s back: %w", e.Path, err))
		}
	}
	return errors.Join(resisted...)
}

func (t *transaction) uneditedWord() string {
	if !t.has(stepUnediting) {
		return ""
	}
	return " with the files that it had before"
}

// bootedUnedited tells that the host was restarted between the stop and the first edit of a transaction that changes nothing else. Its agent
// is what it was, and the permission to stop it has grown old.
func (t *transaction) bootedUnedited() bool {
	if !t.rebooted() || !t.plan.restarts() || t.has(stepEdited) {
		return false
	}
	return !slices.ContainsFunc(t.plan.Edits, func(e edit) bool {
		now, err := content(e.Path)
		return err != nil || now != e.Before
	})
}

// notEdited ends such a transaction. A unit that is not enabled was not started by the boot.
func (t *transaction) notEdited(ctx context.Context) (ending, error) {
	if _, err := t.m.start(ctx, t.plan.Request.Unit); err != nil {
		return ending{}, err
	}
	verdict, err := t.check(ctx, t.plan.Back)
	if err != nil {
		return ending{}, err
	}
	e := ending{
		State: wire.SwapReverted, NewPID: verdict.pid, Error: "the host was restarted while the agent was stopped, before anything was changed",
		Hint: "the agent runs as before; run again",
	}
	if !verdict.good {
		e.State, e.Hint, e.Log = wire.SwapFailed, "no file was changed; see the unit's journal: "+verdict.why, t.log(ctx)
	}
	return e, nil
}
