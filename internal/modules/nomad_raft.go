// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"time"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadRaftProtocolModule() Module {
	return Module{
		Name:  "nomad_raft_protocol",
		Short: "Bring one server to raft protocol 3",
		Doc: "Restarts a server with raft_protocol = 3 and sees to it that raft's configuration has it by its node id. On the host it is one transaction: configuration and, for a single server, peers.json change together while the agent is stopped.\n\n" +
			"mode single is for the only server of a cluster, running or not: server/ is copied, peers.json names the server itself, and afterwards it must lead, with protocol 3, its own id, its jobs, peers.json gone and autopilot content. " +
			"With a version the staged binary is exchanged in the same stop. A server that was restarted without a peers.json, or with a bad one, is rescued the same way.\n\n" +
			"mode rolling is for one of three or more, one host at a time (serial: 1, order: leader_last). The server is stopped when every other voter counted on has answered for itself, is taken out of gossip and raft's configuration, started again, and has " +
			"to come back with a vote under its node id before another server is stopped.\n\n" +
			"A server that is done is left alone; a half-done one is finished. " + unitDoc,
		Args: append(raftArgs(),
			Arg{Name: "mode", Kind: String, Required: true, Choices: []string{nomad.RaftModeSingle, nomad.RaftModeRolling}, Doc: "Whether it is the only server of its cluster; what contradicts it is refused."},
			Arg{Name: "allow_leave", Kind: Boolean, Default: false, Doc: "As for nomad_swap."},
			Arg{Name: "timeout", Kind: Duration, Default: "5m", Doc: "How long to wait for the right moment to stop the server, and then until it is well."},
		),
		Check: CheckFull,
		Returns: []Arg{
			{Name: "backup", Kind: Path, Doc: "Where server/ was copied (mode single)."},
			{Name: "edited", Kind: List, Doc: "The files that were changed."},
			{Name: "down_ms", Kind: Integer, Doc: "From the old process's end until the new one listened."},
		},
		Example: `- nomad_raft_protocol:
    mode: rolling`,
		Run: nomadRaftProtocol,
	}
}

// raftArgs are what the survey of a migration and the migration itself read.
func raftArgs() []Arg {
	return []Arg{
		{Name: "version", Kind: String, Doc: "A Nomad version to change to in the same stop, mode single only; it must be staged. Without it the version stays."},
		{Name: "replace_peers_json", Kind: Boolean, Default: false, Doc: "Move a peers.json of unknown origin aside."},
		{Name: "rpc_address", Kind: String, Doc: "The address (HOST:PORT) by which raft knows a server that cannot be asked, where its configuration does not show it."},
		{Name: "stop_signal", Kind: String, Choices: []string{"KILL"}, Doc: "As for nomad_swap."},
		{Name: "accept_down", Kind: List, Doc: "Servers of a cluster of several that may be dead, by name, raft id or address; the others must still be a majority while one of them is stopped."},
		{Name: "allow_unsupported_skip", Kind: Boolean, Default: false, Doc: "Accept more than two minor versions at once."},
	}
}

func raftOptions(call *Call) (nomad.RaftOptions, error) {
	options := nomad.RaftOptions{
		ReplacePeers: call.Args.Bool("replace_peers_json"), StopSignal: call.Args.String("stop_signal"),
		Down: call.Args.Strings("accept_down"), AcceptNotes: call.Args.Strings("accept_notes"),
		VersionOptions: nomad.VersionOptions{AllowUnsupportedSkip: call.Args.Bool("allow_unsupported_skip")},
	}
	var err error
	if version := call.Args.String("version"); version != "" {
		options.Target, err = nomad.ParseVersion(version)
	}
	return options, err
}

// migration is one execution of nomad_raft_protocol. It stops and starts like a swap.
type migration struct {
	*swap
	options  nomad.RaftOptions
	evidence nomad.RaftEvidence
	step     nomad.RaftStep
	jobs     []string // before the stop; nil where nobody could be asked
}

