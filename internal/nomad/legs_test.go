// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func versions(texts ...string) []Version {
	var all []Version
	for _, text := range texts {
		all = append(all, version(text))
	}
	return all
}

func versionTexts(all []Version) []string {
	var texts []string
	for _, v := range all {
		texts = append(texts, v.String())
	}
	return texts
}

func TestPath(t *testing.T) {
	every := versions("1.3.16", "1.4.0", "1.4.14", "1.5.17", "1.6.10", "1.7.7", "1.8.4", "1.9.2", "1.9.7", "1.10.4", "1.10.5", "1.11.0", "2.0.5", "1.8.18+ent", "1.10.9+ent")
	tests := []struct {
		name, from, to string
		given, hand    []Version
		options        VersionOptions
		want           []string
		missing        string
	}{
		{name: "two minors are one step", from: "1.9.7", to: "1.11.0", hand: every, want: []string{"1.11.0"}},
		{name: "1.11 was followed by 2.0", from: "1.10.5", to: "2.0.5", hand: every, want: []string{"2.0.5"}},
		{name: "the whole way", from: "1.2.6", to: "2.0.5", hand: every, want: []string{"1.4.14", "1.6.10", "1.8.4", "1.10.5", "2.0.5"}},
		{name: "1.11 is stepped over from 1.9", from: "1.9.7", to: "2.0.5", hand: every, want: []string{"1.10.5", "2.0.5"}},
		{name: "from an odd one to the long-term ones", from: "1.3.16", to: "1.10.5", hand: every, want: []string{"1.4.14", "1.6.10", "1.8.4", "1.10.5"}},
		{name: "the newest patch at hand", from: "1.8.4", to: "2.0.5", hand: versions("1.10.3", "1.10.5", "1.10.4"), want: []string{"1.10.5", "2.0.5"}},
		{name: "a pre-release is none to stop at", from: "1.8.4", to: "2.0.5", hand: versions("1.10.0-rc.1"), want: []string{"2.0.5"}, missing: "1.10"},
		{name: "a bad release is none to stop at", from: "1.2.6", to: "1.6.10", hand: versions("1.4.0"), want: []string{"1.6.10"}, missing: "1.4 (not 1.4.0)"},
		{name: "a doubtful one where there is no better", from: "1.2.6", to: "1.6.10", hand: versions("1.4.5"), want: []string{"1.4.5", "1.6.10"}},
		{name: "a doubtful one is passed over", from: "1.2.6", to: "1.6.10", hand: versions("1.4.4", "1.4.5"), want: []string{"1.4.4", "1.6.10"}},
		{name: "what is missing is named", from: "1.2.6", to: "1.10.5", hand: versions("1.4.14"), want: []string{"1.10.5"}, missing: "1.6, 1.8"},
		{name: "odd ones, where these are at hand", from: "1.5.17", to: "1.11.0", hand: versions("1.7.7", "1.9.7"), want: []string{"1.7.7", "1.9.7", "1.11.0"}},
		{name: "another edition is not at hand", from: "1.6.10", to: "1.10.9+ent", hand: versions("1.8.4"), want: []string{"1.10.9+ent"}, missing: "1.8"},
		{name: "the same edition is", from: "1.6.10+ent", to: "1.10.9+ent", hand: every, want: []string{"1.8.18+ent", "1.10.9+ent"}},
		{name: "the user's way", from: "1.2.6", to: "1.11.0", given: versions("1.10.5"), hand: every, options: VersionOptions{AllowUnsupportedSkip: true}, want: []string{"1.10.5", "1.11.0"}},
		{name: "a stop that is behind all", from: "1.10.5", to: "1.11.0", given: versions("1.10.5"), want: []string{"1.11.0"}},
		{name: "nothing leads to a version that nobody knows", from: "1.10.5", to: "99.99.99", hand: every, want: []string{"99.99.99"}},
		{name: "straight, where that is accepted", from: "1.2.6", to: "1.11.0", hand: every, options: VersionOptions{AllowUnsupportedSkip: true}, want: []string{"1.11.0"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path, missing := Path(version(test.from), version(test.to), test.given, test.hand, test.options)
			if diff := cmp.Diff(test.want, versionTexts(path)); diff != "" || missing != test.missing {
				t.Errorf("missing %q, path (-want +got):\n%s", missing, diff)
			}
		})
	}
	if path, _ := Path(Version{}, version("1.11.0"), nil, every, VersionOptions{}); len(path) != 1 {
		t.Errorf("with nothing to upgrade the path is %v", versionTexts(path))
	}
}

