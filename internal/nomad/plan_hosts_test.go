// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"slices"
	"strings"
	"testing"
)

// TestPlanRefusals plants one fault at a time; each is refused in its own words, and where the others can go on without the host, they do
// with the limit that the plan names.
func TestPlanRefusals(t *testing.T) {
	tests := map[string]struct {
		plant   func(*Survey)
		to      string
		want    string // of the problems
		exclude string // host without which the others go on; "": nobody can
	}{
		"a shared binary":    {func(s *Survey) { s.of("c1").SharedBy = []string{"nomad-b.service (process 812)"} }, "1.11.0", "c1: other agents run the same file /usr/bin/nomad, and would change with it: nomad-b.service (process 812)", "c1"},
		"a read-only system": {func(s *Survey) { s.of("c2").ReadOnly = true }, "1.11.0", "c2: the filesystem of /usr/bin/nomad is mounted read-only", "c2"},
		"a wrapper": {func(s *Survey) {
			s.of("c2").Refusals = []Problem{{Text: "nomad.service starts /usr/bin/dash, which is not a Nomad binary, so it cannot be replaced by one", Remedy: "let ExecStart of the unit name the Nomad binary itself"}}
			s.of("c2").VersionDisk, s.of("c2").Package = Version{}, "dash (dpkg)"
		}, "1.11.0", "c2: nomad.service starts /usr/bin/dash, which is not a Nomad binary, so it cannot be replaced by one (let ExecStart of the unit name the Nomad binary itself", "c2"},
		"a container":      {func(s *Survey) { s.of("c2").UnitSettings.ExecStart = []string{"/usr/bin/docker", "run", "nomad"} }, "1.11.0", "c2: Nomad runs in a container there (nomad.service starts docker)", "c2"},
		"an unusable unit": {func(s *Survey) { s.of("s1").UnitSettings.Systemd = false }, "1.11.0", "s1: systemd has no usable definition of nomad.service", "s1"},
		"no unit at all":   {func(s *Survey) { *s.of("c1") = HostFacts{Host: "c1", Unit: "nomad.service", Role: "none"} }, "1.11.0", "c1: there is no unit nomad.service", "c1"},
		"a full disk": {func(s *Survey) {
			s.Short = map[string]LookFailure{"s2": {Text: "not enough space"}}
			s.of("s2").Architecture = "x86_64"
		}, "1.11.0", "s2: not enough space", "s2"},
		"a client elsewhere": {func(s *Survey) { s.of("c1").NodeID = "node-x"; s.of("c1").KnownServers = []string{"10.9.9.9:4647"} }, "1.11.0", "c1: this client belongs to another cluster: its servers are 10.9.9.9:4647", ""},
		"an unknown client":  {func(s *Survey) { s.of("c1").NodeID = "node-x" }, "1.11.0", "c1: the servers do not know this client", ""},
		"an old client beside": {func(s *Survey) {
			s.Nodes = append(s.Nodes, NodeSummary{ID: "o", Name: "old", Status: "ready", Version: "1.5.6"})
		}, "1.11.0", "client old runs 1.5.6, and servers of 1.9 and later turn away clients before 1.6", ""},
		"a withdrawn release": {func(s *Survey) { s.all("1.9.1") }, "1.9.2", "1.9.2 is a bad release: it can lose the whole state of the cluster", ""},
		"a panicking release": {func(s *Survey) { s.all("1.3.5") }, "1.4.0", "1.4.0 is a bad release: older servers panic", ""},
		"raft protocol 2": {func(s *Survey) {
			s.all("1.2.6")
			for i := range s.Hosts {
				s.Hosts[i].RaftProtocol = 2
			}
		}, "1.4.1", "uses raft protocol 2, and Nomad 1.4 and later start with protocol 3 only", ""},
		"another edition": {func(s *Survey) { runs(s.of("c2"), "1.10.5+ent") }, "1.11.0", "c2: runs the enterprise edition (ent) and the new binary is the community edition", "c2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			planned := func(options Options) (Plan, string) {
				s := fleetOf(2)
				for i := range s.Hosts {
					s.Hosts[i].Binary, s.Hosts[i].Unit = "/usr/bin/nomad", "nomad.service"
				}
				s.Binaries = map[string]NewBinary{"x86_64": {Size: 1}}
				test.plant(&s)
				plan := NewPlan(s, version(test.to), options)
				return plan, Words(plan.Problems)
			}
			plan, words := planned(Options{})
			if plan.Verdict() != VerdictRefused || !strings.Contains(words, test.want) {
				t.Errorf("problems %q, want %q", words, test.want)
			}
			if strings.Contains(words, "--limit '!"+test.exclude+"'") != (test.exclude != "" && name != "another edition") {
				t.Errorf("the way on: %q", words)
			}
			if test.exclude == "" {
				return
			}
			hosts := slices.DeleteFunc([]string{"s1", "s2", "s3", "c1", "c2"}, func(h string) bool { return h == test.exclude })
			if plan, words := planned(Options{Hosts: hosts}); plan.Verdict() != VerdictChanges {
				t.Errorf("without %s the others do not go on: %s", test.exclude, words)
			}
		})
	}
}

