// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"

	"github.com/hashicorp/nomad/api"

	"drover/internal/nomad"
)

// settings reads what the notes of versions ask for out of the configuration files.
func settings(ctx context.Context, host Host, files []string) []nomad.Setting {
	return []nomad.Setting{}
}

// askNotes collects what the notes of versions ask of the cluster and its jobs.
func askNotes(ctx context.Context, client *api.Client, survey *nomad.Survey) nomad.ClusterNotes {
	return nomad.ClusterNotes{}
}
