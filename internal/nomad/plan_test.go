// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func survey() Survey {
	unit := UnitFacts{Systemd: true, KillSignal: int(syscall.SIGINT), KillMode: "process"}
	answers := cluster(3)
	var s Survey
	for i := range answers {
		f := HostFacts{Host: answers[i].Host, Unit: "nomad.service", Running: true, ExeCurrent: true, VersionDisk: version("1.10.5"), UnitSettings: unit}
		f.SetView(answers[i].View)
		s.Hosts = append(s.Hosts, f)
		s.Raft.Servers = append(s.Raft.Servers, RaftMember{RaftServer: answers[i].Identity, Node: answers[i].Host + ".global", Leader: i == 2, Protocol: 3})
	}
	for _, name := range []string{"c2", "c1"} {
		f := HostFacts{Host: name, Unit: "nomad.service", Running: true, ExeCurrent: true, VersionDisk: version("1.10.5"), UnitSettings: unit}
		f.SetView(AgentView{Version: version("1.10.5"), Client: true, Region: "global", NodeName: name})
		s.Hosts = append(s.Hosts, f)
	}
	return s
}

func noSSH() LookFailure { return LookFailure{Kind: LookUnreachable, Text: "connection refused"} }

func TestPlanOrdersServersThenClients(t *testing.T) {
	s := survey()
	// s1 leads here, so that the order differs from the names'.
	s.Hosts[2].Leader, s.Hosts[0].Leader = false, true
	plan := NewPlan(s, version("1.11.0"), Options{})
	var hosts []string
	for _, step := range plan.Steps {
		hosts = append(hosts, step.Host+" "+step.Action)
	}
	if diff := cmp.Diff([]string{"s2 upgrade", "s3 upgrade", "s1 upgrade", "c1 upgrade", "c2 upgrade"}, hosts); diff != "" {
		t.Error(diff)
	}
	if plan.Verdict() != VerdictChanges {
		t.Errorf("verdict %s: %s", plan.Verdict(), Words(plan.Problems))
	}
	again, err := json.Marshal(NewPlan(s, version("1.11.0"), Options{}))
	if err != nil {
		t.Fatal(err)
	}
	first, _ := json.Marshal(plan)
	if string(first) != string(again) {
		t.Error("two plans of one survey differ")
	}
}

func TestPlanOfAnUpgradedClusterIsClean(t *testing.T) {
	plan := NewPlan(survey(), version("1.10.5"), Options{})
	if plan.Verdict() != VerdictClean {
		t.Errorf("verdict %s: %s", plan.Verdict(), Words(plan.Problems))
	}
}

func TestPlanFindsAllProblemsAtOnce(t *testing.T) {
	s := survey()
	s.Hosts[0].VersionRunning = version("2.0.0")                              // downgrade
	s.Hosts[1].Leave = LeaveFlags{OnInterrupt: true, OnTerminate: true}       // no safe signal
	s.Hosts[3].UnitSettings.KillMode = "control-group"                        // kills tasks
	s.Hosts[4].Answers, s.Hosts[4].Problem = false, "403 (Permission denied)" // token
	s.Hosts[2].UnitSettings.Systemd = false                                   // masked under the running agent
	s.Unreachable = map[string]LookFailure{"c3": noSSH()}                     // dead host
	s.Raft.Servers = append(s.Raft.Servers, RaftMember{Node: "s9.global", RaftServer: RaftServer{ID: "id-9", Address: "10.0.0.9:4647"}})
	plan := NewPlan(s, version("1.11.0"), Options{})
	words := Words(plan.Problems)
	for _, want := range []string{"s3: systemd has no usable definition of", "s1: runs 2.0.0", "s2: the running agent has leave_on", "c2: the unit's KillMode", "c1: its agent runs but does not answer", "c3: unreachable", "s9.global at 10.0.0.9:4647 that is not in the inventory"} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in:\n%s", want, strings.ReplaceAll(words, "; ", "\n"))
		}
	}
	if plan.Verdict() != VerdictRefused {
		t.Errorf("verdict %s", plan.Verdict())
	}
}

