// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"

	"drover/internal/printable"
)

// jobID is the ID of the job that Options.Job runs.
const jobID = "practice"

// Allocations per client: most are raw_exec, which need no chroot.
const (
	rawPerClient      = 2
	isolatedPerClient = 1
)

func jobAllocations(nodes int) int { return nodes * (rawPerClient + isolatedPerClient) }

// practiceJob is a service that does nothing for as long as nobody restarts it, as the API takes it.
func practiceJob(nodes int) map[string]any {
	group := func(name, driver string, perClient int) map[string]any {
		return map[string]any{
			"Name":          name,
			"Count":         perClient * nodes,
			"EphemeralDisk": map[string]any{"SizeMB": 10},
			"Tasks": []any{map[string]any{
				"Name":        "sleep",
				"Driver":      driver,
				"Config":      map[string]any{"command": "/bin/sleep", "args": []string{"infinity"}},
				"Resources":   map[string]any{"CPU": 20, "MemoryMB": 16},
				"KillTimeout": 1_000_000_000,
				"LogConfig":   map[string]any{"MaxFiles": 1, "MaxFileSizeMB": 1},
			}},
		}
	}
	return map[string]any{"Job": map[string]any{
		"ID": jobID, "Name": jobID, "Type": "service", "Datacenters": []string{"dc1"},
		"Spreads":    []any{map[string]any{"Attribute": "${node.unique.id}", "Weight": 100}},
		"TaskGroups": []any{group("raw", "raw_exec", rawPerClient), group("isolated", "exec", isolatedPerClient)},
	}}
}

func (l *Lab) checkJob(ctx context.Context, server string, want int) error {
	var allocations []struct {
		ClientStatus string
		NodeName     string
		TaskStates   map[string]struct {
			Events []struct{ Type, DisplayMessage string }
		}
	}
	if err := l.Call(ctx, server, "GET", "/v1/job/"+jobID+"/allocations", nil, &allocations); err != nil {
		return err
	}
	running, trouble := 0, ""
	for _, allocation := range allocations {
		switch allocation.ClientStatus {
		case "running":
			running++
		case "failed":
			for _, task := range allocation.TaskStates {
				for _, event := range task.Events {
					if event.Type == "Driver Failure" || trouble == "" {
						trouble = fmt.Sprintf("; on %s: %s: %s", allocation.NodeName, printable.Line(event.Type), printable.Line(event.DisplayMessage))
					}
				}
			}
		}
	}
	if running != want {
		return fmt.Errorf("%d of %d running%s", running, want, trouble)
	}
	return nil
}
