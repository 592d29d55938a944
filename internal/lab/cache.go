// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/printable"
)

// lockCache waits until no other process makes the same thing.
func lockCache(ctx context.Context, path string, p *progress) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	file, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	err = p.waitQuietly(ctx, filepath.Base(path), func() error {
		return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	})
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	return func() { file.Close() }, nil
}

// buildLimit bounds the filling of the cache, and the wait for another process that does it.
const buildLimit = 30 * time.Minute

func (p *progress) waitQuietly(ctx context.Context, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	said := false
	return poll(ctx, 200*time.Millisecond, func() error {
		err := try()
		if err != nil && !said {
			said = true
			p.say("another process makes %s: waiting for it", what)
		}
		return err
	})
}

// keptLines is how much of a tool's last words an error carries.
const keptLines = 12

// runVisibly runs a tool that takes long, and says every few seconds how far it is. Its last lines go into the error.
func runVisibly(cmd *exec.Cmd, p *progress, what string) error {
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	last := p.follow(pipe, what)
	if err := cmd.Wait(); err != nil {
		return errors.Join(err, errors.New(strings.Join(last, "\n")))
	}
	return nil
}

// follow reads lines to the end, says about every five seconds how many there were and which is the newest, and returns the last ones.
func (p *progress) follow(from io.Reader, what string) []string {
	const every = 5 * time.Second
	said := time.Now()
	var last []string
	count := 0
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		count++
		last = append(last, lines.Text())
		if len(last) > keptLines {
			last = last[1:]
		}
		if time.Since(said) > every {
			said = time.Now()
			p.say("  %s: line %d, %s", what, count, printable.Line(lines.Text()))
		}
	}
	// Without a reader the tool would block on a full pipe.
	_, _ = io.Copy(io.Discard, from)
	return last
}
