// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drover/internal/agentconfig"
	"drover/internal/nomad"
	"drover/internal/wire"
)

// raftEvidence reads, on the host of a server, everything that a migration of its raft protocol depends on.
func (c *cluster) raftEvidence(ctx context.Context, host Host, facts nomad.HostFacts, target nomad.Version) (nomad.RaftEvidence, error) {
	e := nomad.RaftEvidence{Facts: facts}
	if facts.DataDir == "" {
		return e, nil
	}
	server := facts.DataDir + "/server"
	e.NodeID = readID(ctx, host, server+"/node-id")
	for path, there := range map[string]*bool{"/raft/raft.db": &e.Store, "/raft/peers.info": &e.PeersInfo} {
		var stat wire.StatResult
		if err := host.Call(ctx, wire.Stat{Path: server + path, Follow: true}, nil, &stat); err != nil {
			return e, fmt.Errorf("look at %s: %w", server+path, err)
		}
		*there = stat.Exists
	}
	var err error
	if e.Peers, err = readOptional(ctx, host, peersFile(facts)); err != nil {
		return e, err
	}
	l := &raftLook{cluster: c, host: host, evidence: &e}
	if err := l.configuration(ctx, target); err != nil {
		return e, err
	}
	l.address(ctx)
	l.others(ctx)
	return e, nil
}

func peersFile(facts nomad.HostFacts) string { return facts.DataDir + "/server/raft/peers.json" }

// maximumSmallFile bounds what is read of raft's and gossip's files.
const maximumSmallFile = 1 << 20

