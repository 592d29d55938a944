// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wire"
)

// fakeCluster is a Nomad cluster in memory: each agent answers HTTP over pipes, as fakeHost's tunnel.
type fakeCluster struct {
	interrupted <-chan struct{}
	check       bool // calls are those of --check
	t           *testing.T
	mu          sync.Mutex
	agents      []*fakeAgent
	facts       map[string]*expression.Map
	vars        map[string]any // of all hosts
	said        []string
	run         Run
	// stuck makes snapshots fail until something is written; denied answers 403 to what needs management.
	stuck, denied bool
	writes        int
	transfers     []string
	removals      []string // from raft's configuration
	term          int
	license       []string // what the staged binary says of the licence
	// drains are those of clients, by name: see nomad_drain_test.go.
	drains map[string]*fakeDrain
}

type fakeAgent struct {
	cluster  *fakeCluster
	name     string
	status   string // of a client, as the servers see it; "": ready
	server   bool
	running  bool
	disk     string // version of the installed file
	version  string // of the process
	pid      int
	leader   bool
	quiet    bool // has no vote
	killMode string
	leave    nomad.LeaveFlags
	contact  string // last_contact of a follower
	applied  int
	beat     time.Time // last heartbeat of a client
	drivers  map[string]nomad.Driver
	alive    bool // the API answers
	// broken makes the next process of a client end at once.
	broken       bool
	ended        bool
	log          []string // operations in order
	prepared     func()   // runs after a swap was prepared
	lostInCommit bool
	// committed runs when it is committed, with the cluster's lock held.
	committed func()
	process   []wire.AllocProcess
	ran       []string // the last program
	received  int      // bytes of bodies
	left      []wire.SwapOutcome
	// copyFails makes cp break off.
	copyFails bool
	// removed servers are in raft's configuration no more; farewells are those that gossip was told of.
	removed  bool
	farewell bool
	keys     []string // files of its keystore; nil: it has none of Nomad before 1.9
	starting bool     // Type=notify, and not ready yet
	arch     string   // as uname -m; "": x86_64
	region   string   // "": global
	config   string   // its configuration file; "": one that says the role
}

func newFakeCluster(t *testing.T, servers, clients int) *fakeCluster {
	t.Helper()
	c := &fakeCluster{t: t, facts: map[string]*expression.Map{}, vars: map[string]any{}, term: 3}
	c.run = Run{ID: "r", Directory: t.TempDir(), Environment: func(string) string { return "" }}
	for i := range servers {
		c.agents = append(c.agents, &fakeAgent{name: fmt.Sprintf("s%d", i+1), server: true, leader: i == servers-1})
	}
	for i := range clients {
		c.agents = append(c.agents, &fakeAgent{name: fmt.Sprintf("c%d", i+1), beat: time.Now(), drivers: map[string]nomad.Driver{"exec": {Detected: true, Healthy: true}}})
	}
	for i, a := range c.agents {
		a.cluster, a.running, a.alive, a.disk, a.version, a.pid = c, true, true, "1.10.5", "1.10.5", 100+i
		a.contact, a.applied, a.killMode = "20ms", 50, "process"
	}
	return c
}

func (c *fakeCluster) agent(name string) *fakeAgent {
	for _, a := range c.agents {
		if a.name == name {
			return a
		}
	}
	return nil
}

// Names implements Fleet.
func (c *fakeCluster) Names(string) []string {
	var names []string
	for _, a := range c.agents {
		names = append(names, a.name)
	}
	return names
}

// Host implements Fleet.
func (c *fakeCluster) Host(_ context.Context, name string, _ bool) (Host, error) {
	if a := c.agent(name); a != nil {
		return a, nil
	}
	return nil, &Unreachable{Host: name, Err: errors.New("no such host")}
}

// Variable implements Fleet.
func (c *fakeCluster) Variable(host, name string) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value, ok := c.facts[host].Get(name); ok {
		return value, true
	}
	value, ok := c.vars[name]
	return value, ok
}

// do runs a module on a host and keeps its facts, as the executor does.
func (c *fakeCluster) do(ctx context.Context, host, module string, args map[string]any) (*Result, error) {
	m := Among(nomadTable(), module)
	decoded, err := m.Decode(args)
	if err != nil {
		c.t.Fatal(err)
	}
	call := &Call{
		Name: host, Args: decoded, Fleet: c, Become: true, Run: c.run, Interrupted: c.interrupted, Check: c.check,
		Say: func(format string, args ...any) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.said = append(c.said, fmt.Sprintf(format, args...))
		},
	}
	if !m.Local {
		call.Host = c.agent(host)
	}
	result, err := m.Run(ctx, call)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.facts[host] == nil {
		c.facts[host] = expression.NewMap()
	}
	for key, value := range result.Facts.All() {
		c.facts[host].Set(key, value)
	}
	return result, nil
}

