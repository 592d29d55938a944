// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wellCluster is three servers and a client with which nothing is wrong.
func wellCluster() OverviewEvidence {
	answers := cluster(3)
	e := OverviewEvidence{Unreachable: map[string]LookFailure{}, Beside: map[string]Beside{}}
	region := ClusterEvidence{Region: "global", Reached: 50, Members: map[string][]Member{}}
	var members []Member
	for i, answer := range answers {
		view := answer.View
		facts := HostFacts{Host: answer.Host, Unit: "nomad.service", Running: true, VersionRunning: view.Version, VersionDisk: view.Version, ExeCurrent: true, Binary: "/usr/bin/nomad"}
		facts.SetView(view)
		facts.Host = answer.Host
		e.Hosts = append(e.Hosts, facts)
		e.Beside[answer.Host] = Beside{Precision: time.Millisecond}
		name := answer.Host + ".global"
		region.Raft.Servers = append(region.Raft.Servers, RaftMember{RaftServer: view.Raft.Servers[i], Node: name, Leader: i == 2, Protocol: 3})
		members = append(members, Member{Name: name, Addr: "10.0.0.1", Status: "alive", Tags: map[string]string{"build": "1.10.5"}})
		region.Autopilot.Servers = append(region.Autopilot.Servers, AutopilotServer{ID: view.ServerID, Name: name, Version: "1.10.5", Healthy: true, Voter: true})
	}
	for _, answer := range answers {
		region.Members[answer.Host] = slices.Clone(members)
	}
	region.Autopilot.Healthy, region.Autopilot.FailureTolerance = true, 1
	view := AgentView{
		Host: "c1", NodeName: "c1", Region: "global", Datacenter: "dc1", Client: true, NodeID: "node-1", Version: version("1.10.5"),
		Heartbeat: Heartbeat{Servers: "10.0.0.1:4647", TTL: 15 * time.Second, Last: time.Second, Allocs: 2},
	}
	facts := HostFacts{Host: "c1", Unit: "nomad.service", Running: true, VersionRunning: view.Version, VersionDisk: view.Version, ExeCurrent: true}
	facts.SetView(view)
	facts.UnitSettings = UnitFacts{Systemd: true, KillMode: "process"}
	e.Hosts = append(e.Hosts, facts)
	e.Beside["c1"] = Beside{Precision: time.Millisecond}
	region.Answers = append(answers, Answer{Host: "c1", View: view})
	region.Nodes = []NodeSummary{{ID: "node-1", Name: "c1", Status: "ready", SchedulingEligibility: "eligible", Version: "1.10.5"}}
	region.Jobs = []JobState{{ID: "web", Namespace: "default", Status: "running", Running: 2}}
	e.Clusters = []ClusterEvidence{region}
	return e
}

// silence lets the agent of a host be gone.
func (e *OverviewEvidence) silence(host string) {
	for i := range e.Hosts {
		if f := &e.Hosts[i]; f.Host == host {
			f.Running, f.Answers, f.VersionRunning, f.ExeCurrent = false, false, Version{}, false
		}
	}
	c := &e.Clusters[0]
	c.Answers = slices.DeleteFunc(c.Answers, func(a Answer) bool { return a.Host == host })
	delete(c.Members, host)
}

