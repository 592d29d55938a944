// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"slices"

	"drover/internal/nomad"
	"drover/internal/release"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadPreflightModule() Module {
	return Module{
		Name:  "nomad_preflight",
		Short: "Say everything that stands in the way of an upgrade, before anything is touched",
		Doc: "Run once. Looks at every host of the inventory that nomad_facts has not seen, compares the inventory with the servers that the cluster has, applies the rules of versions, " +
			"stop signals and quorum, tries every capability that the token will need, and makes sure of the new binary for every architecture that is to be upgraded. All problems are named, not only the first. The result holds the plan: each host's step, in order. " + unitDoc,
		Args: append([]Arg{
			versionArg(),
			{Name: "only", Kind: String, Choices: []string{"servers", "clients"}, Doc: "Plan only these."},
			{Name: "allow_leave", Kind: Boolean, Default: false, Doc: "As for nomad_swap."},
			{Name: "stop_signal", Kind: String, Choices: []string{"KILL"}, Doc: "As for nomad_swap."},
			{Name: "allow_unsupported_skip", Kind: Boolean, Default: false, Doc: "Accept more than two minor versions at once."},
			{Name: "hosts", Kind: List, Doc: "Plan only these hosts; the others are looked at and left alone. Without it: all."},
			{Name: "skip_unreachable", Kind: Boolean, Default: false, Doc: "Go on without hosts that cannot be reached, except servers of the cluster."},
			{Name: "batch", Kind: String, Default: "10%", Doc: "Clients at once after the first one: a number or a percentage of all that are to be upgraded."},
			{Name: "max_fail_percentage", Kind: Number, Doc: "The share of the clients that may fail or be skipped; without it the first that fails ends the run."},
			{Name: "batch_per_datacenter", Kind: Integer, Default: 5, Doc: "Clients at once in one datacenter."},
			{Name: "in_legs", Kind: Boolean, Default: false, Doc: "Plan an inventory of several federated regions, and an upgrade over more than two minor versions, in legs: one region's way to one version each. Without it such are refused."},
			{Name: "via", Kind: List, Doc: "Versions to stop over at, with in_legs; without it they are chosen from what is at hand."},
			{Name: "onward", Kind: String, Doc: "Where the upgrade goes on to after this version: agents in between are left alone."},
			{Name: "elsewhere", Kind: List, Doc: "Hosts that are known to belong to other regions; nobody looks at them."},
			{Name: "to_enterprise", Kind: Boolean, Default: false, Doc: "Let agents take an Enterprise edition that is not their own."},
			{Name: "accept_notes", Kind: List, Doc: "Upgrade notes that are accepted, by the ids that refusals name."},
		}, append(binaryArgs(), acceptArgs()...)...),
		Exclusive: [][]string{binarySources()},
		Local:     true, // it reaches every host through the fleet, and no one host may be needed for that
		Check:     CheckReads,
		Returns: []Arg{
			{Name: "verdict", Kind: String, Doc: "clean, changes or refused."},
			{Name: "plan", Kind: Dict, Doc: "target, continues, steps (host, role, action, from, to, reason, ...), batches, pauses, accepted, warnings, problems, not_upgraded; legs where there are several."},
		},
		Example: `- nomad_preflight:
    version: 1.11.0
  run_once: true`,
		Run: nomadPreflight,
	}
}

func nomadPreflight(ctx context.Context, call *Call) (*Result, error) {
	target, err := targetVersion(call)
	if err != nil {
		return nil, err
	}
	c := newCluster(call)
	defer c.close()
	options, err := planOptions(call)
	if err != nil {
		return nil, err
	}
	plan, err := c.plan(ctx, target, options)
	if err != nil {
		return nil, err
	}
	upgrades := 0
	for _, step := range plan.Steps {
		if step.Action == nomad.ActionUpgrade {
			upgrades++
		}
	}
	return judged("plan", &plan, plan.Problems,
		fmt.Sprintf("every agent runs %s already; nothing to do", target), fmt.Sprintf("%d of %d hosts to upgrade to %s", upgrades, len(plan.Steps), target))
}

func planOptions(call *Call) (nomad.Options, error) {
	options := nomad.Options{
		Servers: call.Args.String("only") == "servers", Clients: call.Args.String("only") == "clients",
		Accepted:        accepted(call),
		SignalOptions:   nomad.SignalOptions{AllowLeave: call.Args.Bool("allow_leave"), Stop: call.Args.String("stop_signal")},
		VersionOptions:  nomad.VersionOptions{AllowUnsupportedSkip: call.Args.Bool("allow_unsupported_skip"), ToEnterprise: call.Args.Bool("to_enterprise")},
		SkipUnreachable: call.Args.Bool("skip_unreachable"),
		Hosts:           call.Args.Strings("hosts"),
		AcceptNotes:     call.Args.Strings("accept_notes"),
		Batch:           call.Args.String("batch"), PerDatacenter: int(call.Args.Int("batch_per_datacenter")),
	}
	if call.Args.Has("max_fail_percentage") {
		percentage := call.Args.Float("max_fail_percentage")
		options.MaxFailPercentage = &percentage
	}
	var err error
	if onward := call.Args.String("onward"); onward != "" {
		options.Onward, err = nomad.ParseVersion(onward)
	}
	return options, err
}

