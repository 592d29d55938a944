// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ActionRemove is what happens to a server that is given up.
const ActionRemove = "remove"

// ServerReplaceOptions say which servers take the place of which.
type ServerReplaceOptions struct {
	New, Old []string          // hosts
	From     string            // the host whose configuration new servers get; "": none, the user's own files
	Occupied map[string]string // what lies in the data directory that a new host is going to have, by host
	Update   bool              // lists of servers in the agents' configurations are edited
	Options                    // what the user accepted
}

// ServerReplacement is what replacing servers will do, and what stands in the way.
type ServerReplacement struct {
	Target   Version  `json:"target"`
	From     string   `json:"from"`
	Update   bool     `json:"update_retry_join"`
	New      []Step   `json:"new"`
	Old      []Step   `json:"old"`
	Sizes    []int    `json:"sizes"` // voters before, and after each step
	Sequence []string `json:"sequence"`
	Pauses   []string `json:"pauses"`
	Findings
}

// Verdict is clean, changes or refused. Lists of servers may name one that is gone also where every server is in its place.
func (r *ServerReplacement) Verdict() string {
	return r.verdict(changesAny(r.New, r.Old))
}

// serverReplacer builds a ServerReplacement.
type serverReplacer struct {
	ServerReplacement
	survey  Survey
	options ServerReplaceOptions
	p       planner // judges versions, notes and the inventory as an upgrade does
}

// NewServerReplacement decides what replacing servers comes to. The same survey gives the same answer.
func NewServerReplacement(survey Survey, target Version, options ServerReplaceOptions) ServerReplacement {
	r := &serverReplacer{survey: survey, options: options}
	r.Target, r.From, r.Update = target, options.From, options.Update
	r.New, r.Old, r.Findings, r.Pauses, r.Sequence = []Step{}, []Step{}, noFindings(), []string{}, []string{}
	r.groups()
	for _, host := range sortedHosts(options.New) {
		r.host(host, &r.New, r.newcomer)
	}
	for _, host := range sortedHosts(options.Old) {
		r.host(host, &r.Old, r.leaver)
	}
	r.model()
	r.asUpgrade()
	r.sequence()
	r.Problems, r.Warnings = sorted(r.Problems), sorted(r.Warnings)
	return r.ServerReplacement
}

func (r *serverReplacer) groups() {
	fresh, old := sortedHosts(r.options.New), sortedHosts(r.options.Old)
	switch {
	case len(fresh) == 0:
		r.refuse("", "name the hosts in the inventory's group new_servers", "no new server is named")
	case len(old) == 0:
		r.refuse("", "name the hosts in the inventory's group old_servers", "no old server is named")
	case len(fresh) < len(old):
		r.refuse("", "name as many new servers as old ones, or more", "%d new servers are too few to take the places of %d", len(fresh), len(old))
	}
	for _, host := range fresh {
		if slices.Contains(old, host) {
			r.refuse(host, "leave it in one of them", "it is in new_servers and in old_servers")
		}
	}
}

// host judges one host of the two groups.
func (r *serverReplacer) host(host string, into *[]Step, judge func(HostFacts, *Step)) {
	facts := r.survey.of(host)
	if facts == nil {
		r.unasked(host, into)
		return
	}
	step := Step{Host: host, Role: facts.Role, From: facts.VersionRunning, To: r.Target, Unit: facts.Unit, Datacenter: facts.Datacenter, Leader: facts.Leader, Action: ActionNone}
	if member := r.survey.memberOf(facts); member != nil {
		step.Voter, step.Leader = member.Voter, member.Leader
	}
	judge(*facts, &step)
	*into = append(*into, step)
}

// unasked is a host that could not be asked. An old server that was accepted as dead needs no asking.
func (r *serverReplacer) unasked(host string, into *[]Step) {
	member := r.survey.memberAt(host)
	dead := into == &r.Old && (r.options.Accepted.down(host) || member != nil && r.options.Accepted.down(member.Node, member.name(), member.ID, member.Address))
	if dead {
		step := Step{Host: host, Role: "server", To: r.Target, Action: ActionNone, Reason: "accepted as dead, and not in the raft configuration"}
		if member != nil {
			step.Voter, step.Action, step.Reason = member.Voter, ActionRemove, "accepted as dead: is only taken out of the raft configuration; see that it never starts again"
		}
		*into = append(*into, step)
		return
	}
	failure := r.survey.Unreachable[host]
	remedy := lookRemedy(failure, "")
	if into == &r.Old {
		remedy += ", or name it with --accept-down if it is dead"
	}
	if failure.Text != "" && (into == &r.New || member == nil) { // the others' reasons come with the inventory's
		r.refuse(host, remedy, "nothing is known of it: %s", failure.Text)
	}
}

