// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadRecoverModule() Module {
	return Module{
		Name:  "nomad_recover",
		Short: "Give the servers that are left of a cluster a raft configuration of their own",
		Doc: "Run once, for a cluster that has lost its quorum or is down as a whole. Refused while a server leads, and while a server runs that is not among the survivors. " +
			"All survivors are made ready first; then they are stopped at the same time, server/ is copied on each, each gets the same peers.json, and raft_protocol = 3 where its configuration leads to 2, and when all have it they are started together. " +
			"On each host it is one transaction: should this process die in between, each host starts its server by itself after pause. It is proven that one leads, that raft's configuration is exactly the survivors, that peers.json is used up and the jobs are there.\n\n" +
			"Run again, it finishes what was interrupted. " + unitDoc,
		Args: append(recoverArgs(),
			Arg{Name: "pause", Kind: Duration, Default: "2m", Doc: "How long a stopped server waits for the others before it starts in any case; at most 5 minutes."},
			Arg{Name: "timeout", Kind: Duration, Default: "3m", Doc: "How long to wait until the cluster is proven to be well."},
		),
		Local: true, // it stops and starts several hosts together
		Check: CheckFull,
		Returns: []Arg{
			{Name: "backups", Kind: Dict, Doc: "Where server/ was copied, by host."},
			{Name: "leader", Kind: String, Doc: "The host that leads."},
		},
		Example: `- nomad_recover:
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true`,
		Run: nomadRecover,
	}
}

// recoverArgs are what the look and the recovery itself read.
func recoverArgs() []Arg {
	return []Arg{
		{Name: "hosts", Kind: List, Required: true, Doc: "The survivors; those without a server are left out of account."},
		{Name: "replace_peers_json", Kind: Boolean, Default: false, Doc: "Move a peers.json of unknown origin aside."},
		{Name: "stop_signal", Kind: String, Choices: []string{"KILL"}, Doc: "As for nomad_swap."},
	}
}

func recoverOptions(call *Call) nomad.RecoverOptions {
	return nomad.RecoverOptions{Survivors: call.Args.Strings("hosts"), ReplacePeers: call.Args.Bool("replace_peers_json"), StopSignal: call.Args.String("stop_signal")}
}

// recovery is one execution of nomad_recover.
type recovery struct {
	*cluster
	survey    nomad.RecoverSurvey
	plan      nomad.Recovery
	survivors []*survivor
	jobs      []string // that the survivor with the most had before; nil: not known
	voice     voice
	lock      sync.Mutex // over voice
}

// survivor is one host of a recovery. It stops and starts like a migration.
type survivor struct {
	*migration
	outcome wire.SwapOutcome
}

func nomadRecover(ctx context.Context, call *Call) (*Result, error) {
	r := &recovery{cluster: newCluster(call), voice: voice{call: call}}
	defer r.close()
	ctx, cancel := context.WithTimeout(ctx, 2*call.Args.Duration("timeout")+call.Args.Duration("pause")+10*time.Minute)
	defer cancel()
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	switch {
	case len(r.plan.Start) > 0 && call.Check:
		return &Result{Changed: true, Message: "would start " + strings.Join(r.plan.Start, ", ") + " beside the leader"}, nil
	case r.plan.Done != "":
		return r.finished(ctx)
	case call.Check:
		return &Result{Changed: true, Message: fmt.Sprintf("would recover the cluster with %d servers", len(r.plan.Steps))}, nil
	}
	if err := r.request(ctx); err != nil {
		return nil, err
	}
	if err := r.stopAll(ctx); err != nil {
		return nil, err
	}
	if err := r.startAll(ctx); err != nil {
		return nil, err
	}
	leader, err := r.await(ctx)
	if err != nil {
		return nil, err
	}
	return r.result(ctx, leader, true)
}

