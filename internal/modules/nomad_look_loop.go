// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"time"

	"drover/internal/wait"
	"drover/internal/wire"
)

const (
	// loopWatch is how long a unit is watched that systemd has restarted and whose agent does not answer. Nomad's packages have RestartSec=2,
	// and an agent that cannot start ends within a second or two.
	loopWatch = 5 * time.Second
	// loopEvery is how long lies between two looks at it.
	loopEvery = 200 * time.Millisecond
)

// crashLoops tells whether systemd starts an agent that does not answer over and over. A process that is there at the instant of the look may
// be one of many, so that a unit which has been restarted is watched for a while.
func crashLoops(ctx context.Context, host Host, agent wire.AgentResult) bool {
	seen := agent.Unit
	switch {
	case !agent.Running:
		return seen.ActiveState == "activating"
	case crashLooping(seen):
		return true
	case seen.NRestarts == 0:
		return false
	}
	for end := time.Now().Add(loopWatch); time.Now().Before(end); {
		if wait.For(ctx, loopEvery) != nil {
			return false
		}
		var now wire.UnitState
		if host.Call(ctx, wire.Unit{Name: seen.Name}, nil, &now) != nil {
			return false
		}
		if now.NRestarts > seen.NRestarts || now.MainPID != seen.MainPID {
			return true
		}
	}
	return false
}
