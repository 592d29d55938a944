// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"drover/internal/expression"
	"drover/internal/nomad"
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
			{Name: "accept_notes", Kind: List, Doc: "Upgrade notes that are accepted, by the ids that refusals name."},
		}, append(binaryArgs(), acceptArgs()...)...),
		Exclusive: [][]string{binarySources()},
		Local:     true, // it reaches every host through the fleet, and no one host may be needed for that
		Check:     CheckReads,
		Returns: []Arg{
			{Name: "verdict", Kind: String, Doc: "clean, changes or refused."},
			{Name: "plan", Kind: Dict, Doc: "target, steps (host, role, action, from, to, reason), problems, warnings, pauses."},
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
	survey := c.survey(ctx)
	plan := nomad.NewPlan(survey, target, nomad.Options{
		Servers: call.Args.String("only") == "servers", Clients: call.Args.String("only") == "clients",
		Accepted:        accepted(call),
		SignalOptions:   nomad.SignalOptions{AllowLeave: call.Args.Bool("allow_leave"), Stop: call.Args.String("stop_signal")},
		VersionOptions:  nomad.VersionOptions{AllowUnsupportedSkip: call.Args.Bool("allow_unsupported_skip")},
		SkipUnreachable: call.Args.Bool("skip_unreachable"),
		Hosts:           call.Args.Strings("hosts"),
		AcceptNotes:     call.Args.Strings("accept_notes"),
	})
	plan.Problems = append(plan.Problems, binaryProblems(ctx, call, survey, &plan)...)
	result := &Result{Data: expression.MapOf("verdict", plan.Verdict(), "plan", expression.FromGo(plan))}
	switch plan.Verdict() {
	case nomad.VerdictRefused:
		lines := make([]string, len(plan.Problems))
		for i, problem := range plan.Problems {
			lines[i] = problem.String()
		}
		return result, refuse("%d problems, and nothing was touched:\n  %s", len(lines), strings.Join(lines, "\n  "))
	case nomad.VerdictClean:
		result.Message = fmt.Sprintf("every agent runs %s already; nothing to do", target)
	default:
		changes := 0
		for _, step := range plan.Steps {
			if step.Action == nomad.ActionUpgrade {
				changes++
			}
		}
		result.Message = fmt.Sprintf("%d of %d hosts to upgrade to %s", changes, len(plan.Steps), target)
	}
	return result, nil
}

// binaryProblems says for which architectures of the hosts to upgrade the new binary is missing or unfit. It fetches and verifies what
// nomad_stage will send.
func binaryProblems(ctx context.Context, call *Call, survey nomad.Survey, plan *nomad.Plan) []nomad.Problem {
	if !namesBinary(call) {
		return nil
	}
	var problems []nomad.Problem
	asked := map[string]bool{}
	for _, step := range plan.Steps {
		i := slices.IndexFunc(survey.Hosts, func(f nomad.HostFacts) bool { return f.Host == step.Host })
		if step.Action != nomad.ActionUpgrade || i < 0 || asked[survey.Hosts[i].Architecture] {
			continue
		}
		machine := survey.Hosts[i].Architecture
		asked[machine] = true
		if _, err := prepareBinary(ctx, call, plan.Target, machine); err != nil {
			problems = append(problems, nomad.Problem{
				Text:   fmt.Sprintf("no new binary could be made ready for hosts such as %s (%s): %v", step.Host, machine, err),
				Remedy: "see to that, or name another source: --binary FILE, --binary-dir DIR or --mirror URL (drover doc nomad_stage)",
			})
		}
	}
	return problems
}

// surveyAtOnce bounds how many hosts are looked at together.
const surveyAtOnce = 32

// survey collects what is known of all hosts of the inventory and looks at those that nobody has looked at.
func (c *cluster) survey(ctx context.Context) nomad.Survey {
	survey := nomad.Survey{Unreachable: map[string]string{}, Addresses: map[string]string{}}
	names := c.call.Fleet.Names("all")
	found := make([]nomad.HostFacts, len(names))
	reasons := make([]string, len(names))
	var unknown []string
	slots := make(chan struct{}, surveyAtOnce)
	var group sync.WaitGroup
	for i, name := range names {
		facts, ok := c.ownFacts(name)
		if ok {
			found[i] = facts
			continue
		}
		unknown = append(unknown, name)
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			var err error
			if found[i], err = c.look(ctx, name); err != nil {
				reasons[i] = reason(err)
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.looked[name] = found[i]
			c.call.Run.Sightings.note(name, found[i])
		})
	}
	if len(unknown) > 0 {
		c.call.Say("looking at %s", someOf(unknown))
	}
	group.Wait()
	for i, name := range names {
		if reasons[i] != "" {
			survey.Unreachable[name] = reasons[i]
			if address := c.variable(name, "ansible_host"); address != "" {
				survey.Addresses[name] = address
			}
			continue
		}
		survey.Hosts = append(survey.Hosts, found[i])
	}
	c.askCluster(ctx, &survey)
	return survey
}

// someOf names a few hosts, and how many more there are.
func someOf(names []string) string {
	const shown = 5
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// reason is an error without the host's name, for a place that names the host.
func reason(err error) string {
	var lost *Unreachable
	if errors.As(err, &lost) {
		return lost.Err.Error()
	}
	return err.Error()
}

// askCluster adds what the cluster says of itself and what the token lacks.
func (c *cluster) askCluster(ctx context.Context, survey *nomad.Survey) {
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
	survey.Members, _ = nomad.AskMembers(ctx, client, speaker.Region)
	survey.Further = append(survey.Further, nomad.Capabilities(ctx, client, view)...)
	if target, err := targetVersion(c.call); err == nil {
		survey.Notes = nomad.AskNotes(ctx, client, survey, target)
	}
}