func (s *Survey) all(to string) {
	for i := range s.Hosts {
		runs(&s.Hosts[i], to)
	}
}

func TestPlanWarnings(t *testing.T) {
	tests := map[string]struct {
		plant func(*Survey)
		to    string
		want  string
	}{
		"a package":             {func(s *Survey) { s.of("s1").Package = "nomad (dpkg)" }, "1.11.0", "s1: the package nomad (dpkg) owns the binary"},
		"a newer one on disk":   {func(s *Survey) { s.of("c1").VersionDisk = version("1.11.3") }, "1.11.0", "c1: 1.11.3 lies on disk and does not run yet; it is replaced by 1.11.0"},
		"a known fault":         {func(s *Survey) { s.all("1.4.3") }, "1.5.4", "1.5.4 has a known fault: it may stop collecting the logs of tasks; 1.5.5 repairs it"},
		"a server that is down": {func(s *Survey) { s.of("s1").Running, s.of("s1").Answers = false, false }, "1.11.0", "s1: this server is down; it is repaired first"},
		"mixed versions":        {func(s *Survey) { runs(s.of("s1"), "1.10.2") }, "1.11.0", "servers run different versions (s1: 1.10.2; s2, s3: 1.10.5)"},
		"a client that is down": {func(s *Survey) { s.of("c1").Running, s.of("c1").Answers = false, false; s.Nodes[0].Status = "down" }, "1.11.0", "c1: this client is down: it is started with 1.11.0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := fleetOf(2)
			test.plant(&s)
			plan := NewPlan(s, version(test.to), Options{})
			if words := Words(plan.Warnings); plan.Verdict() != VerdictChanges || !strings.Contains(words, test.want) {
				t.Errorf("%s, warnings %q, want %q; problems %s", plan.Verdict(), words, test.want, Words(plan.Problems))
			}
		})
	}
}

// TestPlanExcludesAServerThatCannotBeAsked: a limit takes no voter out of the arithmetic.
func TestPlanExcludesAServerThatCannotBeAsked(t *testing.T) {
	s := fleetOf(1)
	s.lose("s1", LookFailure{Kind: "no_systemd", Text: "this host is not run by systemd", Remedy: "upgrade it by hand"})
	plan := NewPlan(s, version("1.11.0"), Options{Hosts: []string{"s2", "s3", "c1"}})
	if words := Words(plan.Problems); !strings.Contains(words, "s1: this host is not run by systemd (it is a server of the cluster) (upgrade it by hand, or name it with --accept-down") {
		t.Error(words)
	}
	plan = NewPlan(s, version("1.11.0"), Options{Hosts: []string{"s2", "s3", "c1"}, Accepted: Accepted{Down: []string{"s1"}}})
	if words := Words(plan.Problems); !strings.Contains(words, "stopping one more server would leave 1 of 3 voters") {
		t.Error(words)
	}
}

func TestPlanDoesNotCallAClusterLeaderlessWhoseLeaderWasNotAsked(t *testing.T) {
	s := survey()
	for i := range s.Hosts {
		s.Hosts[i].Leader = false
	}
	s.Raft.Servers[0].Leader = true
	for _, outage := range []bool{false, true} {
		plan := NewPlan(s, version("1.11.0"), Options{Accepted: Accepted{Outage: outage}})
		words := Words(plan.Problems)
		if !strings.Contains(words, "leads the cluster and could not be asked") || strings.Contains(words, "no server says that it leads") {
			t.Errorf("an outage accepted: %t: %s", outage, words)
		}
	}
}

func TestPlanSkipsNobodyWhileNoServerCanBeAsked(t *testing.T) {
	s := survey()
	s.Unreachable = map[string]LookFailure{}
	for _, facts := range s.Hosts[:3] {
		s.Unreachable[facts.Host] = noSSH()
	}
	s.Hosts, s.Raft, s.Members = s.Hosts[3:], RaftConfiguration{}, nil
	plan := NewPlan(s, version("1.11.0"), Options{SkipUnreachable: true})
	if words := Words(plan.Problems); !strings.Contains(words, "no server could be asked") {
		t.Errorf("servers would be skipped like clients: %s: %s", plan.Verdict(), words)
	}
}

func TestPlanRepairsACrashLoopingAgentWhateverItsLeaveFlags(t *testing.T) {
	s := fleetOf(2)
	s.Binaries = map[string]NewBinary{"x86_64": {Size: 1}}
	c := s.of("c1")
	c.Answers, c.CrashLooping, c.Leave = false, true, LeaveFlags{OnInterrupt: true, OnTerminate: true}
	if plan := NewPlan(s, version("1.11.0"), Options{}); len(plan.Problems) > 0 {
		t.Errorf("refused: %s", Words(plan.Problems))
	}
}
