// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// upgraded is a cluster of three whose s1 has just been upgraded and is well again.
func upgraded() (ServerExpectation, ServerEvidence) {
	answers := cluster(3)
	target := version("1.11.0")
	answers[0].View.Version = target
	servers := answers[0].View.Raft.Servers
	expected := ServerExpectation{
		Host: "s1", Version: target, ServerID: "id-1", NodeName: "s1", Region: "global", DataDir: "/opt/nomad",
		Servers: servers, Reached: 50, PID: 20, OldPID: 10,
	}
	seen := ServerEvidence{Active: true, PID: 20, ExeCurrent: true, Own: answers[0], Others: answers[1:], AutopilotCounts: true}
	for i, server := range servers {
		name := answers[i].Host + ".global"
		seen.Raft.Servers = append(seen.Raft.Servers, RaftMember{RaftServer: server, Node: name, Leader: i == 2, Protocol: 3})
		build := answers[i].View.Version.String()
		seen.Members = append(seen.Members, Member{Name: name, Status: "alive", Tags: map[string]string{"build": build}})
		seen.Autopilot.Servers = append(seen.Autopilot.Servers, AutopilotServer{ID: server.ID, Version: build, Healthy: true, Voter: true})
	}
	seen.Autopilot.Healthy, seen.Autopilot.FailureTolerance = true, 1
	return expected, seen
}

