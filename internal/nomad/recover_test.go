// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/agentconfig"
)

func survivorID(n int) string { return fmt.Sprintf("%08d-0000-0000-0000-000000000000", n) }

// lost is a cluster of `voters` servers of which the first `left` survive, running and without a leader.
func lost(voters, left int) (RecoverSurvey, RecoverOptions) {
	var servers []RaftServer
	for i := range voters {
		servers = append(servers, RaftServer{ID: survivorID(i + 1), Address: fmt.Sprintf("10.0.0.%d:4647", i+1), Voter: true})
	}
	survey := RecoverSurvey{Leaderless: ElectionPatience}
	survey.Unreachable = map[string]LookFailure{}
	var options RecoverOptions
	for i := range left {
		host := fmt.Sprintf("s%d", i+1)
		view := AgentView{
			Host: host, NodeName: host, Region: "global", Server: true, ServerID: servers[i].ID, RPC: servers[i].Address, Version: version("1.10.5"), DataDir: "/opt/nomad",
			Raft: Raft{State: "Candidate", Term: 4, Applied: uint64(50 + i), Protocol: 3, Servers: servers},
		}
		facts := HostFacts{Host: host, Unit: "nomad.service", Running: true, VersionRunning: view.Version, VersionDisk: view.Version, UnitSettings: UnitFacts{Systemd: true, ExecStart: []string{"/usr/bin/nomad"}}}
		facts.SetView(view)
		e := RecoverEvidence{View: &view, Written: time.Unix(1_700_000_000, 0), Size: 1 << 20}
		e.RaftEvidence = RaftEvidence{Facts: facts, NodeID: servers[i].ID, Store: true, PeersInfo: true, Address: servers[i].Address}
		survey.Hosts = append(survey.Hosts, facts)
		survey.Evidence = append(survey.Evidence, e)
		survey.Answers = append(survey.Answers, Answer{Host: host, View: view})
		options.Survivors = append(options.Survivors, host)
	}
	return survey, options
}

// stopped lets a survivor's agent not run.
func (s *RecoverSurvey) stopped(i int) {
	f := &s.Evidence[i].Facts
	f.Running, f.Answers, f.RaftServers = false, false, nil
	s.Evidence[i].View = nil
	s.Answers = slices.DeleteFunc(s.Answers, func(a Answer) bool { return a.Host == f.Host })
	s.Hosts[i] = *f
}

