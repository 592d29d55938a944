// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"strings"
	"testing"
)

// stopped is a server whose agent does not run.
func (s *Survey) stopped(host string) {
	f := s.of(host)
	f.Running, f.Answers, f.Leader, f.Voter, f.ExeCurrent, f.RPC, f.RaftServers, f.VersionRunning = false, false, false, false, false, "", nil, Version{}
}

// drop takes a server out of raft's configuration, as autopilot does with one that is dead.
func (s *Survey) drop(host string) {
	for i := range s.Raft.Servers {
		if s.Raft.Servers[i].name() == host {
			s.Raft.Servers = append(s.Raft.Servers[:i:i], s.Raft.Servers[i+1:]...)
			break
		}
	}
	for i := range s.Hosts {
		if f := &s.Hosts[i]; f.Server && f.Host != host && f.Answers {
			f.RaftServers = nil
			for _, member := range s.Raft.Servers {
				f.RaftServers = append(f.RaftServers, member.RaftServer)
			}
		}
	}
}

// TestPlanOfServersInTrouble: what is said of a server that is down, dropped by raft or waiting for its vote, and whether the others go on.
func TestPlanOfServersInTrouble(t *testing.T) {
	const dropped = "s1: this server is down, and raft has dropped it"
	tests := map[string]struct {
		plant   func(*Survey)
		options Options
		verdict string
		want    []string // in warnings or problems
		never   string
	}{
		"down": {func(s *Survey) { s.stopped("s1") }, Options{}, VerdictChanges, []string{"s1: this server is down; it is repaired first"}, "dropped"},
		"down and dropped": {
			func(s *Survey) { s.stopped("s1"); s.drop("s1") },
			Options{},
			VerdictChanges,
			[]string{dropped + "; it is repaired first, and no other server is stopped before it votes again"},
			"accept-outage",
		},
		"dropped, and left out": {
			func(s *Survey) { s.stopped("s1"); s.drop("s1") },
			Options{Hosts: []string{"s2", "s3"}},
			VerdictRefused,
			[]string{dropped, "no server is stopped while one that belongs to the cluster is away: s1 is down, and raft has dropped it"},
			"accept-outage",
		},
		"dropped, and nobody else knows its name": {func(s *Survey) {
			s.stopped("s1")
			s.Raft.Servers[0].Node, s.Raft.Servers[0].ID = "(unknown)", s.Raft.Servers[0].Address
		}, Options{}, VerdictRefused, []string{"the cluster has a server (unknown)"}, "dropped"},
		"back, and not in raft yet": {
			func(s *Survey) { s.drop("s1") },
			Options{},
			VerdictRefused,
			[]string{"s1: this server runs, and raft has dropped it"},
			"accept-outage",
		},
		"back, and without a vote yet": {
			func(s *Survey) { s.Raft.Servers[0].Voter = false },
			Options{},
			VerdictRefused,
			[]string{"two servers have no spare vote, and s1 has no vote yet"},
			"accept-outage",
		},
		"two servers": {
			func(s *Survey) { s.drop("s1"); s.Hosts = s.Hosts[1:] },
			Options{},
			VerdictRefused,
			[]string{"two servers have no spare vote", "--accept-outage"},
			"",
		},
		"only clients": {func(s *Survey) { s.stopped("s1") }, Options{Clients: true}, VerdictChanges, []string{"s1: this server is down; this upgrade leaves it so: systemctl start nomad.service"}, ""},
		"one client":   {func(s *Survey) { s.stopped("s1") }, Options{Hosts: []string{"c1"}}, VerdictChanges, []string{"s1: this server is down; this upgrade leaves it so"}, ""},
		"only clients, and one loops": {
			func(s *Survey) { s.of("s1").CrashLooping, s.of("s1").Answers = true, false },
			Options{Clients: true},
			VerdictChanges,
			[]string{"s1: this server is down: systemd starts it over and over"},
			"",
		},
		"only clients, and no leader": {func(s *Survey) {
			s.stopped("s1")
			s.stopped("s3")
			s.Raft.Servers[2].Leader = false
		}, Options{Clients: true}, VerdictRefused, []string{"no server says that it leads", "s1: this server is down", "s3: this server is down"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := fleetOf(2)
			test.plant(&s)
			plan := NewPlan(s, version("1.11.0"), test.options)
			words := Words(plan.Problems) + Words(plan.Warnings)
			if plan.Verdict() != test.verdict {
				t.Errorf("%s: %s", plan.Verdict(), words)
			}
			for _, want := range test.want {
				if !strings.Contains(words, want) {
					t.Errorf("no %q in %s", want, words)
				}
			}
			if test.never != "" && strings.Contains(words, test.never) {
				t.Errorf("%q in %s", test.never, words)
			}
		})
	}
}

