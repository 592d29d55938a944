// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// raftClusterOf are n servers of protocol 2, of which the first leads.
func raftClusterOf(t *testing.T, n int) []RaftEvidence {
	t.Helper()
	one := raftServerOf(t)
	var all []RaftEvidence
	var raft []RaftServer
	for i := range n {
		address := strings.Replace(raftAddress, ".1:", "."+string(rune('1'+i))+":", 1)
		raft = append(raft, RaftServer{address, address, true})
	}
	for i := range n {
		e := one
		e.Facts.Host, e.Facts.Leader = "s"+string(rune('1'+i)), i == 0
		e.Address, e.Facts.RPC, e.Facts.RaftServers = raft[i].Address, raft[i].Address, raft
		e.NodeID = strings.Replace(raftID, "9", string(rune('1'+i)), 1)
		e.Facts.ServerID = e.NodeID
		all = append(all, e)
	}
	return all
}

func TestRaftPlanMode(t *testing.T) {
	of := func(n int) []RaftEvidence { return raftClusterOf(t, n) }
	if p := NewRaftPlan(Survey{}, of(1), RaftOptions{}); p.Mode != RaftModeSingle || p.Verdict() != VerdictChanges {
		t.Errorf("one: %+v", p)
	}
	if p := NewRaftPlan(Survey{}, of(2), RaftOptions{}); p.Verdict() != VerdictRefused || !strings.Contains(Words(p.Problems), "two servers") {
		t.Errorf("two: %+v", p)
	}
	two := of(2)
	for i := range two {
		f := &two[i].Facts
		f.RaftProtocol, two[i].Edits, two[i].Protocols = 3, nil, nil
		f.RaftServers = []RaftServer{{two[0].NodeID, two[0].Address, true}, {two[1].NodeID, two[1].Address, true}}
	}
	if p := NewRaftPlan(Survey{}, two, RaftOptions{}); p.Verdict() != VerdictClean || len(p.Steps) != 2 {
		t.Errorf("two that are done: %s %s", p.Verdict(), Words(p.Problems))
	}
	p := NewRaftPlan(Survey{}, of(3), RaftOptions{})
	var order []string
	for _, step := range p.Steps {
		order = append(order, step.Host)
	}
	if diff := cmp.Diff([]string{"s2", "s3", "s1"}, order); diff != "" || p.Mode != RaftModeRolling || p.Verdict() != VerdictChanges {
		t.Errorf("three: %s %s", diff, Words(p.Problems))
	}
	if p := NewRaftPlan(Survey{}, of(3)[:2], RaftOptions{}); p.Verdict() != VerdictRefused || !strings.Contains(Words(p.Problems), "no host of the inventory") {
		t.Errorf("two of three: %s", Words(p.Problems))
	}
	if p := NewRaftPlan(Survey{}, of(3), RaftOptions{Target: raftVersionOf(t, "1.4.1")}); p.Verdict() != VerdictRefused {
		t.Errorf("three with a version: %+v", p)
	}
	// Half done: s2 is stopped, and raft has let it go.
	half := of(3)
	silent(&half[1])
	whole := half[0].Facts.RaftServers
	for _, i := range []int{0, 2} {
		half[i].Facts.RaftServers = []RaftServer{whole[0], whole[2]}
	}
	if p := NewRaftPlan(Survey{}, half, RaftOptions{}); p.Mode != RaftModeRolling || p.Verdict() != VerdictChanges || p.Steps[0].Host != "s2" {
		t.Errorf("half done: %+v", p)
	}
}

