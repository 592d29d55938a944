// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
)

// Leg is one part of an upgrade that goes on in several: one region on its way to one version, servers before clients, with a
// survey, a snapshot and a proof of health of its own.
type Leg struct {
	Region string  `json:"region"` // "" where the inventory holds one only
	Target Version `json:"target"`
	Why    string  `json:"why"` // what the leg is for
	// Hosts are those that the run of the leg works on, Elsewhere those of other regions, which it need not look at.
	Hosts     []string `json:"hosts,omitempty"`
	Elsewhere []string `json:"elsewhere,omitempty"`
	Down      []string `json:"accept_down,omitempty"` // servers of the region that were accepted as dead
	// Plan is null where the legs before have to be done first: then a survey tells.
	Plan *Plan `json:"plan"`
}

// NewJourney plans the upgrade of surveyed regions, in their order, over a path of versions whose last one is the target. One region and
// one version make a plan without legs. All regions reach a version before any goes on to the next.
func NewJourney(regions []Survey, path []Version, options Options) Plan {
	if len(regions) == 1 && len(path) == 1 {
		return NewPlan(regions[0], path[0], options)
	}
	j := journey{regions: regions, path: path, options: options, plan: emptyPlan(path[len(path)-1], nil)}
	if len(regions) > 1 {
		j.plan.Problems, j.plan.Warnings = federation(regions)
		j.plan.Problems = append([]Problem{}, j.plan.Problems...)
		j.plan.Warnings = append([]Problem{}, j.plan.Warnings...)
	}
	for i := range regions {
		j.first(i)
	}
	j.elsewhere()
	for at, target := range path[1:] {
		j.later(path[at], target)
	}
	return j.plan
}

type journey struct {
	regions []Survey
	path    []Version
	options Options
	plan    Plan
}

// first plans a region's way to the first version of the path.
func (j *journey) first(at int) {
	options, target := j.options, j.path[0]
	options.Down = downIn(j.regions, at, j.options.Down)
	if len(j.path) > 1 {
		options.Onward = j.path[len(j.path)-1]
	}
	plan := NewPlan(j.regions[at], target, options)
	leg := Leg{Region: j.regions[at].Region, Target: target, Down: options.Down, Plan: &plan, Hosts: plan.hosts(), Why: j.why(Version{}, target)}
	j.plan.Legs = append(j.plan.Legs, leg)
	j.plan.Steps = append(j.plan.Steps, plan.Steps...)
	j.plan.Batches = append(j.plan.Batches, plan.Batches...)
	j.plan.Pauses = append(j.plan.Pauses, plan.Pauses...)
	j.plan.Accepted = append(j.plan.Accepted, plan.Accepted...)
	j.plan.Warnings = append(j.plan.Warnings, j.within(leg.Region, plan.Warnings)...)
	j.plan.Problems = append(j.plan.Problems, j.within(leg.Region, plan.Problems)...)
	j.plan.NotUpgraded = append(j.plan.NotUpgraded, plan.NotUpgraded...)
}

// hosts are those that the run of a plan works on.
func (p *Plan) hosts() []string {
	hosts := []string{}
	for _, step := range p.Steps {
		if !step.LeftOut && !step.beyond() {
			hosts = append(hosts, step.Host)
		}
	}
	return hosts
}

// Parts are the legs of a plan; one without legs is a leg by itself, which needs no word about other regions.
func (p *Plan) Parts(down []string) []Leg {
	if len(p.Legs) > 0 {
		return p.Legs
	}
	return []Leg{{Target: p.Target, Down: down, Hosts: p.hosts(), Plan: p}}
}

// within names the region in problems that name no host.
func (j *journey) within(region string, problems []Problem) []Problem {
	all := slices.Clone(problems)
	for i := range all {
		if all[i].Host == "" && region != "" {
			all[i].Text = "region " + region + ": " + all[i].Text
		}
	}
	return all
}

// elsewhere tells each leg which hosts belong to the others.
func (j *journey) elsewhere() {
	for i := range j.plan.Legs {
		for other, survey := range j.regions {
			if other == i {
				continue
			}
			for _, facts := range sortFacts(survey.Hosts) {
				j.plan.Legs[i].Elsewhere = append(j.plan.Legs[i].Elsewhere, facts.Host)
			}
			j.plan.Legs[i].Elsewhere = append(j.plan.Legs[i].Elsewhere, sortedKeys(survey.Unreachable)...)
		}
	}
}

// later are the legs from one version to the next, which are planned when the first has been reached.
func (j *journey) later(from, target Version) {
	if unsupportedSkip(from, target) && !j.options.AllowUnsupportedSkip {
		j.plan.Problems = append(j.plan.Problems, Problem{
			Text:   fmt.Sprintf("%s to %s spans %d minor versions, and at most %d are supported", from, target, target.minor()-from.minor(), maximumSkip),
			Remedy: "name one between them too with --via, or accept the risk with --allow-unsupported-skip",
		})
	}
	j.plan.ofRelease(target, j.plan.Steps)
	for i := range j.regions {
		j.plan.Legs = append(j.plan.Legs, Leg{Region: j.regions[i].Region, Target: target, Why: j.why(from, target)})
	}
}

// why says what a stop on the way is good for, and what will have to hold for it.
func (j *journey) why(from, target Version) string {
	if len(j.path) == 1 {
		return ""
	}
	oldest := from
	if !from.Known() {
		for _, survey := range j.regions {
			oldest = older(oldest, j.options.oldest(survey, j.path[len(j.path)-1]))
		}
	}
	var words []string
	crosses := func(boundary, what string) {
		if !oldest.AtLeast(boundary) && target.AtLeast(boundary) {
			words = append(words, what)
		}
	}
	crosses("1.4.0", "needs raft protocol 3 on all servers")
	crosses("1.9.0", "needs all clients at 1.6 or later, which the legs before see to")
	crosses("1.10.0", "needs jobs that use Vault or Consul to have workload identities")
	return strings.Join(words, "; ")
}

// beyond tells whether an agent is past the version at which the others stop over.
func (s *Step) beyond() bool { return s.From.Known() && s.From.Compare(s.To) > 0 }

func older(a, b Version) Version {
	if !a.Known() || b.Known() && b.Compare(a) < 0 {
		return b
	}
	return a
}