// Every chosen path is of supported steps.
func TestPathHasNoLongStep(t *testing.T) {
	for minor := range 10 {
		from := version(fmt.Sprintf("1.%d.3", minor))
		path, missing := Path(from, version("2.0.5"), nil, LastPatches(), VersionOptions{})
		if missing != "" && minor > 1 {
			t.Errorf("from %s: %s is missing", from, missing)
		}
		for at := from; missing == "" && len(path) > 0; at, path = path[0], path[1:] {
			if unsupportedSkip(at, path[0]) {
				t.Errorf("from %s: %s to %s", from, at, path[0])
			}
		}
	}
}

func TestCheckStops(t *testing.T) {
	for name, test := range map[string]struct {
		stops []Version
		want  string
	}{
		"upwards":         {versions("1.8.4", "1.10.5"), ""},
		"none":            {nil, ""},
		"downwards":       {versions("1.10.5", "1.8.4"), "have to go up"},
		"the target":      {versions("1.11.0"), "no stop on the way"},
		"another edition": {versions("1.10.5+ent"), "enterprise edition"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckStops(test.stops, version("1.11.0"))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// twoRegions is a survey of a federation: east names west as authoritative.
func twoRegions() Survey {
	whole := survey()
	whole.Raft = RaftConfiguration{}
	for i := range whole.Hosts {
		whole.Hosts[i].Region = "west"
	}
	for _, facts := range survey().Hosts {
		facts.Host, facts.Region, facts.AuthoritativeRegion = "e-"+facts.Host, "east", "west"
		if facts.Server {
			facts.ServerID, facts.RPC = "e-"+facts.ServerID, "e-"+facts.RPC
		}
		for i := range facts.RaftServers {
			facts.RaftServers = append([]RaftServer{}, facts.RaftServers...)
			facts.RaftServers[i].ID, facts.RaftServers[i].Address = "e-"+facts.RaftServers[i].ID, "e-"+facts.RaftServers[i].Address
		}
		whole.Hosts = append(whole.Hosts, facts)
	}
	return whole
}

// asked adds what the cluster of each part says.
func asked(parts []Survey) []Survey {
	for i := range parts {
		parts[i].Federated = []string{"east", "west"}
		for _, facts := range parts[i].Hosts {
			if facts.Leader {
				for n, server := range facts.RaftServers {
					parts[i].Raft.Servers = append(parts[i].Raft.Servers, RaftMember{RaftServer: server, Node: fmt.Sprintf("s%d.%s", n+1, facts.Region), Leader: n == 2, Protocol: 3})
				}
			}
		}
	}
	return parts
}

func TestJourneyGoesRegionByRegion(t *testing.T) {
	parts := asked(twoRegions().Regions())
	plan := NewJourney(parts, versions("1.11.0"), Options{})
	if plan.Verdict() != VerdictChanges {
		t.Fatalf("%s: %s", plan.Verdict(), Words(plan.Problems))
	}
	var got []string
	for _, leg := range plan.Legs {
		got = append(got, leg.Title()+": "+strings.Join(leg.Hosts, " ")+"; not "+strings.Join(leg.Elsewhere, " "))
	}
	want := []string{
		"to 1.11.0, region west: s1 s2 s3 c1 c2; not e-c1 e-c2 e-s1 e-s2 e-s3",
		"to 1.11.0, region east: e-s1 e-s2 e-s3 e-c1 e-c2; not c1 c2 s1 s2 s3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	page := plan.Page()
	if !strings.Contains(page, "Upgrade to Nomad 1.11.0, in 2 legs") || strings.Index(page, "region west") > strings.Index(page, "region east") {
		t.Error(page)
	}
	for _, line := range strings.Split(page, "\n") {
		if len(line) > pageWidth {
			t.Errorf("a line is too long: %s", line)
		}
	}
	again, _ := json.Marshal(NewJourney(asked(twoRegions().Regions()), versions("1.11.0"), Options{}))
	if first, _ := json.Marshal(plan); string(first) != string(again) {
		t.Error("two plans of one survey differ")
	}
}

// What a run that was killed has left on a server that is done otherwise makes its leg one to be run, and stops no server for it.
func TestJourneyClosesWhatAnEarlierRunLeft(t *testing.T) {
	done := twoRegions()
	for i := range done.Hosts {
		done.Hosts[i].VersionRunning, done.Hosts[i].VersionDisk = version("1.11.0"), version("1.11.0")
		if done.Hosts[i].Host == "e-s1" {
			done.Hosts[i].Unfinished = "the swap to 1.11.0 of an earlier run (done)"
		}
	}
	plan := NewJourney(asked(done.Regions()), versions("1.11.0"), Options{})
	var verdicts []string
	for _, leg := range plan.Legs {
		verdicts = append(verdicts, leg.Region+" "+leg.Plan.Verdict())
	}
	if diff := cmp.Diff([]string{"west " + VerdictClean, "east " + VerdictChanges}, verdicts); diff != "" || plan.Verdict() != VerdictChanges {
		t.Fatalf("verdict %s: %s\n%s", plan.Verdict(), Words(plan.Problems), diff)
	}
	page := plan.Page()
	if strings.Count(page, "closes the swap to 1.11.0 of an earlier run") != 1 || strings.Count(page, "There is nothing to do in it") != 1 || len(plan.Pauses) > 0 {
		t.Errorf("pauses %v\n%s", plan.Pauses, page)
	}
	if !strings.Contains(page, "1. e-s1") {
		t.Error(page)
	}
}

// Each region has a quorum of its own, and one that cannot spare a server is refused by name.
func TestJourneyCountsVotersPerRegion(t *testing.T) {
	whole := twoRegions()
	for i := range whole.Hosts {
		if whole.Hosts[i].Host == "e-s1" {
			whole.Hosts[i].Answers, whole.Hosts[i].Problem = false, "connection refused"
		}
	}
	for _, test := range []struct {
		name string
		down []string
		want []string
	}{
		{"one region cannot", nil, []string{"region east: stopping one more server would leave 1 of 3 voters"}},
		{"a name that no region has", []string{"nobody"}, []string{"region west: --accept-down names nobody"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan := NewJourney(asked(whole.Regions()), versions("1.11.0"), Options{Accepted: Accepted{Down: test.down}})
			words := Words(plan.Problems)
			for _, want := range test.want {
				if strings.Count(words, want) != 1 {
					t.Errorf("no %q in %s", want, words)
				}
			}
			if strings.Contains(words, "region west: stopping") {
				t.Error(words)
			}
		})
	}
}

func TestUnreachableHostsGoToTheRegionThatKnowsThem(t *testing.T) {
	whole := twoRegions()
	whole.Unreachable = map[string]LookFailure{"e-s1": noSSH(), "e-c9": noSSH(), "x": noSSH()}
	for i, facts := range whole.Hosts {
		if facts.Host == "e-s1" {
			whole.Hosts = append(whole.Hosts[:i], whole.Hosts[i+1:]...)
			break
		}
	}
	parts := asked(whole.Regions())
	parts[1].Raft.Servers[0].Node = "e-s1.east"
	parts[1].Nodes = []NodeSummary{{Name: "e-c9"}}
	Assign(parts)
	if diff := cmp.Diff([][]string{{"x"}, {"e-c9", "e-s1"}}, [][]string{sortedKeys(parts[0].Unreachable), sortedKeys(parts[1].Unreachable)}); diff != "" {
		t.Error(diff)
	}
}

func TestRegionsThatAreNotFederatedAreRefused(t *testing.T) {
	parts := asked(twoRegions().Regions())
	parts[1].Federated = []string{"east"}
	if words := Words(NewJourney(parts, versions("1.11.0"), Options{}).Problems); !strings.Contains(words, "region west and region east are not federated") {
		t.Error(words)
	}
}

func TestRegionsOrder(t *testing.T) {
	for name, test := range map[string]struct {
		named map[string]string // region: what its server names
		want  []string
		warn  string
	}{
		"by name":               {map[string]string{"b": "", "a": ""}, []string{"a", "b"}, "no server names an authoritative region"},
		"the authoritative one": {map[string]string{"a": "c", "b": "c", "c": "c"}, []string{"c", "a", "b"}, ""},
		"it is elsewhere":       {map[string]string{"a": "z", "b": "z"}, []string{"a", "b"}, "the authoritative region z is not in this inventory"},
		"they disagree":         {map[string]string{"a": "b", "b": "c", "c": "c"}, []string{"b", "c", "a"}, "different authoritative regions (b, c)"},
	} {
		t.Run(name, func(t *testing.T) {
			var whole Survey
			for _, region := range []string{"c", "b", "a"} {
				if names, there := test.named[region]; there {
					whole.Hosts = append(whole.Hosts, HostFacts{Host: region, Region: region, Server: true, Answers: true, AuthoritativeRegion: names})
				}
			}
			var got []string
			parts := whole.Regions()
			for _, part := range parts {
				got = append(got, part.Region)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if _, warnings := federation(parts); Words(warnings) != "" != (test.warn != "") || !strings.Contains(Words(warnings), test.warn) {
				t.Errorf("%q", Words(warnings))
			}
		})
	}
}

// The legs after the first wait for a survey of their own, and an agent that is past a stop is left alone.
func TestJourneyOverStops(t *testing.T) {
	s := survey()
	for i := range s.Hosts {
		s.Hosts[i].VersionRunning, s.Hosts[i].VersionDisk = version("1.2.6"), version("1.2.6")
	}
	s.Hosts[3].VersionRunning, s.Hosts[3].VersionDisk = version("1.6.10"), version("1.6.10")
	path, _ := Path(Oldest([]Survey{s}, version("1.8.4"), Options{}), version("1.8.4"), nil, LastPatches(), VersionOptions{})
	plan := NewJourney([]Survey{s}, path, Options{})
	if plan.Verdict() != VerdictChanges {
		t.Fatalf("%s: %s", plan.Verdict(), Words(plan.Problems))
	}
	var got []string
	for _, leg := range plan.Legs {
		got = append(got, fmt.Sprintf("%s %t %s", leg.Title(), leg.Plan != nil, leg.Why))
	}
	want := []string{"to 1.4.14 true needs raft protocol 3 on all servers", "to 1.6.10 false ", "to 1.8.4 false "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"s1", "s2", "s3", "c1"}, plan.Legs[0].Hosts); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(plan.Page(), "c2: runs 1.6.10 already, past this stop") {
		t.Error(plan.Page())
	}
	far := NewJourney([]Survey{s}, versions("1.4.14", "1.8.4"), Options{})
	if !strings.Contains(Words(far.Problems), "1.4.14 to 1.8.4 spans 4 minor versions") {
		t.Error(Words(far.Problems))
	}
}

// One region and one version make the plan that there was before there were legs.
// Where the way ends at a bad release is told before its first leg is begun.
func TestJourneyToABadRelease(t *testing.T) {
	s := survey()
	for i := range s.Hosts {
		s.Hosts[i].VersionRunning, s.Hosts[i].VersionDisk = version("1.6.10"), version("1.6.10")
	}
	for target, want := range map[string]string{"1.9.2": VerdictRefused, "1.9.3": VerdictChanges} {
		plan := NewJourney([]Survey{s}, versions("1.8.4", target), Options{})
		if plan.Verdict() != want || strings.Contains(Words(plan.Problems), target+" is a bad release") != (want == VerdictRefused) {
			t.Errorf("%s: verdict %s: %s", target, plan.Verdict(), Words(plan.Problems))
		}
	}
}

func TestJourneyOfOneLegIsAPlan(t *testing.T) {
	one, _ := json.Marshal(NewJourney(survey().Regions(), versions("1.11.0"), Options{}))
	if plan, _ := json.Marshal(NewPlan(survey(), version("1.11.0"), Options{})); string(plan) != string(one) || strings.Contains(string(one), "legs") {
		t.Error(string(one))
	}
}

// Of equal versions the edition tells who has yet to be brought over.
func TestLeadershipStaysWithTheOldEdition(t *testing.T) {
	states := []ServerState{{Host: "a", Version: version("1.11.0+ent"), Voter: true, Protocol: 3}, {Host: "b", Version: version("1.11.0"), Voter: true, Protocol: 3}, {Host: "c", Version: version("1.11.0"), Voter: true, Leader: true, Protocol: 3}}
	if move, due := Leadership(states, version("1.11.0+ent"), "c"); !due || move.To.Host != "b" {
		t.Errorf("%v %+v", due, move)
	}
}