func TestRaftPlanWithADeadServer(t *testing.T) {
	unreachable := func(host, address string) Survey {
		return Survey{Unreachable: map[string]LookFailure{host: {Kind: LookUnreachable, Text: "no route"}}, Addresses: map[string]string{host: address}}
	}
	for name, test := range map[string]struct {
		servers int
		survey  Survey
		down    []string
		want    string // "": it is planned
	}{
		"one of five, not accepted":           {5, unreachable("s5", "10.0.0.5"), nil, "--accept-down s5"},
		"one of five, accepted":               {5, unreachable("s5", "10.0.0.5"), []string{"s5"}, ""},
		"one of five, accepted by address":    {5, Survey{}, []string{"10.0.0.5:4647"}, ""},
		"another is accepted":                 {5, unreachable("s5", "10.0.0.5"), []string{"s4"}, "s5: cannot be looked at"},
		"accepted, and known by another name": {5, unreachable("s5", "192.0.2.5"), []string{"s5"}, "no host of the inventory"},
		"one of four":                         {4, unreachable("s4", "10.0.0.4"), []string{"s4"}, "1 of 4 voters are dead: while another one is stopped 2 are left, and the cluster needs 3 (bring it back first, or take what is gone for good out"},
		"one of three":                        {3, unreachable("s3", "10.0.0.3"), []string{"s3"}, "1 of 3 voters are dead"},
		"one of two":                          {2, unreachable("s2", "10.0.0.2"), []string{"s2"}, "the cluster has two servers"},
	} {
		t.Run(name, func(t *testing.T) {
			evidence := raftClusterOf(t, test.servers)
			p := NewRaftPlan(test.survey, evidence[:len(evidence)-1], RaftOptions{Down: test.down})
			words := Words(p.Problems)
			if (p.Verdict() == VerdictRefused) != (test.want != "") || !strings.Contains(words, test.want) {
				t.Errorf("%s: %q, want %q", p.Verdict(), words, test.want)
			}
			if test.want == "" && (p.Mode != RaftModeRolling || len(p.Steps) != 4 || !strings.Contains(Words(p.Warnings), "-peer-address=10.0.0.5:4647")) {
				t.Errorf("%s with %d steps: %s", p.Mode, len(p.Steps), Words(p.Warnings))
			}
		})
	}
	survey := unreachable("s5", "10.0.0.5")
	survey.Raft.Servers = []RaftMember{{RaftServer: RaftServer{"10.0.0.5:4647", "10.0.0.5:4647", true}, Node: "s5.global"}}
	survey.Members = []Member{{Name: "s5.global", Status: "alive"}}
	if p := NewRaftPlan(survey, raftClusterOf(t, 5)[:4], RaftOptions{Down: []string{"s5"}}); !strings.Contains(Words(p.Problems), "s5 is alive") {
		t.Errorf("accepted and alive: %s", Words(p.Problems))
	}
	// Only one is left to be seen: that does not make it a server that is alone.
	alone := raftClusterOf(t, 3)[:1]
	silent(&alone[0])
	if p := NewRaftPlan(Survey{Unreachable: map[string]LookFailure{"s2": {}, "s3": {}}}, alone, RaftOptions{Down: []string{"s2", "s3"}}); p.Mode == RaftModeSingle || p.Verdict() != VerdictRefused {
		t.Errorf("two of three dead: %q %s", p.Mode, p.Verdict())
	}
}

