// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Raft states in which a server takes part.
const (
	Follower = "Follower"
	Leader   = "Leader"
)

// Never is the last contact of a server that has not heard from a leader.
const Never = time.Duration(math.MaxInt64)

// AgentView is what one agent says of itself (/v1/agent/self). Every agent answers it from its own memory, also
// without a leader, so that an answer is proof that this process lives. Durations are in nanoseconds in JSON.
type AgentView struct {
	Host       string     `json:"host"`  // inventory name
	Asked      time.Time  `json:"asked"` // when the question was sent: the answer is at least this fresh
	Version    Version    `json:"version"`
	Server     bool       `json:"server"`
	Client     bool       `json:"client"`
	Region     string     `json:"region"`
	Datacenter string     `json:"datacenter"`
	NodeName   string     `json:"node_name"`
	ServerID   string     `json:"server_id,omitempty"` // member tag id: contents of server/node-id
	NodeID     string     `json:"node_id,omitempty"`   // of the client
	Leave      LeaveFlags `json:"leave"`
	RetryJoin  bool       `json:"retry_join"`
	DataDir    string     `json:"data_dir"`
	Files      []string   `json:"files,omitempty"` // configuration files that the process has read
	RPC        string     `json:"rpc,omitempty"`   // advertised RPC address, host:port
	ACL        bool       `json:"acl"`
	Raft       Raft       `json:"raft"`
	// RaftProtocolSet is raft_protocol of the configuration; 0 means that the version's default counts.
	RaftProtocolSet int       `json:"raft_protocol_set"`
	Heartbeat       Heartbeat `json:"heartbeat"`
	// HeartbeatGrace is the server's setting; unset in the configuration means 10 s.
	HeartbeatGrace time.Duration `json:"heartbeat_grace"`
	RaftMultiplier int           `json:"raft_multiplier"`
	// AuthoritativeRegion is that of the server's configuration; "" where it says none.
	AuthoritativeRegion string `json:"authoritative_region,omitempty"`
}

// Raft is stats.raft of a server.
type Raft struct {
	State       string        `json:"state,omitempty"` // Follower, Candidate, Leader, Shutdown
	Term        uint64        `json:"term"`
	LastContact time.Duration `json:"last_contact"` // 0 on a leader, Never when it has not heard one
	Commit      uint64        `json:"commit"`
	Applied     uint64        `json:"applied"`
	Pending     uint64        `json:"pending"` // fsm_pending
	Peers       int           `json:"peers"`   // num_peers: voters other than itself
	Protocol    int           `json:"protocol"`
	Servers     []RaftServer  `json:"servers,omitempty"` // latest_configuration
	LeaderAddr  string        `json:"leader_addr,omitempty"`
}

// RaftServer is one entry of a raft configuration.
type RaftServer struct {
	ID      string `json:"id"` // node id, or the address below raft protocol 3
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
}

// Heartbeat is stats.client of a client.
type Heartbeat struct {
	Last    time.Duration `json:"last"` // since the last heartbeat that a server answered
	TTL     time.Duration `json:"ttl"`
	Servers string        `json:"servers,omitempty"` // known_servers
	Allocs  int           `json:"allocs"`
}

// servers are the addresses in known_servers.
func (h Heartbeat) servers() []string {
	return strings.FieldsFunc(h.Servers, func(r rune) bool { return r == ',' || r == ' ' })
}

// selfAnswer is /v1/agent/self, with the keys that all versions from 1.2 to 2.0 have; others come and go
// (Vault/Vaults, ConfigPaths) and are ignored.
type selfAnswer struct {
	Config struct {
		Datacenter, Region, NodeName, DataDir string
		LeaveOnInt, LeaveOnTerm               bool
		Files                                 []string
		AdvertiseAddrs                        struct{ RPC string }
		ACL                                   struct{ Enabled bool }
		Server                                struct {
			Enabled        bool
			HeartbeatGrace time.Duration
			RaftMultiplier *int
			RaftProtocol   int
			RetryJoin      []string
			ServerJoin     struct{ RetryJoin []string }

			AuthoritativeRegion string
		}
		Client  struct{ Enabled bool }
		Version struct{ Version, VersionPrerelease, VersionMetadata string }
	}
	Member struct{ Tags map[string]string }
	Stats  map[string]map[string]any
}

func (s *selfAnswer) stat(group, name string) string {
	value, ok := s.Stats[group][name]
	if !ok {
		return ""
	}
	return fmt.Sprint(value)
}

