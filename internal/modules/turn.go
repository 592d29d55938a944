// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
)

// Turn is had by one task of a run at a time: from its last look at the cluster until what it did on the strength of
// that look is done. Two servers of one batch would each see the other well, and stop together.
type Turn struct {
	taken chan struct{}
	lost  error // why nobody gets it any more; only who has the turn touches it
}

// NewTurn makes the turn of one run.
func NewTurn() *Turn { return &Turn{taken: make(chan struct{}, 1)} }

// Lose is called by the one who has the turn, when how it used it cannot be known: a server whose connection was lost may
// answer for a moment, and stop then. Nobody of this run gets the turn again.
func (t *Turn) Lose(why error) {
	if t != nil {
		t.lost = why
	}
}

// Take waits for the turn; end gives it back. A nil Turn is for callers that run one task at a time.
func (t *Turn) Take(ctx context.Context) (end func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	select {
	case t.taken <- struct{}{}:
		if t.lost != nil {
			<-t.taken
			return nil, t.lost
		}
		return func() { <-t.taken }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting until another server of this run has been stopped and started: %w", context.Cause(ctx))
	}
}