func TestOverview(t *testing.T) {
	own := func(e *OverviewEvidence, host string) *AgentView {
		for i := range e.Clusters[0].Answers {
			if a := &e.Clusters[0].Answers[i]; a.Host == host {
				return &a.View
			}
		}
		return nil
	}
	tests := []struct {
		name     string
		change   func(e *OverviewEvidence, c *ClusterEvidence)
		problems []string // kind host: part of the text
		notes    []string
	}{
		{"well", nil, nil, nil},
		{"well, with the version", func(e *OverviewEvidence, _ *ClusterEvidence) { e.Target = version("1.10.5") }, nil, nil},
		{"another version wanted", func(e *OverviewEvidence, _ *ClusterEvidence) { e.Target = version("1.11.0") }, []string{"version c1: 1.11.0", "version s1: runs 1.10.5", "version s2: ", "version s3: "}, nil},
		{"unreachable server", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.silence("s1")
			e.Hosts = e.Hosts[1:]
			e.Unreachable["s1"] = LookFailure{Kind: LookUnreachable, Text: "no route"}
		}, []string{"quorum : 2 of 3 voters answer", "autopilot : calls s1.global healthy, which does not answer", "unreachable s1: no route"}, nil},
		{"stopped server", func(e *OverviewEvidence, _ *ClusterEvidence) { e.silence("s1") }, []string{"quorum : 2 of 3", "autopilot : ", "not_running s1: "}, []string{"members s1: has not noticed"}},
		{"a server that was replaced", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.addStopped("s0", true)
			c.Raft.Servers = slices.Clone(c.Raft.Servers)
		}, nil, []string{"not_running s0: its unit is disabled, so that it is left alone"}},
		{"a server that was replaced, with a version to prove", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.addStopped("s0", true)
			e.Target = version("1.10.5")
		}, nil, []string{"not_running s0: "}},
		{"a disabled server that votes", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.silence("s1")
			e.Hosts[0].Disabled = true
		}, []string{"quorum : 2 of 3", "autopilot : ", "not_running s1: its agent does not run"}, []string{"members s1: "}},
		{"a client that was replaced", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.addStopped("c0", false)
			c.Nodes = append(c.Nodes, NodeSummary{ID: "id-c0", Name: "c0", Status: "down"})
		}, nil, []string{"not_running c0: its unit is disabled", "node_status c0: the servers call it down"}},
		{"a client that was replaced and forgotten", func(e *OverviewEvidence, _ *ClusterEvidence) { e.addStopped("c0", false) }, nil, []string{"not_running c0: "}},
		{"a server being migrated, by its address", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.silence("s1")
			e.Hosts[0].RPC, e.Hosts[0].RaftServers = "", nil
			e.Beside["s1"] = Beside{HeldBy: "another run holds nomad.service on this host: root@bastion (run 1)"}
			e.Hosts[0].Unfinished = "the restart of an earlier run (stopped)"
			e.Addresses = map[string]string{"s1": "10.0.0.1"}
			byAddress := RaftServer{ID: "10.0.0.1:4647", Address: "10.0.0.1:4647", Voter: true}
			c.Raft.Servers[0] = RaftMember{RaftServer: byAddress, Node: "(unknown)"}
			c.Autopilot = Autopilot{Unavailable: "-"}
			for _, host := range []string{"s2", "s3"} {
				view := own(e, host)
				view.Raft.Servers = slices.Clone(view.Raft.Servers)
				view.Raft.Servers[0] = byAddress
			}
			own(e, "s2").Raft.Protocol = 2
		}, []string{"quorum : 2 of 3", "not_running s1: its agent does not run; another run holds nomad.service"}, []string{"raft_protocol : ", "members s1: "}},
		{"failed server", func(e *OverviewEvidence, c *ClusterEvidence) {
			c.Members["s3"][0].Status = "failed"
		}, []string{"members s1: gossip on s3 has it as failed"}, nil},
		{"two that are left out by gossip differ", func(_ *OverviewEvidence, c *ClusterEvidence) {
			c.Members["s2"] = c.Members["s2"][1:]
		}, []string{"members s1: gossip on s2 does not know it"}, nil},
		{"gossip still sees the old version", func(_ *OverviewEvidence, c *ClusterEvidence) {
			c.Members["s3"][1].Tags = map[string]string{"build": "1.9.0"}
		}, []string{"members s2: s3 still sees version 1.9.0"}, nil},
		{"behind", func(e *OverviewEvidence, _ *ClusterEvidence) { own(e, "s1").Raft.Applied = 49 }, []string{"applied_index s1: applied index 49"}, nil},
		{"out of contact", func(e *OverviewEvidence, _ *ClusterEvidence) { own(e, "s1").Raft.LastContact = 3 * time.Second }, []string{"last_contact s1: for 3s"}, nil},
		{"knows no leader", func(e *OverviewEvidence, _ *ClusterEvidence) {
			own(e, "s1").Raft.LeaderAddr, own(e, "s1").Raft.State = "", "Candidate"
		}, []string{"quorum : 2 of 3", "raft_state s1: Candidate", "leader_disagreement s1: knows no leader, while s3 leads"}, nil},
		{"another leader", func(e *OverviewEvidence, _ *ClusterEvidence) { own(e, "s1").Raft.LeaderAddr = "10.9.9.9:4647" }, []string{"leader_disagreement s1: takes 10.9.9.9:4647 for the leader"}, nil},
		{"nobody leads", func(e *OverviewEvidence, _ *ClusterEvidence) {
			for i := range 3 {
				e.Clusters[0].Answers[i].View.Raft.State, e.Clusters[0].Answers[i].View.Raft.LeaderAddr = Follower, ""
			}
		}, []string{"no_leader : 3 of 3 voters answer"}, nil},
		{"led from outside", func(e *OverviewEvidence, _ *ClusterEvidence) {
			for i := range 3 {
				raft := &e.Clusters[0].Answers[i].View.Raft
				raft.State, raft.LeaderAddr, raft.LastContact = Follower, "10.0.0.9:4647", time.Millisecond
			}
		}, []string{"no_leader : s1, s2, s3 name 10.0.0.9:4647 as the leader"}, nil},
		{"quorum lost", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.silence("s2")
			e.silence("s3")
			own(e, "s1").Raft.LeaderAddr, c.NodesError = "", "no server leads"
		}, []string{"quorum : by s1's raft configuration 1 of 3 voters answer, and 2 are needed; missing: s2, s3", "not_running s2: ", "not_running s3: "}, []string{"members s2: ", "members s3: "}},
		{"restarted with protocol 3 without peers.json", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.silence("s2")
			e.silence("s3")
			e.Hosts = slices.DeleteFunc(e.Hosts, func(f HostFacts) bool { return f.Host == "s2" || f.Host == "s3" })
			view := own(e, "s1")
			view.Raft.LeaderAddr, view.Raft.State = "", Follower
			view.Raft.Servers = []RaftServer{{ID: view.RPC, Address: view.RPC, Voter: true}}
			c.NodesError, c.Members = "no server leads", nil
		}, []string{"raft_id s1: without a peers.json"}, nil},
		{"protocol 2", func(e *OverviewEvidence, c *ClusterEvidence) {
			servers := []RaftServer{}
			for i := range 3 {
				address := e.Clusters[0].Answers[i].View.RPC
				servers = append(servers, RaftServer{ID: address, Address: address, Voter: true})
			}
			for i := range 3 {
				e.Clusters[0].Answers[i].View.Raft.Protocol, e.Clusters[0].Answers[i].View.Raft.Servers = 2, servers
			}
			c.Autopilot = Autopilot{Unavailable: "all servers must have raft_protocol set to 3 or higher"}
		}, nil, []string{"raft_protocol : in force on s1, s2, s3"}},
		{"autopilot has no opinion", func(_ *OverviewEvidence, c *ClusterEvidence) { c.Autopilot = Autopilot{Unavailable: "no report"} }, []string{"autopilot : no report"}, nil},
		{"autopilot counts too few", func(_ *OverviewEvidence, c *ClusterEvidence) {
			c.Autopilot.Servers, c.Autopilot.FailureTolerance = c.Autopilot.Servers[1:], 0
		}, []string{"autopilot : does not know s1; it counts 2 servers and raft's configuration has 3; it counts a failure tolerance of 0"}, nil},
		{"autopilot sees the old version", func(_ *OverviewEvidence, c *ClusterEvidence) { c.Autopilot.Servers[0].Version = "1.9.0" }, []string{"autopilot : sees s1 with version 1.9.0"}, nil},
		{"a stranger in raft", func(e *OverviewEvidence, c *ClusterEvidence) {
			stranger := RaftServer{ID: "id-9", Address: "10.0.0.9:4647", Voter: true}
			for i := range 3 {
				view := &e.Clusters[0].Answers[i].View
				view.Raft.Servers = append(slices.Clone(view.Raft.Servers), stranger)
			}
			c.Raft.Servers = append(c.Raft.Servers, RaftMember{RaftServer: stranger, Node: "(unknown)"})
			c.Autopilot.Servers = append(c.Autopilot.Servers, AutopilotServer{ID: "id-9"})
		}, []string{"quorum : 3 of 4", "unknown_server : id-9 at 10.0.0.9:4647"}, []string{"even_voters : 4 voters"}},
		{"replaced by a package", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.Hosts[0].ExeCurrent, e.Hosts[0].VersionDisk, e.Hosts[0].Package = false, version("1.11.0"), "nomad (dpkg)"
		}, nil, []string{"disk_version s1: replaced by 1.11.0, by the package nomad (dpkg)"}},
		{"replaced by the same version", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.Hosts[0].ExeCurrent = false
		}, nil, []string{"disk_version s1: another file of the same version"}},
		{"the binary is gone", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.Hosts[0].ExeCurrent, e.Hosts[0].VersionDisk, e.Hosts[0].BinaryMissing = false, Version{}, true
		}, []string{"binary_missing s1: its binary /usr/bin/nomad is not there: the next start fails"}, nil},
		{"peers.json, unfinished, leave flags", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.Beside["s1"] = Beside{Peers: "/opt/nomad/server/raft/peers.json"}
			e.Hosts[1].Unfinished = "the swap to 1.11.0 of an earlier run (done)"
			e.Hosts[2].Leave = LeaveFlags{OnInterrupt: true, OnTerminate: true}
		}, []string{"peers_json s1: peers.json is there", "unfinished s2: the swap to 1.11.0"}, []string{"leave_flags s3: leaves raft"}},
		{"client", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.Hosts[3].UnitSettings.KillMode = "control-group"
			c.Nodes[0].Status, c.Nodes[0].SchedulingEligibility = "down", "ineligible"
			c.Nodes[0].Version = "1.9.0"
			own(e, "c1").Heartbeat.Last = time.Minute
		}, []string{"node_status c1: call it down", "node_version c1: with version 1.9.0", "heartbeat c1: for 1m0s"}, []string{"kill_mode c1: ", "eligibility c1: is ineligible"}},
		{"a client that the servers turn away", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.Hosts[3].VersionRunning, e.Hosts[3].VersionDisk, own(e, "c1").Version, c.Nodes[0].Version = version("1.5.17"), version("1.5.17"), version("1.5.17"), "1.5.17"
		}, []string{"old_client c1: runs 1.5.17, and servers of 1.9 and later (s1, s2, s3) turn away clients before 1.6"}, []string{"version : 1.5.17 on c1"}},
		{"a client of 1.6 beside them", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.Hosts[3].VersionRunning, e.Hosts[3].VersionDisk, own(e, "c1").Version, c.Nodes[0].Version = version("1.6.0"), version("1.6.0"), version("1.6.0"), "1.6.0"
		}, nil, []string{"version : 1.6.0 on c1"}},
		{"unknown client", func(_ *OverviewEvidence, c *ClusterEvidence) { c.Nodes = nil }, []string{"node_unknown c1: do not know this client"}, nil},
		{"a client that the inventory has not", func(_ *OverviewEvidence, c *ClusterEvidence) {
			c.Nodes = append(c.Nodes, NodeSummary{ID: "node-2", Name: "c2", Status: "ready", Version: "1.10.5"}, NodeSummary{ID: "node-3", Name: "c3", Status: "down"})
		}, nil, []string{"node_unknown : c2 (ready, 1.10.5)", "node_unknown : remember 1 client"}},
		{"allocations wait", func(_ *OverviewEvidence, c *ClusterEvidence) {
			c.Jobs = append(c.Jobs, JobState{ID: "big", Namespace: "a", Status: "pending", Queued: 3, Starting: 1, Lost: 2}, JobState{ID: "old", Status: "dead", Queued: 4})
		}, []string{"allocations : a/big (3)"}, []string{"allocations : pending: a/big (1)", "allocations : lost"}},
		{"clock", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.Beside["s2"] = Beside{Clock: -4 * time.Second, Precision: time.Second}
			e.Beside["s3"] = Beside{Clock: 2 * time.Second, Precision: 3 * time.Second}
		}, nil, []string{"clock s2: 4s behind"}},
		{"crash loop", func(e *OverviewEvidence, _ *ClusterEvidence) {
			e.silence("s1")
			e.Hosts[0].CrashLooping = true
			e.Beside["s1"] = Beside{Peers: "/opt/nomad/server/raft/peers.json"}
		}, []string{"quorum : ", "autopilot : ", "crash_loop s1: over and over, and /opt/nomad/server/raft/peers.json is there"}, []string{"members s1: "}},
		{"versions differ", func(e *OverviewEvidence, c *ClusterEvidence) {
			e.Hosts[0].VersionRunning, e.Hosts[0].VersionDisk, own(e, "s1").Version = version("1.11.0"), version("1.11.0"), version("1.11.0")
			c.Autopilot.Servers[0].Version = "1.11.0"
			for _, members := range c.Members {
				members[0].Tags = map[string]string{"build": "1.11.0"}
			}
		}, nil, []string{"version : 1.10.5 on c1, s2, s3; 1.11.0 on s1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := wellCluster()
			if test.change != nil {
				test.change(&e, &e.Clusters[0])
			}
			overview := NewOverview(e)
			wantFindings(t, "problems", overview.Problems, test.problems)
			wantFindings(t, "notes", overview.Notes, test.notes)
			if overview.Well() != (len(test.problems) == 0) {
				t.Errorf("well: %t", overview.Well())
			}
			if page := overview.Page(); strings.Contains(page, "%!") || len(test.problems) > 0 != strings.Contains(page, "What is wrong") {
				t.Error(page)
			}
		})
	}
}

