// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"drover/internal/event"
	"drover/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// slowFile is a disk whose fsync takes a second, and which breaks when it is told to.
type slowFile struct {
	mu       sync.Mutex
	text     []byte
	durable  int // bytes
	syncs    atomic.Int32
	room     int // bytes it can take; 0: any
	syncFail error
}

func (f *slowFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room > 0 && len(f.text)+len(p) > f.room {
		n := f.room - len(f.text)
		f.text = append(f.text, p[:n]...)
		return n, errors.New("no space left on device")
	}
	f.text = append(f.text, p...)
	return len(p), nil
}

func (f *slowFile) Sync() error {
	f.mu.Lock()
	length := len(f.text)
	f.mu.Unlock()
	time.Sleep(time.Second)
	f.syncs.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.syncFail == nil {
		f.durable = length
	}
	return f.syncFail
}

func (f *slowFile) Close() error { return nil }

func (f *slowFile) onDisk() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.text[:f.durable])
}

func TestCommitWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowFile{}
		w := newWriter("e", disk)
		if err := w.Emit(event.Event{Version: 1, Kind: event.HostStart, Host: "a"}); err != nil {
			t.Fatal(err)
		}
		if disk.syncs.Load() != 0 {
			t.Error("an fsync nobody asked for")
		}
		if err := w.Commit(); err != nil || !strings.Contains(disk.onDisk(), "host_start") {
			t.Errorf("on disk: %q, %v", disk.onDisk(), err)
		}
		if err := w.Commit(); err != nil || disk.syncs.Load() != 1 {
			t.Errorf("%d fsyncs, %v", disk.syncs.Load(), err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnOutcomeGoesToDiskByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowFile{}
		w := newWriter("e", disk)
		began := time.Now()
		if err := w.Emit(event.Event{Version: 1, Kind: event.HostResult, Host: "a"}); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) != 0 {
			t.Error("the one who decides waited for the disk")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !strings.Contains(disk.onDisk(), "host_result") {
			t.Errorf("on disk: %q", disk.onDisk())
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHostsShareAnFsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowFile{}
		w := newWriter("e", disk)
		var hosts sync.WaitGroup
		for i := range 500 {
			hosts.Go(func() {
				name := fmt.Sprintf("host-%d!", i)
				if err := errors.Join(w.Emit(event.Event{Version: 1, Kind: event.HostStart, Host: name}), w.Commit()); err != nil {
					t.Error(err)
				}
				if !strings.Contains(disk.onDisk(), name) {
					t.Errorf("%s may begin and is not on disk", name)
				}
			})
		}
		hosts.Wait()
		if syncs := disk.syncs.Load(); syncs > 2 {
			t.Errorf("%d fsyncs", syncs)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestNothingAfterAFailure(t *testing.T) {
	for _, test := range []struct {
		name string
		disk *slowFile
		want string
	}{
		{"full", &slowFile{room: 250}, "write to e: no space left on device"},
		{"fsync fails", &slowFile{syncFail: errors.New("input/output error")}, "write to e: input/output error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWriter("e", test.disk)
				begin := func(host string) error {
					return errors.Join(w.Emit(event.Event{Version: 1, Kind: event.HostStart, Host: host}), w.Commit())
				}
				var failed error
				for i := 0; i < 10 && failed == nil; i++ {
					failed = begin(fmt.Sprint("host", i))
				}
				if failed == nil || !strings.Contains(failed.Error(), test.want) {
					t.Fatalf("%v", failed)
				}
				before := len(test.disk.text)
				test.disk.mu.Lock()
				test.disk.room, test.disk.syncFail = 0, nil
				test.disk.mu.Unlock()
				if err := begin("later"); err == nil || len(test.disk.text) != before {
					t.Errorf("something follows what was cut off: %v", err)
				}
				if err := w.Close(); err == nil {
					t.Error("Close hides it")
				}
			})
		})
	}
}

// A disk without room is found before anything starts, and leaves no half of a record.
func TestFullDiskAtTheStart(t *testing.T) {
	dir := smallDisk(t, 64<<10)
	run := filepath.Join(dir, "runs", "r1")
	if _, err := Create(run, someManifest(), &secret.Redactor{}); err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), run) {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

func TestFullDiskInTheMiddle(t *testing.T) {
	dir := filepath.Join(smallDisk(t, 1<<20), "r1")
	w, err := Create(dir, someManifest(), &secret.Redactor{})
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	taken := 0
	for ; taken < 10000 && failed == nil; taken++ {
		failed = errors.Join(w.Emit(event.Event{Version: 1, Kind: event.HostStart, Host: "a", Message: strings.Repeat("x", 1000)}), w.Commit())
	}
	if failed == nil || !strings.Contains(failed.Error(), "no space left on device") {
		t.Fatalf("%v", failed)
	}
	if err := w.Close(); err == nil {
		t.Error("Close hides it")
	}
	got, _, err := readBack(t, dir)
	if err != nil || len(got) < taken-1 {
		t.Errorf("%d events of %d, %v", len(got), taken, err)
	}
	if run := Look(dir); run.State != Died {
		t.Errorf("%s", run.State)
	}
}

func TestUnwritableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(file, "runs", "r1"), someManifest(), &secret.Redactor{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	w, err := Create(filepath.Join(b.TempDir(), "r"), someManifest(), &secret.Redactor{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := errors.Join(w.Emit(someEvents()[3]), w.Commit()); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkAppend20Hosts(b *testing.B) {
	w, err := Create(filepath.Join(b.TempDir(), "r"), someManifest(), &secret.Redactor{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var hosts sync.WaitGroup
		for range 20 {
			hosts.Go(func() {
				if err := errors.Join(w.Emit(someEvents()[3]), w.Commit(), w.Emit(someEvents()[5])); err != nil {
					b.Error(err)
				}
			})
		}
		hosts.Wait()
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}