func TestRecovery(t *testing.T) {
	tests := []struct {
		name         string
		voters, left int
		change       func(s *RecoverSurvey, o *RecoverOptions)
		verdict      string
		contains     []string // of the page
	}{
		{"one of three", 3, 1, nil, VerdictChanges, []string{"acknowledged writes that only the lost servers had (10.0.0.2:4647, 10.0.0.3:4647): 1 of 3 voters survive, and 2 would be needed"}},
		{"two of four", 4, 2, nil, VerdictChanges, []string{"no acknowledged write: every majority of the 4 voters has a survivor in it", "s2 has applied the most"}},
		{"one of two", 2, 1, nil, VerdictChanges, []string{"no acknowledged write", "10.0.0.2:4647 is given up"}},
		{"nobody answers", 3, 2, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.stopped(0)
			s.stopped(1)
			s.Evidence[0].Last = 40
		}, VerdictChanges, []string{"how many there were cannot be seen", "40 or more", "unknown", "2023-11-14 22:13:20"}},
		{"an election may be under way", 3, 2, func(s *RecoverSurvey, _ *RecoverOptions) { s.Leaderless = time.Second }, VerdictRefused, []string{"an election may be under way"}},
		{"a majority without a leader", 3, 2, nil, VerdictChanges, []string{"2 of 3 voters answer, which is a majority"}},
		{"a leader", 3, 2, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.Answers[0].View.Raft.State = Leader
		}, VerdictRefused, []string{"there is nothing to recover: s1 leads"}},
		{"recovered already", 2, 2, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.Answers[0].View.Raft.State = Leader
		}, VerdictClean, []string{"There is nothing to recover: s1 leads, and raft's configuration is exactly these servers"}},
		{"recovered by a run that died", 2, 2, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.Answers[0].View.Raft.State, s.Evidence[1].Leftover = Leader, true
		}, VerdictChanges, []string{"It remains to be proven and closed"}},
		{"recovered by a run that died before it reached one", 3, 3, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.stopped(0)
			s.Answers[0].View.Raft.State, s.Evidence[1].Leftover = Leader, true
		}, VerdictChanges, []string{"s1 does not run, and an earlier recovery has not reached it: it is started beside the leader", "It remains to be proven and closed"}},
		{"one that was not reached and was removed meanwhile", 3, 3, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.stopped(0)
			s.Answers[0].View.Raft.State, s.Evidence[1].Leftover = Leader, true
			s.Answers[0].View.Raft.Servers = s.Answers[0].View.Raft.Servers[1:]
		}, VerdictChanges, []string{"s1 does not run, and an earlier recovery has not reached it", "s2 leads, with 2 of these 3 servers as voters"}},
		{"one that was not reached, on protocol 2", 3, 3, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.stopped(0)
			s.Answers[0].View.Raft.State, s.Evidence[1].Leftover = Leader, true
			old := raftServerOf(t)
			s.Evidence[0].Protocols, s.Evidence[0].Edits = old.Protocols, old.Edits
		}, VerdictChanges, []string{"raft_protocol 2 becomes 3", "started beside the leader"}},
		{"several that were not reached and have been removed", 3, 3, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.stopped(0)
			s.stopped(1)
			s.Answers[0].View.Raft.State, s.Evidence[2].Leftover = Leader, true
			s.Answers[0].View.Raft.Servers = s.Answers[0].View.Raft.Servers[2:]
		}, VerdictRefused, []string{"could elect a leader of their own", "move server/"}},
		{"a voter is stopped, and no recovery was begun", 3, 3, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.stopped(0)
			s.Answers[0].View.Raft.State = Leader
		}, VerdictClean, []string{"There is nothing to recover", "s1: its agent does not run, and s2 leads without it", "systemctl start nomad.service"}},
		{"a stopped server that raft does not have, and no recovery was begun", 3, 3, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.stopped(0)
			s.Answers[0].View.Raft.State = Leader
			s.Answers[0].View.Raft.Servers = s.Answers[0].View.Raft.Servers[1:]
		}, VerdictRefused, []string{"there is nothing to recover", "systemctl start nomad.service"}},
		{"a leader outside of the survivors", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			other := s.Answers[0]
			other.Host, other.View.Raft.State = "s3", Leader
			s.Answers = append(s.Answers, other)
		}, VerdictRefused, []string{"nothing to recover"}},
		{"a survivor is unreachable", 3, 1, func(s *RecoverSurvey, o *RecoverOptions) {
			o.Survivors = append(o.Survivors, "s2")
			s.Unreachable["s2"] = LookFailure{Kind: LookUnreachable, Text: "no route"}
		}, VerdictRefused, []string{"s2: it is named as a survivor", "--limit 'all:!s2'"}},
		{"an unreachable host that is no survivor", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.Unreachable["s2"] = LookFailure{Kind: LookUnreachable, Text: "no route"}
		}, VerdictChanges, nil},
		{"another server runs", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			other := s.Hosts[0]
			other.Host = "s2"
			s.Hosts = append(s.Hosts, other)
		}, VerdictRefused, []string{"s2: its agent runs, and it is not among the survivors"}},
		{"another server is there and does not run", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			other := s.Hosts[0]
			other.Host, other.Running = "s2", false
			s.Hosts = append(s.Hosts, other)
		}, VerdictChanges, []string{"s2: its agent does not run, and it will not be in the new raft configuration: move its /opt/nomad/server away"}},
		{"others could be started instead", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			for _, host := range []string{"s2", "s3"} {
				other := s.Hosts[0]
				other.Host, other.Running = host, false
				s.Hosts, s.Idle = append(s.Hosts, other), append(s.Idle, host)
			}
			s.stopped(0)
		}, VerdictChanges, []string{"s2, s3 can be reached, do not run and have the data of before", "start them instead: nothing is lost then: systemctl start nomad.service on s1, s2, s3"}},
		{"several survivors are unreachable", 3, 1, func(s *RecoverSurvey, o *RecoverOptions) {
			o.Survivors = append(o.Survivors, "s2", "s3")
			s.Unreachable["s2"], s.Unreachable["s3"] = LookFailure{Kind: LookUnreachable, Text: "no route"}, LookFailure{Kind: LookUnreachable, Text: "timed out"}
		}, VerdictRefused, []string{"s2: it is named", "s3: it is named", "leave them out: --limit 'all:!s2:!s3'"}},
		{"something answers at a dead server's address", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.Alive = []string{"10.0.0.3:4647 accepts connections from s1"}
		}, VerdictRefused, []string{"10.0.0.3:4647 accepts connections"}},
		{"protocol 2 in force", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) { s.Evidence[0].Facts.RaftProtocol = 2 }, VerdictChanges, nil},
		{"protocol 2 in a file that can be edited", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			old := raftServerOf(t)
			s.Evidence[0].Protocols, s.Evidence[0].Edits = old.Protocols, old.Edits
		}, VerdictChanges, []string{"s1: /etc/nomad.d/server.hcl:2:3: raft_protocol 2 becomes 3, with the new raft configuration"}},
		{"it refuses the token, and names a leader", 3, 1, func(s *RecoverSurvey, o *RecoverOptions) {
			s.stopped(0)
			s.Evidence[0].Facts.Running, s.Evidence[0].Leads, o.StopSignal = true, "10.0.0.2:4647", "KILL"
		}, VerdictRefused, []string{"names 10.0.0.2:4647 as the leader", "agent:read"}},
		{"protocol 2 by a flag", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.Evidence[0].EditProblem = "the flag -raft-protocol=2 decides"
		}, VerdictRefused, []string{"-raft-protocol=2"}},
		{"protocol 2 by default", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.stopped(0)
			s.Evidence[0].Facts.VersionDisk = version("1.2.6")
		}, VerdictRefused, []string{"raft protocol 2, the default of Nomad 1.2.6"}},
		{"protocol 2 in a file", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			two, err := agentconfig.ValueOf(2)
			if err != nil {
				t.Fatal(err)
			}
			s.Evidence[0].Protocols = []agentconfig.Occurrence{{File: "/etc/nomad.d/server.hcl", Line: 3, Value: two}}
		}, VerdictRefused, []string{"raft protocol 2, by /etc/nomad.d/server.hcl:3"}},
		{"no peers.info", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) { s.Evidence[0].PeersInfo = false }, VerdictRefused, []string{"peers.info is missing"}},
		{"no raft.db", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) { s.Evidence[0].Store = false }, VerdictRefused, []string{"has no raft.db"}},
		{"no address", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) { s.Evidence[0].Address = "" }, VerdictRefused, []string{"advertise { rpc"}},
		{"a node id with a line break", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) { s.Evidence[0].NodeID += "\nx" }, VerdictRefused, []string{"which is no id"}},
		{"a peers.json of unknown origin", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) { s.Evidence[0].Peers = []byte("[]") }, VerdictRefused, []string{"--replace-peers-json"}},
		{"a peers.json of unknown origin, accepted", 3, 1, func(s *RecoverSurvey, o *RecoverOptions) {
			s.Evidence[0].Peers, o.ReplacePeers = []byte("[]"), true
		}, VerdictChanges, nil},
		{"the peers.json of an earlier run", 3, 2, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.Evidence[0].Peers = PeersFile(s.Evidence[1].Peer(), s.Evidence[0].Peer())
			s.Evidence[0].Leftover = true
		}, VerdictChanges, []string{"An earlier recovery was interrupted"}},
		{"different regions", 3, 2, func(s *RecoverSurvey, _ *RecoverOptions) { s.Evidence[1].Facts.Region = "eu" }, VerdictRefused, []string{"different regions: eu, global"}},
		{"different clusters", 3, 2, func(s *RecoverSurvey, _ *RecoverOptions) {
			view := *s.Evidence[1].View
			view.Raft.Servers = view.Raft.Servers[1:]
			s.Evidence[1].View = &view
		}, VerdictRefused, []string{"s2: its raft configuration does not have s1: they are of different clusters"}},
		{"one is a copy", 3, 2, func(s *RecoverSurvey, _ *RecoverOptions) { s.Evidence[1].NodeID = s.Evidence[0].NodeID }, VerdictRefused, []string{"the same node id as s1"}},
		{"an agent that runs and does not answer", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			s.Evidence[0].Facts.Answers, s.Evidence[0].View = false, nil
		}, VerdictRefused, []string{"--stop-signal KILL"}},
		{"an agent that runs and refuses the token", 3, 1, func(s *RecoverSurvey, _ *RecoverOptions) {
			f := &s.Evidence[0].Facts
			f.Answers, f.Denied, f.Problem, s.Evidence[0].View = false, DeniedPermission, "403 (Permission denied)", nil
		}, VerdictRefused, []string{"1. s1: its agent runs and refuses the token", "give a token with the capability agent:read (nomad_token, nomad_token_file or NOMAD_TOKEN)", "--stop-signal KILL"}},
		{"a configuration that cannot be parsed", 3, 0, func(s *RecoverSurvey, o *RecoverOptions) {
			o.Survivors, s.Unread = []string{"s1"}, map[string]string{"s1": "/etc/nomad.d/server.hcl:3:1: this is not HCL"}
		}, VerdictRefused, []string{"1. s1: whether it is a server is not known: /etc/nomad.d/server.hcl:3:1: this is not HCL", "Refused"}},
		{"one of two has a configuration that cannot be parsed", 3, 1, func(s *RecoverSurvey, o *RecoverOptions) {
			o.Survivors, s.Unread = append(o.Survivors, "s2"), map[string]string{"s2": "/etc/nomad.d/server.hcl:3:1: this is not HCL"}
		}, VerdictRefused, []string{"s2: whether it is a server is not known"}},
		{"the only survivor is unreachable", 3, 0, func(s *RecoverSurvey, o *RecoverOptions) {
			o.Survivors, s.Unreachable["s2"] = []string{"s2"}, LookFailure{Kind: LookUnreachable, Text: "no route"}
		}, VerdictRefused, []string{"1. s2: it is named as a survivor, and nothing is known of it: unreachable: no route"}},
		{"no server", 3, 0, nil, VerdictRefused, []string{"none of these hosts has a Nomad server"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			survey, options := lost(test.voters, test.left)
			if test.change != nil {
				test.change(&survey, &options)
			}
			plan := NewRecovery(survey, options)
			page := strings.Join(strings.Fields(plan.Page()), " ")
			if plan.Verdict() != test.verdict {
				t.Errorf("verdict %s, want %s", plan.Verdict(), test.verdict)
			}
			for _, words := range test.contains {
				if !strings.Contains(page, words) {
					t.Errorf("it does not say %q", words)
				}
			}
			if test.name != "no server" && strings.Contains(page, "none of these hosts") {
				t.Error("it says that there is no server where that is not known")
			}
			if t.Failed() {
				t.Log(plan.Page())
			}
		})
	}
}

