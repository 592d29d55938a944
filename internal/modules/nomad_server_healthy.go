// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"sync"
	"time"

	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadServerHealthyModule() Module {
	return Module{
		Name:  "nomad_server_healthy",
		Short: "Wait until a server is well after its upgrade",
		Doc: "Asks the host, the server itself, the other servers, the raft configuration, gossip and autopilot until nothing is missing, and until that has been stable: " +
			"for one raft heartbeat timeout where the set of raft peers never changed, for autopilot's 10 s stabilization time where it did. What is missing is said while it waits. " + unitDoc,
		Args: []Arg{
			versionArg(),
			{Name: "timeout", Kind: Duration, Default: "3m", Doc: "How long to wait."},
			{Name: "accept_down", Kind: List, Doc: "Servers that may be dead, by name."},
		},
		Check: CheckSkipped,
		Example: `- nomad_server_healthy:
    version: 1.11.0`,
		Run: nomadServerHealthy,
	}
}

func nomadServerHealthy(ctx context.Context, call *Call) (*Result, error) {
	c, facts, target, err := toVersion(call)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if !facts.Server {
		return &Result{Message: "no server runs here"}, nil
	}
	record := swapFact{ServerID: facts.ServerID, NodeName: facts.NodeName, Region: facts.Region, DataDir: facts.DataDir}
	var swapped swapFact
	if c.readFact(call.Name, factSwap, &swapped) && swapped.Version.Same(target) {
		record = swapped
	}
	begin := time.Now()
	if err := awaitHealthyServer(ctx, c, target, record, call.Args.Duration("timeout")); err != nil {
		return nil, err
	}
	if err := settle(ctx, call.Host, record.ID); err != nil {
		return nil, err
	}
	return &Result{Message: fmt.Sprintf("well after %s", time.Since(begin).Round(100*time.Millisecond))}, nil
}

// healthWatch samples one server.
type healthWatch struct {
	*cluster
	host     Host
	unit     string
	expected nomad.ServerExpectation
	changed  time.Time // of the swap
	// exe is the process whose image was compared with the installed file.
	exe int
}

// awaitHealthyServer waits for the predicate of nomad.ServerHealthy, and for nomad.StableFor.
func awaitHealthyServer(ctx context.Context, c *cluster, target nomad.Version, record swapFact, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w := &healthWatch{cluster: c, host: c.call.Host, unit: c.unit(c.call.Name), changed: time.Unix(0, record.At)}
	w.expected = nomad.ServerExpectation{
		Host: c.call.Name, Version: target, ServerID: record.ServerID, NodeName: record.NodeName, Region: record.Region, DataDir: record.DataDir,
		Servers: record.Servers, Reached: record.Reached, PID: record.NewPID, OldPID: record.OldPID, SomeDown: len(c.call.Args.Strings("accept_down")) > 0,
	}
	say := voice{call: c.call}
	var goodSince time.Time
	peersChanged := false
	for {
		seen := w.sample(ctx)
		if w.expected.Reached == 0 || len(w.expected.Servers) == 0 {
			w.fix(seen)
		}
		peersChanged = peersChanged || nomad.PeersChanged(w.expected, seen)
		problems := nomad.ServerHealthy(w.expected, seen)
		switch {
		case len(problems) > 0:
			goodSince = time.Time{}
			say.say("waiting for the server: " + nomad.Words(problems))
		case goodSince.IsZero():
			goodSince = time.Now()
		default:
			if time.Since(goodSince) >= nomad.StableFor(peersChanged, seen.Own.View.RaftMultiplier) {
				return nil
			}
			if peersChanged {
				say.say(fmt.Sprintf("well; its raft peers had changed, so it must stay so for %s", nomad.ServerStabilizationTime))
			}
		}
		if wait.For(ctx, pollEvery) != nil {
			if len(problems) == 0 {
				problems = []nomad.Problem{{Host: c.call.Name, Text: "it has not been well for long enough"}}
			}
			return withLog(fmt.Sprintf("the server is not well after %s: %s", timeout, nomad.Words(problems)), w.unit, journalLines(ctx, w.host, w.unit))
		}
	}
}

// fix sets what nobody recorded before: the leader's words at the first look.
func (w *healthWatch) fix(seen nomad.ServerEvidence) {
	leader := leaderOf(append([]nomad.Answer{seen.Own}, seen.Others...))
	if leader == nil {
		return
	}
	w.expected.Reached = max(w.expected.Reached, leader.Raft.Commit)
	if len(w.expected.Servers) == 0 {
		w.expected.Servers = leader.Raft.Servers
	}
	if w.expected.PID == 0 {
		w.expected.PID, w.expected.NRestarts = seen.PID, seen.NRestarts
	}
}

// sample asks everybody at the same time.
func (w *healthWatch) sample(ctx context.Context) nomad.ServerEvidence {
	var seen nomad.ServerEvidence
	var group sync.WaitGroup
	group.Go(func() { w.process(ctx, &seen) })
	names := w.servers(w.expected.Region)
	answers := make([]nomad.Answer, len(names))
	for i, name := range names {
		group.Go(func() { answers[i] = w.ask(ctx, name) })
	}
	group.Wait()
	witness := ""
	for _, answer := range answers {
		if answer.Host == w.expected.Host {
			seen.Own = answer
			continue
		}
		seen.Others = append(seen.Others, answer)
		if answer.Error == "" && (witness == "" || answer.View.Raft.State == nomad.Leader) {
			witness = answer.Host
		}
	}
	// Without an answer of its own the rest need not be asked yet.
	if seen.Own.Error == "" {
		w.testimony(ctx, witness, &seen)
	}
	return seen
}

func (w *healthWatch) process(ctx context.Context, seen *nomad.ServerEvidence) {
	var unit wire.UnitState
	if err := w.host.Call(ctx, wire.Unit{Name: w.unit}, nil, &unit); err != nil {
		return
	}
	seen.Active, seen.PID, seen.NRestarts = unit.ActiveState == "active", unit.MainPID, unit.NRestarts
	if w.exe == 0 || w.exe != unit.MainPID {
		agent, err := agentOf(ctx, w.host, w.unit)
		if err != nil || !isCurrent(agent) {
			return
		}
		w.exe = agent.Unit.MainPID
	}
	seen.ExeCurrent = w.exe == unit.MainPID
}

// testimony asks another server (the leader, if it is another) what the cluster says; a single server itself.
func (w *healthWatch) testimony(ctx context.Context, witness string, seen *nomad.ServerEvidence) {
	if witness == "" {
		witness = w.expected.Host
	}
	client, err := w.connect(ctx, witness)
	if err != nil {
		seen.RaftError = err.Error()
		return
	}
	var group sync.WaitGroup
	group.Go(func() {
		if seen.Raft, err = nomad.AskRaft(ctx, client, false); err != nil {
			seen.RaftError = err.Error()
		}
	})
	if witness != w.expected.Host {
		group.Go(func() {
			// No answer leaves the list empty, which counts as not known to the others.
			members, _ := nomad.AskMembers(ctx, client, w.expected.Region)
			seen.Members = append([]nomad.Member{}, members...)
		})
	}
	if time.Since(w.changed) > nomad.AutopilotLag {
		seen.AutopilotCounts = true
		group.Go(func() {
			report, err := nomad.AskAutopilot(ctx, client)
			if err != nil {
				seen.AutopilotError = err.Error()
			}
			seen.Autopilot = report
		})
	}
	group.Wait()
}
