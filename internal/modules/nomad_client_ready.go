// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"time"

	"drover/internal/nomad"
	"drover/internal/wait"
)

func nomadClientReadyModule() Module {
	return Module{
		Name:  "nomad_client_ready",
		Short: "Wait until a client is well after its upgrade",
		Doc: "Waits until the client's own agent says the version and has sent a heartbeat since it started, the servers see it ready with that version, " +
			"and its eligibility and drivers are as they were. The status ready alone proves nothing: the servers show it while the agent is stopped. " +
			"A client that was down before its upgrade and does not become ready is told about and does not fail. " + unitDoc,
		Args: []Arg{
			versionArg(),
			{Name: "timeout", Kind: Duration, Default: "3m", Doc: "How long to wait."},
		},
		Check: CheckSkipped,
		Example: `- nomad_client_ready:
    version: 1.11.0`,
		Run: nomadClientReady,
	}
}

func nomadClientReady(ctx context.Context, call *Call) (*Result, error) {
	c, facts, target, err := toVersion(call)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if !facts.Client {
		return &Result{Message: "no client runs here"}, nil
	}
	var record swapFact
	swapped := c.readFact(call.Name, factSwap, &record) && record.Version.Same(target)
	if !swapped {
		record = swapFact{}
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, call.Args.Duration("timeout"))
	defer cancel()
	say := voice{call: call}
	for {
		state := nomad.ClientState{Own: c.ask(ctx, call.Name)}
		id := facts.NodeID
		if id == "" {
			id = state.Own.View.NodeID
		}
		state.Node, state.Error = c.node(ctx, id, call.Name)
		problems := nomad.ClientReady(call.Name, record.Node, state, target, time.Unix(0, record.At))
		if len(problems) == 0 {
			break
		}
		say.say("waiting for the client: " + nomad.Words(problems))
		if wait.For(ctx, pollEvery) != nil {
			if record.WasDown || record.Node != nil && !record.Node.Ready() {
				return stillDown(ctx, call, &record, swapped, problems)
			}
			return nil, withLog(fmt.Sprintf("the client is not well after %s: %s", call.Args.Duration("timeout"), nomad.Words(problems)),
				facts.Unit, journalLines(ctx, call.Host, facts.Unit))
		}
	}
	if swapped && !record.Settled {
		if err := settle(ctx, call.Host, record.ID); err != nil {
			return nil, err
		}
	}
	return &Result{Message: fmt.Sprintf("ready after %s", time.Since(begin).Round(100*time.Millisecond))}, nil
}

// stillDown is the end of waiting for a client that was not well before its upgrade either.
func stillDown(ctx context.Context, call *Call, record *swapFact, swapped bool, problems []nomad.Problem) (*Result, error) {
	if swapped && !record.Settled {
		if err := settle(context.WithoutCancel(ctx), call.Host, record.ID); err != nil {
			return nil, err
		}
	}
	return &Result{Message: "not ready, and it was not before the upgrade either, so that this is not counted as a failure: " + nomad.Words(problems)}, nil
}
