// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"drover/internal/agentconfig"
	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadRecoverCheckModule() Module {
	return Module{
		Name:  "nomad_recover_check",
		Short: "Say what recovering a cluster with the servers that are left comes to, and everything that stands in the way",
		Doc: "Run once. Looks at the survivors, at all other servers of the inventory and at those that raft's configuration or gossip name, and touches none. Works without any API: data directory, address and id are read from the unit, the configuration and server/node-id. " +
			"The result holds the new raft configuration, what can be seen of how far each survivor is, and what may be lost. " + unitDoc,
		Args:  recoverArgs(),
		Local: true,
		Check: CheckReads,
		Returns: []Arg{
			{Name: "verdict", Kind: String, Doc: "clean, changes or refused."},
			{Name: "recovery", Kind: Dict, Doc: "steps (host, id, address, state, index, ...), peers, losses, done, finish, start, newest, pauses, warnings, problems."},
		},
		Example: `- nomad_recover_check:
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true`,
		Run: nomadRecoverCheck,
	}
}

func nomadRecoverCheck(ctx context.Context, call *Call) (*Result, error) {
	r := &recovery{cluster: newCluster(call), voice: voice{call: call}}
	defer r.close()
	survey, err := r.recoverSurvey(ctx)
	if err != nil {
		return nil, err
	}
	plan := nomad.NewRecovery(survey, recoverOptions(call))
	return judged("recovery", &plan, plan.Problems, "nothing to recover: "+plan.Done, fmt.Sprintf("%d survivors", len(plan.Steps)))
}

// recoverSurvey looks at everybody. While an agent runs and none leads, it looks again for as long as an election may take.
func (r *recovery) recoverSurvey(ctx context.Context) (nomad.RecoverSurvey, error) {
	survey := nomad.RecoverSurvey{Survey: r.lookAfresh(ctx), Unread: map[string]string{}}
	begun := time.Now()
	for {
		running := serversThatRun(survey.Hosts)
		survey.Answers = r.askAll(ctx, running)
		survey.Leaderless = time.Since(begun)
		if leaderOf(survey.Answers) != nil || len(running) == 0 || survey.Leaderless >= nomad.ElectionPatience {
			break
		}
		r.say("no server leads; waiting %s in case an election is under way", nomad.ElectionPatience)
		if err := wait.For(ctx, 5*pollEvery); err != nil {
			return survey, err
		}
		if slices.ContainsFunc(survey.Hosts, func(f nomad.HostFacts) bool { return f.Server && f.Running && !f.Answers }) {
			survey.Survey = r.lookAfresh(ctx) // it may just have been started
		}
	}
	survivors := r.call.Args.Strings("hosts")
	var failures []error
	for _, facts := range survey.Hosts {
		if !slices.Contains(survivors, facts.Host) {
			if r.idle(ctx, facts) {
				survey.Idle = append(survey.Idle, facts.Host)
			}
			continue
		}
		if !facts.Server {
			if unread := r.unread(ctx, facts); unread != "" {
				survey.Unread[facts.Host] = unread
			}
			continue
		}
		evidence, err := r.recoverEvidence(ctx, facts, survey.Answers)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", facts.Host, err))
			continue
		}
		survey.Evidence = append(survey.Evidence, evidence)
	}
	slices.SortFunc(survey.Evidence, func(a, b nomad.RecoverEvidence) int { return strings.Compare(a.Facts.Host, b.Facts.Host) })
	if err := joined(failures); err != nil {
		return survey, err
	}
	slices.Sort(survey.Idle)
	survey.Alive = r.alive(ctx, survey)
	return survey, nil
}

// idle tells whether a server that is not to survive does not run, and has raft's store all the same.
func (r *recovery) idle(ctx context.Context, facts nomad.HostFacts) bool {
	if !facts.Server || facts.Running || facts.CrashLooping || facts.DataDir == "" {
		return false
	}
	host, err := r.host(ctx, facts.Host)
	if err != nil {
		return false
	}
	var stat wire.StatResult
	return host.Call(ctx, wire.Stat{Path: facts.DataDir + "/server/raft/raft.db", Follow: true}, nil, &stat) == nil && stat.Exists
}