func TestRaftPlanToAVersion(t *testing.T) {
	e := raftServerOf(t)
	plan := func(to string, survey Survey, options RaftOptions) RaftPlan {
		options.Target, options.AllowUnsupportedSkip = raftVersionOf(t, to), true
		e.Facts.Settings = survey.Hosts[0].Settings
		survey.Hosts[0] = e.Facts
		return NewRaftPlan(survey, []RaftEvidence{e}, options)
	}
	plain := func() Survey { return Survey{Hosts: []HostFacts{{}}} }
	if p := plan("1.4.1", plain(), RaftOptions{}); p.Verdict() != VerdictChanges {
		t.Errorf("1.4.1: %s", Words(p.Problems))
	}
	if p := plan("1.3.10", plain(), RaftOptions{}); p.Verdict() != VerdictChanges || !strings.Contains(Words(p.Warnings), "1.3.10 has a known fault") {
		t.Errorf("1.3.10: %s; %s", Words(p.Problems), Words(p.Warnings))
	}
	old := plain()
	old.Hosts[0].Settings = []Setting{{Key: "datacenter", Value: "dc*", File: "/etc/nomad.d/nomad.hcl"}, {Key: "server.raft_protocol", Value: "2", File: "/etc/nomad.d/server.hcl"}}
	p := plan("1.6.1", old, RaftOptions{})
	if words := Words(p.Problems); !strings.Contains(words, "a * in the datacenter") || strings.Contains(words, "raft_protocol") {
		t.Errorf("notes: %s", words)
	}
	vault := plain()
	vault.Notes.Jobs = map[string][]string{"vault-policies-1.10": {"default/web"}}
	if words := Words(plan("1.10.5", vault, RaftOptions{}).Problems); !strings.Contains(words, "do not take them: default/web") || !strings.Contains(words, "--accept-note vault-policies-1.10") {
		t.Errorf("a job that loses its policies: %s", words)
	}
	if p := plan("1.10.5", vault, RaftOptions{AcceptNotes: []string{"vault-policies-1.10"}}); p.Verdict() != VerdictChanges {
		t.Errorf("accepted: %s", Words(p.Problems))
	}
	p = plan("1.10.5", vault, RaftOptions{AcceptNotes: []string{"no-such-note"}})
	if words := Words(p.Problems); !strings.Contains(words, "there is no such note") {
		t.Errorf("an accepted note that is none: %s", words)
	}
}

func TestRaftRollingRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*RaftEvidence)
		action string
		want   string
	}{
		"well":              {func(*RaftEvidence) {}, ActionMigrate, ""},
		"a left peers.json": {func(e *RaftEvidence) { e.Peers = PeersFile(e.Peer()) }, ActionRefused, "take the server out of its cluster"},
		"an empty one":      {func(e *RaftEvidence) { e.Peers = []byte{} }, ActionRefused, "take the server out of its cluster"},
		"hidden flags":      {func(e *RaftEvidence) { e.EditProblem = "ExecStart holds $ARGS" }, ActionRefused, "$ARGS"},
		"silent": {func(e *RaftEvidence) {
			silent(e)
			e.Facts.Running = true
		}, ActionRefused, "does not answer"},
	} {
		all := raftClusterOf(t, 3)
		raft := all[0].Facts.RaftServers
		test.change(&all[1])
		step, problems := RaftRolling(all[1], raft, RaftOptions{})
		if words := Words(problems); step.Action != test.action || (words == "") != (test.want == "") || !strings.Contains(words, test.want) {
			t.Errorf("%s: %s with %q, want %s with %q", name, step.Action, words, test.action, test.want)
		}
	}
}

