// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/printable"
	"drover/internal/wait"
	"drover/internal/wire"
)

// unitLocks are the exclusive rights of one run to change units of a host. Each is a flock, so it dies with the process.
// A host may have several Nomad agents, which different inventory names, and different runs, may stand for: nothing is
// shared between the locks of two units.
type unitLocks struct {
	mu    sync.Mutex
	files map[string]*os.File
	// owner is what the first lock was asked with; nil before. Where a task names another unit than the connection did,
	// the same run takes that one's lock too.
	owner *wire.Hello
	dir   string
}

// lockHolder is the content of a lock file.
type lockHolder struct {
	Run    string `json:"run"`
	Holder string `json:"holder"`
	PID    int    `json:"pid"`
}

// lockWait is how long an agent waits for one of the same run, whose connection was lost, to end.
const lockWait = 10 * time.Second

// take takes the lock of a unit, whose name is complete and checked; false when this agent holds it already.
func (l *unitLocks) take(ctx context.Context, dir, unit string, request wire.Hello) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files[unit] != nil {
		return false, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, fmt.Errorf("make the directory of the lock on %s: %w", unit, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, unit+".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return false, fmt.Errorf("open the lock on %s: %w", unit, err)
	}
	if err := acquire(ctx, f, unit, request.Run); err != nil {
		f.Close()
		return false, err
	}
	text, err := json.Marshal(lockHolder{Run: request.Run, Holder: request.Holder, PID: os.Getpid()})
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(text, 0)
	}
	if err != nil {
		f.Close()
		return false, fmt.Errorf("write the holder into the lock on %s: %w", unit, err)
	}
	if l.files == nil {
		l.files = map[string]*os.File{}
	}
	l.files[unit], l.owner, l.dir = f, &request, dir
	return true, nil
}

// also makes sure that a run that holds a lock holds that of unit too; false when it holds none.
func (l *unitLocks) also(ctx context.Context, unit string) (bool, error) {
	l.mu.Lock()
	owner, dir := l.owner, l.dir
	l.mu.Unlock()
	if owner == nil {
		return false, nil
	}
	_, err := l.take(ctx, dir, unit, *owner)
	return true, err
}

// acquire takes the flock. A lock held by an agent of the same run is what a lost connection left behind: that agent
// is asked to end, and waited for.
func acquire(ctx context.Context, f *os.File, unit, run string) error {
	deadline := time.Now().Add(lockWait)
	asked := false
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", unit, err)
		}
		holder := readHolder(f)
		if holder.Run == "" || holder.Run != run || time.Now().After(deadline) {
			return heldElsewhere(unit, holder)
		}
		if !asked && holder.PID > 1 && holder.PID != os.Getpid() {
			asked = true
			_ = unix.Kill(holder.PID, unix.SIGTERM)
		}
		if err := wait.For(ctx, 50*time.Millisecond); err != nil {
			return failure(wire.KindTimeout, "waiting for this run's earlier agent (process %d) to end", holder.PID)
		}
	}
}

func heldElsewhere(unit string, holder lockHolder) error {
	refused := failure(wire.KindLocked, "another run holds %s on this host: %s (run %s, agent process %d)",
		unit, printable.Text(holder.Holder), printable.Text(holder.Run), holder.PID)
	refused.Hint = "wait for it to end, or end it where it was started"
	return refused
}

// lookAtLock refuses a unit whose lock a run holds. It asks the kernel who holds it: to try the lock would be in the way of a
// run that takes it at that moment. Where that cannot be told, nothing is refused, since the run that follows takes the lock itself.
func lookAtLock(dir, unit string) error {
	f, err := os.OpenFile(filepath.Join(dir, unit+".lock"), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil //nolint:nilerr // see above; mostly no run was ever here
	}
	defer f.Close()
	id, err := idOf(f.Name())
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	holder := readHolder(f)
	if holder.PID > 0 && locksFile(string(table), holder.PID, id.Inode) {
		return heldElsewhere(unit, holder)
	}
	return nil
}

// locksFile tells whether a process holds the flock of a file by /proc/locks, whose lines are (proc_locks(5))
// "1: FLOCK  ADVISORY  WRITE 4711 00:19:873 0 EOF". Device numbers are left out: some filesystems have others there than in stat.
func locksFile(table string, pid int, inode uint64) bool {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[4] != strconv.Itoa(pid) {
			continue
		}
		if strings.HasSuffix(fields[5], ":"+strconv.FormatUint(inode, 10)) {
			return true
		}
	}
	return false
}

func readHolder(f *os.File) lockHolder {
	var holder lockHolder
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err == nil {
		_ = json.Unmarshal(bytes.TrimSpace(text), &holder)
	}
	return holder
}

// held are the units whose locks this agent holds.
func (l *unitLocks) held() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.files))
}

// release gives all locks up.
func (l *unitLocks) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for unit, file := range l.files {
		_ = file.Truncate(0)
		file.Close()
		delete(l.files, unit)
	}
	l.owner = nil
}