// unread finds the file that keeps a host from showing whether it is a server; "" where there is none.
func (r *recovery) unread(ctx context.Context, facts nomad.HostFacts) string {
	if facts.Answers || len(facts.ConfigFiles) == 0 {
		return ""
	}
	host, err := r.host(ctx, facts.Host)
	if err != nil {
		return ""
	}
	sources, err := readSources(ctx, host, facts.ConfigFiles)
	if err == nil {
		_, err = agentconfig.Occurrences(sources, nil, agentconfig.Path{"server"})
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// recoverEvidence reads what one survivor shows.
func (r *recovery) recoverEvidence(ctx context.Context, facts nomad.HostFacts, answers []nomad.Answer) (nomad.RecoverEvidence, error) {
	host, err := r.host(ctx, facts.Host)
	if err != nil {
		return nomad.RecoverEvidence{}, err
	}
	e := nomad.RecoverEvidence{}
	if e.RaftEvidence, err = r.raftEvidence(ctx, host, facts, nomad.Version{}); err != nil {
		return e, err
	}
	for i := range answers {
		if answers[i].Host == facts.Host && answers[i].Error == "" {
			e.View = &answers[i].View
		}
	}
	raft := facts.DataDir + "/server/raft"
	var stat wire.StatResult
	if facts.DataDir != "" && host.Call(ctx, wire.Stat{Path: raft + "/raft.db", Follow: true}, nil, &stat) == nil && stat.Exists {
		e.Written, e.Size = time.Unix(0, stat.ModTime), stat.Size
	}
	var listed wire.RunResult
	if facts.DataDir != "" && host.Call(ctx, wire.Run{Argv: []string{"ls", "-1", raft + "/snapshots"}}, nil, &listed) == nil {
		e.Last = nomad.LastSnapshot(strings.Fields(listed.Stdout))
	}
	left, err := leftovers(ctx, host, facts.Unit)
	for _, outcome := range left {
		e.Leftover = e.Leftover || slices.Contains(outcome.Edited, peersFile(facts))
	}
	return e, err
}

// aliveWithin is how long a server that should be dead may take to accept a connection.
const aliveWithin = 2 * time.Second

// alive tries the addresses of servers that are to be given up: what accepts a connection is not dead.
func (r *recovery) alive(ctx context.Context, survey nomad.RecoverSurvey) []string {
	own := map[string]bool{}
	for _, facts := range survey.Hosts {
		if host, _, err := net.SplitHostPort(facts.RPC); err == nil {
			own[host] = true // what it is shows on itself
		}
	}
	addresses := map[string]string{} // with the survivor that knows it
	for _, e := range survey.Evidence {
		if host, _, err := net.SplitHostPort(e.Address); err == nil {
			own[host] = true
		}
		for _, server := range e.Facts.RaftServers {
			addresses[server.Address] = e.Facts.Host
		}
		if e.Facts.Answers || e.Facts.DataDir == "" {
			continue
		}
		host, err := r.host(ctx, e.Facts.Host)
		if err != nil {
			continue
		}
		text, err := readOptional(ctx, host, e.Facts.DataDir+"/server/serf/snapshot")
		if err != nil {
			continue
		}
		for name, address := range nomad.SerfSnapshot(text) {
			if strings.HasSuffix(name, "."+e.Facts.Region) {
				addresses[address] = e.Facts.Host
			}
		}
	}
	var mu sync.Mutex
	var found []string
	var group sync.WaitGroup
	for address, name := range addresses {
		if ip, _, err := net.SplitHostPort(address); err != nil || own[ip] {
			continue
		}
		group.Go(func() {
			if r.accepts(ctx, name, address) {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, fmt.Sprintf("%s accepts connections from %s", address, name))
			}
		})
	}
	group.Wait()
	slices.Sort(found)
	return found
}

func (r *recovery) accepts(ctx context.Context, from, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, aliveWithin)
	defer cancel()
	host, err := r.host(ctx, from)
	if err != nil {
		return false
	}
	connection, err := host.Dial(ctx, "tcp", address)
	if err != nil {
		return false
	}
	connection.Close()
	return true
}