// addStopped adds a host that does not run and whose unit is disabled.
func (e *OverviewEvidence) addStopped(host string, server bool) {
	f := HostFacts{Host: host, Unit: "nomad.service", NodeName: host, Region: "global", Server: server, Client: !server, Disabled: true, VersionDisk: version("1.9.0")}
	if server {
		f.ServerID = "id-" + host
	} else {
		f.NodeID = "id-" + host
	}
	f.setRole()
	e.Hosts = append(e.Hosts, f)
	slices.SortFunc(e.Hosts, func(a, b HostFacts) int { return strings.Compare(a.Host, b.Host) })
}

// TestOverviewStartsNothingBesideARun: while a run is at work, or has left something half done, nobody is told to start an agent.
func TestOverviewStartsNothingBesideARun(t *testing.T) {
	for name, test := range map[string]struct {
		change func(e *OverviewEvidence)
		want   string
	}{
		"alive": {func(e *OverviewEvidence) { e.Beside["s2"] = Beside{HeldBy: "another run holds nomad.service"} }, "wait until that run has ended"},
		"dead":  {func(e *OverviewEvidence) { e.Hosts[1].Unfinished = "the restart of an earlier run (stopped)" }, "run the same drover command again"},
	} {
		t.Run(name, func(t *testing.T) {
			e := wellCluster()
			e.silence("s2")
			e.silence("s3")
			e.Hosts[2].Disabled = true
			test.change(&e)
			e.Hosts[2].Unfinished, e.Beside["s3"] = e.Hosts[1].Unfinished, e.Beside["s2"]
			overview := NewOverview(e)
			if words := Words(overview.Problems); strings.Contains(words, "start it") || strings.Contains(words, "start the servers") || !strings.Contains(words, test.want) {
				t.Error(words)
			}
		})
	}
}

