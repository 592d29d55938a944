// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"path"
	"slices"
)

// Actions of replacing clients, beside ActionNone and ActionRefused.
const (
	ActionInstall = "install"
	ActionStart   = "start"
	ActionDrain   = "drain"
)

// ReplaceOptions say which clients take the place of which.
type ReplaceOptions struct {
	New, Old []string          // hosts
	From     string            // the host whose configuration new clients get; "": none, the user's own files
	Occupied map[string]string // what lies in the data directory that a new host is going to have, by host
	Purge    bool              // the servers forget the old nodes
	Batch    string            // old clients at once after the first, as for Batches
	PerDC    int
}

// ClientReplacement is what replacing clients will do, and what stands in the way.
type ClientReplacement struct {
	Target  Version `json:"target"`
	From    string  `json:"from"`
	Purge   bool    `json:"purge"`
	New     []Step  `json:"new"`
	Old     []Step  `json:"old"`
	Batches []Batch `json:"batches"` // of the old clients
	Findings
}

// Verdict is clean, changes or refused.
func (r *ClientReplacement) Verdict() string {
	return r.verdict(changesAny(r.New, r.Old))
}

// changesAny tells whether anything is done to the new hosts or the old ones of a replacement.
func changesAny(fresh, old []Step) bool {
	return slices.ContainsFunc(slices.Concat(fresh, old), func(s Step) bool { return s.Action != ActionNone })
}

// replacer builds a ClientReplacement.
type replacer struct {
	ClientReplacement
	survey  Survey
	options ReplaceOptions
}

// NewClientReplacement decides what replacing clients comes to. The same survey gives the same answer.
func NewClientReplacement(survey Survey, target Version, options ReplaceOptions) ClientReplacement {
	r := &replacer{survey: survey, options: options}
	r.Target, r.From, r.Purge = target, options.From, options.Purge
	r.New, r.Old, r.Findings, r.Batches = []Step{}, []Step{}, noFindings(), []Batch{}
	r.groups()
	r.servers()
	for _, host := range sortedHosts(options.New) {
		r.host(host, &r.New, r.newcomer)
	}
	for _, host := range sortedHosts(options.Old) {
		r.host(host, &r.Old, r.leaver)
	}
	r.ofRelease(r.Target, r.New)
	r.likeness()
	r.batches()
	r.Problems, r.Warnings = sorted(r.Problems), sorted(r.Warnings)
	return r.ClientReplacement
}

