// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadHealthModule() Module {
	return Module{
		Name:  "nomad_health",
		Short: "See how a cluster is, and fail when something is wrong",
		Doc: "Run once. Asks every agent of the inventory for itself, every server about the others, and the leader about raft, autopilot, clients and jobs, and compares the answers with each other and with the hosts: " +
			"versions running and on disk, who is alive, raft's peers and protocol, applied indexes against what the leader had committed before, who leads as each server sees it, clients ready, allocations that wait. Known causes are named.\n\n" +
			"With a version it proves that this version has arrived: everything runs it, and nothing has been wrong for as long as stable says. What may pass by itself is waited for. " + unitDoc,
		Args: []Arg{
			{Name: "version", Kind: String, Doc: "The Nomad version that must run everywhere. Without it: none in particular."},
			{Name: "stable", Kind: Duration, Default: "10s", Doc: "With version: for how long nothing may be wrong. Ten seconds is autopilot's default ServerStabilizationTime."},
			{Name: "timeout", Kind: Duration, Default: "1m", Doc: "With version: how long to wait for what may pass by itself."},
		},
		Local: true, // it reaches every host through the fleet, and no one host may be needed for that
		Check: CheckReads,
		Returns: []Arg{
			{Name: "overview", Kind: Dict, Doc: "target, stable_ms, clusters, servers, clients, problems and notes (each with kind, host, text, remedy)."},
		},
		Example: `- nomad_health:
    version: 1.11.0
  run_once: true`,
		Run: nomadHealth,
	}
}

func nomadHealth(ctx context.Context, call *Call) (*Result, error) {
	var target nomad.Version
	if call.Args.String("version") != "" {
		var err error
		if target, err = targetVersion(call); err != nil {
			return nil, err
		}
	}
	c := newCluster(call)
	defer c.close()
	survey := c.lookAtAll(ctx)
	overview := c.overview(ctx, survey, target)
	if target.Known() {
		overview = c.proof(ctx, overview, target)
	}
	result := &Result{Data: expression.MapOf("overview", expression.FromGo(overview)), Message: "the cluster is well"}
	if len(overview.Problems) > 0 {
		result.Failed, result.Message = true, fmt.Sprintf("%d problems:%s", len(overview.Problems), underneath(overview.Problems))
	}
	return result, nil
}

// proofEvery is how long lies between two looks while stability is to be shown.
const proofEvery = time.Second

// proof looks again until nothing has been wrong for long enough, or something is wrong that does not pass.
func (c *cluster) proof(ctx context.Context, overview nomad.Overview, target nomad.Version) nomad.Overview {
	begun := time.Now()
	well, voice := begun, voice{call: c.call}
	for {
		now := time.Now()
		if len(overview.Problems) > 0 {
			well = now
		}
		overview.StableMS = now.Sub(well).Milliseconds()
		stays := slices.ContainsFunc(overview.Problems, func(p nomad.Problem) bool { return !nomad.Passing(p) })
		late := len(overview.Problems) > 0 && now.Sub(begun) > c.call.Args.Duration("timeout")
		if stays || late || now.Sub(well) >= c.call.Args.Duration("stable") {
			return overview
		}
		if len(overview.Problems) > 0 {
			voice.say("waiting: " + nomad.Words(overview.Problems))
		} else {
			voice.say("all is well; seeing whether it stays so")
		}
		if wait.For(ctx, proofEvery) != nil {
			return overview
		}
		overview = c.overview(ctx, c.lookAfresh(ctx), target)
	}
}

// overview asks everybody who has something to say, and judges the answers.
func (c *cluster) overview(ctx context.Context, survey nomad.Survey, target nomad.Version) nomad.Overview {
	evidence := nomad.OverviewEvidence{
		Target: target, Hosts: survey.Hosts, Unreachable: survey.Unreachable, Addresses: survey.Addresses, Beside: c.beside(ctx, survey.Hosts),
	}
	for _, facts := range survey.Hosts {
		if address := c.variable(facts.Host, "ansible_host"); address != "" {
			evidence.Addresses[facts.Host] = address
		}
	}
	for _, part := range survey.Regions() {
		if cluster, some := c.askRegion(ctx, part.Hosts); some {
			evidence.Clusters = append(evidence.Clusters, cluster)
		}
	}
	return nomad.NewOverview(evidence)
}

