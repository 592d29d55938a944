// SPDX-License-Identifier: MPL-2.0

package wait_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"drover/internal/wait"
)

func TestFor(t *testing.T) {
	for _, test := range []struct {
		name     string
		wait     time.Duration
		deadline time.Duration
		want     time.Duration
		err      error
	}{
		{"the whole time", time.Minute, time.Hour, time.Minute, nil},
		{"until the context ends", time.Hour, time.Minute, time.Minute, context.DeadlineExceeded},
		{"not at all", 0, time.Minute, 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
				defer cancel()
				begin := time.Now()
				if err := wait.For(ctx, test.wait); !errors.Is(err, test.err) {
					t.Errorf("error %v, want %v", err, test.err)
				}
				if took := time.Since(begin); took != test.want {
					t.Errorf("waited %s, want %s", took, test.want)
				}
			})
		})
	}
}