func sortedHosts(hosts []string) []string {
	hosts = slices.Clone(hosts)
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func (r *replacer) groups() {
	if len(r.options.New) == 0 {
		r.refuse("", "name the hosts in the inventory's group new_clients", "no new client is named")
	}
	if len(r.options.Old) == 0 {
		r.refuse("", "name the hosts in the inventory's group old_clients", "no old client is named")
	}
	for _, host := range sortedHosts(r.options.New) {
		if slices.Contains(r.options.Old, host) {
			r.refuse(host, "leave it in one of them", "it is in new_clients and in old_clients")
		}
	}
	if len(r.options.New) < len(r.options.Old) {
		r.warn("", "%d new clients take the place of %d: see that they have room for all allocations; a drain that finds none is cancelled", len(r.options.New), len(r.options.Old))
	}
}

// servers looks for a server that answers, and compares what each runs with what the new clients will run.
func (r *replacer) servers() {
	answering := false
	for _, facts := range r.survey.Hosts {
		if !facts.Server || !facts.Answers {
			continue
		}
		answering = true
		r.beside(facts)
	}
	if !answering {
		r.refuse("", "put the cluster's servers into the inventory", "no server of the cluster answers")
	}
}

// beside refuses a version that a server would not get on with.
func (r *replacer) beside(server HostFacts) {
	has := server.VersionRunning
	switch {
	case !r.Target.Known() || !has.Known():
	case has.Compare(r.Target) < 0:
		r.refuse(server.Host, "upgrade the servers first (drover upgrade --servers)", "this server runs %s, and a client must not be newer than its servers", has)
	case has.AtLeast("1.9.0") && !r.Target.AtLeast("1.6.0"):
		r.refuse(server.Host, "name a later version with --to, best that of the servers", "this server runs %s, and servers of 1.9 and later turn away clients before 1.6", has)
	}
	if r.Target.Known() && has.Known() && has.Edition() != r.Target.Edition() {
		r.refuse(server.Host, "use a binary of the servers' edition: its version is written like "+sameEdition(has, r.Target),
			"this server runs the %s and the new clients would run the %s", edition(has), edition(r.Target))
	}
}

// ofRelease adds what an upgrade to the version says of that release itself, where one of the hosts is to get it.
func (f *Findings) ofRelease(target Version, hosts []Step) {
	p := planner{plan: emptyPlan(target, nil), target: target}
	p.plan.Steps = hosts
	p.release()
	f.Problems, f.Warnings = append(f.Problems, p.plan.Problems...), append(f.Warnings, p.plan.Warnings...)
}

func (r *replacer) host(host string, into *[]Step, judge func(HostFacts, *Step)) {
	if failure, lost := r.survey.Unreachable[host]; lost {
		r.refuse(host, cmp.Or(failure.Remedy, "see that it can be reached, or take it out of the group"), "nothing is known of it: %s", failure.Text)
		return
	}
	facts := r.survey.of(host)
	if facts == nil {
		return
	}
	step := Step{Host: host, Role: facts.Role, From: facts.VersionRunning, To: r.Target, Unit: facts.Unit, Datacenter: facts.Datacenter, Action: ActionNone}
	if node := r.survey.node(*facts); node != nil {
		step.NodeStatus, step.Eligibility, step.Draining = node.Status, node.SchedulingEligibility, node.Drain
	}
	judge(*facts, &step)
	*into = append(*into, step)
}

// newcomer is a host that becomes a client.
func (r *replacer) newcomer(facts HostFacts, step *Step) {
	switch content := r.options.Occupied[facts.Host]; {
	case facts.Role == "none" && !facts.Running && content != "":
		r.occupied(step, content)
	case facts.Role == "none" && !facts.Running:
		step.Action, step.Reason = ActionInstall, "has no Nomad yet"
	case facts.Server:
		r.refuseStep(step, "take it out of new_clients", "this host is a server")
	case facts.Running && !facts.VersionRunning.Same(r.Target):
		r.refuseStep(step, "take it out of new_clients, or upgrade it (drover upgrade-clients)", "it runs Nomad %s already", facts.VersionRunning)
	case facts.Running:
		step.Reason = "runs " + r.Target.String() + " already; it must be a ready client before anything is drained"
	case facts.VersionDisk.Same(r.Target):
		step.Action, step.Reason = ActionStart, "is installed and does not run"
	default:
		r.refuseStep(step, "remove the unit and the data directory, or take it out of new_clients", "an agent of version %s is installed here", facts.VersionDisk)
	}
}

// occupied refuses a host whose future data directory holds something.
func (f *Findings) occupied(step *Step, content string) {
	f.refuseStep(step, "move it away", "the data directory %s is not empty (%s): a new agent would take up the identity and state of an earlier one", path.Dir(content), content)
}

// leaver is a client that is given up.
func (r *replacer) leaver(facts HostFacts, step *Step) {
	node := r.survey.node(facts)
	switch {
	case facts.Server:
		r.refuseStep(step, "take it out of old_clients", "this host is a server")
	case facts.Role == "none" && !facts.Running:
		r.refuseStep(step, "take it out of old_clients", "there is no Nomad agent: %s", facts.Problem)
	case node != nil && node.Drain && node.LastDrain != nil && !node.LastDrain.Ours():
		r.refuseStep(step, "wait for the end of that drain, or take the host out of old_clients", "%s is draining it", node.LastDrain.Who())
	case !facts.Running:
		step.Reason = "does not run; its unit is disabled"
	case !facts.Answers:
		r.refuseStep(step, "check its log, or stop it by hand", "its agent runs and does not answer: %s", facts.Problem)
	default:
		step.Action, step.Reason = ActionDrain, "is drained, stopped and disabled"
	}
}

// likeness warns where one configuration for all new clients may not suit the old ones' places.
func (r *replacer) likeness() {
	if r.options.From == "" {
		return
	}
	model := r.survey.of(r.options.From)
	if model == nil || !model.Client {
		r.refuse(r.options.From, "name a client with --from, or files with --config", "it is to be the model for new clients, and no client is known there")
		return
	}
	like := model.Datacenter
	for _, step := range r.Old {
		if step.Datacenter != "" && like != "" && step.Datacenter != like {
			r.warn(step.Host, "it is in the datacenter %s, and the new clients get the configuration of %s, which is in %s", step.Datacenter, r.options.From, like)
		}
	}
}

// batches cuts the old clients as Batches does.
func (r *replacer) batches() {
	steps := slices.Clone(r.Old)
	for i := range steps {
		steps[i].Role = "client"
		if steps[i].Action == ActionDrain {
			steps[i].Action = ActionUpgrade
		}
	}
	batches, err := Batches(steps, r.options.Batch, r.options.PerDC)
	if err != nil {
		r.refuse("", "", "%s", err)
		return
	}
	r.Batches = batches
}