func TestRecoveredMissing(t *testing.T) {
	tests := []struct {
		name     string
		change   func(e *RecoveredEvidence)
		contains string
	}{
		{"proven", nil, ""},
		{"nobody leads", func(e *RecoveredEvidence) { e.Answers[1].View.Raft.State = Follower }, "no survivor leads"},
		{"the old configuration", func(e *RecoveredEvidence) {
			e.Answers[0].View.Raft.Servers = append(slices.Clone(e.Answers[0].View.Raft.Servers), RaftServer{ID: "x", Address: "y", Voter: true})
		}, "is not the survivors"},
		{"follows nobody", func(e *RecoveredEvidence) { e.Answers[0].View.Raft.LeaderAddr = "" }, "does not follow s2 yet"},
		{"silent", func(e *RecoveredEvidence) { e.Answers[0].Error = "refused" }, "s1: it does not answer"},
		{"peers.json is left", func(e *RecoveredEvidence) { e.Left = []string{"s1"} }, "s1: its raft/peers.json is still there"},
		{"a job is gone", func(e *RecoveredEvidence) { e.Before = []string{"default/a", "default/b"} }, "1 of 2 jobs are not there: default/b"},
		{"two leaders", func(e *RecoveredEvidence) { e.Answers[0].View.Raft.State = Leader }, "also says that it leads"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answers := cluster(2)
			var peers []RaftPeer
			for _, server := range answers[0].View.Raft.Servers {
				peers = append(peers, RaftPeer{ID: server.ID, Address: server.Address})
			}
			seen := RecoveredEvidence{Answers: answers, Jobs: []string{"default/a"}, Before: []string{"default/a"}}
			if test.change != nil {
				test.change(&seen)
			}
			got := Words(RecoveredMissing(peers, seen))
			if (test.contains == "") != (got == "") || !strings.Contains(got, test.contains) {
				t.Errorf("got %q, want %q", got, test.contains)
			}
		})
	}
}