// deny lets agents refuse the token; what servers say without one is that leader leads.
func (e *OverviewEvidence) deny(why, leader string, hosts ...string) {
	c := &e.Clusters[0]
	c.Leaders = map[string]string{}
	for i := range e.Hosts {
		f := &e.Hosts[i]
		if !slices.Contains(hosts, f.Host) {
			continue
		}
		f.Answers, f.Problem, f.Denied, f.RaftServers = false, "403", why, nil
		if f.Server {
			c.Leaders[f.Host] = leader
		}
		for n := range c.Answers {
			if c.Answers[n].Host == f.Host {
				c.Answers[n] = Answer{Host: f.Host, Error: "403"}
			}
		}
		delete(c.Members, f.Host)
	}
	if !slices.ContainsFunc(c.Answers, func(a Answer) bool { return a.View.Raft.State == Leader }) {
		c.Raft, c.RaftError, c.AutopilotError, c.NodesError, c.JobsError = RaftConfiguration{}, "-", "-", "-", "-"
	}
}

// TestOverviewWithoutAToken claims nothing that could not be asked.
func TestOverviewWithoutAToken(t *testing.T) {
	all := []string{"s1", "s2", "s3", "c1"}
	tests := map[string]struct {
		change   func(e *OverviewEvidence)
		problems []string
		notes    []string
	}{
		"none given": {
			func(e *OverviewEvidence) { e.deny(DeniedPermission, "10.0.0.3:4647", all...) },
			[]string{"token : no token was given or it lacks agent:read, by the answer of c1, s1, s2, s3"},
			[]string{"token : 10.0.0.3:4647 leads, as s1, s2, s3 tell without"},
		},
		"an unknown one": {
			func(e *OverviewEvidence) { e.deny(DeniedToken, "10.0.0.3:4647", all...) },
			[]string{"token : the token that was given is not known to c1, s1, s2, s3"},
			[]string{"token : 10.0.0.3:4647 leads, as s1, s2, s3 tell without"},
		},
		"the leader could not be asked either": {
			func(e *OverviewEvidence) {
				e.deny(DeniedPermission, "", all...)
				e.Clusters[0].Leaders = nil
			},
			[]string{"token : no token was given"},
			nil,
		},
		"one of a few refuses it": {
			func(e *OverviewEvidence) { e.deny(DeniedToken, "10.0.0.3:4647", "s1") },
			[]string{"token : is not known to s1 "},
			[]string{"token : 10.0.0.3:4647 leads, as s1 tells without"},
		},
		"without a leader no token is known": {
			func(e *OverviewEvidence) { e.deny(DeniedToken, "", all...) },
			[]string{"no_leader : no server leads, by the word of s1, s2, s3"},
			nil,
		},
		"no token and no leader": {
			func(e *OverviewEvidence) { e.deny(DeniedPermission, "", all...) },
			[]string{"token : no token was given", "no_leader : no server leads"},
			nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := wellCluster()
			test.change(&e)
			overview := NewOverview(e)
			wantFindings(t, "problems", overview.Problems, test.problems)
			wantFindings(t, "notes", overview.Notes, test.notes)
			unknown := !strings.Contains(strings.Join(test.problems, " "), "no_leader")
			if page := overview.Page(); strings.Contains(page, "is not known: its agents want a token") != unknown || strings.Contains(page, "not well") == unknown {
				t.Error(page)
			}
		})
	}
}

