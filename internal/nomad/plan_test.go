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
	s.Unreachable = map[string]string{"c3": "connection refused"}             // dead host
	s.Raft.Servers = append(s.Raft.Servers, RaftMember{Node: "s9.global", RaftServer: RaftServer{ID: "id-9", Address: "10.0.0.9:4647"}})
	plan := NewPlan(s, version("1.11.0"), Options{})
	words := Words(plan.Problems)
	for _, want := range []string{"s1: runs 2.0.0", "s2: the running agent has leave_on", "c2: the unit's KillMode", "c1: its agent runs but does not answer", "c3: unreachable", "s9.global at 10.0.0.9:4647 that is not in the inventory"} {
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