func nomadTable() []Module {
	return []Module{
		nomadFactsModule(), nomadPreflightModule(), nomadSnapshotModule(), nomadStageModule(), nomadTransferLeadershipModule(),
		nomadSwapModule(), nomadServerHealthyModule(), nomadClientReadyModule(), nomadAllocsModule(), nomadHealthModule(), nomadDrainModule(), nomadStartModule(), nomadStopModule(), nomadRemoveServerModule(),
	}
}

// must is do for a call that must succeed.
func (c *fakeCluster) must(host, module string, args map[string]any) *Result {
	c.t.Helper()
	result, err := c.do(c.t.Context(), host, module, args)
	if err != nil {
		c.t.Fatalf("%s on %s: %v", module, host, err)
	}
	if result.Failed {
		c.t.Fatalf("%s on %s: %s", module, host, result.Message)
	}
	return result
}

func (c *fakeCluster) factsOfAll() {
	for _, name := range c.Names("all") {
		c.must(name, "nomad_facts", nil)
	}
}

// staged pretends that nomad_stage has run.
func (c *fakeCluster) staged(version string) {
	v, err := nomad.ParseVersion(version)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range c.Names("all") {
		if c.facts[name] == nil {
			continue // not among the hosts of the run
		}
		c.facts[name].Set(factStaged, expression.FromGo(stagedFact{Version: v, Path: "/usr/bin/nomad.drover-" + version, SHA256: "x"}))
	}
}

// Name implements Host.
func (a *fakeAgent) Name() string { return a.name }