func nomadRaftProtocol(ctx context.Context, call *Call) (*Result, error) {
	m := &migration{swap: &swap{cluster: newCluster(call), voice: voice{call: call}, doing: "bringing it to raft protocol 3"}}
	defer m.close()
	ctx, cancel := context.WithTimeout(ctx, 2*call.Args.Duration("timeout")+5*time.Minute)
	defer cancel()
	if call.Args.String("mode") == nomad.RaftModeRolling {
		return m.roll(ctx)
	}
	return m.single(ctx)
}

// answerPatience is how long an agent that runs may take to answer before nothing is known of it.
const answerPatience = 15 * time.Second

// lookAgain finds out anew how the host is.
func (m *migration) lookAgain(ctx context.Context) error {
	var err error
	if m.options, err = raftOptions(m.call); err != nil {
		return err
	}
	// An agent that has just been started has a moment to answer. One that refuses the token has answered.
	for patience := time.Now().Add(answerPatience); ; {
		if m.facts, err = m.lookAtOwn(ctx); err != nil {
			return err
		}
		if !m.facts.Running || m.facts.Answers || m.facts.Denied != "" || m.facts.CrashLooping || time.Now().After(patience) {
			break
		}
		m.voice.say("waiting for its agent to answer: " + m.facts.Problem)
		if err := wait.For(ctx, 2*pollEvery); err != nil {
			return err
		}
	}
	if !m.facts.Server {
		return refuse("%s: no Nomad server is configured here: %s", m.call.Name, orNone(m.facts.Problem))
	}
	if m.agent, err = agentOf(ctx, m.call.Host, m.facts.Unit); err != nil {
		return fmt.Errorf("look at %s: %w", m.facts.Unit, err)
	}
	m.own = m.ask(ctx, m.call.Name)
	m.evidence, err = m.raftEvidence(ctx, m.call.Host, m.facts, m.options.Target)
	return err
}

func (m *migration) refused(problems []nomad.Problem) error {
	return refuse("%s: nothing was touched: %s", m.call.Name, nomad.Words(problems))
}

// request fills in what every stop needs.
func (m *migration) request() error {
	signal, err := m.signal()
	if err != nil {
		return err
	}
	m.prepare = wire.SwapPrepare{
		Unit: m.facts.Unit, MainPID: m.agent.Unit.MainPID, Signal: signal, Server: true, Client: m.facts.Client,
		DataDir: m.facts.DataDir, Listen: m.ports(), Edits: m.edits(),
	}
	return nil
}

// edits are those of the configuration.
func (m *migration) edits() []wire.SwapEdit {
	var edits []wire.SwapEdit
	for _, e := range m.evidence.Edits {
		edits = append(edits, wire.SwapEdit{Path: e.Path, Content: e.After, Before: sumOf(e.Before)})
	}
	return edits
}

// result closes the record of the stop, and takes in what is so now.
func (m *migration) result(ctx context.Context, outcome wire.SwapOutcome, message string) (*Result, error) {
	if err := settle(ctx, m.call.Host, outcome.ID); err != nil {
		return nil, err
	}
	facts := factMap(factNomad, m.facts)
	if now, err := m.look(ctx, m.call.Name); err == nil {
		facts = factMap(factNomad, now)
	}
	edited := []any{}
	for _, path := range outcome.Edited {
		edited = append(edited, path)
	}
	down := (outcome.Listening - outcome.Gone) / int64(time.Millisecond)
	return &Result{
		Changed: true, Facts: facts, Message: message,
		Data: expression.MapOf("backup", outcome.Backup, "edited", edited, "down_ms", down),
	}, nil
}

// notWell is how a wait ends whose time has run out.
func (m *migration) notWell(ctx context.Context, what string, problems []nomad.Problem, outcome wire.SwapOutcome) error {
	text := fmt.Sprintf("%s: %s, but it is not well: %s", m.call.Name, what, nomad.Words(problems))
	if outcome.Backup != "" {
		text += "; server/ as it was before is in " + outcome.Backup
	}
	text += "; run again: what is half done is finished"
	return withLog(text, m.facts.Unit, journalLines(ctx, m.call.Host, m.facts.Unit))
}
