// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/agentconfig"
	"drover/internal/nomad"
	"drover/internal/wire"
)

const raftTestID = "99dc4ce5-397e-39a9-f002-0bf8f0a659ba"

// raftHost is the host of a server of which only files, command line and addresses are to be seen.
type raftHost struct {
	files     map[string]string
	flags     []string // of ExecStart
	running   []string // the command line of a process; nil: none runs
	addresses string   // as hostname -I prints them
	api       http.Handler
}

func (h *raftHost) Name() string { return "s1" }

func (h *raftHost) Call(_ context.Context, request wire.Request, _ io.Reader, reply any) error {
	var answer any
	switch r := request.(type) {
	case wire.Agent:
		answer = wire.AgentResult{
			Unit:    wire.UnitState{Name: "nomad.service", ExecStart: append([]string{"/usr/bin/nomad", "agent", "-config", "/etc/nomad.d"}, h.flags...)},
			Cmdline: h.running, ConfigFiles: []string{"/etc/nomad.d/nomad.hcl"},
		}
	case wire.Stat:
		_, there := h.files[r.Path]
		answer = wire.StatResult{Exists: there, Type: "file"}
	case wire.Run:
		if strings.Join(r.Argv, " ") != "hostname -I" {
			return errors.New("not faked")
		}
		answer = wire.RunResult{Stdout: h.addresses + " \n"}
	default:
		return errors.New("not faked")
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, reply)
}

func (h *raftHost) Receive(_ context.Context, request wire.Request, _ any, into io.Writer) error {
	file := request.(wire.Read).Path
	text, there := h.files[file]
	if !there {
		return &wire.Error{Kind: wire.KindNotFound, Message: file + " does not exist"}
	}
	_, err := io.WriteString(into, text)
	return err
}