// Dial implements Host: the agent's HTTP API over a pipe.
func (a *fakeAgent) Dial(_ context.Context, _, address string) (net.Conn, error) {
	a.cluster.mu.Lock()
	defer a.cluster.mu.Unlock()
	if !a.running || !a.alive || !strings.HasSuffix(address, ":4646") {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	go func() { _ = (&http.Server{Handler: a, ReadHeaderTimeout: time.Minute}).Serve(&oneConn{conn: theirs}) }()
	return ours, nil
}

type oneConn struct {
	conn net.Conn
	once sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	var conn net.Conn
	l.once.Do(func() { conn = l.conn })
	if conn == nil {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// Receive implements Host.
func (a *fakeAgent) Receive(_ context.Context, request wire.Request, _ any, into io.Writer) error {
	switch q := request.(type) {
	case wire.Read:
		switch {
		case strings.HasSuffix(q.Path, ".hcl") && a.config != "":
			_, err := io.WriteString(into, a.config)
			return err
		case strings.HasSuffix(q.Path, ".hcl") && a.server:
			_, err := io.WriteString(into, `data_dir = "/opt/nomad" server { enabled = true }`)
			return err
		case strings.HasSuffix(q.Path, ".hcl"):
			_, err := io.WriteString(into, `data_dir = "/opt/nomad" client { enabled = true }`)
			return err
		case strings.HasSuffix(q.Path, "client-id"):
			_, err := io.WriteString(into, "node-"+a.name)
			return err
		case strings.HasSuffix(q.Path, "node-id"):
			_, err := io.WriteString(into, "id-"+a.name)
			return err
		case strings.HasPrefix(q.Path, "/opt/nomad/server/keystore/"):
			_, err := io.WriteString(into, "key")
			return err
		}
	}
	return &wire.Error{Kind: wire.KindNotFound, Message: "no such file"}
}

// Call implements Host.
func (a *fakeAgent) Call(_ context.Context, request wire.Request, body io.Reader, reply any) error {
	if body != nil {
		content, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		a.received += len(content)
	}
	result, err := a.operation(request)
	if err != nil {
		return err
	}
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(text)).Decode(reply)
}

func (a *fakeAgent) operation(request wire.Request) (any, error) {
	c := a.cluster
	if _, prepare := request.(wire.SwapPrepare); prepare && a.prepared != nil {
		a.prepared()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a.log = append(a.log, request.Op())
	switch q := request.(type) {
	case wire.Facts:
		return wire.FactsResult{Arch: cmp.Or(a.arch, "x86_64"), Systemd: true}, nil
	case wire.Unit:
		return a.unit(), nil
	case wire.UnitControl:
		if q.State == "started" && !a.running {
			a.running, a.beat = true, time.Now().Add(10*time.Millisecond)
		}
		if q.State == "stopped" {
			a.stop(q)
		}
		return wire.UnitControlResult{Changed: true}, nil
	case wire.Stat:
		if a.keys != nil && strings.HasSuffix(q.Path, "/keystore") {
			return wire.StatResult{Exists: true, Type: "directory"}, nil
		}
		return wire.StatResult{Exists: strings.HasSuffix(q.Path, ".hcl"), Type: "file"}, nil
	case wire.UnitLog:
		return wire.UnitLogResult{Lines: []string{"agent: last words"}}, nil
	case wire.Agent:
		return a.describe(), nil
	case wire.AllocProcesses:
		return wire.AllocProcessesResult{Processes: a.process}, nil
	case wire.Run:
		a.ran = q.Argv
		if a.copyFails && q.Argv[0] == "cp" {
			return wire.RunResult{RC: 1, Stderr: "no space left"}, nil
		}
		if a.keys != nil {
			return wire.RunResult{Stdout: strings.Join(a.keys, "\n") + "\n"}, nil
		}
		return wire.RunResult{Stdout: "/opt/nomad/server/keystore/a.json\n"}, nil
	case wire.Stage:
		if a.received == 0 {
			return wire.StageResult{NeedBody: true, Path: "/usr/bin/nomad.drover-" + q.Version}, nil
		}
		staged := wire.StageResult{Changed: len(a.log) > 0 && a.log[len(a.log)-2] == "stage", Path: "/usr/bin/nomad.drover-" + q.Version, Version: "Nomad v" + q.Version, Validate: "ok"}
		if q.License != nil {
			staged.License = &wire.LicenseResult{Source: "license_path /etc/license", Lines: a.cluster.license}
		}
		return staged, nil
	case wire.SwapPrepare:
		if q.MainPID != a.pid {
			return nil, &wire.Error{Kind: wire.KindStale, Message: "another process runs"}
		}
		a.log[len(a.log)-1] += " " + q.Signal
		return wire.SwapPrepareResult{Token: "t"}, nil
	case wire.SwapCommit:
		if a.lostInCommit {
			return nil, &Unreachable{Host: a.name, Err: errors.New("connection lost")}
		}
		if a.committed != nil {
			a.committed()
		}
		return a.swap(), nil
	case wire.SwapRevert:
		a.version, a.disk, a.ended, a.pid = "1.10.5", "1.10.5", false, a.pid+1000
		a.alive = true
		return wire.SwapOutcome{State: wire.SwapReverted}, nil
	case wire.SwapSettle:
		a.left = slices.DeleteFunc(a.left, func(o wire.SwapOutcome) bool { return o.ID == q.ID })
		return struct{}{}, nil
	case wire.Hello:
		return wire.HelloResult{Outcomes: a.left}, nil
	}
	return nil, fmt.Errorf("operation %s is not faked", request.Op())
}

// stop ends a server for good. One that raft counts on must not be stopped, and a late permission is refused.
func (a *fakeAgent) stop(q wire.UnitControl) {
	if a.server && a.running && !a.removed {
		a.cluster.t.Errorf("%s was stopped while raft's configuration has it", a.name)
	}
	if a.server && a.running && q.Until == 0 {
		a.cluster.t.Errorf("%s was stopped by a permission without an end", a.name)
	}
	a.running = false
}

func (a *fakeAgent) swap() wire.SwapOutcome {
	outcome := wire.SwapOutcome{ID: "swap-" + a.name, State: wire.SwapDone, OldPID: a.pid, NewPID: a.pid + 1000, Stopped: 1e9, Gone: 1.1e9, Listening: 1.4e9, Checked: 1.5e9}
	a.pid, a.version, a.disk, a.beat = a.pid+1000, "1.11.0", "1.11.0", time.Now().Add(10*time.Millisecond)
	a.running = true
	if a.broken {
		a.ended, a.alive = true, false
	}
	if a.leader {
		a.leader = false
		for _, other := range a.cluster.agents {
			if other.server && other != a {
				other.leader = true
				a.cluster.term++
				break
			}
		}
	}
	return outcome
}

// registered is the version with which the servers know a client.
func (a *fakeAgent) registered() string {
	if a.broken {
		return "1.10.5"
	}
	return a.version
}

func (a *fakeAgent) unit() wire.UnitState {
	state := wire.UnitState{LoadState: "loaded", ActiveState: "active", MainPID: a.pid, KillSignal: int(syscall.SIGINT), KillMode: a.killMode}
	if a.starting {
		state.ActiveState, state.SubState = "activating", "start"
	}
	if a.ended {
		state.ActiveState, state.Result = "failed", "exit-code"
	}
	if !a.running {
		state.ActiveState, state.MainPID = "inactive", 0
	}
	return state
}

func (a *fakeAgent) describe() wire.AgentResult {
	result := wire.AgentResult{
		Unit: a.unit(), Running: a.running, Binary: "/usr/bin/nomad", BinaryVersion: "Nomad v" + a.disk, BinaryStat: wire.StatResult{Exists: true, Inode: inode(a.disk)},
		ConfigFiles: []string{"/etc/nomad.d/nomad.hcl"}, DataDir: "/opt/nomad",
		FreeBytes: 1 << 40, StageFreeBytes: -1,
	}
	if a.running {
		result.ExeVersion, result.ExeInode, result.Listening = "Nomad v"+a.version, inode(a.version), []string{"0.0.0.0:4646", "0.0.0.0:4647"}
	}
	return result
}

func inode(version string) uint64 {
	return uint64(len(version))<<8 + uint64(version[2]) + uint64(version[3])
}
