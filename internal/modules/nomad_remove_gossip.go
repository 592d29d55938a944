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

// farewell tells gossip that a stopped server has left. Gossip takes it for alive until then, calls it leaving from then on, and left when its
// failure is noticed: after 30 to 40 s among three servers, up to 3 min among six. The leader takes back into raft's configuration only who is alive.
//
// Each server that stays is told: one that joined after the others had been told may know nothing of it, and would take a stopped server back if it led.
func (r *removal) farewell(ctx context.Context) []nomad.Problem {
	var problems []nomad.Problem
	for _, name := range r.known() {
		if facts, _ := r.facts(name); slices.Contains(r.old, name) || !facts.Running {
			continue
		}
		client, err := r.connect(ctx, name)
		var members []nomad.Member
		if err == nil {
			members, err = nomad.AskMembers(ctx, client, r.region)
		}
		if err != nil {
			problems = append(problems, nomad.Problem{Host: name, Text: err.Error()})
			continue
		}
		problems = append(problems, r.alive(ctx, client, name, members)...)
	}
	return problems
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
		return &Result{Message: "would wait until raft has forgotten " + strings.Join(r.old, ", ") + " and gossip sees each leave"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.call.Args.Duration("timeout"))
	defer cancel()
	for {
		problems := r.remembered(ctx)
		if len(problems) == 0 {
			return &Result{Message: "raft has forgotten " + strings.Join(r.old, ", ") + ", and gossip sees each leave"}, nil
		}
		r.voice.say("waiting until the old servers are forgotten: " + nomad.Words(problems))
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
	leavers, err := r.leavers(ctx, raft)
	if err != nil {
		return problem("", err)
	}
	var problems []nomad.Problem
	for _, l := range leavers {
		problems = append(problems, r.rest(ctx, client, l)...)
	}
	problems = append(problems, r.farewell(ctx)...)
	return problems
}

// rest is what raft and the host say of an old server.
func (r *removal) rest(ctx context.Context, client *api.Client, l nomad.Leaver) []nomad.Problem {
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
	return nil
}

// alive names the old servers that are stopped and that one server does not see leave, and tells it.
func (r *removal) alive(ctx context.Context, client *api.Client, witness string, members []nomad.Member) []nomad.Problem {
	var problems []nomad.Problem
	for _, name := range r.old {
		facts, _ := r.facts(name)
		member := r.member(name, members)
		if facts.Running || member == nil || member.Status == "left" || member.Status == "leaving" {
			continue
		}
		text := "gossip on " + witness + " sees it as " + member.Status
		if err := nomad.ForceLeave(ctx, client, member.Name); err != nil {
			text += ": " + err.Error()
		}
		problems = append(problems, nomad.Problem{Host: name, Text: text})
	}
	return problems
}

// mapOfStrings is a result with one list.
func mapOfStrings(key string, list []string) *expression.Map {
	return expression.MapOf(key, expression.FromGo(append([]string{}, list...)))
}
