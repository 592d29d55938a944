// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"drover/internal/agentconfig"
	"drover/internal/nomad"
)

func nomadRaftCheckModule() Module {
	return Module{
		Name:  "nomad_raft_check",
		Short: "Say how a cluster gets to raft protocol 3, and everything that stands in the way",
		Doc: "Run once. Looks at every server of the inventory, touches none, and chooses from raft's configuration whether the cluster is migrated as a single server or in turn. " +
			"The result holds the plan: for each server its protocol, its id in raft and its node id, the lines of the configuration that change, and the pauses to expect. With a version it makes sure of the new binary too. All problems are named, not only the first. " + unitDoc,
		Args: append(append(raftArgs(), binaryArgs()...),
			Arg{Name: "accept_notes", Kind: List, Doc: "With a version: upgrade notes of Nomad that do not stop it, by the ids that the plan names."},
			Arg{Name: "hosts", Kind: List, Doc: "Plan only these hosts. Without it: all."},
		),
		Exclusive: [][]string{binarySources()},
		// It reaches every host through the fleet, and no one host may be needed for that.
		Local: true,
		Check: CheckReads,
		Returns: []Arg{
			{Name: "verdict", Kind: String, Doc: "clean, changes or refused."},
			{Name: "raft", Kind: Dict, Doc: "mode, target, steps (host, action, protocol, id, node_id, address, edits, ...), pauses, warnings, problems."},
		},
		Example: `- nomad_raft_check:
  run_once: true`,
		Run: nomadRaftCheck,
	}
}

func nomadRaftCheck(ctx context.Context, call *Call) (*Result, error) {
	options, err := raftOptions(call)
	if err != nil {
		return nil, err
	}
	c := newCluster(call)
	defer c.close()
	whole := c.lookAtAll(ctx)
	survey := c.raftSurvey(ctx, whole)
	evidence, problems := c.allRaftEvidence(ctx, survey, options.Target)
	evidence = append(evidence, c.unreadConfigurations(ctx, whole)...)
	plan := nomad.NewRaftPlan(survey, evidence, options)
	if upgrade := plan.Upgrade(); upgrade != nil && namesBinary(call) {
		c.binaries(ctx, &survey, upgrade)
		plan = nomad.NewRaftPlan(survey, evidence, options)
	}
	plan.Problems = append(plan.Problems, problems...)
	plan.Problems = append(plan.Problems, leftOut(call, plan)...)
	return judged("raft", &plan, plan.Problems, "raft protocol 3 is in force everywhere; nothing to do", fmt.Sprintf("mode %s, %d servers", plan.Mode, len(plan.Steps)))
}

// raftSurvey collects what is known of the region that is to be migrated. Where it is not clear which one that is, it is what all hosts are.
func (c *cluster) raftSurvey(ctx context.Context, whole nomad.Survey) nomad.Survey {
	parts := whole.Regions()
	at := nomad.RaftRegion(parts, c.call.Args.Strings("hosts"))
	if at < 0 {
		return whole
	}
	for i := range parts {
		c.askCluster(ctx, &parts[i])
	}
	return nomad.OfRegion(parts, at)
}

// allRaftEvidence looks at all servers at the same time.
func (c *cluster) allRaftEvidence(ctx context.Context, survey nomad.Survey, target nomad.Version) ([]nomad.RaftEvidence, []nomad.Problem) {
	var servers []nomad.HostFacts
	for _, facts := range survey.Hosts {
		if facts.Server {
			servers = append(servers, facts)
		}
	}
	evidence := make([]nomad.RaftEvidence, len(servers))
	failures := make([]error, len(servers))
	var group sync.WaitGroup
	for i, facts := range servers {
		group.Go(func() {
			host, err := c.host(ctx, facts.Host)
			if err == nil {
				evidence[i], err = c.raftEvidence(ctx, host, facts, target)
			}
			failures[i] = err
		})
	}
	group.Wait()
	var problems []nomad.Problem
	for i, err := range failures {
		if err != nil {
			problems = append(problems, nomad.Problem{Host: servers[i].Host, Text: err.Error()})
			evidence[i].Facts = servers[i]
		}
	}
	return evidence, problems
}

// unreadConfigurations are hosts without a known server whose agents say nothing of themselves, and whose configuration cannot be parsed.
func (c *cluster) unreadConfigurations(ctx context.Context, survey nomad.Survey) []nomad.RaftEvidence {
	var unread []nomad.RaftEvidence
	for _, facts := range survey.Hosts {
		if facts.Server || facts.Answers || len(facts.ConfigFiles) == 0 {
			continue
		}
		host, err := c.host(ctx, facts.Host)
		if err != nil {
			continue // it has been looked at: what it lacks now is said by whoever needs it
		}
		sources, err := readSources(ctx, host, facts.ConfigFiles)
		if err != nil {
			unread = append(unread, nomad.RaftEvidence{Facts: facts, Unread: err.Error()})
			continue
		}
		if _, err := agentconfig.Occurrences(sources, nil, nomad.RaftProtocolKey()); err != nil {
			unread = append(unread, nomad.RaftEvidence{Facts: facts, Unread: err.Error()})
		}
	}
	return unread
}

// leftOut refuses a run that leaves out servers which would have to be migrated.
func leftOut(call *Call, plan nomad.RaftPlan) []nomad.Problem {
	hosts := call.Args.Strings("hosts")
	if hosts == nil {
		return nil
	}
	var problems []nomad.Problem
	for _, step := range plan.Steps {
		if step.Action != nomad.ActionNone && !slices.Contains(hosts, step.Host) {
			problems = append(problems, nomad.Problem{Host: step.Host, Text: "this server is to be migrated, and --limit leaves it out", Remedy: "migrate the servers of a cluster in one run"})
		}
	}
	return problems
}
