// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden pages anew")

// fleetOf is a healthy cluster of 1.10.5 with three servers and some clients in two datacenters.
func fleetOf(clients int) Survey {
	s := survey()
	s.Hosts = s.Hosts[:3]
	s.NodesAsked, s.Addresses = true, map[string]string{}
	for i := range s.Raft.Servers {
		s.Raft.Servers[i].Voter = true
	}
	for i := range clients {
		name := fmt.Sprintf("c%0*d", len(fmt.Sprint(clients)), i+1)
		f := HostFacts{
			Host: name, Unit: "nomad.service", Running: true, ExeCurrent: true, VersionDisk: version("1.10.5"), Binary: "/usr/bin/nomad",
			Architecture: "x86_64", FreeBytes: 10 << 30, StageFreeBytes: -1, UnitSettings: s.Hosts[0].UnitSettings,
		}
		f.SetView(AgentView{
			Version: version("1.10.5"), Client: true, Region: "global", NodeName: name, NodeID: "node-" + name, Datacenter: []string{"east", "west"}[i%2],
			Heartbeat: Heartbeat{Servers: "10.0.0.1:4647,10.0.0.2:4647"},
		})
		s.Hosts = append(s.Hosts, f)
		s.Nodes = append(s.Nodes, NodeSummary{ID: f.NodeID, Name: name, Status: "ready", SchedulingEligibility: "eligible", Version: "1.10.5"})
	}
	return s
}

func (s *Survey) lose(host string, why LookFailure) {
	for i := range s.Hosts {
		if s.Hosts[i].Host == host {
			s.Hosts = append(s.Hosts[:i:i], s.Hosts[i+1:]...)
			break
		}
	}
	if s.Unreachable == nil {
		s.Unreachable = map[string]LookFailure{}
	}
	s.Unreachable[host] = why
}

func runs(f *HostFacts, to string) { f.VersionRunning, f.VersionDisk = version(to), version(to) }

// sixFaults is a cluster of three servers and three clients with a fault on every host.
func sixFaults() Survey {
	s := fleetOf(3)
	s.of("s1").Leave = LeaveFlags{OnInterrupt: true, OnTerminate: true}
	s.lose("s2", LookFailure{
		Kind: "host_key_changed", Text: "the host's key has CHANGED: it shows ssh-ed25519 SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8, but /root/.ssh/known_hosts:7 holds another one: either the host was reinstalled or someone is in between",
		Remedy: "ask who runs the host whether its key was changed, and compare the fingerprint; only if the new key is right, remove that line (ssh-keygen -R s2 -f /root/.ssh/known_hosts) and add the new one",
	})
	s.of("s3").Architecture = "x86_64"
	s.Short = map[string]LookFailure{"s3": {
		Text:   "not enough space for /var/lib/drover/stage/4f/nomad (144 MiB) and /usr/bin/nomad.drover-1.11.0 (144 MiB): /usr/bin needs 352 MiB free, has 90 MiB, 262 MiB are missing",
		Remedy: "free some space on that filesystem and try again",
	}}
	runs(s.of("c1"), "2.0.5")
	s.lose("c2", LookFailure{Kind: "sudo_wrong", Text: `sudo on the host refused the password for user "ops"; it was tried once only, so that no account is locked`, Remedy: "check ansible_become_password or -K"})
	s.of("c3").SharedBy = []string{"nomad-b.service (process 812)"}
	s.Binaries = map[string]NewBinary{"x86_64": {Size: 144 << 20}}
	return s
}

func TestPage(t *testing.T) {
	tests := map[string]struct {
		survey  func() Survey
		to      string
		options Options
	}{
		"three-and-three": {func() Survey { return fleetOf(3) }, "1.11.0", Options{}},
		"three-hundred": {func() Survey {
			s := fleetOf(300)
			runs(s.of("c007"), "1.11.0")
			s.of("c150").VersionDisk, s.of("c150").ExeCurrent = version("1.11.0"), false
			for i := range s.Hosts {
				s.Hosts[i].Package, s.Hosts[i].Unit = "nomad (dpkg)", "nomad-agent.service"
			}
			s.of("c298").Link, s.of("c298").Binary = "/usr/local/bin/nomad", "/opt/nomad/1.10.5/nomad"
			s.of("c200").UnitSettings.KillMode, s.of("c201").UnitSettings.KillMode = "control-group", "control-group"
			return s
		}, "1.11.0", Options{PerDatacenter: 20}},
		"six-faults": {sixFaults, "1.11.0", Options{}},
		"half-done": {func() Survey {
			s := fleetOf(4)
			runs(s.of("s1"), "1.11.0")
			s.of("s2").VersionDisk, s.of("s2").ExeCurrent = version("1.11.0"), false
			s.lose("c1", noSSH())
			s.Nodes[1].SchedulingEligibility = "ineligible"
			s.Nodes[2].Drain = true
			s.of("c4").Running, s.Nodes[3].Status = false, "down"
			s.Nodes = append(s.Nodes, NodeSummary{ID: "x", Name: "old-1", Status: "down", Version: "1.10.5"}, NodeSummary{ID: "y", Name: "other-2", Status: "ready", Version: "1.10.5"})
			return s
		}, "1.11.0", Options{SkipUnreachable: true, Accepted: Accepted{Outage: true}, VersionOptions: VersionOptions{AllowUnsupportedSkip: true}}},
		"two-clusters": {func() Survey {
			s := fleetOf(2)
			other := s.Hosts[2]
			other.Host, other.NodeName, other.ServerID, other.RPC = "t1", "t1", "id-9", "10.9.0.1:4647"
			other.RaftServers = []RaftServer{{ID: "id-9", Address: "10.9.0.1:4647", Voter: true}}
			s.Hosts = append(s.Hosts, other)
			s.of("c2").KnownServers = []string{"10.9.0.1:4647"}
			return s
		}, "1.11.0", Options{}},
		"a-dead-server-of-five": {func() Survey {
			s := fleetOf(1)
			five := cluster(5)
			unit := s.Hosts[0].UnitSettings
			s.Hosts, s.Raft.Servers = s.Hosts[3:], nil
			for i, answer := range five {
				f := HostFacts{Host: answer.Host, Unit: "nomad.service", Running: true, ExeCurrent: true, VersionDisk: version("1.10.5"), UnitSettings: unit}
				f.SetView(answer.View)
				f.Voter = i != 1
				s.Hosts = append(s.Hosts, f)
				s.Raft.Servers = append(s.Raft.Servers, RaftMember{RaftServer: RaftServer{ID: answer.Identity.ID, Address: answer.Identity.Address, Voter: i != 1}, Node: answer.Host + ".global", Leader: i == 4})
			}
			s.lose("s3", noSSH())
			s.of("s4").Role, s.of("s4").Client = "both", true
			return s
		}, "1.11.0", Options{Accepted: Accepted{Down: []string{"s3", "s33"}}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			plan := NewPlan(test.survey(), version(test.to), test.options)
			got := plan.Page()
			for number, line := range strings.Split(got, "\n") {
				if utf8.RuneCountInString(line) > pageWidth && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("line %d is wider than %d columns: %q", number+1, pageWidth, line)
				}
			}
			golden := filepath.Join("testdata", "page", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
		})
	}
}
