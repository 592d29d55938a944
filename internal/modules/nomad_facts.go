// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wire"
)

// Groups that nomad_facts puts hosts into. A host that is server and client goes with the servers.
const (
	GroupServers = "drover_servers"
	GroupClients = "drover_clients"
)

func nomadFactsModule() Module {
	return Module{
		Name:  "nomad_facts",
		Short: "Find out what Nomad agent a host runs",
		Doc: "Sets the fact `nomad`: version on disk and running, role, region, datacenter, names and ids, whether it leads, the leave flags " +
			"of the running agent, data directory, configuration files, unit settings, address of the API and listening sockets. The host joins the group " +
			GroupServers + " or " + GroupClients + " for the rest of the run. An agent that does not answer is described from its host and its configuration files. " + unitDoc,
		Check: CheckReads,
		Returns: []Arg{
			{Name: "nomad", Kind: Dict, Doc: "The fact, also as the variable nomad."},
		},
		Example: `- nomad_facts:
- debug:
    msg: "{{ nomad.role }} {{ nomad.version_running }}, leader: {{ nomad.leader }}"`,
		Run: nomadFacts,
	}
}

func nomadFacts(ctx context.Context, call *Call) (*Result, error) {
	c := newCluster(call)
	defer c.close()
	facts, err := c.look(ctx, call.Name)
	if err != nil {
		return nil, err
	}
	result := &Result{Facts: factMap(factNomad, facts), Message: describe(facts)}
	result.Data = result.Facts.Clone()
	switch {
	case facts.Server:
		result.Groups = []string{GroupServers}
	case facts.Client:
		result.Groups = []string{GroupClients}
	}
	return result, nil
}

func factMap(name string, value any) *expression.Map {
	return expression.MapOf(name, expression.FromGo(value))
}

func describe(f nomad.HostFacts) string {
	if f.Role == "none" && !f.Running {
		return "no Nomad agent: " + f.Problem
	}
	text := f.Role
	if f.Leader {
		text += ", leader"
	}
	switch {
	case !f.Running:
		text += ", not running, " + onDisk(f)
	case !f.ExeCurrent:
		text += ", runs " + f.VersionRunning.String() + " with " + onDisk(f)
	default:
		text += ", " + f.VersionRunning.String()
	}
	if f.Problem != "" {
		text += ", does not answer: " + f.Problem
	}
	if f.Unfinished != "" {
		text += ", with " + f.Unfinished
	}
	return text
}

func onDisk(f nomad.HostFacts) string {
	if !f.VersionDisk.Known() {
		return "no Nomad that tells its version on disk"
	}
	return f.VersionDisk.String() + " on disk"
}

// look finds out everything about one host's agent.
func (c *cluster) look(ctx context.Context, name string) (nomad.HostFacts, error) {
	facts := nomad.HostFacts{Host: name, Unit: c.unit(name), Role: "none", ConfigFiles: []string{}, Listening: []string{}, RaftServers: []nomad.RaftServer{}, SharedBy: []string{}, KnownServers: []string{}, Environment: []string{}, Settings: []nomad.Setting{}, Refusals: []nomad.Problem{}}
	host, err := c.host(ctx, name)
	if err != nil {
		return facts, err
	}
	var machine wire.FactsResult
	if err := host.Call(ctx, wire.Facts{}, nil, &machine); err != nil {
		return facts, fmt.Errorf("ask the host what it is: %w", err)
	}
	facts.Architecture = machine.Arch
	if !machine.Systemd {
		return facts, &Obstacle{
			Kind: ObstacleNoSystemd, What: "this host is not run by systemd (it may be a container, or have another init), and drover stops and starts Nomad through systemd",
			Remedy: "upgrade it by hand",
		}
	}
	agent, err := agentOf(ctx, host, facts.Unit)
	if wire.IsKind(err, wire.KindNotFound) {
		facts.Problem = err.Error()
		return facts, nil
	}
	if err != nil {
		return facts, fmt.Errorf("look at %s: %w", facts.Unit, err)
	}
	setAgent(&facts, agent)
	left, err := leftovers(ctx, host, facts.Unit)
	if err != nil {
		return facts, err
	}
	facts.Unfinished = unfinished(left)
	facts.Settings = settings(ctx, host, agent.ConfigFiles)
	if facts.Running && c.setOwnWords(ctx, host, &facts, agent) {
		return facts, nil
	}
	c.setFromFiles(ctx, host, &facts, agent)
	facts.CrashLooping = crashLoops(ctx, host, agent)
	return facts, nil
}

