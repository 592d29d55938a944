// SPDX-License-Identifier: MPL-2.0

// Package wait passes time.
package wait

import (
	"context"
	"time"
)

// For waits, or returns why ctx ended first.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