func TestDenial(t *testing.T) {
	for body, want := range map[string]string{"Permission denied": DeniedPermission, "ACL token not found": DeniedToken, "No cluster leader": ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			status := http.StatusForbidden
			if want == "" {
				status = http.StatusInternalServerError
			}
			http.Error(w, body, status)
		}))
		client, err := Connect(direct, Endpoint{Address: server.Listener.Addr().String()}, "", Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Self(t.Context(), client, "s1"); Denial(err) != want || err == nil {
			t.Errorf("%s: %q, %v", body, Denial(err), err)
		}
		if leader, err := AskLeader(t.Context(), client); (err == nil) != (want == "") || leader != "" {
			t.Errorf("%s: leader %q, %v", body, leader, err)
		}
		client.Close()
		server.Close()
	}
}

// wantFindings compares findings with "kind host: part of the text", in order.
func wantFindings(t *testing.T, what string, got []Problem, want []string) {
	t.Helper()
	for i, problem := range got {
		if i < len(want) {
			name, part, _ := strings.Cut(want[i], ": ")
			if name == problem.Kind+" "+problem.Host && strings.Contains(problem.Text, part) {
				continue
			}
		}
		t.Fatalf("%s: want %q, got %s", what, want, Words(got))
	}
	if len(got) != len(want) {
		t.Errorf("%s: want %q, got %s", what, want, Words(got))
	}
}

