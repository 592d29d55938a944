// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"strings"

	"drover/internal/expression"
	"drover/internal/nomad"
)

func nomadHealthModule() Module {
	return Module{
		Name:  "nomad_health",
		Short: "See how a cluster is, and fail when something is wrong",
		Doc: "Run once. Asks every agent of the inventory for itself, the servers about their clients, and autopilot for its opinion. " +
			"The result holds a row for each server and client, what is wrong, and what is worth knowing. " + unitDoc,
		Local: true, // it reaches every host through the fleet, and no one host may be needed for that
		Check: CheckReads,
		Returns: []Arg{
			{Name: "overview", Kind: Dict, Doc: "servers, clients, voters, failure_tolerance, problems, notes."},
		},
		Example: `- nomad_health:
  run_once: true`,
		Run: nomadHealth,
	}
}

func nomadHealth(ctx context.Context, call *Call) (*Result, error) {
	c := newCluster(call)
	defer c.close()
	evidence := nomad.OverviewEvidence{Survey: c.survey(ctx)}
	var names []string
	region := ""
	for _, facts := range evidence.Hosts {
		if facts.Running {
			names = append(names, facts.Host)
		}
		if facts.Server && facts.Answers {
			region = facts.Region
		}
	}
	evidence.Answers = c.askAll(ctx, names)
	c.askServers(ctx, region, &evidence)
	overview := nomad.NewOverview(evidence)
	result := &Result{Data: expression.MapOf("overview", expression.FromGo(overview)), Message: "the cluster is well"}
	if len(overview.Problems) > 0 {
		lines := make([]string, len(overview.Problems))
		for i, problem := range overview.Problems {
			lines[i] = problem.String()
		}
		result.Failed, result.Message = true, fmt.Sprintf("%d problems:\n  %s", len(lines), strings.Join(lines, "\n  "))
	}
	return result, nil
}

// askServers adds what a server says about clients and what autopilot thinks.
func (c *cluster) askServers(ctx context.Context, region string, evidence *nomad.OverviewEvidence) {
	client, err := c.anyServer(ctx, region, "")
	if err != nil {
		evidence.NodesError, evidence.AutopilotError = err.Error(), err.Error()
		return
	}
	if evidence.Nodes, err = nomad.AskNodes(ctx, client); err != nil {
		evidence.NodesError = err.Error()
	}
	if evidence.Autopilot, err = nomad.AskAutopilot(ctx, client); err != nil {
		evidence.AutopilotError = err.Error()
	}
}
