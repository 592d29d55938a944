// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadRemoveServerModule() Module {
	return Module{
		Name:  "nomad_remove_server",
		Short: "Take old servers out of the cluster one at a time, as many as new ones have come, and stop them for good",
		Doc: "Runs on a server that stays. While the cluster has more voters than it is to have in the end (those that are in neither list, and all of new), the next one of old goes: " +
			"those that do not run first, then those without a vote, then voters, the leader last, after leadership has moved to a server that stays, where the version allows that.\n\n" +
			"For each: every other voter has to answer for itself within the second, and those that do have to be a majority of the configuration without it; then the leader takes it out of raft's configuration, " +
			"every voter has to answer again, knowing the smaller configuration, and only then its agent is stopped and its unit disabled, and gossip is told that it has left. " +
			"So the configuration never counts on a server that does not run. Its files stay.\n\n" +
			"With state: gone it removes nobody, and waits until all of old are stopped, raft's configuration has none of them, and every server that stays sees each of them as leaving or left. " +
			"Gossip calls a server left when it notices that it is silent, which takes up to 3 min.\n\n" +
			"Interrupted, it is run again: what is done is left alone. A server that was taken out and not stopped is taken back by the leader within a minute, first without a vote. " + unitDoc,
		Args: []Arg{
			versionArg(),
			{Name: "old", Kind: List, Required: true, Doc: "The servers to give up, by host."},
			{Name: "new", Kind: List, Required: true, Doc: "The servers that take their places, by host."},
			{Name: "state", Kind: String, Default: "removed", Choices: []string{"removed", "gone"}, Doc: "removed gives up as many as may go now, gone waits until nobody knows any of them."},
			{Name: "accept_down", Kind: List, Doc: "Servers that may be dead, by name; the others must still be a majority. One of old whose host cannot be reached is only taken out."},
			{Name: "timeout", Kind: Duration, Default: "3m", Doc: "How long to wait for the right moment, and until a server is gone."},
		},
		Check: CheckFull,
		Returns: []Arg{
			{Name: "removed", Kind: List, Doc: "The servers that were taken out or stopped."},
		},
		Example: `- nomad_remove_server:
    version: 1.11.0
    old: "{{ groups['old_servers'] }}"
    new: "{{ groups['new_servers'] }}"`,
		Run: nomadRemoveServer,
	}
}

// removal is one execution of nomad_remove_server.
type removal struct {
	*cluster
	target   nomad.Version
	region   string
	old, new []string
	accepted nomad.Accepted
	voice    voice
	stays    bool // leadership could not be moved, and nothing is waited for on its account
	removed  []string
	lost     map[string]bool // old servers whose hosts cannot be reached
}