// begin looks at everything, after what an earlier recovery has left has come to its end.
func (r *recovery) begin(ctx context.Context) error {
	if pause := r.call.Args.Duration("pause"); pause < time.Second || pause > wire.SwapLongestPause*time.Millisecond {
		return fmt.Errorf("pause is %s: at least a second, and at most 5 minutes", pause)
	}
	var err error
	if !r.call.Check {
		if err = r.finishEarlier(ctx); err != nil {
			return err
		}
	}
	if r.survey, err = r.recoverSurvey(ctx); err != nil {
		return err
	}
	r.plan = nomad.NewRecovery(r.survey, recoverOptions(r.call))
	if r.plan.Verdict() == nomad.VerdictRefused {
		return refuse("nothing was stopped: %s", nomad.Words(r.plan.Problems))
	}
	for i := range r.survey.Evidence {
		s, err := r.survivor(ctx, &r.survey.Evidence[i])
		if err != nil {
			return err
		}
		r.survivors = append(r.survivors, s)
	}
	return nil
}

// survivor prepares the work on one host.
func (r *recovery) survivor(ctx context.Context, e *nomad.RecoverEvidence) (*survivor, error) {
	name := e.Facts.Host
	host, err := r.host(ctx, name)
	if err != nil {
		return nil, err
	}
	call := *r.call
	call.Name, call.Host = name, host
	m := &migration{swap: &swap{cluster: r.with(&call), voice: voice{call: &call}, doing: "recovering the cluster"}, evidence: e.RaftEvidence}
	m.facts = e.Facts
	if m.agent, err = agentOf(ctx, host, m.facts.Unit); err != nil {
		return nil, fmt.Errorf("%s: look at %s: %w", name, m.facts.Unit, err)
	}
	m.own = m.ask(ctx, name)
	return &survivor{migration: m}, nil
}

// with is the same cluster as the call for one host sees it.
func (c *cluster) with(call *Call) *cluster {
	other := newCluster(call)
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, facts := range c.looked {
		other.looked[name] = facts
	}
	return other
}

// finishEarlier lets go on what waits on the hosts since an earlier recovery, and waits for it.
func (r *recovery) finishEarlier(ctx context.Context) error {
	return together(r.call.Args.Strings("hosts"), func(name string) error {
		host, err := r.host(ctx, name)
		if err != nil {
			return nil //nolint:nilerr // what cannot be reached is said with everything else
		}
		left, err := leftovers(ctx, host, r.unit(name))
		if err != nil || len(left) == 0 || left[len(left)-1].State != wire.SwapRunning {
			return err
		}
		r.say("%s: an earlier run has left %s; it goes on", name, unfinished(left))
		within, cancel := context.WithTimeout(ctx, commitTimeout)
		defer cancel()
		var outcome wire.SwapOutcome
		if err := host.Call(within, wire.SwapContinue{ID: left[len(left)-1].ID}, nil, &outcome); err != nil {
			return fmt.Errorf("%s: let what an earlier run has left go on: %w", name, err)
		}
		return nil
	})
}

func (r *recovery) say(format string, args ...any) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.voice.say(fmt.Sprintf(format, args...))
}

// together does something for all at the same time, and joins what went wrong.
func together[T any](all []T, do func(T) error) error {
	failures := make([]error, len(all))
	var group sync.WaitGroup
	for i, one := range all {
		group.Go(func() { failures[i] = do(one) })
	}
	group.Wait()
	return joined(failures)
}

