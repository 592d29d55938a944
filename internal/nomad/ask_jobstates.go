// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
	"slices"

	"github.com/hashicorp/nomad/api"
)

// JobState is one job with the numbers of its allocations.
type JobState struct {
	ID, Namespace, Type, Status              string // Status: pending, running, dead
	Queued, Starting, Running, Lost, Unknown int
}

// Name is ID, with the namespace where it is not the default one.
func (j JobState) Name() string {
	if j.Namespace == "" || j.Namespace == "default" {
		return j.ID
	}
	return j.Namespace + "/" + j.ID
}

// AskJobStates lists the jobs of all namespaces that the token may see, sorted. Their numbers come with the list (JobSummary, 1.2 to 2.0), so that
// no allocation has to be listed.
func AskJobStates(ctx context.Context, client *api.Client) ([]JobState, error) {
	var answer []struct {
		ID, Namespace, Type, Status string
		JobSummary                  *struct {
			Summary map[string]struct{ Queued, Starting, Running, Lost, Unknown int }
		}
	}
	if err := get(ctx, client, "/v1/jobs?namespace=*", &answer); err != nil {
		return nil, err
	}
	states := make([]JobState, len(answer))
	for i, job := range answer {
		state := JobState{ID: job.ID, Namespace: job.Namespace, Type: job.Type, Status: job.Status}
		if job.JobSummary != nil {
			for _, group := range job.JobSummary.Summary {
				state.Queued += group.Queued
				state.Starting += group.Starting
				state.Running += group.Running
				state.Lost += group.Lost
				state.Unknown += group.Unknown
			}
		}
		states[i] = state
	}
	slices.SortFunc(states, func(a, b JobState) int { return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ID, b.ID)) })
	return states, nil
}