func TestOverviewPage(t *testing.T) {
	e := wellCluster()
	e.Target = version("1.10.5")
	overview := NewOverview(e)
	overview.StableMS = 10_400
	want := `Has Nomad 1.10.5 arrived?

Servers
  HOST  VERSION  STATE     VOTER  GOSSIP  TERM  APPLIED  LAST CONTACT  PROTOCOL
  s1    1.10.5   Follower  yes    alive   3     50       30ms          3
  s2    1.10.5   Follower  yes    alive   3     50       30ms          3
  s3    1.10.5   Leader    yes    alive   3     50       -             3

Clients
  HOST  VERSION  DATACENTER  STATUS  ELIGIBILITY  ALLOCATIONS
  c1    1.10.5   dc1         ready   eligible     2

s3 leads, 3 voters, 1 may fail; 1 job, 2 allocations running, 0 pending, 0 without a place;
  autopilot: healthy.

Nomad 1.10.5 runs everywhere, and everything has been well for 10 s.
`
	if diff := cmp.Diff(want, overview.Page()); diff != "" {
		t.Error(diff)
	}
}

// Two federated regions have a leader each, and are judged one by one.
func TestOverviewOfTwoRegions(t *testing.T) {
	e, other := wellCluster(), wellCluster()
	for i := range other.Hosts {
		f := &other.Hosts[i]
		f.Host, f.Region = "eu-"+f.Host, "eu"
		e.Beside[f.Host] = Beside{}
	}
	cluster := &other.Clusters[0]
	cluster.Region = "eu"
	for i := range cluster.Answers {
		answer := &cluster.Answers[i]
		answer.Host, answer.View.Host, answer.View.Region = "eu-"+answer.Host, "eu-"+answer.View.Host, "eu"
	}
	told := map[string][]Member{}
	for host, members := range cluster.Members {
		for i := range members {
			members[i].Name = strings.Replace(members[i].Name, ".global", ".eu", 1)
		}
		told["eu-"+host] = members
	}
	cluster.Members = told
	e.Hosts = append(e.Hosts, other.Hosts...)
	e.Clusters = append(e.Clusters, *cluster)
	overview := NewOverview(e)
	wantFindings(t, "problems", overview.Problems, nil)
	wantFindings(t, "notes", overview.Notes, nil)
	if page := overview.Page(); len(overview.Servers) != 6 || !strings.Contains(page, "Region eu: eu-s3 leads") || !strings.Contains(page, "Region global: s3 leads") {
		t.Error(page)
	}
}
