// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"slices"
	"strings"
)

// HostFacts is everything that drover knows of one host's Nomad agent. It is the fact `nomad` of a playbook and the
// row of a survey. What the agent says of itself is in Agent; where it does not answer, Problem says why and the
// other fields come from the host and from the configuration text.
type HostFacts struct {
	Host    string `json:"-"`
	Unit    string `json:"unit"`
	Running bool   `json:"running"`
	// CrashLooping says that the unit starts the agent over and over.
	CrashLooping   bool       `json:"crash_looping"`
	VersionRunning Version    `json:"version_running"` // of the image in /proc/PID/exe
	VersionDisk    Version    `json:"version_disk"`    // of the file that the next start runs
	ExeCurrent     bool       `json:"exe_current"`     // both are the same file
	Role           string     `json:"role"`            // server, client, both, none
	Server         bool       `json:"server"`
	Client         bool       `json:"client"`
	Leader         bool       `json:"leader"`
	Voter          bool       `json:"voter"` // raft's recorded suffrage, as the server itself knows it
	Region         string     `json:"region"`
	Datacenter     string     `json:"datacenter"`
	NodeName       string     `json:"node_name"`
	ServerID       string     `json:"server_id"`
	NodeID         string     `json:"node_id"`
	Leave          LeaveFlags `json:"leave"`
	RetryJoin      bool       `json:"retry_join"`
	DataDir        string     `json:"data_dir"`
	ConfigFiles    []string   `json:"config_files"`
	Binary         string     `json:"binary"`
	BinaryOwner    string     `json:"binary_owner"` // user:group
	FreeBytes      int64      `json:"free_bytes"`
	MainPID        int        `json:"main_pid"`
	NRestarts      int        `json:"n_restarts"`
	UnitSettings   UnitFacts  `json:"unit_settings"`
	API            Endpoint   `json:"api"`
	Listening      []string   `json:"listening"`
	RPC            string     `json:"rpc"`
	RaftProtocol   int        `json:"raft_protocol"`
	// RaftProtocolSet is what the configuration says of it; 0 when it says nothing and the version decides.
	RaftProtocolSet int          `json:"raft_protocol_set"`
	RaftServers     []RaftServer `json:"raft_servers"`
	KnownServers    []string     `json:"known_servers"` // RPC addresses of the servers that a client knows
	ACL             bool         `json:"acl"`
	Answers         bool         `json:"answers"`        // the agent's API answered
	Problem         string       `json:"problem"`        // why it did not
	Denied          string       `json:"denied"`         // DeniedPermission or DeniedToken where it answered, and refused the token
	Architecture    string       `json:"architecture"`   // as uname -m
	Unfinished      string       `json:"unfinished"`     // what an earlier run has left to be brought to its end
	Package         string       `json:"package"`        // that owns the binary, as "nomad (dpkg)"
	Link            string       `json:"link"`           // the symbolic link by which ExecStart names the binary
	SharedBy        []string     `json:"shared_by"`      // other agents that run the same file
	BinaryMissing   bool         `json:"binary_missing"` // ExecStart names a file that is not there
	ReadOnly        bool         `json:"read_only"`      // the filesystem of the binary
	Disabled        bool         `json:"disabled"`       // the unit does not start at boot, as replaced agents are left
	Refusals        []Problem    `json:"refusals"`       // what else keeps the host from exchanging its binary, without a host's name
	StageFreeBytes  int64        `json:"stage_free_bytes"`
	Environment     []string     `json:"environment"` // names of the variables that the unit sets
	Settings        []Setting    `json:"settings"`    // of the configuration files, as far as a version's notes ask for them
	// AuthoritativeRegion is the region from which a server says that it takes what all regions share; "" where it names none.
	AuthoritativeRegion string `json:"authoritative_region"`
}

// UnitFacts are the settings of the systemd unit that decide how it stops and starts.
type UnitFacts struct {
	Type       string   `json:"type"`
	KillSignal int      `json:"kill_signal"`
	KillMode   string   `json:"kill_mode"`
	Restart    string   `json:"restart"`
	User       string   `json:"user"`
	ExecStart  []string `json:"exec_start"`
	Systemd    bool     `json:"loaded"`
	ExecStop   bool     `json:"exec_stop"`
}

// SetView takes over what the agent said of itself.
func (f *HostFacts) SetView(view AgentView) {
	f.Answers, f.Problem, f.Denied = true, "", ""
	f.VersionRunning = view.Version
	f.Server, f.Client = view.Server, view.Client
	f.Leader = view.Raft.State == Leader
	f.Region, f.Datacenter, f.NodeName = view.Region, view.Datacenter, view.NodeName
	f.ServerID, f.NodeID = view.ServerID, view.NodeID
	f.Leave, f.RetryJoin = view.Leave, view.RetryJoin
	f.DataDir, f.ConfigFiles = view.DataDir, view.Files
	f.AuthoritativeRegion = view.AuthoritativeRegion
	f.RaftProtocolSet, f.KnownServers = view.RaftProtocolSet, view.Heartbeat.servers()
	f.Voter = isVoter(view.Raft.Servers, &view)
	f.RPC, f.RaftProtocol, f.RaftServers, f.ACL = view.RPC, view.Raft.Protocol, view.Raft.Servers, view.ACL
	f.setRole()
}

// SetConfig takes over what the configuration files say, for an agent that does not answer.
func (f *HostFacts) SetConfig(text ConfigText) {
	f.Server, f.Client = text.Server, text.Client
	f.Region, f.Datacenter, f.NodeName = text.Region, text.Datacenter, text.Name
	if f.Region == "" {
		f.Region = "global"
	}
	f.Leave, f.RetryJoin = text.Leave, text.RetryJoin
	if text.DataDir != "" {
		f.DataDir = text.DataDir
	}
	f.setRole()
}

func (f *HostFacts) setRole() {
	switch {
	case f.Server && f.Client:
		f.Role = "both"
	case f.Server:
		f.Role = "server"
	case f.Client:
		f.Role = "client"
	default:
		f.Role = "none"
	}
}

// Identity is how raft knows this server.
func (f *HostFacts) Identity() RaftServer { return RaftServer{ID: f.ServerID, Address: f.RPC} }

// Upgraded tells whether nothing is left to do: the target runs, and it is the file that the next start runs too.
func (f *HostFacts) Upgraded(target Version) bool {
	return f.Running && f.ExeCurrent && f.VersionRunning.Same(target)
}

// sortFacts orders a survey by host name.
func sortFacts(facts []HostFacts) []HostFacts {
	return slices.SortedFunc(slices.Values(facts), func(a, b HostFacts) int { return strings.Compare(a.Host, b.Host) })
}
