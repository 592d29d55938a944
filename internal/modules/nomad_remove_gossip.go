// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"

	"drover/internal/expression"
	"drover/internal/nomad"
)

// farewell tells gossip that a stopped server has left. Gossip still takes it for alive then, and calls it left when it notices.
func (r *removal) farewell(ctx context.Context, name string) error {
	client, err := r.leader(ctx)
	if err != nil {
		return err
	}
	members, err := nomad.AskMembers(ctx, client, r.region)
	if err != nil {
		return err
	}
	member := r.member(name, members)
	if member == nil || member.Status == "left" || member.Status == "leaving" {
		return nil
	}
	return nomad.ForceLeave(ctx, client, member.Name)
}

// member finds an old server in gossip; nil when it is not there.
func (r *removal) member(name string, members []nomad.Member) *nomad.Member {
	facts, _ := r.facts(name)
	i := slices.IndexFunc(members, func(m nomad.Member) bool {
		switch {
		case facts.ServerID != "" && m.Tags["id"] != "":
			return m.Tags["id"] == facts.ServerID
		case facts.NodeName != "":
			return m.Name == facts.NodeName+"."+r.region
		}
		return m.Name == name+"."+r.region || m.Addr != "" && m.Addr == r.address(name)
	})
	if i < 0 {
		return nil
	}
	return &members[i]
}

// forgotten waits until nobody knows the old servers any more.
func (r *removal) forgotten(ctx context.Context) (*Result, error) {
	if r.call.Check {
		return &Result{Message: "would wait until raft and gossip have forgotten " + strings.Join(r.old, ", ")}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.call.Args.Duration("timeout"))
	defer cancel()
	for {
		problems := r.remembered(ctx)
		if len(problems) == 0 {
			return &Result{Message: "raft and gossip have forgotten " + strings.Join(r.old, ", ")}, nil
		}
		r.voice.say("waiting until the old servers are forgotten (30 to 40 s after the last stop): " + nomad.Words(problems))
		if err := r.pause(ctx); err != nil {
			return nil, fmt.Errorf("%s: the old servers are not forgotten after %s: %s; run again, or see nomad server members and nomad operator raft list-peers",
				r.call.Name, r.call.Args.Duration("timeout"), nomad.Words(problems))
		}
	}
}

// remembered says who still knows an old server, and does about it what can be done.
func (r *removal) remembered(ctx context.Context) []nomad.Problem {
	problem := func(host string, err error) []nomad.Problem { return []nomad.Problem{{Host: host, Text: err.Error()}} }
	client, err := r.leader(ctx)
	if err != nil {
		return problem("", err)
	}
	raft, err := nomad.AskRaft(ctx, client, false)
	if err != nil {
		return problem("", err)
	}
	members, err := nomad.AskMembers(ctx, client, r.region)
	if err != nil {
		return problem("", err)
	}
	leavers, err := r.leavers(ctx, raft)
	if err != nil {
		return problem("", err)
	}
	var problems []nomad.Problem
	for _, l := range leavers {
		problems = append(problems, r.rest(ctx, client, l, members)...)
	}
	return problems
}

func (r *removal) rest(ctx context.Context, client *api.Client, l nomad.Leaver, members []nomad.Member) []nomad.Problem {
	is := func(text string) []nomad.Problem { return []nomad.Problem{{Host: l.Host, Text: text}} }
	switch {
	case l.Running:
		return is("its agent runs")
	case l.Member != nil && l.Member.Voter:
		return is("it has a vote in raft's configuration")
	case l.Member != nil:
		// The leader had taken it back before it was stopped; without a vote it stands in nobody's way.
		if err := client.Operator().RaftRemovePeerByID(l.Member.ID, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
			return is("raft's configuration has it: " + err.Error())
		}
		return is("raft's configuration had it")
	}
	member := r.member(l.Host, members)
	if member == nil || member.Status == "left" {
		return nil
	}
	if member.Status != "leaving" {
		if err := nomad.ForceLeave(ctx, client, member.Name); err != nil {
			return is("gossip sees it as " + member.Status + ": " + err.Error())
		}
	}
	return is("gossip sees it as " + member.Status)
}

// mapOfStrings is a result with one list.
func mapOfStrings(key string, list []string) *expression.Map {
	return expression.MapOf(key, expression.FromGo(append([]string{}, list...)))
}