// joined puts errors into one line after the other; nil when there is none.
func joined(failures []error) error {
	var lines []string
	for _, err := range failures {
		if err != nil {
			lines = append(lines, err.Error())
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(lines, "\n"))
}

// request fills in what happens on each host, and remembers the jobs.
func (r *recovery) request(ctx context.Context) error {
	for _, s := range r.survivors {
		if err := s.migration.request(); err != nil {
			return err
		}
		s.prepare.Edits = append(s.edits(), s.recoverEdits(r.plan.Peers)...)
		s.prepare.Backup = &wire.SwapBackup{From: s.facts.DataDir + "/server", Keep: backupsKept}
		s.prepare.PauseMS = r.call.Args.Duration("pause").Milliseconds()
	}
	if r.plan.Newest == "" {
		return nil
	}
	client, err := r.connect(ctx, r.plan.Newest)
	if err == nil {
		r.jobs, err = nomad.AskJobsStale(ctx, client)
	}
	if err != nil {
		r.say("the jobs of before are not known, so that only their number will be told: %s", err)
	}
	return nil
}

// recoverEdits write peers.json, with owner and mode of raft's own files, since the agent has to read and to delete it.
func (s *survivor) recoverEdits(peers []nomad.RaftPeer) []wire.SwapEdit {
	path, like := peersFile(s.facts), s.facts.DataDir+"/server/raft/raft.db"
	wanted := wire.SwapEdit{Path: path, Content: nomad.PeersFile(peers...), Like: like}
	var edits []wire.SwapEdit
	if s.evidence.Peers != nil {
		wanted.Before = sumOf(s.evidence.Peers)
		if !nomad.SamePeers(s.evidence.Peers, peers) {
			aside := path + ".drover-aside-" + time.Now().UTC().Format("20060102T150405")
			edits = append(edits, wire.SwapEdit{Path: aside, Content: s.evidence.Peers, Like: like})
		}
	}
	return append(edits, wanted)
}

// await waits until the recovery is proven, and names the leader.
func (r *recovery) await(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.call.Args.Duration("timeout"))
	defer cancel()
	for {
		seen := r.recovered(ctx)
		problems := nomad.RecoveredMissing(r.plan.Peers, seen)
		if len(problems) == 0 {
			return leaderOf(seen.Answers).Host, nil
		}
		r.say("waiting for the cluster: %s", nomad.Words(problems))
		if wait.For(ctx, 2*pollEvery) != nil {
			first := r.survivors[0]
			return "", withLog(r.notWell(problems), first.facts.Unit, journalLines(ctx, first.call.Host, first.facts.Unit))
		}
	}
}

// notWell says how the cluster is when the time for its proof has run out.
func (r *recovery) notWell(problems []nomad.Problem) string {
	text := "the servers have the new raft configuration, and the cluster is not well: " + nomad.Words(problems)
	if kept := r.backups(); len(kept) > 0 {
		text += "; server/ as it was before is kept: " + strings.Join(kept, ", ")
	}
	return text + "; see to what is said of each server, and run again: it starts the survivors that have been left out, and proves the cluster anew"
}

func (r *recovery) backups() []string {
	var all []string
	for _, s := range r.survivors {
		if s.outcome.Backup != "" {
			all = append(all, s.call.Name+":"+s.outcome.Backup)
		}
	}
	return all
}

// result closes the records on the hosts and says what has become.
func (r *recovery) result(ctx context.Context, leader string, changed bool) (*Result, error) {
	backups := expression.NewMap()
	err := together(r.survivors, func(s *survivor) error {
		if r.call.Check {
			return nil
		}
		left, err := leftovers(ctx, s.call.Host, s.facts.Unit)
		for _, outcome := range left {
			if err == nil {
				err = settle(ctx, s.call.Host, outcome.ID)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, s := range r.survivors {
		if s.outcome.Backup != "" {
			backups.Set(s.call.Name, s.outcome.Backup)
		}
	}
	message := fmt.Sprintf("%s leads; raft's configuration is exactly %s", leader, survivorsOf(len(r.plan.Peers)))
	if kept := r.backups(); len(kept) > 0 {
		message += "; server/ as it was before: " + strings.Join(kept, ", ")
	}
	return &Result{Changed: changed, Message: message, Data: expression.MapOf("backups", backups, "leader", leader)}, nil
}

func survivorsOf(n int) string {
	if n == 1 {
		return "this one server"
	}
	return fmt.Sprintf("the %d survivors", n)
}