func TestServerHealthy(t *testing.T) {
	tests := []struct {
		name     string
		change   func(e *ServerExpectation, s *ServerEvidence)
		contains string
	}{
		{"well", nil, ""},
		{"1: unit down", func(_ *ServerExpectation, s *ServerEvidence) { s.Active = false }, "unit is not active"},
		{"1: old process", func(_ *ServerExpectation, s *ServerEvidence) { s.PID = 10 }, "old process"},
		{"1: other process", func(_ *ServerExpectation, s *ServerEvidence) { s.PID = 30 }, "30 runs instead"},
		{"1: restarts", func(_ *ServerExpectation, s *ServerEvidence) { s.NRestarts = 2 }, "restarted the agent 2 times"},
		{"1: deleted image", func(_ *ServerExpectation, s *ServerEvidence) { s.ExeCurrent = false }, "installed binary"},
		{"2: no answer", func(_ *ServerExpectation, s *ServerEvidence) { s.Own = Answer{Error: "refused"} }, "does not answer"},
		{"2: old version", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.Version = version("1.10.5") }, "runs 1.10.5"},
		{"2: other edition", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.Version = version("1.11.0+ent") }, "runs 1.11.0+ent"},
		{"2: candidate", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.Raft.State = "Candidate" }, "Candidate"},
		{"2: no contact", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.Raft.LastContact = Never }, "not heard"},
		{"2: pending", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.Raft.Pending = 4 }, "wait to be applied"},
		{"2: peers", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.Raft.Peers = 1 }, "counts 1 raft peers"},
		{"2: other data directory", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.DataDir = "/tmp" }, "data directory"},
		{"2: other id", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.ServerID = "id-9" }, "server id"},
		{"3: nothing applied yet", func(_ *ServerExpectation, s *ServerEvidence) {
			s.Own.View.Raft.Commit, s.Own.View.Raft.Applied = 0, 0
		}, "must reach 50"},
		{"4: back after raft had dropped it", func(e *ServerExpectation, _ *ServerEvidence) { e.Servers = e.Servers[1:] }, ""},
		{"4: back, and without a vote yet", func(e *ServerExpectation, s *ServerEvidence) {
			e.Servers, s.Raft.Servers[0].Voter = e.Servers[1:], false
		}, "voter: false"},
		{"4: back, and not in raft yet", func(e *ServerExpectation, s *ServerEvidence) {
			e.Servers, s.Raft.Servers = e.Servers[1:], s.Raft.Servers[1:]
			s.Own.View.Raft.Servers = e.Servers
		}, "is missing"},
		{"4: vote lost", func(_ *ServerExpectation, s *ServerEvidence) { s.Raft.Servers[0].Voter = false }, "voter: false"},
		{"4: removed", func(_ *ServerExpectation, s *ServerEvidence) { s.Raft.Servers = s.Raft.Servers[1:] }, "is missing"},
		{"2: peers without a vote", func(e *ServerExpectation, s *ServerEvidence) {
			e.Servers = quiet(e.Servers, 0)
			s.Own.View.Raft.Servers, s.Own.View.Raft.Peers = e.Servers, 0
			s.Raft.Servers[0].Voter, s.Autopilot.Servers[0].Voter, s.Autopilot.FailureTolerance = false, false, 0
		}, ""},
		{"4: vote given", func(e *ServerExpectation, _ *ServerEvidence) { e.Servers = quiet(e.Servers, 1) }, ""},
		{"4: vote given to it", func(e *ServerExpectation, _ *ServerEvidence) { e.Servers = quiet(e.Servers, 0) }, ""},
		{"4: one more", func(e *ServerExpectation, _ *ServerEvidence) { e.Servers = e.Servers[:2] }, "is new"},
		{"4: another removed", func(_ *ServerExpectation, s *ServerEvidence) { remove(s, 1) }, "is missing"},
		{"4: a dead one removed", func(e *ServerExpectation, s *ServerEvidence) {
			e.SomeDown, s.Others[0] = true, Answer{Host: "s2", Error: "no route to host"}
			remove(s, 1)
		}, ""},
		{"4: one removed that answers", func(e *ServerExpectation, s *ServerEvidence) {
			e.SomeDown = true
			remove(s, 1)
		}, "is missing"},
		{"4: no leader", func(_ *ServerExpectation, s *ServerEvidence) { s.Raft.Servers[2].Leader = false }, "shows 0 leaders"},
		{"4: nobody else answers", func(_ *ServerExpectation, s *ServerEvidence) {
			s.Others = []Answer{{Host: "s2", Error: "no route to host"}, {Host: "s3", Error: "no route to host"}}
		}, "1 of the 2 servers that have to name a leader do so"},
		{"4: the only one, and another is stopped for good", func(e *ServerExpectation, s *ServerEvidence) {
			remove(s, 2)
			remove(s, 1)
			e.Servers, s.Members, s.Raft.Servers[0].Leader, s.Autopilot.FailureTolerance = s.Own.View.Raft.Servers, nil, true, 0
			s.Others = []Answer{{Host: "s2", Error: "its agent does not run"}, {Host: "s3", Error: "its agent does not run"}}
		}, ""},
		{"4: protocol unknown", func(_ *ServerExpectation, s *ServerEvidence) { s.Raft.Servers[0].Protocol = 0 }, "raft protocol"},
		{"4: disagreement", func(_ *ServerExpectation, s *ServerEvidence) { s.Own.View.Raft.LeaderAddr = "x" }, "disagree"},
		{"5: failed", func(_ *ServerExpectation, s *ServerEvidence) { s.Members[0].Status = "failed" }, "see it as failed"},
		{"5: old build", func(_ *ServerExpectation, s *ServerEvidence) { s.Members[0].Tags["build"] = "1.10.5" }, "still see version 1.10.5"},
		{"6: unhealthy", func(_ *ServerExpectation, s *ServerEvidence) { s.Autopilot.Healthy = false }, "unhealthy"},
		{"6: fewer servers", func(_ *ServerExpectation, s *ServerEvidence) { s.Autopilot.Servers = s.Autopilot.Servers[1:] }, "2 servers instead of 3"},
		{"6: tolerance", func(_ *ServerExpectation, s *ServerEvidence) { s.Autopilot.FailureTolerance = 0 }, "tolerance of 0"},
		{"6: old news", func(_ *ServerExpectation, s *ServerEvidence) { s.Autopilot, s.AutopilotCounts = Autopilot{}, false }, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expected, seen := upgraded()
			if test.change != nil {
				test.change(&expected, &seen)
			}
			words := Words(ServerHealthy(expected, seen))
			if (test.contains == "") != (words == "") || !strings.Contains(words, test.contains) {
				t.Errorf("problems = %q, want %q", words, test.contains)
			}
		})
	}
}

// quiet is a configuration in which one server has no vote.
func quiet(servers []RaftServer, i int) []RaftServer {
	servers = slices.Clone(servers)
	servers[i].Voter = false
	return servers
}

// remove takes a server out of raft, as the leader and the others know it.
func remove(s *ServerEvidence, i int) {
	own := &s.Own.View.Raft
	own.Servers = slices.Delete(slices.Clone(own.Servers), i, i+1)
	own.Peers = Voters(own.Servers) - 1
	s.Raft.Servers = slices.Delete(slices.Clone(s.Raft.Servers), i, i+1)
	s.Autopilot.Servers = slices.Delete(slices.Clone(s.Autopilot.Servers), i, i+1)
}