func TestRaftPlanRefusesToTurnClientsAway(t *testing.T) {
	const turnedAway = "servers of 1.9 and later turn away clients before 1.6"
	old, young := raftVersionOf(t, "1.5.17"), raftVersionOf(t, "1.6.0")
	client := func(version Version) Survey {
		return Survey{NodesAsked: true, Hosts: []HostFacts{{Host: "c1", Role: "client", Client: true, NodeID: "c1-id", Running: true, VersionRunning: version}}}
	}
	node := func(version, status string) Survey {
		return Survey{NodesAsked: true, Nodes: []NodeSummary{{ID: "c9-id", Name: "c9", Version: version, Status: status}}}
	}
	newDisk := func(e *RaftEvidence) { e.Facts.VersionDisk, e.Facts.ExeCurrent = raftVersionOf(t, "1.10.5"), false }
	for name, test := range map[string]struct {
		to     string
		survey Survey
		change func(*RaftEvidence)
		want   string // "": nobody is turned away
	}{
		"an old client":                         {"1.10.5", client(old), nil, "c1: this client runs 1.5.17, and " + turnedAway},
		"one that is new enough":                {"1.10.5", client(young), nil, ""},
		"to a version that takes it":            {"1.8.4", client(old), nil, ""},
		"one that the inventory has not":        {"1.10.5", node("1.2.6", nodeReady), nil, "client c9 runs 1.2.6, and " + turnedAway},
		"such a one that is down":               {"1.10.5", node("1.2.6", nodeDown), nil, ""},
		"the server does not run":               {"1.10.5", client(old), silent, turnedAway},
		"the new binary is on the disk already": {"", client(old), newDisk, turnedAway},
		"it is all that the stopped server has": {"", client(old), func(e *RaftEvidence) { silent(e); newDisk(e); e.Facts.VersionRunning = Version{} }, ""},
		"nothing is to be done":                 {"", client(old), migratedServer, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := raftServerOf(t)
			if test.change != nil {
				test.change(&e)
			}
			options := RaftOptions{VersionOptions: VersionOptions{AllowUnsupportedSkip: true}}
			if test.to != "" {
				options.Target = raftVersionOf(t, test.to)
			}
			test.survey.Hosts = append(test.survey.Hosts, e.Facts)
			words := Words(NewRaftPlan(test.survey, []RaftEvidence{e}, options).Problems)
			if strings.Contains(words, turnedAway) != (test.want != "") || !strings.Contains(words, test.want) {
				t.Errorf("%q, want %q", words, test.want)
			}
		})
	}
	unasked := NewRaftPlan(Survey{}, []RaftEvidence{raftServerOf(t)}, RaftOptions{Target: raftVersionOf(t, "1.10.5")})
	if words := Words(unasked.Warnings); !strings.Contains(words, "could not be asked for their clients") {
		t.Errorf("clients of which nobody knows: %q", words)
	}
}

// eachInItsRegion are servers that lead a region each.
func eachInItsRegion(t *testing.T, regions ...string) (Survey, []RaftEvidence) {
	t.Helper()
	var survey Survey
	all := raftClusterOf(t, len(regions))
	for i := range all {
		f := &all[i].Facts
		f.Region, f.Leader, f.RaftServers = regions[i], true, f.RaftServers[i:i+1]
		survey.Hosts = append(survey.Hosts, *f)
	}
	return survey, all
}

func TestServersOfSeveralRegionsAreNotOneCluster(t *testing.T) {
	for _, regions := range [][]string{{"us", "eu"}, {"us", "eu", "us"}} {
		survey, evidence := eachInItsRegion(t, regions...)
		p := NewRaftPlan(survey, evidence, RaftOptions{})
		words := Words(p.Problems)
		for _, want := range []string{"2 regions", "eu (s2), us (s1", "first with --limit s2, then with --limit s1", "an inventory of its own"} {
			if !strings.Contains(words, want) {
				t.Errorf("%v: %q, want %q", regions, words, want)
			}
		}
		if p.Mode != "" || len(p.Problems) != 1 || strings.Contains(words, "recover") {
			t.Errorf("%v: mode %q: %q", regions, p.Mode, words)
		}
	}
}