// readOptional reads a file that need not be there; nil when it is not.
func readOptional(ctx context.Context, host Host, path string) ([]byte, error) {
	var content bytes.Buffer
	var reply wire.ReadResult
	err := host.Receive(ctx, wire.Read{Path: path, Max: maximumSmallFile}, &reply, &content)
	switch {
	case wire.IsKind(err, wire.KindNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return append([]byte{}, content.Bytes()...), nil
}

// raftLook reads the configuration of one server.
type raftLook struct {
	*cluster
	host     Host
	evidence *nomad.RaftEvidence
	sources  []agentconfig.Source
	argv     []string
}

// configuration finds out what sets raft_protocol and how it becomes 3.
func (l *raftLook) configuration(ctx context.Context, target nomad.Version) error {
	e := l.evidence
	config := &configEdit{call: &Call{Host: l.host, Name: e.Facts.Host, Fleet: l.call.Fleet, Run: l.call.Run, Become: l.call.Become}, sums: map[string]string{}}
	if err := config.read(ctx); err != nil {
		return err
	}
	l.sources, l.argv = config.sources, agentCommand(config.agent)
	key := nomad.RaftProtocolKey()
	var err error
	e.Protocols, err = agentconfig.Occurrences(l.sources, l.argv, key)
	var syntax *agentconfig.SyntaxError
	switch {
	case errors.As(err, &syntax):
		e.Unread = err.Error()
		return nil
	case err != nil:
		e.EditProblem = err.Error()
		return nil
	}
	// While the agent does not run nobody has put the values in: one of them may be -raft-protocol=2, which no file can overrule.
	if hidden := variablesIn(l.argv); len(hidden) > 0 && e.Facts.Unfinished == "" {
		e.EditProblem = fmt.Sprintf("ExecStart of %s holds %s, and the agent does not run, so that the flags it would start with cannot be seen: write them into ExecStart instead, and run again",
			e.Facts.Unit, strings.Join(hidden, " and "))
		return nil
	}
	if !nomad.WantsRaftSetting(e.Protocols, e.After(target)) {
		return nil
	}
	three, err := agentconfig.ValueOf(3)
	if err != nil {
		return err
	}
	if e.Edits, err = agentconfig.Edits(l.sources, l.argv, key, &three); err != nil {
		e.EditProblem = err.Error()
	}
	return nil
}

var systemdVariable = regexp.MustCompile(`\$(\$|\{\w+\}|\w+)`)

// variablesIn are those of a command line that systemd would put values in for; $$ is a dollar sign (systemd.service(5)).
func variablesIn(argv []string) []string {
	var names []string
	for _, argument := range argv {
		for _, name := range systemdVariable.FindAllString(argument, -1) {
			if name != "$$" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// text is what decides about a key that holds text; "" where nobody sets it.
func (l *raftLook) text(key ...string) string {
	all, err := agentconfig.Occurrences(l.sources, l.argv, key)
	if err != nil {
		return ""
	}
	decides, ok := agentconfig.Deciding(all, key)
	if !ok {
		return ""
	}
	return decides.Value.Text
}

// address finds the server's RPC address: from itself, else as Nomad works it out when it starts (normalizeAddrs in command/agent/config.go,
// 1.2.6): advertise.rpc, else the address that it binds to. Where that is a wildcard, a name or a template, gossip's own record has it.
func (l *raftLook) address(ctx context.Context) {
	e := l.evidence
	if e.Facts.Answers && e.Facts.RPC != "" {
		e.Address = e.Facts.RPC
		return
	}
	port := l.text("ports", "rpc")
	if port == "" || port == "0" {
		port = "4647"
	}
	if given := l.call.Args.String("rpc_address"); given != "" {
		if address, ok := withPort(given, port); ok {
			e.Address = address
		} else {
			e.AddressProblem = fmt.Sprintf("%q is not an address and a port", given)
		}
		return
	}
	for _, text := range []string{l.text("advertise", "rpc"), l.text("addresses", "rpc"), l.text("bind_addr")} {
		if text == "" {
			continue
		}
		address, ok := withPort(text, port)
		if ok {
			e.Address = address
			return
		}
		if host, _, err := net.SplitHostPort(text); err == nil && text == l.text("advertise", "rpc") {
			_, port, _ = net.SplitHostPort(text)
			text = host
		}
		e.AddressProblem = fmt.Sprintf("the configuration says %q", text)
		break
	}
	l.recordedAddress(ctx, port)
}

// withPort reads a literal address with or without a port; a wildcard is none.
func withPort(text, port string) (string, bool) {
	host := text
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	number, err := strconv.Atoi(port)
	if ip == nil || ip.IsUnspecified() || ip.IsLoopback() && host == "" || err != nil || number < 1 || number > 65535 {
		return "", false
	}
	return net.JoinHostPort(ip.String(), port), true
}

// recordedAddress takes the address from gossip's record of the server itself, or the only one that the host has.
func (l *raftLook) recordedAddress(ctx context.Context, port string) {
	e := l.evidence
	own := l.hostAddresses(ctx)
	for name, address := range l.gossip(ctx) {
		host, _, err := net.SplitHostPort(address)
		if err == nil && slices.Contains(own, host) && strings.HasSuffix(name, "."+e.Facts.Region) {
			e.Address, e.AddressProblem = net.JoinHostPort(host, port), ""
			return
		}
	}
	if len(own) == 1 {
		e.Address, e.AddressProblem = net.JoinHostPort(own[0], port), ""
		return
	}
	if e.AddressProblem == "" {
		e.AddressProblem = "the configuration names none"
	}
	e.AddressProblem += fmt.Sprintf(", gossip has no record of it, and the host has the addresses %s", orNone(strings.Join(own, ", ")))
}

func (l *raftLook) hostAddresses(ctx context.Context) []string {
	var reply wire.RunResult
	if err := l.host.Call(ctx, wire.Run{Argv: []string{"hostname", "-I"}}, nil, &reply); err != nil {
		return nil
	}
	return strings.Fields(reply.Stdout)
}

func (l *raftLook) gossip(ctx context.Context) map[string]string {
	text, err := readOptional(ctx, l.host, l.evidence.Facts.DataDir+"/server/serf/snapshot")
	if err != nil {
		return nil
	}
	return nomad.SerfSnapshot(text)
}

// others collects evidence of further servers, for one that cannot be asked.
func (l *raftLook) others(ctx context.Context) {
	e := l.evidence
	if e.Facts.Answers && len(e.Facts.RaftServers) > 0 {
		return
	}
	if expect, err := strconv.Atoi(l.text("server", "bootstrap_expect")); err == nil && expect > 1 {
		e.Others = append(e.Others, fmt.Sprintf("its configuration has bootstrap_expect = %d", expect))
	}
	own := append(l.hostAddresses(ctx), "127.0.0.1", "::1", "localhost")
	recorded := l.gossip(ctx)
	for name, address := range recorded {
		host, _, err := net.SplitHostPort(address)
		if err == nil && !slices.Contains(own, host) && strings.HasSuffix(name, "."+e.Facts.Region) {
			e.Others = append(e.Others, fmt.Sprintf("gossip knew %s at %s as alive when it was stopped", name, address))
		}
	}
	for _, key := range []agentconfig.Path{{"server", "server_join", "retry_join"}, {"server", "retry_join"}, {"server", "server_join", "start_join"}, {"server", "start_join"}} {
		all, err := agentconfig.Occurrences(l.sources, l.argv, key)
		if err != nil {
			continue
		}
		for _, o := range all {
			for _, join := range o.Value.List {
				host := join
				if h, _, err := net.SplitHostPort(join); err == nil {
					host = h
				}
				if !slices.Contains(own, host) && net.ParseIP(host) != nil {
					e.Others = append(e.Others, fmt.Sprintf("%s joins %s", key, join))
				}
			}
		}
	}
	l.status(ctx)
	slices.Sort(e.Others)
	e.Sole = len(e.Others) == 0 && (len(recorded) > 0 || e.Speaks)
}

// status asks an agent that runs and says nothing of itself what needs no token: whom it follows, and whom raft's configuration has.
func (l *raftLook) status(ctx context.Context) {
	e := l.evidence
	if !e.Facts.Running || e.Facts.Answers || e.Facts.API.Address == "" {
		return
	}
	var peers []string
	client, err := l.connect(ctx, e.Facts.Host)
	if err == nil {
		e.Leads, peers, err = nomad.AskStatus(ctx, client)
	}
	if err != nil {
		e.Untold = err.Error()
	}
	switch {
	case len(peers) == 1 && peers[0] == e.Address:
		e.Speaks = err == nil && e.Leads == ""
	case len(peers) > 0:
		e.Others = append(e.Others, fmt.Sprintf("raft's configuration has %s, and this server is at %s", strings.Join(peers, ", "), orNone(e.Address)))
	}
}