func (h *raftHost) Dial(context.Context, string, string) (net.Conn, error) {
	if h.api == nil {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	go func() {
		_ = (&http.Server{Handler: h.api, ReadHeaderTimeout: time.Minute}).Serve(&oneConn{conn: theirs})
	}()
	return ours, nil
}

// raftFleet is an inventory of names, of which only that of the test can be reached.
type raftFleet struct {
	names []string
	host  Host
}

func (f *raftFleet) Names(string) []string { return f.names }

func (f *raftFleet) Host(context.Context, string, bool) (Host, error) { return f.host, nil }

func (f *raftFleet) Variable(string, string) (any, bool) { return nil, false }

// raftLookAt is a stopped server with a configuration, as the look at it begins.
func raftLookAt(config string) (*raftHost, nomad.HostFacts) {
	host := &raftHost{addresses: "10.0.0.1", files: map[string]string{
		"/etc/nomad.d/nomad.hcl": config, "/opt/nomad/server/node-id": raftTestID + "\n",
		"/opt/nomad/server/raft/raft.db": "", "/opt/nomad/server/raft/peers.info": "",
		"/opt/nomad/server/serf/snapshot": "alive: s1.global 10.0.0.1:4648\n",
	}}
	old, err := nomad.ParseVersion("1.2.6")
	if err != nil {
		panic(err)
	}
	return host, nomad.HostFacts{Host: "s1", Unit: "nomad.service", Server: true, Region: "global", DataDir: "/opt/nomad", VersionDisk: old}
}

func (h *raftHost) cluster(args map[string]any) *cluster {
	return newCluster(&Call{Name: "s1", Host: h, Args: Args{args}, Fleet: &raftFleet{names: []string{"s1"}, host: h}, Say: func(string, ...any) {}})
}

// Where the agent cannot be asked, its address is what it would advertise.
func TestRaftAddress(t *testing.T) {
	for name, test := range map[string]struct {
		config    string
		addresses string // "": 10.0.0.1
		gossip    string // "": 10.0.0.1
		none      bool   // gossip has no record
		given     string
		want      string
		problem   string
	}{
		"advertised":                    {config: `advertise { rpc = "10.9.9.9" }`, want: "10.9.9.9:4647"},
		"advertised with a port":        {config: `advertise { rpc = "10.9.9.9:5000" }`, want: "10.9.9.9:5000"},
		"advertised, with ports.rpc":    {config: `advertise { rpc = "10.9.9.9" } ports { rpc = 6000 }`, want: "10.9.9.9:6000"},
		"a port of its own wins":        {config: `advertise { rpc = "10.9.9.9:5000" } ports { rpc = 6000 }`, want: "10.9.9.9:5000"},
		"advertised, IPv6":              {config: `advertise { rpc = "[fd00::9]:5000" }`, want: "[fd00::9]:5000"},
		"advertised before bound":       {config: `bind_addr = "10.0.0.3" addresses { rpc = "10.0.0.2" } advertise { rpc = "10.9.9.9" }`, want: "10.9.9.9:4647"},
		"bound for RPC":                 {config: `bind_addr = "10.0.0.3" addresses { rpc = "10.0.0.2" }`, want: "10.0.0.2:4647"},
		"bound":                         {config: `bind_addr = "10.0.0.3"`, want: "10.0.0.3:4647"},
		"a template, and gossip":        {config: `advertise { rpc = "{{ GetInterfaceIP \"eth0\" }}" }`, addresses: "10.0.0.1 10.1.0.1", want: "10.0.0.1:4647"},
		"a name, and gossip":            {config: `advertise { rpc = "s1.example.com:5000" }`, addresses: "10.0.0.1 10.1.0.1", want: "10.0.0.1:5000"},
		"a wildcard, and gossip":        {config: `bind_addr = "0.0.0.0"`, addresses: "10.1.0.1 10.0.0.1", want: "10.0.0.1:4647"},
		"nothing, and gossip":           {config: ``, addresses: "10.1.0.1 10.0.0.1", want: "10.0.0.1:4647"},
		"nothing, ports.rpc and gossip": {config: `ports { rpc = 6000 }`, addresses: "10.1.0.1 10.0.0.1", want: "10.0.0.1:6000"},
		"gossip of another host":        {config: ``, addresses: "10.1.0.1 10.2.0.1", problem: "the configuration names none, gossip has no record of it, and the host has the addresses 10.1.0.1, 10.2.0.1"},
		"one address, no record":        {config: `bind_addr = "0.0.0.0"`, none: true, want: "10.0.0.1:4647"},
		"two addresses, no record":      {config: `bind_addr = "0.0.0.0"`, none: true, addresses: "10.0.0.1 10.1.0.1", problem: `the configuration says "0.0.0.0", gossip has no record of it, and the host has the addresses 10.0.0.1, 10.1.0.1`},
		"another region's record":       {config: ``, addresses: "10.0.0.1 10.1.0.1", gossip: "alive: s1.europe 10.0.0.1:4648\n", problem: "gossip has no record of it"},
		"given":                         {config: `bind_addr = "0.0.0.0"`, addresses: "10.0.0.1 10.1.0.1", given: "10.1.0.1:4647", want: "10.1.0.1:4647"},
		"given without a port":          {config: `ports { rpc = 6000 }`, given: "10.1.0.1", want: "10.1.0.1:6000"},
		"given, against all else":       {config: `advertise { rpc = "10.9.9.9" }`, given: "10.1.0.1:4647", want: "10.1.0.1:4647"},
		"given as a name":               {config: `advertise { rpc = "10.9.9.9" }`, given: "s1:4647", problem: `"s1:4647" is not an address and a port`},
		"given as a wildcard":           {config: `advertise { rpc = "10.9.9.9" }`, given: "0.0.0.0:4647", problem: `"0.0.0.0:4647" is not an address and a port`},
		"given with a port of nobody":   {config: `advertise { rpc = "10.9.9.9" }`, given: "10.1.0.1:70000", problem: `"10.1.0.1:70000" is not an address and a port`},
	} {
		t.Run(name, func(t *testing.T) {
			host, facts := raftLookAt(test.config)
			if test.addresses != "" {
				host.addresses = test.addresses
			}
			if test.gossip != "" {
				host.files["/opt/nomad/server/serf/snapshot"] = test.gossip
			}
			if test.none {
				delete(host.files, "/opt/nomad/server/serf/snapshot")
			}
			args := map[string]any{}
			if test.given != "" {
				args["rpc_address"] = test.given
			}
			e, err := host.cluster(args).raftEvidence(t.Context(), host, facts, nomad.Version{})
			if err != nil {
				t.Fatal(err)
			}
			if e.Address != test.want || (e.AddressProblem == "") != (test.problem == "") || !strings.Contains(e.AddressProblem, test.problem) {
				t.Errorf("address %q with %q, want %q with %q", e.Address, e.AddressProblem, test.want, test.problem)
			}
		})
	}
	host, facts := raftLookAt(`advertise { rpc = "10.9.9.9" }`)
	facts.Answers, facts.RPC = true, "10.0.0.7:4647"
	if e, err := host.cluster(map[string]any{"rpc_address": "10.1.0.1:4647"}).raftEvidence(t.Context(), host, facts, nomad.Version{}); err != nil || e.Address != facts.RPC {
		t.Errorf("%v: it says %s itself, and %s is taken", err, facts.RPC, e.Address)
	}
}

// A server that says nothing of itself is alone only where everything that can be read was there and names nobody.
func TestRaftSole(t *testing.T) {
	status := func(leader int, peers string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/v1/status/peers" && r.URL.Query().Has("stale"):
				_, _ = io.WriteString(w, peers)
			case r.URL.Path == "/v1/status/leader" && leader > 0:
				_, _ = io.WriteString(w, `"10.0.0.2:4647"`)
			case r.URL.Path == "/v1/status/leader" && leader == 0:
				http.Error(w, "No cluster leader", http.StatusInternalServerError) // as Nomad 1.2.6 has it
			default:
				http.Error(w, "Permission denied", http.StatusForbidden)
			}
		})
	}
	for name, test := range map[string]struct {
		config string
		change func(h *raftHost)
		want   bool
		others string
		leads  string
		speaks bool
	}{
		"alone":                {want: true},
		"joins itself":         {config: `server { retry_join = ["10.0.0.1", "127.0.0.1:4648"] }`, want: true},
		"one to bootstrap":     {config: `server { bootstrap_expect = 1 }`, want: true},
		"three to bootstrap":   {config: `server { bootstrap_expect = 3 }`, others: "bootstrap_expect = 3"},
		"joins another":        {config: `server { server_join { retry_join = ["10.0.0.2"] } }`, others: "joins 10.0.0.2"},
		"no record":            {change: func(h *raftHost) { delete(h.files, "/opt/nomad/server/serf/snapshot") }},
		"an empty record":      {change: func(h *raftHost) { h.files["/opt/nomad/server/serf/snapshot"] = "" }},
		"gossip knows another": {change: func(h *raftHost) { h.files["/opt/nomad/server/serf/snapshot"] += "alive: s2.global 10.0.0.2:4648\n" }, others: "gossip knew s2.global"},
		"of another region":    {change: func(h *raftHost) { h.files["/opt/nomad/server/serf/snapshot"] += "alive: s2.europe 10.0.0.2:4648\n" }, want: true},
		"raft has it alone":    {change: func(h *raftHost) { h.api = status(0, `["10.0.0.1:4647"]`) }, want: true, speaks: true},
		"raft has it, no record": {change: func(h *raftHost) {
			h.api = status(0, `["10.0.0.1:4647"]`)
			delete(h.files, "/opt/nomad/server/serf/snapshot")
		}, want: true, speaks: true},
		"raft has only another":         {change: func(h *raftHost) { h.api = status(0, `["10.0.0.2:4647"]`) }, others: "raft's configuration has 10.0.0.2:4647, and this server is at 10.0.0.1:4647"},
		"raft has another":              {change: func(h *raftHost) { h.api = status(0, `["10.0.0.1:4647","10.0.0.2:4647"]`) }, others: "raft's configuration has 10.0.0.1:4647, 10.0.0.2:4647, and this server"},
		"nothing without token":         {change: func(h *raftHost) { h.api = status(0, "") }, want: true},
		"does not tell whom it follows": {change: func(h *raftHost) { h.api = status(-1, `["10.0.0.1:4647"]`) }, want: true},
		"follows another leader":        {change: func(h *raftHost) { h.api = status(1, `["10.0.0.1:4647"]`) }, want: true, leads: "10.0.0.2:4647"},
	} {
		t.Run(name, func(t *testing.T) {
			host, facts := raftLookAt(test.config)
			facts.Running, facts.Problem, facts.API = true, "403 (Permission denied)", nomad.Endpoint{Address: "127.0.0.1:4646"}
			if test.change != nil {
				test.change(host)
			}
			c := host.cluster(nil)
			defer c.close()
			c.looked["s1"] = facts
			e, err := c.raftEvidence(t.Context(), host, facts, nomad.Version{})
			if err != nil {
				t.Fatal(err)
			}
			if e.Sole != test.want || e.Speaks != test.speaks || e.Leads != test.leads || !strings.Contains(strings.Join(e.Others, "\n"), test.others) || (test.others == "") != (len(e.Others) == 0) {
				t.Errorf("sole %t, leader %q, others %q", e.Sole, e.Leads, e.Others)
			}
			// It is what the stop rests on.
			m := raftMigration(host, facts, e)
			m.byItself()
			against := m.against([]nomad.Answer{{Host: "s1", Error: facts.Problem}}, 0)
			if (len(against) == 0) != test.want {
				t.Errorf("against the stop: %s", nomad.Words(against))
			}
			if signal, err := m.signal(); (err == nil) != test.speaks {
				t.Errorf("stopped with %q, %v, which is asked for only where it hangs", signal, err)
			}
		})
	}
}