func TestTheRegionToMigrateIsThatOfTheLimit(t *testing.T) {
	survey, _ := eachInItsRegion(t, "us", "eu")
	survey.Hosts = append(survey.Hosts, HostFacts{Host: "c1", Region: "asia", Client: true})
	parts := survey.Regions()
	for name, test := range map[string]struct {
		parts []Survey
		hosts []string
		want  string // "": it is not clear
	}{
		"all":                       {parts, nil, ""},
		"the servers of one":        {parts, []string{"s1"}, "us"},
		"those and a client":        {parts, []string{"c1", "s2"}, "eu"},
		"of both":                   {parts, []string{"s1", "s2"}, ""},
		"only a client":             {parts, []string{"c1"}, ""},
		"one region has servers":    {parts[:2], nil, "eu"},
		"and they are left out":     {parts[:2], []string{"c1"}, "eu"},
		"nobody has looked at them": {Survey{}.Regions(), nil, ""},
	} {
		got := ""
		if at := RaftRegion(test.parts, test.hosts); at >= 0 {
			got = test.parts[at].Region
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// What a region cannot reach may be a server of it, unless another region says that it has it.
func TestUnreachableHostsStayWithARegionUnlessAnotherHasThem(t *testing.T) {
	survey, _ := eachInItsRegion(t, "us", "eu")
	survey.Unreachable = map[string]LookFailure{"s8": {}, "s9": {}}
	parts := survey.Regions()
	parts[0].Raft.Servers = []RaftMember{{RaftServer: RaftServer{ID: "9", Address: "10.0.0.9:4647"}, Node: "s9.eu"}}
	for at, want := range [][]string{{"s8", "s9"}, {"s8"}} {
		if diff := cmp.Diff(want, sortedKeys(OfRegion(parts, at).Unreachable)); diff != "" {
			t.Errorf("%s: %s", parts[at].Region, diff)
		}
	}
}

func TestATokenIsAskedForBeforeAnyRepair(t *testing.T) {
	untold := func(e *RaftEvidence, leader string) {
		silent(e)
		e.Facts.Running, e.Facts.Problem, e.Leads = true, "permission denied (403)", leader
	}
	for _, servers := range []int{1, 2, 3} {
		all := raftClusterOf(t, servers)
		for i := range all {
			untold(&all[i], raftAddress)
			all[i].Others = []string{"gossip knew s9.global as alive"}
		}
		p := NewRaftPlan(Survey{}, all, RaftOptions{})
		if words := Words(p.Problems); !strings.Contains(words, "give a token") || !strings.Contains(words, "permission denied") || strings.Contains(words, "recover") || len(p.Problems) != 1 {
			t.Errorf("%d: %q", servers, words)
		}
		if servers == 1 {
			continue
		}
		for i := range all {
			all[i].Leads = ""
		}
		if words := Words(NewRaftPlan(Survey{}, all, RaftOptions{}).Problems); !strings.Contains(words, "drover recover") {
			t.Errorf("%d without a leader: %q", servers, words)
		}
	}
	lacks := Survey{Further: []Problem{{Text: "the Nomad token may not take a snapshot"}}}
	if p := NewRaftPlan(lacks, raftClusterOf(t, 3), RaftOptions{}); p.Verdict() != VerdictRefused || len(p.Problems) != 1 {
		t.Errorf("a token that may not do all: %q", Words(p.Problems))
	}
	one := raftClusterOf(t, 3)
	untold(&one[1], raftAddress)
	if p := NewRaftPlan(Survey{}, one, RaftOptions{}); !strings.Contains(Words(p.Problems), "s2: its agent names") || len(p.Steps) != 3 {
		t.Errorf("one of three: %q", Words(p.Problems))
	}
}

func TestABrokenConfigurationIsNamed(t *testing.T) {
	const where = "/etc/nomad.d/server.hcl:2:7: a brace is missing"
	broken := RaftEvidence{Facts: HostFacts{Host: "s2"}, Unread: where}
	p := NewRaftPlan(Survey{}, []RaftEvidence{broken}, RaftOptions{})
	if words := Words(p.Problems); len(p.Problems) != 1 || !strings.Contains(words, "s2: its agent does not run") || !strings.Contains(words, where) || !strings.Contains(words, "repair that file") {
		t.Errorf("the only host: %q", words)
	}
	// It may be the second server: the first is not taken for one that is alone without a word of that.
	if p := NewRaftPlan(Survey{}, []RaftEvidence{raftServerOf(t), broken}, RaftOptions{}); p.Verdict() != VerdictRefused || len(p.Problems) != 1 || len(p.Steps) != 1 {
		t.Errorf("beside a server: %s %q", p.Verdict(), Words(p.Problems))
	}
	runs := raftServerOf(t)
	runs.Unread = where
	if _, problems := RaftSingle(runs, RaftOptions{}); !strings.Contains(Words(problems), where+" (repair that file; the agent would not start again with it)") {
		t.Errorf("a server that runs: %q", Words(problems))
	}
}

func TestRaftAcceptsOnlyDeadServersAsDead(t *testing.T) {
	for name, test := range map[string]struct {
		down string
		want string
	}{
		"no server":        {"s6", "--accept-down names s6, and the cluster has no such server"},
		"its nearest":      {"10.0.0.5:4648", `did you mean "10.0.0.5:4647"`},
		"a live one":       {"s2", "--accept-down names s2, and s2 is alive: it answers (take it out of --accept-down)"},
		"one that is dead": {"10.0.0.5:4647", ""},
	} {
		all := raftClusterOf(t, 5)[:4]
		var survey Survey
		for _, e := range all {
			survey.Hosts = append(survey.Hosts, e.Facts)
		}
		words := Words(NewRaftPlan(survey, all, RaftOptions{Down: []string{test.down}}).Problems)
		if !strings.Contains(words, test.want) || (words == "") != (test.want == "") {
			t.Errorf("%s: %q, want %q", name, words, test.want)
		}
	}
}

func TestALiveServerOutsideTheInventoryIsNotDead(t *testing.T) {
	survey := Survey{Members: []Member{{Name: "s3.global", Status: memberAlive}}}
	survey.Raft.Servers = []RaftMember{{RaftServer: RaftServer{"10.0.0.3:4647", "10.0.0.3:4647", true}, Node: "s3.global"}}
	all := raftClusterOf(t, 3)[:2]
	words := Words(NewRaftPlan(survey, all, RaftOptions{}).Problems)
	if !strings.Contains(words, "not in the inventory, and s3 is alive") || strings.Contains(words, "dead") {
		t.Errorf("alive: %q", words)
	}
	survey.Members = nil
	if words := Words(NewRaftPlan(survey, all, RaftOptions{}).Problems); !strings.Contains(words, "no host of the inventory") || strings.Contains(words, "voters are dead") {
		t.Errorf("nobody knows: %q", words)
	}
}

func TestRaftPlanMakesSureOfTheNewBinary(t *testing.T) {
	e := raftServerOf(t)
	e.Facts.Architecture = "x86_64"
	options := RaftOptions{Target: raftVersionOf(t, "1.4.1")}
	survey := Survey{Hosts: []HostFacts{e.Facts}, Binaries: map[string]NewBinary{"x86_64": {Error: "the directory has no Nomad 1.4.1"}}}
	p := NewRaftPlan(survey, []RaftEvidence{e}, options)
	if words := Words(p.Problems); !strings.Contains(words, "the directory has no Nomad 1.4.1") || len(p.Problems) != 1 {
		t.Errorf("no binary: %q", words)
	}
	if upgrade := p.Upgrade(); upgrade == nil || len(upgrade.Steps) != 1 || upgrade.Steps[0].Host != "s1" || !upgrade.Target.Same(options.Target) {
		t.Errorf("what needs one: %+v", upgrade)
	}
	survey.Binaries["x86_64"] = NewBinary{Size: 1}
	survey.Short = map[string]LookFailure{"s1": {Text: "no room for the new binary"}}
	if words := Words(NewRaftPlan(survey, []RaftEvidence{e}, options).Problems); !strings.Contains(words, "no room for the new binary") || strings.Contains(words, "--limit") {
		t.Errorf("no room: %q", words)
	}
	if p := NewRaftPlan(Survey{}, []RaftEvidence{e}, RaftOptions{}); p.Upgrade() != nil {
		t.Error("the version stays, and a binary is wanted")
	}
}
