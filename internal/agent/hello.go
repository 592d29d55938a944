// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"

	"drover/internal/wire"
)

// defaultUnit is the one that HashiCorp's packages install.
const defaultUnit = "nomad.service"

func hello(ctx context.Context, c *call, request wire.Hello) (wire.HelloResult, error) {
	a := c.agent
	result := wire.HelloResult{
		Source: wire.Source, PID: os.Getpid(), UID: os.Geteuid(), User: userName(os.Geteuid()), Arch: runtime.GOARCH,
	}
	if request.Unit == "" {
		request.Unit = defaultUnit
	}
	unit, err := serviceName(request.Unit)
	if err != nil {
		return result, err
	}
	if request.Lock {
		taken, err := a.locks.take(ctx, a.options.LockDir, unit, request)
		if err != nil {
			return result, err
		}
		if taken && os.Geteuid() == 0 {
			if err := a.abandonPrepared(unit); err != nil {
				return result, err
			}
		}
	}
	if request.Free && !slices.Contains(a.locks.held(), unit) {
		if err := lookAtLock(a.options.LockDir, unit); err != nil {
			return result, err
		}
	}
	if os.Geteuid() != 0 {
		return result, nil
	}
	if request.Lock {
		if err := a.resumeSwaps(ctx, unit); err != nil {
			return result, fmt.Errorf("resume unfinished swaps of %s: %w", unit, err)
		}
	}
	outcomes, err := unsettled(a.swapDirs())
	result.Outcomes = outcomes[max(0, len(outcomes)-maxOutcomes):]
	return result, err
}

// maxOutcomes bounds how many transactions are reported; the older ones show once these are settled.
const maxOutcomes = 50