// setAgent takes over what the host itself shows.
func setAgent(f *nomad.HostFacts, agent wire.AgentResult) {
	f.Running = agent.Running
	f.VersionRunning, _ = nomad.ParseVersionOutput(agent.ExeVersion)
	f.VersionDisk, _ = nomad.ParseVersionOutput(agent.BinaryVersion)
	f.ExeCurrent = isCurrent(agent)
	f.Binary, f.DataDir, f.FreeBytes = agent.Binary, agent.DataDir, agent.FreeBytes
	f.BinaryOwner = agent.BinaryStat.User + ":" + agent.BinaryStat.Group
	f.MainPID, f.NRestarts = agent.Unit.MainPID, agent.Unit.NRestarts
	f.ConfigFiles, f.Listening = nonNil(agent.ConfigFiles), nonNil(agent.Listening)
	f.UnitSettings = nomad.UnitFacts{
		Type: agent.Unit.Type, KillSignal: agent.Unit.KillSignal, KillMode: agent.Unit.KillMode, Restart: agent.Unit.Restart,
		User: agent.Unit.User, ExecStart: nonNil(agent.Unit.ExecStart), Systemd: agent.Unit.LoadState == "loaded",
		ExecStop: agent.Unit.ExecStop,
	}
	f.BinaryMissing = agent.Binary != "" && !agent.BinaryStat.Exists
	f.Disabled = agent.Unit.UnitFileState == "disabled"
	f.Package, f.Link, f.SharedBy, f.ReadOnly = agent.Package, agent.Link, nonNil(agent.SharedBy), agent.ReadOnly
	for _, refused := range agent.Refusals {
		f.Refusals = append(f.Refusals, nomad.Problem{Text: refused.Message, Remedy: refused.Hint})
	}
	f.StageFreeBytes, f.Environment = agent.StageFreeBytes, nonNil(agent.Environment)
}

// isCurrent tells whether the running image is the file that the next start will run.
func isCurrent(agent wire.AgentResult) bool {
	return agent.Running && !agent.ExeDeleted && agent.ExeInode == agent.BinaryStat.Inode && agent.ExeDevice == agent.BinaryStat.Device
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// setOwnWords lets the agent speak for itself; false when it does not, with the reason in the facts.
func (c *cluster) setOwnWords(ctx context.Context, host Host, f *nomad.HostFacts, agent wire.AgentResult) bool {
	endpoint, err := nomad.Find(ctx, host, agent.Listening)
	if err != nil {
		f.Problem = err.Error()
		return false
	}
	f.API = endpoint
	server, region := true, ""
	if endpoint.TLS {
		// The certificate's name holds role and region, which only the files can tell before the first answer.
		text := readConfig(ctx, host, agent.ConfigFiles)
		server, region = text.Server || !text.Client, text.Region
	}
	client, err := c.connectTo(ctx, f.Host, endpoint, server, region)
	if err == nil {
		var view nomad.AgentView
		if view, err = nomad.Self(ctx, client, f.Host); err == nil {
			running := f.VersionRunning
			f.SetView(view)
			if running.Known() {
				f.VersionRunning = running
			}
			f.ConfigFiles = nonNil(f.ConfigFiles)
			f.KnownServers = nonNil(f.KnownServers)
			if f.RaftServers == nil {
				f.RaftServers = []nomad.RaftServer{}
			}
			return true
		}
	}
	f.Problem, f.Denied = err.Error(), nomad.Denial(err)
	return false
}

// setFromFiles describes an agent that does not answer.
func (c *cluster) setFromFiles(ctx context.Context, host Host, f *nomad.HostFacts, agent wire.AgentResult) {
	text := readConfig(ctx, host, agent.ConfigFiles)
	f.SetConfig(text)
	if f.NodeName == "" {
		f.NodeName = f.Host
	}
	if f.DataDir == "" {
		return
	}
	if f.Server {
		f.ServerID = readID(ctx, host, f.DataDir+"/server/node-id")
	}
	if f.Client {
		f.NodeID = readID(ctx, host, f.DataDir+"/client/client-id")
	}
}

// readID reads a file that holds nothing but an id; "" when that is not possible.
func readID(ctx context.Context, host Host, path string) string {
	var id bytes.Buffer
	var reply wire.ReadResult
	if err := host.Receive(ctx, wire.Read{Path: path, Max: 256}, &reply, &id); err != nil {
		return ""
	}
	return strings.TrimSpace(id.String())
}

// readConfig reads what can be read of the configuration files; what cannot be parsed is left out, since the agent
// itself, or `config validate`, has the say about them.
func readConfig(ctx context.Context, host Host, files []string) nomad.ConfigText {
	var text nomad.ConfigText
	for _, path := range files {
		var content bytes.Buffer
		var reply wire.ReadResult
		if err := host.Receive(ctx, wire.Read{Path: path, Max: 1 << 20}, &reply, &content); err != nil {
			continue
		}
		_ = text.Merge(content.Bytes())
	}
	return text
}
