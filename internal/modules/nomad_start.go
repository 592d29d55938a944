// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/internal/agentconfig"
	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadStartModule() Module {
	return Module{
		Name:  "nomad_start",
		Short: "Start an installed Nomad agent and wait until it has joined the cluster",
		Doc: "Starts the unit, enables it, and waits: for a client until the servers see it ready with the version and it has sent a heartbeat; for a server until it answers, follows a leader, another server sees it alive, " +
			"and the raft configuration has it, as a voter unless voter is false (autopilot makes it one about 10 s after it has joined). The host joins the group " + GroupServers + " or " + GroupClients + ".\n\n" +
			"Refused, with nothing started: a server that would form a cluster of its own (an empty data directory and bootstrap_expect = 1, or no join list at all) while the cluster has servers; " +
			"an agent whose name another living server has. An agent that runs is only waited for. " + unitDoc,
		Args: []Arg{
			versionArg(),
			{Name: "enabled", Kind: Boolean, Default: true, Doc: "Whether the unit starts at boot."},
			{Name: "voter", Kind: Boolean, Default: true, Doc: "Wait until a server has a vote."},
			{Name: "timeout", Kind: Duration, Default: "3m", Doc: "How long to wait until it has joined."},
		},
		Check: CheckFull,
		Example: `- nomad_start:
    version: 1.11.0`,
		Run: nomadStart,
	}
}

// starting is one execution of nomad_start.
type starting struct {
	*cluster
	target  nomad.Version
	facts   nomad.HostFacts
	ordered time.Time // when the start was ordered; zero when it ran already
	voice   voice
}

func nomadStart(ctx context.Context, call *Call) (*Result, error) {
	s := &starting{cluster: newCluster(call), voice: voice{call: call}}
	defer s.close()
	var err error
	if s.target, err = targetVersion(call); err != nil {
		return nil, err
	}
	if s.facts, err = s.lookAtOwn(ctx); err != nil {
		return nil, err
	}
	if err := s.mayStart(ctx); err != nil {
		return nil, err
	}
	enabled := call.Args.Bool("enabled")
	request := wire.UnitControl{Name: s.facts.Unit, State: "started", Enabled: &enabled, Check: call.Check, Unguarded: true}
	var reply wire.UnitControlResult
	if !s.facts.Running {
		s.ordered = time.Now()
	}
	if err := call.Host.Call(ctx, request, nil, &reply); err != nil {
		return nil, withLog(fmt.Sprintf("%s: start %s: %s", call.Name, s.facts.Unit, err), s.facts.Unit, journalLines(ctx, call.Host, s.facts.Unit))
	}
	if call.Check {
		return &Result{Changed: reply.Changed, Message: "would start " + s.facts.Unit + " and wait until it has joined"}, nil
	}
	begin := time.Now()
	if err := s.awaitJoined(ctx); err != nil {
		return nil, err
	}
	result := &Result{Changed: reply.Changed, Message: fmt.Sprintf("%s, joined after %s", describe(s.facts), time.Since(begin).Round(100*time.Millisecond))}
	result.Facts = factMap(factNomad, s.facts)
	result.Groups = []string{GroupClients}
	if s.facts.Server {
		result.Groups = []string{GroupServers}
	}
	return result, nil
}

// lookAtOwn looks at the host anew, since what was found before an installation says nothing.
func (c *cluster) lookAtOwn(ctx context.Context) (nomad.HostFacts, error) {
	facts, err := c.look(ctx, c.call.Name)
	if err != nil {
		return facts, err
	}
	c.mu.Lock()
	delete(c.clients, c.call.Name)
	c.looked[c.call.Name] = facts
	c.mu.Unlock()
	return facts, nil
}

// mayStart refuses an agent that is not what it should be, or that would do harm.
func (s *starting) mayStart(ctx context.Context) error {
	f := s.facts
	switch {
	case f.Role == "none":
		return refuse("%s: no Nomad agent is installed here: %s; nomad_install brings one", f.Host, orNone(f.Problem))
	case f.Running && !f.VersionRunning.Same(s.target), !f.Running && !f.VersionDisk.Same(s.target):
		return refuse("%s: the agent is %s and not %s; nothing was started; nomad_swap brings another version", f.Host, orNone(cmp.Or(f.VersionRunning.String(), f.VersionDisk.String())), s.target)
	case f.Running || !f.Server:
		return nil
	}
	others := slices.DeleteFunc(s.servers(f.Region), func(name string) bool { return name == f.Host })
	if len(others) == 0 {
		return nil
	}
	if err := s.joins(ctx); err != nil {
		return err
	}
	return s.nameIsFree(ctx)
}

// joins refuses a server that would not find the cluster, or begin one of its own beside it.
func (s *starting) joins(ctx context.Context) error {
	var raft wire.StatResult
	if err := s.call.Host.Call(ctx, wire.Stat{Path: s.facts.DataDir + "/server/raft", Follow: true}, nil, &raft); err != nil {
		return err
	}
	if raft.Exists {
		return nil // it has been a member, and knows the others
	}
	if !s.facts.RetryJoin {
		return refuse("%s: the server's configuration has no server_join { retry_join = [...] }, so that it would not find the others; nothing was started; add it (nomad_install with set, or nomad_config)", s.facts.Host)
	}
	in := &installation{cluster: s.cluster}
	for _, name := range s.facts.ConfigFiles {
		text, err := s.configFile(ctx, name)
		if err != nil {
			return err
		}
		in.files = append(in.files, installFile{path: name, content: text, config: true})
	}
	expect, err := in.text(agentconfig.Path{"server", "bootstrap_expect"}...)
	if err != nil {
		return err
	}
	if expect == "1" || slices.ContainsFunc(s.facts.UnitSettings.ExecStart, func(word string) bool { return strings.HasSuffix(word, "-bootstrap-expect=1") }) {
		return refuse("%s: the server is new and has bootstrap_expect = 1, so that it would form a cluster of its own; nothing was started; "+
			"remove it for a server that joins others (nomad_install with set: {server.bootstrap_expect: null})", s.facts.Host)
	}
	return nil
}