func raftMigration(host Host, facts nomad.HostFacts, evidence nomad.RaftEvidence) *migration {
	call := &Call{Name: "s1", Host: host, Fleet: &raftFleet{names: []string{"s1", "s2"}, host: host}, Say: func(string, ...any) {}}
	m := &migration{swap: &swap{cluster: newCluster(call), voice: voice{call: call}}, evidence: evidence}
	m.facts, m.agent.Running, m.agent.Unit.ActiveState = facts, facts.Running, "active"
	m.own.Error, m.agent.Unit.KillSignal = facts.Problem, 2
	return m
}

func TestRaftUnknownHosts(t *testing.T) {
	host, facts := raftLookAt("")
	m := raftMigration(host, facts, nomad.RaftEvidence{})
	m.looked["s1"] = facts
	if diff := cmp.Diff([]string{"s2"}, m.unknownHosts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What systemd has not put values in for may be a flag that no file overrules.
func TestRaftHiddenFlags(t *testing.T) {
	for name, test := range map[string]struct {
		flags   []string
		running []string
		left    string
		want    string
	}{
		"none":                   {flags: []string{"-region", "global"}},
		"a variable":             {flags: []string{"$ARGS"}, want: "holds $ARGS, and the agent does not run"},
		"two":                    {flags: []string{"-region=${REGION}", "$ARGS"}, want: "holds ${REGION} and $ARGS"},
		"a dollar sign":          {flags: []string{"-node=a$$b"}},
		"put in by systemd":      {flags: []string{"$ARGS"}, running: []string{"/usr/bin/nomad", "agent", "-config", "/etc/nomad.d"}},
		"an earlier run goes on": {flags: []string{"$ARGS"}, left: "a stop"},
	} {
		t.Run(name, func(t *testing.T) {
			host, facts := raftLookAt("server { enabled = true }")
			host.flags, host.running, facts.Unfinished = test.flags, test.running, test.left
			e, err := host.cluster(nil).raftEvidence(t.Context(), host, facts, nomad.Version{})
			if err != nil || (e.EditProblem == "") != (test.want == "") || !strings.Contains(e.EditProblem, test.want) {
				t.Errorf("%v: %q, want %q", err, e.EditProblem, test.want)
			}
			if (len(e.Edits) == 0) != (test.want != "") {
				t.Errorf("%d edits", len(e.Edits))
			}
		})
	}
}

// peers.json has owner and mode of raft's own files, the id without the line break that node-id may end in, and comes after all other files.
func TestRaftPeersEdits(t *testing.T) {
	const peers, like = "/opt/nomad/server/raft/peers.json", "/opt/nomad/server/raft/raft.db"
	const want = `[
  {
    "id": "` + raftTestID + `",
    "address": "10.0.0.1:4647",
    "non_voter": false
  }
]
`
	for name, left := range map[string]string{"none is left": "", "one is left that is right": `[{"id":"` + raftTestID + `","address":"10.0.0.1:4647","non_voter":false}]`, "one is left that is not": "[]"} {
		t.Run(name, func(t *testing.T) {
			host, facts := raftLookAt("server { enabled = true }")
			before := ""
			if left != "" {
				host.files[peers], before = left, sumOf([]byte(left))
			}
			e, err := host.cluster(nil).raftEvidence(t.Context(), host, facts, nomad.Version{})
			if err != nil {
				t.Fatal(err)
			}
			m := raftMigration(host, facts, e)
			for kind, edits := range map[string][]wire.SwapEdit{"single": m.peersEdits(), "recover": (&survivor{migration: m}).recoverEdits([]nomad.RaftPeer{e.Peer()})} {
				if aside := left == "[]"; len(edits) != map[bool]int{false: 1, true: 2}[aside] {
					t.Fatalf("%s: %d edits", kind, len(edits))
				}
				last := edits[len(edits)-1]
				if diff := cmp.Diff(wire.SwapEdit{Path: peers, Content: []byte(want), Like: like, Before: before}, last); diff != "" {
					t.Errorf("%s (-want +got):\n%s", kind, diff)
				}
				if first := edits[0]; len(edits) == 2 && (string(first.Content) != left || first.Like != like || first.Before != "" || !strings.HasPrefix(path.Base(first.Path), "peers.json.drover-aside-")) {
					t.Errorf("%s: moved aside as %+v", kind, first)
				}
			}
		})
	}
}

// A run that finds the leader among the first, since it was elected after the order was made, does not stop it while another has protocol 2.
func TestRaftLeaderComesLast(t *testing.T) {
	now := time.Now()
	third := "a3"
	answer := func(host, address, state string, protocol int) nomad.Answer {
		servers := []nomad.RaftServer{{ID: "a1", Address: "a1", Voter: true}, {ID: "id-s2", Address: "a2", Voter: true}, {ID: third, Address: "a3", Voter: true}}
		return nomad.Answer{Host: host, View: nomad.AgentView{
			Host: host, Asked: now, ServerID: "id-" + host, RPC: address, Raft: nomad.Raft{State: state, Term: 1, Commit: 5, Applied: 5, Protocol: protocol, Servers: servers},
		}}
	}
	early := []nomad.Answer{answer("s1", "a1", nomad.Leader, 2), answer("s2", "a2", nomad.Follower, 3), answer("s3", "a3", nomad.Follower, 2)}
	follows := []nomad.Answer{answer("s1", "a1", nomad.Follower, 2), answer("s2", "a2", nomad.Follower, 3), answer("s3", "a3", nomad.Leader, 2)}
	third = "id-s3"
	last := []nomad.Answer{answer("s1", "a1", nomad.Leader, 2), answer("s2", "a2", nomad.Follower, 3), answer("s3", "a3", nomad.Follower, 3)}
	for name, test := range map[string]struct {
		answers []nomad.Answer
		want    string
	}{
		"it follows":             {follows, ""},
		"it leads, one is old":   {early, "it leads, and s3 still uses raft protocol 2"},
		"it leads, all are done": {last, ""},
	} {
		t.Run(name, func(t *testing.T) {
			host, facts := raftLookAt("")
			facts.Running, facts.Answers = true, true
			m := raftMigration(host, facts, nomad.RaftEvidence{})
			m.own.Error = ""
			m.turn()
			if m.prepare.PauseMS != raftPause.Milliseconds() {
				t.Errorf("it waits %d ms for the others", m.prepare.PauseMS)
			}
			if words := nomad.Words(m.against(test.answers, 5)); (words == "") != (test.want == "") || !strings.Contains(words, test.want) {
				t.Errorf("against the stop: %q, want %q", words, test.want)
			}
		})
	}
}

// A survivor that is not recovered after all gets its configuration back before it is started, and peers.json goes.
func TestRecoverPutsTheConfigurationBack(t *testing.T) {
	r, fleet := recoveryOf(func(hosts []*recoverHost) { hosts[1].undone = true })
	for _, s := range r.survivors {
		s.evidence.Edits = []agentconfig.Edit{{Path: "/etc/nomad.d/server.hcl", Before: []byte("old"), After: []byte("new")}}
	}
	if err := r.stopAll(t.Context()); err == nil {
		t.Fatal("one could not be copied, and all went on")
	}
	for _, host := range []string{"s1", "s3"} {
		var did []string
		for _, line := range fleet.log {
			if op, found := strings.CutSuffix(line, " "+host); found && op != "swap_prepare" && op != "swap_commit" {
				did = append(did, op)
			}
		}
		if diff := cmp.Diff([]string{"write", "file", "swap_continue"}, did); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
	}
}

// Configuration and peers.json change in the same stop: with one of them alone Nomad does not start, or finds no leader.
func TestRecoverEditsTheConfigurationToo(t *testing.T) {
	host, facts := raftLookAt("server {\n  raft_protocol = 2\n}\n")
	e, err := host.cluster(nil).raftEvidence(t.Context(), host, facts, nomad.Version{})
	if err != nil {
		t.Fatal(err)
	}
	m := raftMigration(host, facts, e)
	r := &recovery{cluster: m.cluster, voice: m.voice, survivors: []*survivor{{migration: m}}, plan: nomad.Recovery{Peers: []nomad.RaftPeer{e.Peer()}}}
	r.call.Args = Args{map[string]any{"pause": time.Minute}}
	if err := r.request(t.Context()); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, edit := range m.prepare.Edits {
		paths = append(paths, edit.Path)
	}
	if diff := cmp.Diff([]string{"/etc/nomad.d/nomad.hcl", "/opt/nomad/server/raft/peers.json"}, paths); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := string(m.prepare.Edits[0].Content); text != "server {\n  raft_protocol = 3\n}\n" {
		t.Errorf("the configuration becomes %q", text)
	}
}

// A configuration that cannot be parsed hides whether its host is a server.
func TestRaftNamesABrokenConfiguration(t *testing.T) {
	const broken = "server {\n  enabled = = true\n}\n"
	host, facts := raftLookAt(broken)
	if e, err := host.cluster(nil).raftEvidence(t.Context(), host, facts, nomad.Version{}); err != nil || !strings.HasPrefix(e.Unread, "/etc/nomad.d/nomad.hcl:2:") || e.EditProblem != "" {
		t.Errorf("a server: %v, %q and %q", err, e.Unread, e.EditProblem)
	}
	facts.Server, facts.ConfigFiles = false, []string{"/etc/nomad.d/nomad.hcl"}
	for name, test := range map[string]struct {
		text   string
		change func(*nomad.HostFacts)
		want   bool
	}{
		"broken":           {broken, func(*nomad.HostFacts) {}, true},
		"of a client":      {"client { enabled = true }", func(*nomad.HostFacts) {}, false},
		"its agent speaks": {broken, func(f *nomad.HostFacts) { f.Answers = true }, false},
	} {
		seen := facts
		test.change(&seen)
		host.files["/etc/nomad.d/nomad.hcl"] = test.text
		unread := host.cluster(nil).unreadConfigurations(t.Context(), nomad.Survey{Hosts: []nomad.HostFacts{seen}})
		if (len(unread) == 1) != test.want || test.want && !strings.HasPrefix(unread[0].Unread, "/etc/nomad.d/nomad.hcl:2:") {
			t.Errorf("%s: %+v", name, unread)
		}
	}
}
