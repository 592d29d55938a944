// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"encoding/json"

	"drover/internal/wire"
)

type handler func(ctx context.Context, c *call) (any, error)

// operation finds what answers an operation, or nil.
func operation(op string) handler {
	switch op {
	case wire.Hello{}.Op():
		return handle(hello)
	case wire.Ping{}.Op():
		return handle(ping)
	case wire.Facts{}.Op():
		return handle(facts)
	case wire.Stat{}.Op():
		return handle(stat)
	case wire.Read{}.Op():
		return handle(read)
	case wire.Write{}.Op():
		return handle(write)
	case wire.File{}.Op():
		return handle(file)
	case wire.Run{}.Op():
		return handle(run)
	case wire.Hash{}.Op():
		return handle(hash)
	case wire.Tunnel{}.Op():
		return handle(tunnel)
	}
	return systemdOperation(op)
}

// systemdOperation finds what answers an operation on units and on the Nomad agent in one.
func systemdOperation(op string) handler {
	switch op {
	case wire.Unit{}.Op():
		return handle(unit)
	case wire.UnitControl{}.Op():
		return handle(unitControl)
	case wire.UnitLog{}.Op():
		return handle(unitLog)
	case wire.Signal{}.Op():
		return handle(signalUnit)
	case wire.Agent{}.Op():
		return handle(nomadAgent)
	case wire.AllocProcesses{}.Op():
		return handle(allocProcesses)
	case wire.Stage{}.Op():
		return handle(stage)
	case wire.SwapPrepare{}.Op():
		return handle(swapPrepare)
	case wire.SwapCommit{}.Op():
		return handle(swapCommit)
	case wire.SwapContinue{}.Op():
		return handle(swapContinue)
	case wire.SwapRevert{}.Op():
		return handle(swapRevert)
	case wire.SwapSettle{}.Op():
		return handle(swapSettle)
	}
	return nil
}

// handle decodes the request for an operation.
func handle[Q wire.Request, R any](do func(context.Context, *call, Q) (R, error)) handler {
	return func(ctx context.Context, c *call) (any, error) {
		var request Q
		if err := json.Unmarshal(c.request, &request); err != nil {
			return nil, failure(wire.KindInvalid, "decode the request of %s: %v", request.Op(), err)
		}
		return do(ctx, c, request)
	}
}

// none is the result of an operation that has nothing to say.
type none struct{}

func ping(context.Context, *call, wire.Ping) (none, error) { return none{}, nil }