// lookRemedy is what to do so that a host can be looked at, without the ways on that other commands have.
func lookRemedy(failure LookFailure, otherwise string) string {
	if failure.Remedy == "" || strings.Contains(failure.Remedy, "--limit") {
		return "see that it can be reached, and that it is well" + otherwise
	}
	return failure.Remedy + otherwise
}

// cutOff refuses hosts beside the two groups that could not be asked and are no servers of the cluster, and leaves in the survey the servers.
func (r *serverReplacer) cutOff(survey *Survey) {
	survey.Unreachable = maps.Clone(survey.Unreachable)
	for _, host := range sortedKeys(survey.Unreachable) {
		if survey.memberAt(host) != nil || r.options.Accepted.down(host) {
			continue
		}
		if !slices.Contains(r.options.New, host) && !slices.Contains(r.options.Old, host) { // those of the groups are told of already
			failure := survey.Unreachable[host]
			r.refuse(host, lookRemedy(failure, ", or take it out of the inventory"), "nothing is known of it: %s", failure)
		}
		delete(survey.Unreachable, host)
	}
}

// acceptedDown refuses to take for dead a server that is none, or that lives.
func (r *serverReplacer) acceptedDown() {
	for _, name := range r.options.Down {
		alive := slices.IndexFunc(r.survey.Hosts, func(f HostFacts) bool {
			member := r.survey.named(name)
			return f.Answers && member != nil && f.isMember(*member, r.survey.Addresses[f.Host])
		})
		if alive >= 0 {
			r.refuse("", "take it out of --accept-down", "--accept-down names %s, and %s is alive: it answers", name, r.survey.Hosts[alive].Host)
			continue
		}
		r.p.acceptedDown(r.survey, name, func(string, string, ...any) {})
	}
}

// memberOf finds a host's server in the raft configuration; nil when it is not there.
func (s *Survey) memberOf(facts *HostFacts) *RaftMember {
	for i := range s.Raft.Servers {
		if facts.isMember(s.Raft.Servers[i], s.Addresses[facts.Host]) {
			return &s.Raft.Servers[i]
		}
	}
	return nil
}

// newcomer is a host that becomes a server.
func (r *serverReplacer) newcomer(facts HostFacts, step *Step) {
	switch content := r.options.Occupied[facts.Host]; {
	case facts.Role == "none" && !facts.Running && content != "":
		r.occupied(step, content)
	case facts.Role == "none" && !facts.Running:
		step.Action, step.Reason = ActionInstall, "has no Nomad yet"
	case facts.Running && facts.Client && !facts.Server:
		r.refuseStep(step, "take it out of new_servers", "this host is a client")
	case facts.Running && r.foreign(facts):
		r.refuseStep(step, "take it out of new_servers, or stop it and move its data directory away", "a server of another cluster runs here")
	case facts.Running && !facts.VersionRunning.Same(r.Target):
		r.refuseStep(step, "take it out of new_servers, or say --to "+facts.VersionRunning.String(), "it runs Nomad %s already", facts.VersionRunning)
	case facts.Running && step.Voter:
		step.Reason = "is a voter with " + r.Target.String() + " already"
	case facts.Running:
		step.Action, step.Reason = ActionStart, "runs and has no vote yet"
	case facts.VersionDisk.Same(r.Target):
		step.Action, step.Reason = ActionStart, "is installed and does not run"
	case r.survey.memberOf(&facts) != nil: // its data directory is not to be removed
		r.refuseStep(step, "take it out of new_servers: drover upgrade brings it to another version", "a server of this cluster with version %s is installed here, and does not run", facts.VersionDisk)
	default:
		r.refuseStep(step, "remove the unit and the data directory, or take it out of new_servers", "an agent of version %s is installed here", facts.VersionDisk)
	}
}

// foreign tells whether a server that runs knows a raft configuration that shares nobody with this cluster's.
func (r *serverReplacer) foreign(facts HostFacts) bool {
	return len(facts.RaftServers) > 0 && len(r.survey.Raft.Servers) > 0 && !shareServer(facts.RaftServers, r.survey.Raft.Plain())
}

// leaver is a server that is given up.
func (r *serverReplacer) leaver(facts HostFacts, step *Step) {
	member := r.survey.memberOf(&facts) != nil
	switch {
	case facts.Client && !facts.Server:
		r.refuseStep(step, "take it out of old_servers", "this host is a client")
	case facts.Server && facts.Client && facts.Running:
		r.refuseStep(step, "drain it, take client { enabled = true } out of its configuration and restart it first", "this server is a client too, whose allocations would lose their agent")
	case facts.Running && r.foreign(facts):
		r.refuseStep(step, "take it out of old_servers", "this server is of another cluster")
	case !member && !facts.Running && facts.Role == "none":
		r.refuseStep(step, "take it out of old_servers", "there is no Nomad server: %s", facts.Problem)
	case facts.Running && !facts.Answers && !facts.CrashLooping:
		r.refuseStep(step, "check its log, or stop it by hand", "its agent runs and does not answer: %s", facts.Problem)
	case !member && facts.Running && len(facts.RaftServers) == 0:
		r.refuseStep(step, "take it out of old_servers", "this server is in no raft configuration, so that nothing shows that it is of this cluster")
	case !member && facts.Running:
		step.Action, step.Reason = ActionRemove, "is out of the raft configuration already, and is stopped and disabled"
	case member && !facts.Running:
		step.Action, step.Reason = ActionRemove, "does not run; is taken out of the raft configuration, and its unit disabled"
	case member:
		step.Action, step.Reason = ActionRemove, "runs "+facts.VersionRunning.String()+"; is taken out of the raft configuration, stopped and disabled"
	default:
		step.Reason = "is gone already"
	}
}