func TestPlanContinuesAHalfFinishedUpgrade(t *testing.T) {
	s := survey()
	s.Hosts[0].VersionRunning, s.Hosts[0].VersionDisk = version("1.11.0"), version("1.11.0")
	s.Hosts[1].VersionDisk, s.Hosts[1].ExeCurrent = version("1.11.0"), false
	plan := NewPlan(s, version("1.11.0"), Options{Servers: true})
	got := map[string]string{}
	for _, step := range plan.Steps {
		got[step.Host] = step.Action + ": " + step.Reason
	}
	want := map[string]string{
		"s1": "none: already 1.11.0, on disk and running",
		"s2": "upgrade: has 1.11.0 on disk, but still runs 1.10.5",
		"s3": "upgrade: 1.10.5 to 1.11.0",
		"c1": "none: only servers were asked for",
		"c2": "none: only servers were asked for",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPlanRefusesTwoServersWithoutAcceptedOutage(t *testing.T) {
	s := survey()
	two := cluster(2)
	for i := range two {
		s.Hosts[i].SetView(two[i].View)
	}
	s.Hosts = s.Hosts[:2]
	s.Raft.Servers = s.Raft.Servers[:2]
	if plan := NewPlan(s, version("1.11.0"), Options{}); !strings.Contains(Words(plan.Problems), "two servers have no spare vote") {
		t.Errorf("problems: %s", Words(plan.Problems))
	}
	if plan := NewPlan(s, version("1.11.0"), Options{Accepted: Accepted{Outage: true}}); len(plan.Problems) > 0 {
		t.Errorf("problems: %s", Words(plan.Problems))
	}
}

func TestPlanRefusesTwoNamesForOneServer(t *testing.T) {
	s := survey()
	again := s.Hosts[0]
	again.Host = "alias"
	s.Hosts = append(s.Hosts, again)
	if plan := NewPlan(s, version("1.11.0"), Options{}); !strings.Contains(Words(plan.Problems), "s1: is the same agent as alias") {
		t.Errorf("problems: %s", Words(plan.Problems))
	}
}

func TestPlanKnowsAnUnreachableServerOfTheCluster(t *testing.T) {
	gone := func(host, address string, options Options) Plan {
		s := survey()
		s.Raft.Servers[0].Address = "10.0.0.1:4647"
		s.Raft.Servers[1].Address = "10.0.0.2:4647"
		s.Hosts = s.Hosts[1:]
		options.Clients = true // so that no vote is at stake
		s.Unreachable, s.Addresses = map[string]LookFailure{host: noSSH()}, map[string]string{host: address}
		return NewPlan(s, version("1.11.0"), options)
	}
	server := "unreachable, and a server of the cluster: connection refused"
	cases := map[string]struct {
		host, address string
		options       Options
		want          []Problem
	}{
		"by the node's name":           {host: "s1", want: []Problem{{Host: "s1", Text: server}}},
		"by the address":               {host: "first", address: "10.0.0.1", want: []Problem{{Host: "first", Text: server}}},
		"by a name that is an address": {host: "10.0.0.1", want: []Problem{{Host: "10.0.0.1", Text: server}}},
		"not to be skipped":            {host: "s1", options: Options{SkipUnreachable: true}, want: []Problem{{Host: "s1", Text: server}}},
		"not to be left out":           {host: "s1", options: Options{Hosts: []string{"c1"}}, want: []Problem{{Host: "s1", Text: server}}},
		"accepted by the host's name":  {host: "first", address: "10.0.0.1", options: Options{Accepted: Accepted{Down: []string{"first"}}}},
		"accepted by the node's name":  {host: "first", address: "10.0.0.1", options: Options{Accepted: Accepted{Down: []string{"s1"}}}},
		"a second name of one that answers": {host: "x", address: "10.0.0.2", options: Options{Accepted: Accepted{Down: []string{"s1"}}}, want: []Problem{
			{Host: "x", Text: "unreachable: connection refused"},
		}},
		"another host": {host: "x", address: "10.0.0.99", want: []Problem{
			{Text: "the cluster has a server s1.global at 10.0.0.1:4647 that is not in the inventory"}, {Host: "x", Text: "unreachable: connection refused"},
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			plan := gone(c.host, c.address, c.options)
			for i := range plan.Problems {
				plan.Problems[i].Remedy, plan.Problems[i].Kind = "", ""
			}
			if diff := cmp.Diff(append([]Problem{}, c.want...), plan.Problems); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanLeavesAloneWhatTheLimitLeavesOut(t *testing.T) {
	s := survey()
	s.Unreachable = map[string]LookFailure{"c9": noSSH()}
	plan := NewPlan(s, version("1.11.0"), Options{Hosts: []string{"c1"}})
	var steps []string
	for _, step := range plan.Steps {
		steps = append(steps, step.Host+" "+step.Action)
	}
	if diff := cmp.Diff([]string{"s1 none", "s2 none", "s3 none", "c1 upgrade", "c2 none"}, steps); diff != "" {
		t.Error(diff)
	}
	if plan.Verdict() != VerdictChanges || len(plan.Warnings) != 3 {
		t.Errorf("%s, %s, want warnings of three older servers: %s", plan.Verdict(), Words(plan.Problems), Words(plan.Warnings))
	}
}

func TestPlanRefusesWhatTheVotersLeftCannotSpare(t *testing.T) {
	gone := func(options Options) Plan {
		s := survey()
		s.Hosts = s.Hosts[1:]
		s.Unreachable = map[string]LookFailure{"s1": noSSH()}
		for i := range s.Raft.Servers {
			s.Raft.Servers[i].Voter = true
		}
		return NewPlan(s, version("1.11.0"), options)
	}
	dead := Accepted{Down: []string{"s1"}}
	spare := "stopping one more server would leave 1 of 3 voters, and the cluster needs 2: s1 cannot be asked"
	if plan := gone(Options{Accepted: dead}); Words(plan.Problems) == "" || plan.Problems[0].Text != spare {
		t.Errorf("with s1 accepted as dead: %s", Words(plan.Problems))
	}
	if plan := gone(Options{Accepted: dead, Hosts: []string{"c1"}}); plan.Verdict() != VerdictChanges {
		t.Errorf("only a client: %s", Words(plan.Problems))
	}
	dead.Outage = true
	if plan := gone(Options{Accepted: dead}); plan.Verdict() != VerdictRefused {
		t.Errorf("an accepted outage loosens the rule of majority")
	}
}

func TestPlanRepairsAServerThatIsDownWithoutALeader(t *testing.T) {
	s := survey()
	for i := range s.Hosts {
		s.Hosts[i].Leader = false
	}
	s.Hosts = s.Hosts[:1]
	s.Raft, s.Members = RaftConfiguration{}, nil
	if plan := NewPlan(s, version("1.11.0"), Options{}); plan.Verdict() != VerdictRefused {
		t.Errorf("a server that runs without a leader would be stopped: %s", plan.Verdict())
	}
	s.Hosts[0].Running = false
	if plan := NewPlan(s, version("1.11.0"), Options{}); plan.Verdict() != VerdictChanges {
		t.Errorf("a server that is down is not repaired: %s", Words(plan.Problems))
	}
}

func TestPlanRefusesUnitsAndClientsThatWouldNotComeThrough(t *testing.T) {
	old := func(s *Survey) {
		for i := range s.Hosts {
			s.Hosts[i].VersionRunning, s.Hosts[i].VersionDisk = version("1.7.7"), version("1.7.7")
		}
	}
	tests := map[string]struct {
		change  func(*Survey)
		to      string
		options Options
		want    string
	}{
		"ExecStop":                    {func(s *Survey) { s.Hosts[0].UnitSettings.ExecStop = true }, "1.11.0", Options{}, "s1: the unit has an ExecStop"},
		"notify before 1.8":           {func(s *Survey) { old(s); s.Hosts[0].UnitSettings.Type = "notify" }, "1.7.8", Options{}, "s1: the unit has Type=notify"},
		"notify from 1.8 on":          {func(s *Survey) { old(s); s.Hosts[0].UnitSettings.Type = "notify" }, "1.8.0", Options{}, ""},
		"a client before 1.6":         {func(s *Survey) { old(s); s.Hosts[3].VersionRunning = version("1.5.3") }, "1.9.3", Options{Servers: true}, "c2: this client runs 1.5.3"},
		"a client of 1.6":             {func(s *Survey) { old(s); s.Hosts[3].VersionRunning = version("1.6.0") }, "1.9.3", Options{Servers: true}, ""},
		"a client before 1.6, to 1.8": {func(s *Survey) { old(s); s.Hosts[3].VersionRunning = version("1.5.3") }, "1.8.3", Options{Servers: true}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := survey()
			test.change(&s)
			plan := NewPlan(s, version(test.to), test.options)
			if words := Words(plan.Problems); (words == "") != (test.want == "") || !strings.Contains(words, test.want) {
				t.Errorf("problems %q, want %q", words, test.want)
			}
		})
	}
}
