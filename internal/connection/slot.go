// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var errClosed = errors.New("connections are closed")

// slot holds one shared thing that takes time to make. Callers that come while it is being made wait for it; one that
// has ended is made anew at the next use, at most once per Redial, and never after a failure that is final.
type slot[T any] struct {
	mu      sync.Mutex
	current *making[T]
}

type making[T any] struct {
	done   chan struct{}
	value  T
	err    error
	failed time.Time
}

// get returns the shared thing. The making goes on when the caller that began it gives up, since others may wait for it.
func (s *slot[T]) get(ctx context.Context, p *Pool, alive func(T) bool, build func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	m := s.current
	if m == nil || m.over(alive) {
		var notBefore time.Time
		if m != nil && m.err != nil {
			notBefore = m.failed.Add(p.options.Redial)
		}
		next, err := startMaking(p, notBefore, build)
		if err != nil {
			s.mu.Unlock()
			var none T
			return none, err
		}
		s.current, m = next, next
	}
	s.mu.Unlock()
	select {
	case <-m.done:
		return m.value, m.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("gave up waiting for the connection: %w", context.Cause(ctx))
	}
}

func (m *making[T]) over(alive func(T) bool) bool {
	select {
	case <-m.done:
		return m.err != nil && !isFinal(m.err) || m.err == nil && !alive(m.value)
	default:
		return false
	}
}

func startMaking[T any](p *Pool, notBefore time.Time, build func(context.Context) (T, error)) (*making[T], error) {
	m := &making[T]{done: make(chan struct{})}
	started := p.spawn(func(ctx context.Context) {
		defer close(m.done)
		if wait := time.Until(notBefore); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		m.value, m.err = build(ctx)
		m.failed = time.Now()
	})
	if !started {
		return nil, errClosed
	}
	return m, nil
}