func TestLastSnapshot(t *testing.T) {
	if last := LastSnapshot([]string{"2-16401-1699999999999", "3-20482-1700000000000", "permTest", "4-99999-1.tmp"}); last != 20482 {
		t.Errorf("%d", last)
	}
}

func TestSamePeers(t *testing.T) {
	a, b := RaftPeer{ID: "a", Address: "x"}, RaftPeer{ID: "b", Address: "y"}
	for text, want := range map[string]bool{
		string(PeersFile(a, b)): true, string(PeersFile(b, a)): true, string(PeersFile(a)): false, "[]": false, "no": false,
		`["x","y"]`: false, `[{"id":"a","address":"x","non_voter":true},{"id":"b","address":"y"}]`: false,
	} {
		if got := SamePeers([]byte(text), []RaftPeer{a, b}); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

// A remedy that names a command leads out of it: the same servers, in the state that the remedy says, are not refused by that command.
func TestRemediesDoNotLeadInACircle(t *testing.T) {
	recoverable := func(t *testing.T, evidence []RaftEvidence) Recovery {
		survey, options := RecoverSurvey{Leaderless: ElectionPatience}, RecoverOptions{}
		for _, e := range evidence {
			e.Facts.Unit, e.Facts.UnitSettings = "nomad.service", UnitFacts{Systemd: true, ExecStart: []string{"/usr/bin/nomad"}}
			one := RecoverEvidence{RaftEvidence: e}
			if e.Facts.Answers {
				one.View = &AgentView{Host: e.Facts.Host, ServerID: e.NodeID, RPC: e.Address, Raft: Raft{State: "Candidate", Applied: 5, Protocol: 2, Servers: e.Facts.RaftServers}}
				if e.Facts.Leader {
					one.View.Raft.State = Leader
				}
				survey.Answers = append(survey.Answers, Answer{Host: e.Facts.Host, View: *one.View})
			}
			survey.Hosts, survey.Evidence = append(survey.Hosts, e.Facts), append(survey.Evidence, one)
			options.Survivors = append(options.Survivors, e.Facts.Host)
		}
		return NewRecovery(survey, options)
	}
	leaderless := func(all []RaftEvidence) []RaftEvidence {
		for i := range all {
			all[i].Facts.Leader = false
		}
		return all
	}
	down := func(all []RaftEvidence) []RaftEvidence {
		for i := range all {
			silent(&all[i])
		}
		return all
	}
	for name, evidence := range map[string][]RaftEvidence{
		"two that have a leader":     raftClusterOf(t, 2),
		"two without a leader":       leaderless(raftClusterOf(t, 2)),
		"two that are stopped":       down(raftClusterOf(t, 2)),
		"three without a leader":     leaderless(raftClusterOf(t, 3)),
		"three that are stopped":     down(raftClusterOf(t, 3)),
		"one of three in a cluster":  down(raftClusterOf(t, 3))[:1],
		"three, one of them stopped": append(leaderless(raftClusterOf(t, 3))[:2], down(raftClusterOf(t, 3))[2]),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "one of three in a cluster" {
				evidence[0].Others = []string{"gossip knew s2.global"}
			}
			plan := NewRaftPlan(Survey{}, evidence, RaftOptions{})
			if plan.Verdict() != VerdictRefused {
				t.Fatalf("not refused: %+v", plan)
			}
			for _, problem := range plan.Problems {
				after := slices.Clone(evidence)
				switch {
				case strings.Contains(problem.Remedy, "drover replace-servers"):
					t.Errorf("%s: it refuses raft protocol 2", problem)
				case !strings.Contains(problem.Remedy, "drover recover"):
					t.Errorf("%s: no command that goes on", problem)
				case strings.Contains(problem.Remedy, "systemctl stop"):
					after = down(after)
				}
				r := recoverable(t, after)
				if r.Verdict() != VerdictChanges {
					t.Errorf("%s: drover recover refuses it: %s", problem, Words(r.Problems))
				}
				for i := range r.Steps {
					if len(r.Steps[i].Edits) != 1 {
						t.Errorf("%s keeps raft protocol 2", r.Steps[i].Host)
					}
				}
			}
		})
	}
}
