// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// poll calls check until it returns nil, and says at the deadline what was still missing.
func poll(ctx context.Context, every time.Duration, check func() error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// progress tells a person what is being done, with the time since the start.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{out: out, start: time.Now()}
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "lab %6.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// waitFor polls check, and says every few seconds what is still missing.
func (p *progress) waitFor(ctx context.Context, what string, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began, said := time.Now(), time.Now()
	err := poll(ctx, 100*time.Millisecond, func() error {
		err := check()
		if err != nil && time.Since(said) > 5*time.Second {
			said = time.Now()
			p.say("  waiting for %s: %v", what, err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for %s (%s): %w", what, time.Since(began).Round(time.Second), err)
	}
	p.say("%s (%.1fs)", what, time.Since(began).Seconds())
	return nil
}