func TestStableForIsTheFullTimeAfterAChangeOfPeers(t *testing.T) {
	expected, seen := upgraded()
	if PeersChanged(expected, seen) {
		t.Error("peers did not change")
	}
	if got := StableFor(false, 1); got <= heartbeatTimeout || got > 2*heartbeatTimeout {
		t.Errorf("unchanged peers: %s", got)
	}
	if got := StableFor(false, 5); got < 5*heartbeatTimeout {
		t.Errorf("unchanged peers, multiplier 5: %s", got)
	}
	seen.Raft.Servers[0].Voter = false
	if !PeersChanged(expected, seen) || StableFor(true, 1) != ServerStabilizationTime {
		t.Error("a lost vote must cost the full stabilization time")
	}
}

func TestClientReady(t *testing.T) {
	before := Node{ID: "n", Status: "ready", Eligibility: "ineligible", Version: "1.10.5", Drivers: map[string]Driver{"docker": {}, "exec": {true, true}, "raw_exec": {true, false}}}
	good := func() ClientState {
		return ClientState{
			Own: Answer{Host: "c1", View: AgentView{
				Asked: now, Version: version("1.11.0"), Client: true,
				Heartbeat: Heartbeat{Last: 800 * time.Millisecond, TTL: 15 * time.Second, Servers: "10.0.0.1:4647"},
			}},
			Node: Node{ID: "n", Status: "ready", Eligibility: "ineligible", Version: "1.11.0", Drivers: map[string]Driver{"exec": {true, true}, "raw_exec": {true, true}}},
		}
	}
	tests := []struct {
		name     string
		change   func(s *ClientState)
		contains string
	}{
		{"well", func(*ClientState) {}, ""},
		{"no answer", func(s *ClientState) { s.Own.Error = "refused" }, "does not answer"},
		{"old agent still", func(s *ClientState) { s.Own.View.Version = version("1.10.5") }, "runs 1.10.5"},
		{"ready but old: the servers have not noticed", func(s *ClientState) { s.Node.Version = "1.10.5" }, "still see version 1.10.5"},
		{"no heartbeat since the start", func(s *ClientState) { s.Own.View.Heartbeat.Last = 3 * time.Second }, "has not sent a heartbeat"},
		{"never a heartbeat", func(s *ClientState) { s.Own.View.Heartbeat.Last = Never }, "has not sent a heartbeat"},
		{"no servers", func(s *ClientState) { s.Own.View.Heartbeat.Servers = "" }, "knows no server"},
		{"down", func(s *ClientState) { s.Node.Status = "down" }, "see it as down"},
		{"eligibility changed", func(s *ClientState) { s.Node.Eligibility = "eligible" }, "was ineligible and is eligible"},
		{"driver lost", func(s *ClientState) { delete(s.Node.Drivers, "exec") }, "driver exec"},
		{"driver sick", func(s *ClientState) { s.Node.Drivers["exec"] = Driver{Detected: true} }, "was healthy"},
		{"other node id", func(s *ClientState) { s.Node.ID = "m" }, "node id"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state := good()
			test.change(&state)
			words := Words(ClientReady("c1", &before, state, version("1.11.0"), now.Add(-2*time.Second)))
			if (test.contains == "") != (words == "") || !strings.Contains(words, test.contains) {
				t.Errorf("problems = %q, want %q", words, test.contains)
			}
		})
	}
}

func TestMayRestartClient(t *testing.T) {
	tests := []struct {
		name      string
		last, ttl time.Duration
		gap       time.Duration
		want      bool
	}{
		{"plenty", 5 * time.Second, 15 * time.Second, 3 * time.Second, true},
		{"worst case of an assumed gap", 15 * time.Second, 15 * time.Second, AssumedGap, true},
		{"too little", 14 * time.Second, 15 * time.Second, 4 * time.Second, false},
		{"right after a heartbeat", 100 * time.Millisecond, 12 * time.Second, 9 * time.Second, true},
		{"unknown", Never, 15 * time.Second, time.Second, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ok, why := MayRestartClient(Heartbeat{Last: test.last, TTL: test.ttl}, DefaultHeartbeatGrace, test.gap, FreshHeartbeat)
			if ok != test.want || ok == (why != "") {
				t.Errorf("= %t, %q", ok, why)
			}
		})
	}
}
