// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/inventory"
)

// journey carries out a plan of several legs, one after the other.
type journey struct {
	*upgradeFlags
	fleet *fleet
	vars  *expression.Map
	plan  *nomad.Plan
	runID string // of the first leg; the others count on
	ran   int
	asked []*inventory.Host // what --limit left of the inventory
}

// run goes leg by leg, and stops at the first that does not end well. Hosts that were skipped are told of at the end.
func (j *journey) run(ctx context.Context, s streams) error {
	j.runID, j.asked = j.fleet.runID, j.fleet.hosts
	var ended error
	for at := 0; at < len(j.plan.Legs); {
		target := j.plan.Legs[at].Target
		parts, err := j.parts(ctx, s, at)
		if err != nil {
			return err
		}
		for i := range parts {
			leg := &parts[i]
			err := leftBehind(leg.Plan, nil)
			if leg.Plan.Verdict() != nomad.VerdictClean {
				err = j.leg(ctx, s, leg)
			}
			if err != nil && !onlySkipped(err, leg.Plan) {
				fmt.Fprintf(s.err, "drover: the leg %s did not end well, and no other was begun; to go on, run the same command again\n", leg.Title())
				return err
			}
			if err != nil {
				ended = err
			}
		}
		for at < len(j.plan.Legs) && j.plan.Legs[at].Target.Same(target) {
			at++
		}
	}
	return ended
}

// onlySkipped tells whether a leg ended well but for hosts that were left behind on the user's word, which ends no journey.
func onlySkipped(err error, plan *nomad.Plan) bool {
	var how *exit
	return errors.As(err, &how) && how.code == exitUnreachable && leftBehind(plan, nil) != nil
}

// parts are the legs to one version, region by region. Those to a further version are planned now, when the one before is reached.
func (j *journey) parts(ctx context.Context, s streams, at int) ([]nomad.Leg, error) {
	j.fleet.hosts = j.asked
	target := j.plan.Legs[at].Target
	if j.plan.Legs[at].Plan != nil {
		end := slices.IndexFunc(j.plan.Legs, func(l nomad.Leg) bool { return l.Plan == nil })
		if end < 0 {
			end = len(j.plan.Legs)
		}
		return j.plan.Legs[:end], nil
	}
	vars := j.vars.Clone()
	vars.Set("version", target.String())
	vars.Set("via", expression.FromGo([]string{}))
	if !target.Same(j.plan.Target) {
		vars.Set("onward", j.plan.Target.String())
	}
	plan, err := j.upgradeFlags.plan(ctx, j.fleet, vars)
	if err != nil {
		return nil, err
	}
	if j.output != "json" || plan.Verdict() == nomad.VerdictRefused {
		if err := showPlan(s, j.output, plan); err != nil {
			return nil, err
		}
	}
	if plan.Verdict() == nomad.VerdictRefused {
		return nil, &exit{exitRefused, fmt.Errorf("the cluster was brought as far as the leg before; the leg to %s was not begun. See to what stands in its way, then run the same command again", target)}
	}
	return plan.Parts(j.down), nil
}

// leg runs the playbook over the hosts of one leg, as a run of its own on record.
func (j *journey) leg(ctx context.Context, s streams, leg *nomad.Leg) error {
	hosts := slices.DeleteFunc(slices.Clone(j.asked), func(h *inventory.Host) bool { return !slices.Contains(leg.Hosts, h.Name) })
	if len(hosts) == 0 {
		return nil
	}
	flags := *j.upgradeFlags
	flags.limit = strings.Join(hostNames(hosts), ",")
	if meant, err := j.fleet.inventory.Limit(flags.limit); err != nil || len(meant) != len(hosts) {
		return fmt.Errorf("the hosts of the leg %s cannot be told apart by their names: give no group the name of a host", leg.Title())
	}
	j.fleet.hosts = hosts
	if j.ran++; j.ran > 1 {
		j.fleet.runID = fmt.Sprintf("%s-%d", j.runID, j.ran)
	}
	vars := j.vars.Clone()
	vars.Set("version", leg.Target.String())
	vars.Set("via", expression.FromGo([]string{}))
	vars.Set("accept_down", expression.FromGo(append([]string{}, leg.Down...)))
	vars.Set("elsewhere", expression.FromGo(append([]string{}, leg.Elsewhere...)))
	if j.output != "json" {
		fmt.Fprintf(s.out, "\nLeg %s\n", leg.Title())
	}
	return flags.carryLeg(ctx, s, j.fleet, vars, leg.Plan, "Nomad "+strings.TrimPrefix(leg.Title(), "to "))
}