func TestPlanCountsAServerThatIsDown(t *testing.T) {
	s := fleetOf(0)
	s.stopped("s1")
	s.drop("s1")
	runs(s.of("s2"), "1.11.0")
	plan := NewPlan(s, version("1.11.0"), Options{})
	if !strings.Contains(plan.Continues, "1 of 3 servers") {
		t.Error(plan.Continues)
	}
	for _, pause := range plan.Pauses {
		if strings.Contains(pause, "one of two") {
			t.Error(pause)
		}
	}
}

// TestPlanRefusesToTakeALivingServerForDead: its vote would be counted as lost while it votes.
func TestPlanRefusesToTakeALivingServerForDead(t *testing.T) {
	gossip := func(s *Survey, status string) {
		s.Members = []Member{{Name: "s1.global", Status: status, Tags: map[string]string{"id": "id-1"}}}
	}
	tests := map[string]struct {
		plant func(*Survey)
		want  string
	}{
		"it answers":                      {func(*Survey) {}, "--accept-down names s1, and s1 is alive: it answers"},
		"not in the inventory":            {func(s *Survey) { s.Hosts = s.Hosts[1:]; gossip(s, "alive") }, "--accept-down names s1, and s1 is alive: the other servers hear from it (add its host to the inventory"},
		"not reachable":                   {func(s *Survey) { s.lose("s1", noSSH()); gossip(s, "alive") }, "--accept-down names s1, and s1 is alive"},
		"not in the inventory, and dead":  {func(s *Survey) { s.Hosts = s.Hosts[1:]; gossip(s, "failed") }, "stopping one more server would leave 1 of 3 voters, and the cluster needs 2: s1 is not in the inventory"},
		"gossip has not noticed its stop": {func(s *Survey) { s.stopped("s1"); gossip(s, "alive") }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := fleetOf(1)
			test.plant(&s)
			plan := NewPlan(s, version("1.11.0"), Options{Accepted: Accepted{Down: []string{"s1"}}})
			if words := Words(plan.Problems); test.want == "" && words != "" || !strings.Contains(words, test.want) {
				t.Errorf("problems %q, want %q", words, test.want)
			}
			for _, accepted := range plan.Accepted {
				if strings.Contains(accepted.What, "3 of 3 voters") {
					t.Error(accepted.What)
				}
			}
		})
	}
}

// TestPlansOfACrashLoopAreTheSame whether a process is there at the instant of the look or not.
func TestPlansOfACrashLoopAreTheSame(t *testing.T) {
	planned := func(running bool) string {
		s := fleetOf(1)
		s.stopped("s1")
		f := s.of("s1")
		f.CrashLooping = true
		if running {
			f.Running, f.VersionRunning, f.Problem, f.ExeCurrent = true, version("1.10.5"), "connection refused", true
		}
		text, err := json.Marshal(NewPlan(s, version("1.11.0"), Options{}))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if between, running := planned(false), planned(true); between != running {
		t.Errorf("between two starts:\n%s\nwhile a process runs:\n%s", between, running)
	}
}