// binaries makes the new binaries ready for the machine types of the hosts to upgrade: it fetches and verifies what nomad_stage will send. Hosts
// that are short of space are asked whether they have theirs already.
func (c *cluster) binaries(ctx context.Context, survey *nomad.Survey, plan *nomad.Plan) {
	survey.Binaries, survey.Short = map[string]nomad.NewBinary{}, map[string]nomad.LookFailure{}
	ready := map[string]release.Binary{}
	for _, step := range plan.Steps {
		i := slices.IndexFunc(survey.Hosts, func(f nomad.HostFacts) bool { return f.Host == step.Host })
		if step.Action == nomad.ActionNone || i < 0 {
			continue
		}
		facts := survey.Hosts[i]
		machine := facts.Architecture
		if _, asked := survey.Binaries[machine]; !asked {
			binary, err := prepareBinary(ctx, c.call, plan.Target, machine)
			known := nomad.NewBinary{Size: binary.Size}
			if err != nil {
				known.Error = err.Error()
			}
			ready[machine], survey.Binaries[machine] = binary, known
		}
		if survey.Binaries[machine].Error == "" && facts.Short(survey.Binaries[machine].Size) {
			if why := c.noRoom(ctx, facts, plan.Target, ready[machine]); why != nil {
				survey.Short[step.Host] = lookFailure(why)
			}
		}
	}
}

// noRoom asks a host that looks short of space whether what is missing of the new binary fits; nil when it does, or when the host
// says nothing about that.
func (c *cluster) noRoom(ctx context.Context, facts nomad.HostFacts, target nomad.Version, binary release.Binary) error {
	host, err := c.host(ctx, facts.Host)
	if err != nil {
		return nil //nolint:nilerr // staging will say so
	}
	var reply wire.StageResult
	err = host.Call(ctx, wire.Stage{Unit: facts.Unit, Size: binary.Size, SHA256: binary.SHA256, Version: target.String(), Encoding: "zstd", Check: true}, nil, &reply)
	if wire.IsKind(err, wire.KindNoSpace) {
		return err
	}
	return nil
}

// awaitElection gives servers that have just lost their leader the time to elect another, as after a crash, or after a run that was killed when it
// had stopped the leader, and then looks at those that answer again. Nobody leads still when the wait was in vain.
func (c *cluster) awaitElection(ctx context.Context, survey *nomad.Survey) {
	var servers []string
	for _, facts := range survey.Hosts {
		if facts.Server && facts.Leader {
			return
		}
		if facts.Server && facts.Answers {
			servers = append(servers, facts.Host)
		}
	}
	if len(servers) < 2 {
		return // one that leads alone does so as soon as it answers
	}
	waiting, cancel := context.WithTimeout(ctx, nomad.ElectionPatience)
	defer cancel()
	say := voice{call: c.call}
	for leaderOf(c.askAll(waiting, servers)) == nil {
		say.say(fmt.Sprintf("none of the servers that answer leads; waiting up to %s in case an election is under way", nomad.ElectionPatience))
		if wait.For(waiting, 2*pollEvery) != nil {
			return
		}
	}
	for i, facts := range survey.Hosts {
		if !slices.Contains(servers, facts.Host) {
			continue
		}
		if now, err := c.look(ctx, facts.Host); err == nil {
			survey.Hosts[i] = now
		}
	}
}

// askCluster adds what the cluster says of itself and what the token lacks.
func (c *cluster) askCluster(ctx context.Context, survey *nomad.Survey) {
	c.awaitElection(ctx, survey)
	var speaker *nomad.HostFacts
	for i := range survey.Hosts {
		facts := &survey.Hosts[i]
		if facts.Server && facts.Answers && (speaker == nil || facts.Leader) {
			speaker = facts
		}
	}
	if speaker == nil {
		return
	}
	client, err := c.connectTo(ctx, speaker.Host, speaker.API, true, speaker.Region)
	if err != nil {
		survey.Further = append(survey.Further, nomad.Problem{Host: speaker.Host, Text: err.Error()})
		return
	}
	view, err := nomad.Self(ctx, client, speaker.Host)
	if err != nil {
		survey.Further = append(survey.Further, nomad.Problem{Host: speaker.Host, Text: err.Error()})
		return
	}
	if survey.Raft, err = nomad.AskRaft(ctx, client, true); err != nil && !nomad.IsForbidden(err) {
		survey.Further = append(survey.Further, nomad.Problem{Host: speaker.Host, Text: err.Error()})
	}
	// Gossip only helps to name servers; without it the raft configuration is enough.
	survey.Members, survey.Federated = c.gossip(ctx, client, speaker.Region)
	survey.Further = append(survey.Further, nomad.Capabilities(ctx, client, view)...)
	// A token that may not list nodes has been refused just before.
	if survey.Nodes, err = nomad.AskNodes(ctx, client); err == nil {
		survey.NodesAsked = true
	}
	if target, err := targetVersion(c.call); err == nil {
		survey.Notes = nomad.AskNotes(ctx, client, survey, target)
	}
}
