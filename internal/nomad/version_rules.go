// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strings"
)

// versionProblems says why one agent must not go from a version to another.
func versionProblems(from, to Version, options VersionOptions) []Problem {
	if !to.Known() {
		return []Problem{{Text: "the version to upgrade to is not known"}}
	}
	if !from.Known() {
		return nil
	}
	if from.Compare(to) > 0 {
		return []Problem{{
			Text:   fmt.Sprintf("runs %s, which is newer than %s, and Nomad does not support downgrades", from, to),
			Remedy: "upgrade to a version that no agent has passed",
		}}
	}
	var problems []Problem
	switch skip := unsupportedSkip(from, to) && !options.AllowUnsupportedSkip; {
	case skip && to.invented():
		problems = append(problems, Problem{
			Text:   fmt.Sprintf("no version like %s is known: drover knows of minor versions up to 1.11, and from 2.0 on", to),
			Remedy: "name a release of Nomad with --to",
		})
	case skip:
		problems = append(problems, Problem{
			Text:   fmt.Sprintf("%s to %s spans %d minor versions, and at most %d are supported", from, to, to.minor()-from.minor(), maximumSkip),
			Remedy: "upgrade to " + stops(from, to) + " first, or accept the risk with --allow-unsupported-skip",
		})
	}
	if from.Edition() != to.Edition() && !(options.ToEnterprise && to.Edition() != "") {
		problems = append(problems, Problem{
			Text:   fmt.Sprintf("runs the %s and the new binary is the %s", edition(from), edition(to)),
			Remedy: "use a binary of the same edition: its version is written like " + sameEdition(from, to),
		})
	}
	return problems
}

// turnsAway tells whether servers of a version refuse clients of another (Nomad 1.9 upgrade notes).
func turnsAway(server, client Version) bool {
	return server.AtLeast("1.9.0") && client.Known() && !client.AtLeast("1.6.0")
}

// unsupportedSkip tells whether an upgrade spans more minor versions than the vendor supports.
func unsupportedSkip(from, to Version) bool {
	return from.Known() && to.Known() && to.minor()-from.minor() > maximumSkip
}

// stops names the versions between two at which an upgrade has to stop over, each within reach of the one before.
func stops(from, to Version) string {
	var names []string
	for minor := from.minor() + 1; minor < to.minor(); minor++ {
		if minor%2 != 0 || minor < 0 {
			continue
		}
		names = append(names, minorName(minor))
	}
	if len(names) == 1 {
		return "the latest " + names[0]
	}
	return "the latest of " + strings.Join(names[:len(names)-1], ", then ") + ", then " + names[len(names)-1]
}

func edition(v Version) string {
	if v.Edition() == "" {
		return "community edition"
	}
	return "enterprise edition (" + v.Edition() + ")"
}

func sameEdition(from, to Version) string {
	text, _, _ := strings.Cut(to.String(), "+")
	if from.Edition() != "" {
		text += "+" + from.Edition()
	}
	return text
}

// raftProblems says why a server's raft protocol forbids a version. Nomad 1.4 starts with protocol 3 only, and from 1.3 on 3 is the
// default, so that installing it where the configuration says nothing is a migration of its own.
func raftProblems(facts HostFacts, to Version) []Problem {
	const remedy = "migrate first, on the version that runs now: drover raft-v3; then upgrade"
	switch old := facts.Server && facts.RaftProtocol > 0 && facts.RaftProtocol < 3; {
	case old && to.AtLeast("1.4.0"):
		return []Problem{{
			Text:   fmt.Sprintf("uses raft protocol %d, and Nomad 1.4 and later start with protocol 3 only", facts.RaftProtocol),
			Remedy: remedy,
		}}
	case old && to.AtLeast("1.3.0") && facts.RaftProtocolSet == 0:
		return []Problem{{
			Text:   fmt.Sprintf("uses raft protocol %d because its configuration names none, and Nomad 1.3 and later take 3 then: that is a migration of its own, after which a server may find no leader", facts.RaftProtocol),
			Remedy: remedy,
		}}
	}
	return nil
}

// badRelease is a release that must not, or should not, be installed.
type badRelease struct {
	text   string
	next   string // the release that repairs it
	refuse bool
}

// badReleases are those of Nomad's upgrade notes and changelog.
func badReleases() map[string]badRelease {
	const pause = "its clients may remove the pause containers of running Docker tasks, which lose their network"
	return map[string]badRelease{
		"1.3.10": {pause, "1.3.11", false},
		"1.4.0":  {"older servers panic when a server of it becomes leader", "1.4.1", true},
		"1.4.5":  {pause, "1.4.6", false},
		"1.5.0":  {pause, "1.5.1", false},
		"1.5.4":  {"it may stop collecting the logs of tasks", "1.5.5", false},
		"1.7.0":  {"it fails to replicate the keyring, and misjudges the CPUs of clients", "1.7.2", true},
		"1.7.1":  {"it fails to replicate the keyring, and misjudges the CPUs of clients", "1.7.2", true},
		"1.9.2":  {"it can lose the whole state of the cluster, and was withdrawn", "1.9.3", true},
	}
}

// release judges the target itself, where anything is to be brought to it.
func (p *planner) release() {
	if !p.target.Known() || !p.wants() {
		return
	}
	refused, warned := releaseProblems(p.target)
	p.plan.Problems, p.plan.Warnings = append(p.plan.Problems, refused...), append(p.plan.Warnings, warned...)
}

// releaseProblems say what is wrong with a release itself: that it must not be installed, or only that it has a known fault.
func releaseProblems(target Version) (refused, warned []Problem) {
	if !target.Known() {
		return nil, nil
	}
	core := target.parsed.Core().String()
	bad, found := badReleases()[core]
	switch {
	case !found:
	case bad.refuse:
		refused = []Problem{{Text: fmt.Sprintf("%s is a bad release: %s", core, bad.text), Remedy: "use " + bad.next + " or a later patch release"}}
	default:
		warned = []Problem{{Text: fmt.Sprintf("%s has a known fault: %s; %s repairs it", core, bad.text, bad.next)}}
	}
	return refused, warned
}

// wants tells whether anything would be upgraded if nothing were refused.
func (p *planner) wants() bool {
	for _, step := range p.plan.Steps {
		if step.Action != ActionNone {
			return true
		}
	}
	return false
}