// model looks for the host whose configuration new servers get.
func (r *serverReplacer) model() {
	if r.options.From == "" {
		return
	}
	if facts := r.survey.of(r.options.From); facts == nil || !facts.Server {
		r.refuse(r.options.From, "name a server with --from, or files with --config", "it is to be the model for new servers, and no server is known there")
	}
}

// asUpgrade judges what an upgrade to the version judges, too: versions, the notes on them, and whether the inventory has the whole cluster.
func (r *serverReplacer) asUpgrade() {
	survey := r.survey
	survey.Hosts = slices.DeleteFunc(slices.Clone(survey.Hosts), func(f HostFacts) bool {
		ours := slices.Contains(r.options.New, f.Host) || slices.Contains(r.options.Old, f.Host)
		return ours && r.survey.memberOf(&f) == nil && !(f.Running && r.foreign(f))
	})
	options := r.options.Options
	options.Servers = true
	r.p = planner{plan: emptyPlan(r.Target, survey.Further), target: r.Target, options: options, clusters: survey.clusters()}
	for _, facts := range survey.Hosts {
		if !facts.Server {
			continue
		}
		version := facts.VersionRunning
		if !facts.Running {
			version = facts.VersionDisk
		}
		step := Step{Host: facts.Host, Role: "server", Action: ActionNone, From: version, To: r.Target}
		if slices.Contains(r.options.Old, facts.Host) && !version.Same(r.Target) {
			step.Action = ActionUpgrade
		}
		r.p.plan.Steps = append(r.p.plan.Steps, step)
		for _, problem := range slices.Concat(versionProblems(version, r.Target, options.VersionOptions), r.protocol(facts)) {
			problem.Host = facts.Host
			r.Problems = append(r.Problems, problem)
		}
	}
	r.ofRelease(r.Target, r.New)
	r.cutOff(&survey)
	r.acceptedDown()
	r.p.unreachable(survey)
	r.p.inventory(survey)
	r.p.oldClients(survey)
	r.p.notes(survey)
	r.Problems, r.Warnings = append(r.Problems, r.p.plan.Problems...), append(r.Warnings, r.p.plan.Warnings...)
	r.quorum(survey)
}

func (r *serverReplacer) protocol(facts HostFacts) []Problem {
	if facts.RaftProtocol == 0 || facts.RaftProtocol >= 3 {
		return nil
	}
	return []Problem{{
		Text:   fmt.Sprintf("uses raft protocol %d, with which members are known by their addresses and come and go by other rules", facts.RaftProtocol),
		Remedy: "migrate first: drover raft-v3",
	}}
}

// quorum refuses a cluster that cannot change its members.
func (r *serverReplacer) quorum(survey Survey) {
	led := slices.ContainsFunc(survey.Hosts, func(f HostFacts) bool { return f.Server && f.Leader && f.Answers })
	if !led {
		r.refuse("", "repair the cluster first: drover health shows what is wrong", "no server says that it leads, and without a leader no server can come or go")
		return
	}
	voters, answering := 0, 0
	var silent []string
	for _, member := range survey.Raft.Servers {
		if !member.Voter {
			continue
		}
		voters++
		if slices.ContainsFunc(survey.Hosts, func(f HostFacts) bool { return f.Answers && f.isMember(member, survey.Addresses[f.Host]) }) {
			answering++
			continue
		}
		silent = append(silent, member.name())
		if !r.options.Accepted.down(member.name(), member.Node, member.ID, member.Address) && !r.isOld(member) {
			r.refuse("", "repair it, or name it with --accept-down "+member.name()+" if it is dead", "the voter %s does not answer", member.name())
		}
	}
	if answering < voters/2+1 {
		r.refuse("", "repair the servers that do not answer first", "%d of %d voters answer, and the cluster needs %d: %s", answering, voters, voters/2+1, someHosts(silent))
	}
}

func (r *serverReplacer) isOld(member RaftMember) bool {
	return slices.ContainsFunc(r.Old, func(s Step) bool {
		facts := r.survey.of(s.Host)
		return s.Action == ActionRemove && (facts == nil && member.isHost(s.Host, r.survey.Addresses[s.Host]) || facts != nil && facts.isMember(member, r.survey.Addresses[s.Host]))
	})
}
