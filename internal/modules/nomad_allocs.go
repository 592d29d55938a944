// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadAllocsModule() Module {
	return Module{
		Name:  "nomad_allocs",
		Short: "Prove that an upgrade leaves a client's allocations alone",
		Doc: "state: record notes the running allocations of the client, with the process id and start time of each task. state: verified fails unless the same allocations run " +
			"with the same processes. Allocations that were not running before, and those that have completed by themselves, are left out. Needs root, to see the processes. " + unitDoc,
		Args: []Arg{
			{Name: "state", Kind: String, Required: true, Choices: []string{"record", "verified"}, Doc: "record before, verified afterwards."},
			{Name: "timeout", Kind: Duration, Default: "30s", Doc: "How long the servers may take to hear of the allocations again."},
		},
		Check: CheckReads,
		Returns: []Arg{
			{Name: "running", Kind: Integer, Doc: "How many allocations were running when they were recorded."},
			{Name: "processes", Kind: Integer, Doc: "How many task processes they had."},
		},
		Example: `- nomad_allocs:
    state: record
- nomad_swap:
    version: 1.11.0
- nomad_allocs:
    state: verified`,
		Run: nomadAllocs,
	}
}

// allocsFact is what was running.
type allocsFact struct {
	Node      string              `json:"node"`   // the client's id
	Allocs    []string            `json:"allocs"` // ids, sorted
	Processes []wire.AllocProcess `json:"processes"`
}

func nomadAllocs(ctx context.Context, call *Call) (*Result, error) {
	c := newCluster(call)
	defer c.close()
	facts, err := c.mustFacts(call.Name)
	if err != nil {
		return nil, err
	}
	var before allocsFact
	recorded := c.readFact(call.Name, factAllocs, &before)
	record := call.Args.String("state") == "record"
	if !record && facts.NodeID == "" {
		facts.NodeID = before.Node // it does not answer just now
	}
	if !facts.Client || facts.NodeID == "" || !facts.Running {
		// Of a client that was down the allocations may change by its return. A record of none is said as
		// such, since the client may answer when it is asked to verify.
		none := allocsFact{Allocs: []string{}, Processes: []wire.AllocProcess{}}
		return &Result{Facts: factMap(factAllocs, none), Data: allocCounts(none), Message: "no client answers here, so no allocation is known"}, nil
	}
	if record {
		fact, err := c.recordAllocs(ctx, facts)
		if err != nil {
			return nil, err
		}
		return &Result{Facts: factMap(factAllocs, fact), Data: allocCounts(fact), Message: allocWords(fact)}, nil
	}
	if !recorded {
		return nil, fmt.Errorf("%s: no allocations were recorded; run nomad_allocs with state: record before the swap", call.Name)
	}
	if err := c.verifyAllocs(ctx, facts, before); err != nil {
		return nil, err
	}
	return &Result{Data: allocCounts(before), Message: allocWords(before) + ", all unchanged"}, nil
}

func (c *cluster) recordAllocs(ctx context.Context, facts nomad.HostFacts) (allocsFact, error) {
	fact := allocsFact{Node: facts.NodeID, Allocs: []string{}, Processes: []wire.AllocProcess{}}
	allocs, err := c.allocs(ctx, facts)
	if err != nil {
		return fact, err
	}
	processes, err := c.processes(ctx)
	if err != nil {
		return fact, err
	}
	for _, alloc := range allocs {
		if alloc.ClientStatus == "running" && alloc.DesiredStatus == "run" {
			fact.Allocs = append(fact.Allocs, alloc.ID)
		}
	}
	slices.Sort(fact.Allocs)
	for _, process := range processes {
		if slices.Contains(fact.Allocs, process.Alloc) {
			fact.Processes = append(fact.Processes, process)
		}
	}
	return fact, nil
}

func (c *cluster) allocs(ctx context.Context, facts nomad.HostFacts) ([]nomad.Alloc, error) {
	observer, err := c.observer(ctx, facts.Region, facts.Host)
	if err != nil {
		return nil, fmt.Errorf("list the allocations of %s: %w", facts.Host, err)
	}
	allocs, err := nomad.AskAllocs(ctx, observer, facts.NodeID)
	if err != nil {
		return nil, fmt.Errorf("list the allocations of %s: %w", facts.Host, err)
	}
	return allocs, nil
}

func (c *cluster) processes(ctx context.Context) ([]wire.AllocProcess, error) {
	var reply wire.AllocProcessesResult
	if err := c.call.Host.Call(ctx, wire.AllocProcesses{}, nil, &reply); err != nil {
		return nil, fmt.Errorf("list the task processes of %s: %w", c.call.Name, err)
	}
	return reply.Processes, nil
}

// verifyAllocs compares. What the servers say of allocations may lag behind the client's restart, processes do not.
func (c *cluster) verifyAllocs(ctx context.Context, facts nomad.HostFacts, before allocsFact) error {
	ctx, cancel := context.WithTimeout(ctx, c.call.Args.Duration("timeout"))
	defer cancel()
	say := voice{call: c.call}
	for {
		allocs, err := c.allocs(ctx, facts)
		problems := []string{}
		if err != nil {
			problems = append(problems, err.Error())
		} else {
			processes, err := c.processes(ctx)
			if err != nil {
				return err
			}
			problems = changedAllocs(before, allocs, processes)
		}
		if len(problems) == 0 {
			return nil
		}
		say.say("waiting for its allocations: " + strings.Join(problems, "; "))
		if wait.For(ctx, pollEvery+120*time.Millisecond) != nil {
			return fmt.Errorf("%s: allocations have changed: %s", facts.Host, strings.Join(problems, "; "))
		}
	}
}

// changedAllocs says what differs from the record. An allocation that completed while it was wanted ended by itself.
func changedAllocs(before allocsFact, allocs []nomad.Alloc, processes []wire.AllocProcess) []string {
	var problems []string
	ended := map[string]bool{}
	for _, id := range before.Allocs {
		i := slices.IndexFunc(allocs, func(a nomad.Alloc) bool { return a.ID == id })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("allocation %.8s is gone", id))
		case allocs[i].ClientStatus == "complete" && allocs[i].DesiredStatus == "run":
			ended[id] = true
		case allocs[i].ClientStatus != "running" || allocs[i].DesiredStatus != "run":
			problems = append(problems, fmt.Sprintf("allocation %.8s is %s (desired: %s)", id, allocs[i].ClientStatus, allocs[i].DesiredStatus))
		}
	}
	for _, process := range before.Processes {
		if !ended[process.Alloc] && !slices.Contains(processes, process) {
			problems = append(problems, fmt.Sprintf("process %d of task %s in allocation %.8s has ended", process.PID, process.Task, process.Alloc))
		}
	}
	return problems
}

func allocCounts(fact allocsFact) *expression.Map {
	return expression.MapOf("running", len(fact.Allocs), "processes", len(fact.Processes))
}

func allocWords(fact allocsFact) string {
	return fmt.Sprintf("%d allocations with %d task processes", len(fact.Allocs), len(fact.Processes))
}
