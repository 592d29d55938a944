// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/nomad/api"

	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadStopModule() Module {
	return Module{
		Name:  "nomad_stop",
		Short: "Stop a drained client for good",
		Doc: "Stops the agent and disables its unit, for a client that is given up. Refused, with nothing stopped: a server; a client that is not drained, which is to say that it is eligible, is being drained, " +
			"or still has allocations or processes of them. A drained client has nothing to lose by leaving, so it is stopped with its unit's own signal. " +
			"Files and data directory stay. With purge the servers forget the node, too; without it they see it as down until Nomad's garbage collection. An agent that does not run is only disabled. " + unitDoc,
		Args: []Arg{
			{Name: "timeout", Kind: Duration, Default: "30s", Doc: "How long processes of tasks may outlive their allocations."},
			{Name: "purge", Kind: Boolean, Default: false, Doc: "Remove the node from the servers' list after the stop."},
		},
		Check: CheckFull,
		Example: `- nomad_stop:
    purge: true`,
		Run: nomadStop,
	}
}

func nomadStop(ctx context.Context, call *Call) (*Result, error) {
	c := newCluster(call)
	defer c.close()
	facts, err := c.lookAtOwn(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case facts.Role == "none" && !facts.Running:
		return nil, fmt.Errorf("%s: there is no Nomad agent to stop: %s", call.Name, facts.Problem)
	case facts.Server:
		return nil, refuse("%s: this is a server; nothing was stopped; nomad_stop is for clients", call.Name)
	}
	if facts.Running {
		if err := c.emptied(ctx, facts); err != nil {
			return nil, err
		}
	}
	off := false
	request := wire.UnitControl{Name: facts.Unit, State: "stopped", Enabled: &off, Check: call.Check, Unguarded: true}
	var reply wire.UnitControlResult
	if err := call.Host.Call(ctx, request, nil, &reply); err != nil {
		return nil, fmt.Errorf("%s: stop %s for good: %w", call.Name, facts.Unit, err)
	}
	result := &Result{Changed: reply.Changed, Message: "the agent is stopped, and " + facts.Unit + " is disabled"}
	forgotten := ", and the servers have forgotten its node"
	if call.Check {
		result.Message, forgotten = "would see that the agent is stopped, and "+facts.Unit+" disabled", ", and let the servers forget its node"
	}
	if call.Args.Bool("purge") && facts.NodeID != "" {
		purged, err := c.purge(ctx, facts)
		if err != nil {
			return nil, fmt.Errorf("%s: the agent is stopped and disabled; purge its node: %w", call.Name, err)
		}
		if purged {
			result.Changed = true
			result.Message += forgotten
		}
	}
	return result, nil
}

// emptied refuses a client that still serves somebody.
func (c *cluster) emptied(ctx context.Context, facts nomad.HostFacts) error {
	node, reason := c.node(ctx, facts.NodeID, facts.Host)
	if reason != "" {
		return fmt.Errorf("%s: ask the servers about the client before the stop (nothing was stopped): %s", facts.Host, reason)
	}
	if node.Eligibility != "ineligible" || node.Draining {
		how := "is eligible"
		if node.Draining {
			how = "is being drained"
		}
		return refuse("%s: the client %s, and only a drained one is stopped for good; nothing was stopped; run nomad_drain first", facts.Host, how)
	}
	allocs, err := c.allocs(ctx, facts)
	if err != nil {
		return err
	}
	var left []string
	for _, alloc := range allocs {
		if !alloc.Terminal() {
			left = append(left, alloc.Short())
		}
	}
	if len(left) > 0 {
		return refuse("%s: %d allocations are left on the client (%s); nothing was stopped; drain it with ignore_system_jobs: false", facts.Host, len(left), someOf(left))
	}
	return c.tasksEnded(ctx, facts.Host)
}

// tasksEnded waits for the last processes of tasks, and refuses where they stay.
func (c *cluster) tasksEnded(ctx context.Context, host string) error {
	timeout := c.call.Args.Duration("timeout")
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	say := voice{call: c.call}
	for {
		processes, err := c.processes(ctx)
		if err != nil || len(processes) == 0 {
			return err
		}
		var tasks []string
		for _, process := range processes {
			tasks = append(tasks, fmt.Sprintf("%d of task %s in allocation %.8s", process.PID, process.Task, process.Alloc))
		}
		say.say("waiting for processes of tasks: " + someOf(tasks))
		if wait.For(ctx, drainPoll) != nil {
			return refuse("%s: processes of tasks still run after %s (%s); nothing was stopped; wait for their end", host, timeout, someOf(tasks))
		}
	}
}

// purge makes the servers forget a node; false when they had done so.
func (c *cluster) purge(ctx context.Context, facts nomad.HostFacts) (bool, error) {
	server, err := c.anyServer(ctx, facts.Region, facts.Host)
	if err != nil {
		return false, err
	}
	nodes, err := nomad.AskNodes(ctx, server)
	if err != nil {
		return false, err
	}
	for _, node := range nodes {
		if node.ID != facts.NodeID {
			continue
		}
		if c.call.Check {
			return true, nil
		}
		_, _, err := server.Nodes().Purge(node.ID, (&api.QueryOptions{}).WithContext(ctx))
		if err != nil && !strings.Contains(err.Error(), "not found") {
			return false, err
		}
		return true, nil
	}
	return false, nil
}
