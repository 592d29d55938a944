// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"slices"

	"github.com/hashicorp/nomad/api"
)

// AskJobs lists the jobs of all namespaces that the token may see, as NAMESPACE/ID, sorted.
func AskJobs(ctx context.Context, client *api.Client) ([]string, error) {
	return jobs(ctx, client, "/v1/jobs?namespace=*")
}

// AskJobsStale lists the jobs that one server knows, as AskJobs does, also where it has no leader.
func AskJobsStale(ctx context.Context, client *api.Client) ([]string, error) {
	return jobs(ctx, client, "/v1/jobs?namespace=*&stale")
}

func jobs(ctx context.Context, client *api.Client, path string) ([]string, error) {
	var answer []struct{ ID, Namespace string }
	if err := get(ctx, client, path, &answer); err != nil {
		return nil, err
	}
	names := make([]string, len(answer))
	for i, job := range answer {
		names[i] = job.Namespace + "/" + job.ID
	}
	slices.Sort(names)
	return names, nil
}