// nameIsFree refuses a server with the name of another that lives: gossip would take them for one.
func (s *starting) nameIsFree(ctx context.Context) error {
	observer, err := s.anyServer(ctx, s.facts.Region, s.facts.Host)
	if err != nil {
		return fmt.Errorf("%s: ask the servers for their names before the start (nothing was started): %w", s.facts.Host, err)
	}
	members, err := nomad.AskMembers(ctx, observer, s.facts.Region)
	if err != nil {
		return fmt.Errorf("%s: ask the servers for their names before the start (nothing was started): %w", s.facts.Host, err)
	}
	for _, member := range members {
		if member.Name == s.facts.NodeName+"."+s.facts.Region && member.Status == "alive" {
			return refuse("%s: a server with the name %s lives at %s; nothing was started; give this one another name", s.facts.Host, member.Name, member.Addr)
		}
	}
	return nil
}

// awaitJoined waits until the agent is part of the cluster.
func (s *starting) awaitJoined(ctx context.Context) error {
	timeout := s.call.Args.Duration("timeout")
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		problems := s.missing(ctx)
		if len(problems) == 0 {
			return nil
		}
		s.voice.say("waiting for the new agent: " + nomad.Words(problems))
		died := s.facts.NRestarts > 2
		if died || wait.For(ctx, pollEvery) != nil {
			what := fmt.Sprintf("%s: the agent was started and has not joined within %s", s.call.Name, timeout)
			if died {
				what = s.call.Name + ": the agent was started and ends again and again"
			}
			return withLog(fmt.Sprintf("%s: %s; it is left as it is: correct what its log complains about, systemctl stop %s if it must not go on trying, and run again",
				what, nomad.Words(problems), s.facts.Unit), s.facts.Unit, journalLines(ctx, s.call.Host, s.facts.Unit))
		}
	}
}

// missing says what is not so yet.
func (s *starting) missing(ctx context.Context) []nomad.Problem {
	if !s.facts.Answers {
		if facts, err := s.lookAtOwn(ctx); err == nil {
			s.facts = facts
		}
		if !s.facts.Answers {
			return []nomad.Problem{{Host: s.call.Name, Text: "it does not answer: " + cmp.Or(s.facts.Problem, "nothing runs")}}
		}
	}
	own := s.ask(ctx, s.call.Name)
	if own.Error == "" {
		s.facts.SetView(own.View)
	} else {
		s.facts.Answers = false
	}
	var problems []nomad.Problem
	if s.facts.Server {
		problems = s.missingServer(ctx, own)
	}
	if s.facts.Client {
		state := nomad.ClientState{Own: own}
		state.Node, state.Error = s.node(ctx, s.facts.NodeID, s.call.Name)
		problems = append(problems, nomad.ClientReady(s.call.Name, nil, state, s.target, s.ordered)...)
	}
	return problems
}

// missingServer compares what a new server says of itself with what another one says of it.
func (s *starting) missingServer(ctx context.Context, own nomad.Answer) []nomad.Problem {
	missing := func(format string, args ...any) []nomad.Problem {
		return []nomad.Problem{{Host: s.call.Name, Text: fmt.Sprintf(format, args...)}}
	}
	raft := own.View.Raft
	switch {
	case own.Error != "":
		return missing("it does not answer: %s", own.Error)
	case raft.State != nomad.Leader && (raft.State != nomad.Follower || raft.LeaderAddr == ""):
		return missing("it knows no leader yet")
	}
	observer, err := s.anyServer(ctx, s.facts.Region, s.call.Name)
	if err != nil {
		return missing("%s", err)
	}
	members, err := nomad.AskMembers(ctx, observer, s.facts.Region)
	if err != nil {
		return missing("%s", err)
	}
	alive := func(m nomad.Member) bool {
		return m.Status == "alive" && (m.Tags["id"] == s.facts.ServerID || m.Tags["id"] == "" && m.Name == s.facts.NodeName+"."+s.facts.Region)
	}
	if !slices.ContainsFunc(members, alive) {
		return missing("the other servers do not see it alive yet")
	}
	configuration, err := nomad.AskRaft(ctx, observer, true)
	if err != nil {
		return missing("%s", err)
	}
	for _, peer := range configuration.Servers {
		if peer.ID != s.facts.ServerID && peer.Address != s.facts.RPC {
			continue
		}
		if s.call.Args.Bool("voter") && !peer.Voter {
			return missing("it has joined and has no vote yet")
		}
		return nil
	}
	return missing("the raft configuration does not have it yet")
}

// configFile reads one configuration file of the host.
func (s *starting) configFile(ctx context.Context, name string) ([]byte, error) {
	m := model{name: s.call.Name, host: s.call.Host}
	f, err := m.read(ctx, name)
	if err == nil && f == nil {
		err = fmt.Errorf("%s: %s has just gone", s.call.Name, name)
	}
	if err != nil {
		return nil, err
	}
	return f.content, nil
}
