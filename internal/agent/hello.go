// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/printable"
	"drover/internal/wait"
	"drover/internal/wire"
)

func hello(ctx context.Context, c *call, request wire.Hello) (wire.HelloResult, error) {
	a := c.agent
	result := wire.HelloResult{
		Source: wire.Source, PID: os.Getpid(), UID: os.Geteuid(), User: userName(os.Geteuid()), Arch: runtime.GOARCH,
	}
	if request.Lock {
		if err := a.lock.take(ctx, a.options.LockFile, request); err != nil {
			return result, err
		}
	}
	if os.Geteuid() != 0 {
		return result, nil
	}
	if request.Lock {
		if err := a.resumeSwaps(ctx); err != nil {
			return result, fmt.Errorf("resume unfinished swaps: %w", err)
		}
	}
	outcomes, err := unsettled(a.options.SwapDir)
	result.Outcomes = outcomes[max(0, len(outcomes)-maxOutcomes):]
	return result, err
}

// maxOutcomes bounds how many transactions are reported; the older ones show once these are settled.
const maxOutcomes = 50

// hostLock is the exclusive right of one run to change a host. It is a flock, so it dies with the process.
type hostLock struct {
	mu   sync.Mutex
	file *os.File
}

// lockHolder is the content of the lock file.
type lockHolder struct {
	Run    string `json:"run"`
	Holder string `json:"holder"`
	PID    int    `json:"pid"`
}

// lockWait is how long an agent waits for one of the same run, whose connection was lost, to end.
const lockWait = 10 * time.Second

func (l *hostLock) take(ctx context.Context, path string, request wire.Hello) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the directory of the host's lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open the host's lock: %w", err)
	}
	if err := acquire(ctx, f, request.Run); err != nil {
		f.Close()
		return err
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
		return fmt.Errorf("write the holder into the host's lock: %w", err)
	}
	l.file = f
	return nil
}

// acquire takes the flock. A lock held by an agent of the same run is what a lost connection left behind: that agent
// is asked to end, and waited for.
func acquire(ctx context.Context, f *os.File, run string) error {
	deadline := time.Now().Add(lockWait)
	asked := false
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock the host: %w", err)
		}
		holder := readHolder(f)
		if holder.Run == "" || holder.Run != run || time.Now().After(deadline) {
			refused := failure(wire.KindLocked, "another run holds this host: %s (run %s, agent process %d)",
				printable.Text(holder.Holder), printable.Text(holder.Run), holder.PID)
			refused.Hint = "wait for it to end, or end it where it was started"
			return refused
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

func readHolder(f *os.File) lockHolder {
	var holder lockHolder
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err == nil {
		_ = json.Unmarshal(bytes.TrimSpace(text), &holder)
	}
	return holder
}

func (l *hostLock) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Truncate(0)
		l.file.Close()
		l.file = nil
	}
}
