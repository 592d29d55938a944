// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const selfServer = `{"config":{"DataDir":"/opt/nomad","Datacenter":"dc1","Region":"global","NodeName":"s1","LeaveOnInt":false,"LeaveOnTerm":true,
 "Files":["/etc/nomad.d/base.hcl"],"AdvertiseAddrs":{"HTTP":"10.0.0.1:4646","RPC":"10.0.0.1:4647"},"Vaults":[{"Name":"default"}],
 "Server":{"Enabled":true,"RaftProtocol":0,"HeartbeatGrace":0,"RaftMultiplier":null,"ServerJoin":{"RetryJoin":["10.0.0.2"]}},
 "Client":{"Enabled":false},"ACL":{"Enabled":true},"Version":{"Version":"1.10.5","VersionPrerelease":"","VersionMetadata":"ent"}},
 "member":{"Name":"s1.global","Tags":{"id":"id-1","raft_vsn":"3"}},
 "stats":{"nomad":{"leader":"false","leader_addr":"10.0.0.2:4647"},
 "raft":{"state":"Follower","term":"7","protocol_version":"3","commit_index":"41","applied_index":"40","fsm_pending":"1","last_contact":"54.5ms","num_peers":"2",
 "latest_configuration":"[{Suffrage:Voter ID:id-1 Address:10.0.0.1:4647} {Suffrage:Voter ID:id-2 Address:[fd00::2]:4647} {Suffrage:Nonvoter ID:id-3 Address:10.0.0.3:4647}]"}}}`

const selfClient = `{"config":{"DataDir":"/opt/nomad","Region":"eu","NodeName":"c1","Server":{"Enabled":false},"Client":{"Enabled":true},
 "Version":{"Version":"1.2.6"}},"member":{},
 "stats":{"client":{"node_id":"n-1","known_servers":"10.0.0.1:4647","num_allocations":"3","last_heartbeat":"517.05ms","heartbeat_ttl":"17.35s"}}}`

func decodeSelf(t *testing.T, text string) AgentView {
	t.Helper()
	var answer selfAnswer
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	view, err := answer.view("host", time.Unix(100, 0))
	if err != nil {
		t.Fatal(err)
	}
	return view
}

func TestSelfOfServer(t *testing.T) {
	view := decodeSelf(t, selfServer)
	wantRaft := Raft{
		State: Follower, Term: 7, LastContact: 54500 * time.Microsecond, Commit: 41, Applied: 40, Pending: 1, Peers: 2, Protocol: 3,
		LeaderAddr: "10.0.0.2:4647",
		Servers: []RaftServer{
			{ID: "id-1", Address: "10.0.0.1:4647", Voter: true},
			{ID: "id-2", Address: "[fd00::2]:4647", Voter: true},
			{ID: "id-3", Address: "10.0.0.3:4647"},
		},
	}
	if diff := cmp.Diff(wantRaft, view.Raft); diff != "" {
		t.Error(diff)
	}
	if view.Version.String() != "1.10.5+ent" || !view.Server || view.Client || !view.RetryJoin || !view.ACL || view.ServerID != "id-1" {
		t.Errorf("view = %+v", view)
	}
	if view.Leave != (LeaveFlags{OnTerminate: true}) || view.HeartbeatGrace != 10*time.Second || view.RaftMultiplier != 1 {
		t.Errorf("view = %+v", view)
	}
}

func TestSelfOfClient(t *testing.T) {
	view := decodeSelf(t, selfClient)
	want := Heartbeat{Last: 517050 * time.Microsecond, TTL: 17350 * time.Millisecond, Servers: "10.0.0.1:4647", Allocs: 3}
	if view.Heartbeat != want || view.NodeID != "n-1" || view.Server || view.Raft.State != "" {
		t.Errorf("view = %+v", view)
	}
}

func TestDurationsThatCannotBeReadAreLongAgo(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "never": Never, "": Never, "-1s": Never, "2m": 2 * time.Minute} {
		if got := duration(text); got != want {
			t.Errorf("duration(%q) = %v, want %v", text, got, want)
		}
	}
}

func FuzzParseConfiguration(f *testing.F) {
	f.Add("[{Suffrage:Voter ID:x Address:10.0.0.1:4647}]")
	f.Add("[{Suffrage:Voter ID: Address:}]")
	f.Fuzz(func(t *testing.T, text string) {
		if servers := parseConfiguration(text); len(servers) > len(text)/len("{Suffrage:a ID: Address:}") {
			t.Errorf("%d servers out of %q", len(servers), text)
		}
	})
}

func TestConfigText(t *testing.T) {
	var text ConfigText
	for _, file := range []string{
		`region = "eu"  data_dir = "/opt/nomad"
server { enabled = true  retry_join = ["a"] }
tls { http = true }`,
		`{"datacenter":"dc2","client":{"enabled":true},"leave_on_terminate":true}`,
	} {
		if err := text.Merge([]byte(file)); err != nil {
			t.Fatal(err)
		}
	}
	want := ConfigText{Region: "eu", Datacenter: "dc2", DataDir: "/opt/nomad", Server: true, Client: true, Leave: LeaveFlags{OnTerminate: true}, RetryJoin: true, TLS: true}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
}