// view turns the answer into an AgentView. All statistics are texts, and any may be missing.
func (s *selfAnswer) view(host string, asked time.Time) (AgentView, error) {
	text := s.Config.Version.Version
	if s.Config.Version.VersionPrerelease != "" {
		text += "-" + s.Config.Version.VersionPrerelease
	}
	if s.Config.Version.VersionMetadata != "" {
		text += "+" + s.Config.Version.VersionMetadata
	}
	version, err := ParseVersion(text)
	if err != nil {
		return AgentView{}, fmt.Errorf("the agent does not say its version: %w", err)
	}
	view := AgentView{
		Host: host, Asked: asked, Version: version,
		Server: s.Config.Server.Enabled, Client: s.Config.Client.Enabled,
		Region: s.Config.Region, Datacenter: s.Config.Datacenter, NodeName: s.Config.NodeName,
		ServerID:  s.Member.Tags["id"],
		NodeID:    s.stat("client", "node_id"),
		Leave:     LeaveFlags{OnInterrupt: s.Config.LeaveOnInt, OnTerminate: s.Config.LeaveOnTerm},
		RetryJoin: len(s.Config.Server.RetryJoin)+len(s.Config.Server.ServerJoin.RetryJoin) > 0,
		DataDir:   s.Config.DataDir, Files: s.Config.Files,
		RPC: s.Config.AdvertiseAddrs.RPC, ACL: s.Config.ACL.Enabled,
		HeartbeatGrace: s.Config.Server.HeartbeatGrace, RaftMultiplier: 1, RaftProtocolSet: s.Config.Server.RaftProtocol,
		AuthoritativeRegion: s.Config.Server.AuthoritativeRegion,
	}
	if view.HeartbeatGrace == 0 {
		view.HeartbeatGrace = DefaultHeartbeatGrace
	}
	if m := s.Config.Server.RaftMultiplier; m != nil && *m > 0 {
		view.RaftMultiplier = *m
	}
	if _, ok := s.Stats["raft"]; ok {
		view.Raft = s.raft()
	}
	if _, ok := s.Stats["client"]; ok {
		view.Heartbeat = Heartbeat{
			Last: duration(s.stat("client", "last_heartbeat")), TTL: duration(s.stat("client", "heartbeat_ttl")),
			Servers: s.stat("client", "known_servers"), Allocs: int(number(s.stat("client", "num_allocations"))),
		}
	}
	return view, nil
}

func (s *selfAnswer) raft() Raft {
	stat := func(name string) string { return s.stat("raft", name) }
	return Raft{
		State: stat("state"), Term: number(stat("term")), LastContact: duration(stat("last_contact")),
		Commit: number(stat("commit_index")), Applied: number(stat("applied_index")), Pending: number(stat("fsm_pending")),
		Peers: int(number(stat("num_peers"))), Protocol: int(number(stat("protocol_version"))),
		Servers: parseConfiguration(stat("latest_configuration")), LeaderAddr: s.stat("nomad", "leader_addr"),
	}
}

// An id may hold anything: that of a server which was recovered from a bad peers.json ends with a line break.
var configurationEntry = regexp.MustCompile(`\{Suffrage:(\w+) ID:([^{}]*?) Address:([^}\s]*)\}`)

// parseConfiguration reads raft's latest_configuration statistic: "[{Suffrage:Voter ID:x Address:y} ...]".
func parseConfiguration(text string) []RaftServer {
	var servers []RaftServer
	for _, match := range configurationEntry.FindAllStringSubmatch(text, -1) {
		servers = append(servers, RaftServer{ID: match[2], Address: match[3], Voter: match[1] == "Voter"})
	}
	return servers
}

func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// duration reads a Go duration; "0" is none, "never" and what cannot be read are Never, so that doubt counts as long ago.
func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return Never
	}
	return d
}

// Voters counts the voters of a configuration.
func Voters(servers []RaftServer) int {
	n := 0
	for _, server := range servers {
		if server.Voter {
			n++
		}
	}
	return n
}

// is tells whether the view is of the given raft server: by id, or by address below raft protocol 3, where the id is
// the address.
func (v *AgentView) is(server RaftServer) bool {
	if v.ServerID != "" && v.ServerID == server.ID {
		return true
	}
	return server.ID == server.Address && v.RPC != "" && v.RPC == server.Address
}
