// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Regions cuts a survey of hosts by their regions, in the order in which regions are upgraded: the authoritative one first, the others by
// name. The parts hold hosts only; each has a raft cluster of its own, which is to be asked for itself. Hosts without an agent go with the first.
func (s Survey) Regions() []Survey {
	byRegion := map[string][]HostFacts{}
	var nowhere []HostFacts
	for _, facts := range s.Hosts {
		if facts.Region == "" {
			nowhere = append(nowhere, facts)
			continue
		}
		byRegion[facts.Region] = append(byRegion[facts.Region], facts)
	}
	order := regionOrder(byRegion)
	if len(order) < 2 {
		return []Survey{s}
	}
	parts := make([]Survey, len(order))
	for i, region := range order {
		parts[i] = Survey{Region: region, Hosts: byRegion[region], Unreachable: maps.Clone(s.Unreachable), Addresses: s.Addresses}
	}
	parts[0].Hosts = append(parts[0].Hosts, nowhere...)
	return parts
}

// regionOrder puts those first that servers name as authoritative, then goes by name.
func regionOrder(byRegion map[string][]HostFacts) []string {
	named := map[string]bool{}
	for _, hosts := range byRegion {
		for _, facts := range hosts {
			if facts.Server && facts.AuthoritativeRegion != "" {
				named[facts.AuthoritativeRegion] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(byRegion), func(a, b string) int {
		switch {
		case named[a] && !named[b]:
			return -1
		case named[b] && !named[a]:
			return 1
		}
		return strings.Compare(a, b)
	})
}

// authoritative are the regions that servers name as authoritative, by name.
func authoritative(surveys []Survey) []string {
	named := map[string]bool{}
	for _, survey := range surveys {
		for _, facts := range survey.Hosts {
			if facts.Server && facts.Answers && facts.AuthoritativeRegion != "" {
				named[facts.AuthoritativeRegion] = true
			}
		}
	}
	return sortedKeys(named)
}

// Assign gives each unreachable host to the region whose servers know it, else to the first. The parts have been asked.
func Assign(parts []Survey) {
	for _, host := range sortedKeys(parts[0].Unreachable) {
		owner := max(0, slices.IndexFunc(parts, func(s Survey) bool { return s.memberAt(host) != nil || s.isClient(host) }))
		for i := range parts {
			if i != owner {
				delete(parts[i].Unreachable, host)
			}
		}
	}
}

// downIn are those of the names of dead servers that a region is to hear of: its own, and the first also those that nobody knows.
func downIn(surveys []Survey, at int, names []string) []string {
	var ours []string
	for _, name := range names {
		owner := max(0, slices.IndexFunc(surveys, func(s Survey) bool { return slices.Contains(s.serverNames(), name) }))
		if owner == at {
			ours = append(ours, name)
		}
	}
	return ours
}

// serverNames are all names by which a server of the survey may be called dead.
func (s *Survey) serverNames() []string {
	names := sortedKeys(s.Unreachable)
	for _, member := range s.Raft.Servers {
		names = append(names, member.name(), member.Node, member.ID, member.Address)
	}
	for _, facts := range s.Hosts {
		if facts.Server {
			names = append(names, facts.Host, facts.NodeName)
		}
	}
	return names
}

// federation is what is wrong, or worth knowing, about the regions as a whole.
func federation(surveys []Survey) (problems, warnings []Problem) {
	var present []string
	for _, survey := range surveys {
		present = append(present, survey.Region)
	}
	first := surveys[0].Region
	for _, survey := range surveys[1:] {
		if len(survey.Federated) > 0 && !slices.Contains(survey.Federated, first) {
			problems = append(problems, Problem{
				Text:   fmt.Sprintf("the inventory holds 2 clusters: region %s and region %s are not federated, since the servers of %s know only of %s", first, survey.Region, survey.Region, strings.Join(survey.Federated, ", ")),
				Remedy: "give each cluster an inventory of its own",
			})
		}
	}
	switch named := authoritative(surveys); {
	case len(named) == 0:
		warnings = append(warnings, Problem{Text: "no server names an authoritative region (server.authoritative_region), so that the regions go by name"})
	case len(named) > 1:
		warnings = append(warnings, Problem{Text: "servers name different authoritative regions (" + strings.Join(named, ", ") + "); these go first, by name"})
	case !slices.Contains(present, named[0]):
		warnings = append(warnings, Problem{Text: "the authoritative region " + named[0] + " is not in this inventory: Nomad wants its servers upgraded before those of other regions"})
	}
	return problems, warnings
}
