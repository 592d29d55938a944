// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"drover/internal/event"
	"drover/internal/landing"
	"drover/internal/secret"
)

// reserve is the room that a run's events are given on the disk before it starts, in bytes: a disk that is about to be full is
// found before anything is touched.
const reserve = 256 << 10

// file is what a Writer needs of an *os.File.
type file interface {
	io.WriteCloser
	Sync() error
}

// Writer records the events of one run. It is an event.Recorder.
type Writer struct {
	name string
	file file

	mu      sync.Mutex
	moved   sync.Cond // synced, syncing or failed have changed
	written int       // lines that were written
	wanted  int       // lines that somebody wants on disk
	synced  int       // lines that are on disk
	syncing bool
	failed  error
}

var _ event.Recorder = (*Writer)(nil)

// Create makes the directory of a run, writes its manifest without secrets, and makes room for its events. When it returns an
// error nothing of them is left. A directory that has a record already is an error.
func Create(dir string, manifest Manifest, secrets *secret.Redactor) (*Writer, error) {
	manifest.Version = Version
	text, err := manifest.encode(secrets)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", dir, err)
	}
	made, err := makeDirectory(dir)
	if err != nil {
		return nil, err
	}
	w, err := create(dir, text)
	if err != nil {
		for i := len(made) - 1; i >= 0; i-- {
			_ = os.Remove(made[i])
		}
		return nil, err
	}
	return w, nil
}

// makeDirectory makes a directory and those above it, each durable, and lists what it made.
func makeDirectory(dir string) ([]string, error) {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil, nil
	}
	var made []string
	if parent := filepath.Dir(dir); parent != dir {
		above, err := makeDirectory(parent)
		if err != nil {
			return above, err
		}
		made = above
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return made, err
	}
	return append(made, dir), syncDirectory(filepath.Dir(dir))
}

func syncDirectory(dir string) error {
	opened, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}

func create(dir string, manifest []byte) (*Writer, error) {
	plan, events := filepath.Join(dir, PlanFile), filepath.Join(dir, EventsFile)
	if _, err := os.Lstat(plan); err == nil {
		return nil, fmt.Errorf("%s is there already: a run never writes into the record of another", plan)
	}
	opened, err := reserved(dir)
	if err != nil {
		return nil, err
	}
	defer os.Remove(opened.Name())
	_, err = landing.File(plan, func(f *os.File) error {
		_, err := f.Write(manifest)
		return err
	})
	if err == nil {
		// The name appears only now, so that nobody finds a record whose lock is not held yet.
		err = os.Rename(opened.Name(), events)
	}
	if err == nil {
		err = syncDirectory(dir)
	}
	if err != nil {
		_, _ = os.Remove(plan), os.Remove(events)
		return nil, errors.Join(err, opened.Close())
	}
	return newWriter(events, opened), nil
}

// reserved makes the file for the events under another name, locked and with room.
func reserved(dir string) (*os.File, error) {
	opened, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, err
	}
	descriptor := int(opened.Fd())
	err = unix.Flock(descriptor, unix.LOCK_EX|unix.LOCK_NB)
	for again := err == nil; again; again = errors.Is(err, unix.EINTR) {
		err = unix.Fallocate(descriptor, unix.FALLOC_FL_KEEP_SIZE, 0, reserve)
	}
	// Some file systems cannot give room beforehand.
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		_ = os.Remove(opened.Name())
		return nil, errors.Join(fmt.Errorf("make room for %d KiB in %s: %w", reserve>>10, dir, err), opened.Close())
	}
	return opened, nil
}

func newWriter(name string, f file) *Writer {
	w := &Writer{name: name, file: f}
	w.moved.L = &w.mu
	return w
}

// Emit appends an event. An outcome is on disk soon after; what has to be there now is for Commit.
func (w *Writer) Emit(e event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return w.failed
	}
	line, err := encode(w.written+1, e)
	if err != nil {
		return w.fail(err)
	}
	// After a line that was written in part there can be no other: it would be taken for damage.
	if _, err := w.file.Write(line); err != nil {
		return w.fail(err)
	}
	w.written++
	if e.Kind == event.HostResult || e.Kind == event.HostItem {
		w.sync()
	}
	return nil
}

// Commit is event.Recorder.
func (w *Writer) Commit() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for lines := w.written; w.synced < lines && w.failed == nil; w.moved.Wait() {
		w.sync()
	}
	return w.failed
}

// sync has everything that is written so far put on disk, in the background.
func (w *Writer) sync() {
	w.wanted = w.written
	if w.syncing {
		return
	}
	w.syncing = true
	go func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for w.synced < w.wanted && w.failed == nil {
			lines := w.written
			w.mu.Unlock()
			err := w.file.Sync()
			w.mu.Lock()
			if err != nil {
				// What the kernel could not write it may have dropped, so a second try would prove nothing.
				_ = w.fail(err)
			} else {
				w.synced = lines
			}
			w.moved.Broadcast()
		}
		w.syncing = false
		w.moved.Broadcast()
	}()
}

func (w *Writer) fail(err error) error {
	if w.failed == nil {
		w.failed = fmt.Errorf("write to %s: %w", w.name, err)
	}
	return w.failed
}

// Close puts everything on disk and gives the lock back. It tells the first failure, also one that Emit has told.
func (w *Writer) Close() error {
	err := w.Commit()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.syncing {
		w.moved.Wait()
	}
	return errors.Join(err, w.file.Close())
}