func nomadRemoveServer(ctx context.Context, call *Call) (*Result, error) {
	c, facts, target, err := toVersion(call)
	if err != nil {
		return nil, err
	}
	defer c.close()
	r := &removal{
		cluster: c, target: target, region: facts.Region, old: call.Args.Strings("old"), new: call.Args.Strings("new"),
		accepted: nomad.Accepted{Down: call.Args.Strings("accept_down")}, voice: voice{call: call}, lost: map[string]bool{},
	}
	switch {
	case !facts.Server && !call.Check:
		return nil, fmt.Errorf("%s: no server runs here, and the servers that stay are asked from one of them", call.Name)
	case slices.Contains(r.old, call.Name):
		return nil, fmt.Errorf("%s is one of the servers to give up: run this on one that stays", call.Name)
	}
	if call.Args.String("state") == "gone" {
		return r.forgotten(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(len(r.old)+1)*(call.Args.Duration("timeout")+stopTimeout))
	defer cancel()
	for {
		next, err := r.next(ctx)
		if err != nil {
			return nil, err
		}
		if next == nil || call.Check {
			return r.result(next), nil
		}
		if err := r.giveUp(ctx, *next); err != nil {
			return nil, err
		}
		r.removed = append(r.removed, next.Host)
	}
}

func (r *removal) result(next *nomad.Leaver) *Result {
	result := &Result{Changed: len(r.removed) > 0, Message: "no server has to go now"}
	switch {
	case next != nil:
		result.Changed, result.Message = true, "would take "+next.Host+" out of the cluster and stop it"
	case len(r.removed) > 0:
		result.Message = strings.Join(r.removed, ", ") + " gone from raft's configuration, stopped and disabled"
	}
	result.Data = mapOfStrings("removed", r.removed)
	return result
}

// next finds the server that goes now; nil when none has to.
func (r *removal) next(ctx context.Context) (*nomad.Leaver, error) {
	raft, err := r.raft(ctx)
	if err != nil {
		return nil, err
	}
	leavers, err := r.leavers(ctx, raft)
	if err != nil {
		return nil, err
	}
	voters, staying := 0, len(r.new)
	for _, member := range raft.Servers {
		if !member.Voter {
			continue
		}
		voters++
		if !r.is(member, r.new) && !slices.ContainsFunc(leavers, func(l nomad.Leaver) bool { return l.Member != nil && l.Member.ID == member.ID }) {
			staying++
		}
	}
	for i := range leavers {
		l := &leavers[i]
		switch {
		case l.Member != nil && l.Member.Voter && voters <= staying:
		case l.Member != nil, l.Running, r.enabled(ctx, l.Host):
			return l, nil
		}
	}
	return nil, nil
}

// enabled tells whether a server that does not run would run again after the next boot.
func (r *removal) enabled(ctx context.Context, name string) bool {
	if r.lost[name] || slices.Contains(r.removed, name) {
		return false
	}
	host, err := r.host(ctx, name)
	if err != nil {
		return false
	}
	var unit wire.UnitState
	err = host.Call(ctx, wire.Unit{Name: r.unit(name)}, nil, &unit)
	return err == nil && strings.HasPrefix(unit.UnitFileState, "enabled")
}

// raft is raft's configuration in the words of the leader, which is waited for.
func (r *removal) raft(ctx context.Context) (nomad.RaftConfiguration, error) {
	ctx, cancel := context.WithTimeout(ctx, r.call.Args.Duration("timeout"))
	defer cancel()
	for {
		client, err := r.leader(ctx)
		if err == nil {
			var raft nomad.RaftConfiguration
			if raft, err = nomad.AskRaft(ctx, client, false); err == nil {
				return raft, nil
			}
		}
		r.voice.say("waiting for the leader: " + err.Error())
		if r.pause(ctx) != nil {
			return nomad.RaftConfiguration{}, refuse("%s: nothing was removed: the cluster's leader does not tell its raft configuration: %w", r.call.Name, err)
		}
	}
}

// leader reaches the server that says that it leads.
func (r *removal) leader(ctx context.Context) (*api.Client, error) {
	leader := leaderOf(r.askAll(ctx, r.known()))
	if leader == nil {
		return nil, errors.New("no server says that it leads")
	}
	return r.connect(ctx, leader.Host)
}

// known are the region's servers, without those whose hosts cannot be reached: waiting for them would make the others' answers old.
func (r *removal) known() []string {
	return slices.DeleteFunc(r.servers(r.region), func(name string) bool { return r.lost[name] })
}

// leavers looks at the old servers anew.
func (r *removal) leavers(ctx context.Context, raft nomad.RaftConfiguration) ([]nomad.Leaver, error) {
	found := make([]nomad.HostFacts, 0, len(r.old))
	for _, name := range r.old {
		facts, err := r.lookAgain(ctx, name)
		if err != nil {
			if !slices.Contains(r.accepted.Down, name) {
				return nil, fmt.Errorf("%s: look at it before it is given up: %w; name it with --accept-down %s if it is dead", name, err, name)
			}
			r.lost[name] = true
		}
		found = append(found, facts)
	}
	return nomad.Leaving(found, raft, r.address), nil
}

// lookAgain looks at a host anew, and keeps by what the cluster knows a server that does not answer any more.
func (r *removal) lookAgain(ctx context.Context, name string) (nomad.HostFacts, error) {
	before, _ := r.facts(name)
	facts, err := r.look(ctx, name)
	if err != nil {
		before.Host, before.Running = name, false
		return before, err
	}
	if !facts.Answers && before.ServerID != "" {
		facts.ServerID, facts.RPC, facts.Server, facts.Region, facts.NodeName = before.ServerID, before.RPC, before.Server, before.Region, before.NodeName
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.clients, name)
	r.looked[name] = facts
	return facts, nil
}

func (r *removal) address(host string) string { return r.variable(host, "ansible_host") }

// is tells whether a member is one of these hosts' servers.
func (r *removal) is(member nomad.RaftMember, hosts []string) bool {
	return slices.ContainsFunc(hosts, func(name string) bool {
		facts, _ := r.facts(name)
		facts.Host = name
		leavers := nomad.Leaving([]nomad.HostFacts{facts}, nomad.RaftConfiguration{Servers: []nomad.RaftMember{member}}, r.address)
		return leavers[0].Member != nil
	})
}

// pause lets a moment pass; the first interrupt ends it, since nothing is under way meanwhile.
func (r *removal) pause(ctx context.Context) error {
	select {
	case <-r.call.Interrupted:
		return errors.New("interrupted")
	default:
		return wait.For(ctx, pollEvery)
	}
}
