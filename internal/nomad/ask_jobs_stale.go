// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"slices"

	"github.com/hashicorp/nomad/api"
)

// AskJobsStale lists the jobs that one server knows, as AskJobs does, also where it has no leader.
func AskJobsStale(ctx context.Context, client *api.Client) ([]string, error) {
	var answer []struct{ ID, Namespace string }
	if err := get(ctx, client, "/v1/jobs?namespace=*&stale", &answer); err != nil {
		return nil, err
	}
	names := make([]string, len(answer))
	for i, job := range answer {
		names[i] = job.Namespace + "/" + job.ID
	}
	slices.Sort(names)
	return names, nil
}