// beside looks at what hosts show besides their agents.
func (c *cluster) beside(ctx context.Context, hosts []nomad.HostFacts) map[string]nomad.Beside {
	all, byHost, names := map[string]nomad.Beside{}, map[string]nomad.HostFacts{}, make([]string, len(hosts))
	for i, facts := range hosts {
		names[i], byHost[facts.Host] = facts.Host, facts
	}
	c.each(names, func(name string) {
		host, err := c.host(ctx, name)
		if err != nil {
			return
		}
		var machine wire.FactsResult
		sent := time.Now()
		if host.Call(ctx, wire.Facts{}, nil, &machine) != nil {
			return
		}
		half := time.Since(sent) / 2
		seen := nomad.Beside{Clock: time.Unix(0, machine.UnixNano).Sub(sent.Add(half)), Precision: half}
		var held *wire.Error
		if err := host.Call(ctx, wire.Hello{Free: true, Unit: byHost[name].Unit}, nil, &wire.HelloResult{}); errors.As(err, &held) && held.Kind == wire.KindLocked {
			seen.HeldBy = held.Message
		}
		var stat wire.StatResult
		facts := byHost[name]
		if facts.Server && facts.DataDir != "" && host.Call(ctx, wire.Stat{Path: peersFile(facts)}, nil, &stat) == nil && stat.Exists {
			seen.Peers = peersFile(facts)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		all[name] = seen
	})
	return all
}

// askRegion asks the agents of one region; false when it has none. The leader's index is sampled before the others are asked.
func (c *cluster) askRegion(ctx context.Context, hosts []nomad.HostFacts) (nomad.ClusterEvidence, bool) {
	var names, servers []string
	e := nomad.ClusterEvidence{Members: map[string][]nomad.Member{}}
	some := false
	for _, facts := range hosts {
		if !facts.Server && !facts.Client {
			continue
		}
		some, e.Region = true, facts.Region
		if facts.Running {
			names = append(names, facts.Host)
		}
		if facts.Running && facts.Server {
			servers = append(servers, facts.Host)
		}
	}
	if leader := leaderOf(c.askAll(ctx, servers)); leader != nil {
		e.Reached = leader.Raft.Commit
	}
	e.Answers = c.askAll(ctx, names)
	c.askGossip(ctx, &e, servers)
	c.askDenied(ctx, &e, hosts)
	teller := ""
	if leader := leaderOf(e.Answers); leader != nil {
		teller = leader.Host
	} else if len(servers) == 0 {
		teller = firstAnswer(e.Answers) // its servers are not in the inventory; a client passes questions on to them
	}
	if teller == "" {
		const nobody = "no server leads"
		e.RaftError, e.AutopilotError, e.NodesError, e.JobsError = nobody, nobody, nobody, nobody
		if first := firstAnswer(e.Answers); first != "" {
			c.tell(ctx, first, &e.RaftError, func(client *api.Client) (err error) {
				e.Raft, err = nomad.AskRaft(ctx, client, true)
				return err
			})
		}
		return e, some
	}
	c.askLeader(ctx, teller, &e)
	return e, some
}

func firstAnswer(answers []nomad.Answer) string {
	for _, answer := range answers {
		if answer.Error == "" {
			return answer.Host
		}
	}
	return ""
}

// askDenied asks the servers that refuse the token what they tell without one.
func (c *cluster) askDenied(ctx context.Context, e *nomad.ClusterEvidence, hosts []nomad.HostFacts) {
	var names []string
	for _, facts := range hosts {
		if facts.Server && facts.Denied != "" {
			names = append(names, facts.Host)
		}
	}
	e.Leaders = map[string]string{}
	c.each(names, func(name string) {
		client, err := c.connect(ctx, name)
		if err != nil {
			return
		}
		leader, err := nomad.AskLeader(ctx, client)
		if err != nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		e.Leaders[name] = leader
	})
}

// askGossip asks each server whom it knows.
func (c *cluster) askGossip(ctx context.Context, e *nomad.ClusterEvidence, servers []string) {
	c.each(servers, func(name string) {
		client, err := c.connect(ctx, name)
		if err != nil {
			return
		}
		within, cancel := context.WithTimeout(ctx, voiceTimeout)
		defer cancel()
		members, err := nomad.AskMembers(within, client, e.Region)
		if err != nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		e.Members[name] = members
	})
}

// askLeader asks what only the cluster as a whole can tell.
func (c *cluster) askLeader(ctx context.Context, teller string, e *nomad.ClusterEvidence) {
	c.tell(ctx, teller, &e.RaftError, func(client *api.Client) (err error) {
		e.Raft, err = nomad.AskRaft(ctx, client, true)
		return err
	})
	c.tell(ctx, teller, &e.AutopilotError, func(client *api.Client) (err error) {
		e.Autopilot, err = nomad.AskAutopilot(ctx, client)
		return err
	})
	c.tell(ctx, teller, &e.NodesError, func(client *api.Client) (err error) {
		e.Nodes, err = nomad.AskNodes(ctx, client)
		return err
	})
	c.tell(ctx, teller, &e.JobsError, func(client *api.Client) (err error) {
		e.Jobs, err = nomad.AskJobStates(ctx, client)
		return err
	})
}

// tell asks one agent one thing, and keeps in words why that did not work.
func (c *cluster) tell(ctx context.Context, name string, failure *string, ask func(*api.Client) error) {
	*failure = ""
	client, err := c.connect(ctx, name)
	if err == nil {
		err = ask(client)
	}
	if err != nil {
		*failure = err.Error()
	}
}
