// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMayRemove(t *testing.T) {
	tests := map[string]struct {
		servers int
		change  func(q *StopQuestion)
		want    string // of the problems; "": it may go
	}{
		"one of four":                         {4, nil, ""},
		"one of three":                        {3, nil, ""},
		"one of two, since the other is left": {2, nil, ""},
		"the leader":                          {4, func(q *StopQuestion) { q.Stopping = "s4" }, ""},
		"the only one":                        {1, nil, "the only server that votes"},
		"another does not answer":             {4, func(q *StopQuestion) { fail(q.Answers, 1) }, "does not answer for itself"},
		"another is accepted as dead":         {4, func(q *StopQuestion) { fail(q.Answers, 1); q.Accepted.Down = []string{"s2"} }, ""},
		"of three, another is accepted as dead": {3, func(q *StopQuestion) {
			fail(q.Answers, 1)
			q.Accepted.Down = []string{"s2"}
		}, "without it 1 of 2 voters would answer, and the cluster needs 2"},
		"a dead one, for good":     {3, func(q *StopQuestion) { fail(q.Answers, 0); q.Down = true }, ""},
		"a dead one, another ails": {3, func(q *StopQuestion) { fail(q.Answers, 0); fail(q.Answers, 1); q.Down = true }, "does not answer for itself"},
		"an old answer":            {4, func(q *StopQuestion) { q.Answers[1].View.Asked = now.Add(-1100 * time.Millisecond) }, "only one of the last second counts"},
		"a voter that lags":        {4, func(q *StopQuestion) { q.Answers[1].View.Raft.Applied = 49 }, "applied index 49"},
		"another configuration":    {4, func(q *StopQuestion) { q.Answers[1].View.Raft.Servers = q.Answers[1].View.Raft.Servers[:2] }, "another raft configuration"},
		"no leader":                {4, func(q *StopQuestion) { q.Answers[3].View.Raft.State = Follower }, "no server says that it leads"},
		"no outage loosens that": {4, func(q *StopQuestion) {
			q.Answers[3].View.Raft.State = Follower
			q.Accepted.Outage, q.Leaderless = true, time.Hour
		}, "no server says that it leads"},
		"a voter of no host": {4, func(q *StopQuestion) { q.Answers = slices.Delete(q.Answers, 1, 2) }, "answers from no host of the inventory"},
		"two names for one server": {4, func(q *StopQuestion) {
			alias := q.Answers[1]
			alias.Host = "alias"
			q.Answers = append(q.Answers, alias)
		}, "same server as s2"},
		"one that is no member now": {3, func(q *StopQuestion) { q.Stopping = "h1" }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := StopQuestion{Stopping: "s1", Answers: cluster(test.servers), Reached: 50, Now: now}
			if test.change != nil {
				test.change(&q)
			}
			words := Words(MayRemove(q))
			if (test.want == "") != (words == "") || !strings.Contains(words, test.want) {
				t.Errorf("problems %q, want %q", words, test.want)
			}
		})
	}
}

// Whatever is wrong with whom: after a removal that was allowed, the servers that answer are a majority of the configuration that is left, and
// the server that was removed may be stopped.
func TestMayRemoveKeepsAMajority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 7).Draw(t, "servers")
		q := StopQuestion{Stopping: fmt.Sprintf("s%d", rapid.IntRange(1, n).Draw(t, "going")), Answers: cluster(n), Reached: 50, Now: now}
		for i := range n {
			if rapid.Bool().Draw(t, "fails") && i < n-1 {
				fail(q.Answers, i)
				if rapid.Bool().Draw(t, "accepted") {
					q.Accepted.Down = append(q.Accepted.Down, q.Answers[i].Host)
				}
			}
		}
		if len(MayRemove(q)) > 0 {
			return
		}
		left := slices.DeleteFunc(slices.Clone(q.Answers[n-1].View.Raft.Servers), func(s RaftServer) bool { return s.ID == "id-"+q.Stopping[1:] })
		good := 0
		for i, answer := range q.Answers {
			if answer.Error == "" {
				q.Answers[i].View.Raft.Servers = left
				if answer.Host != q.Stopping {
					good++
				}
			}
		}
		if good < Voters(left)/2+1 {
			t.Fatalf("%d of %d voters are left", good, Voters(left))
		}
		if q.Stopping == q.Answers[n-1].Host {
			return // another leads then
		}
		if problems := MayStop(q); len(problems) > 0 {
			t.Fatalf("it was removed and may not be stopped: %s", Words(problems))
		}
	})
}

func TestSizes(t *testing.T) {
	tests := map[string]struct {
		voters, joining, leaving int
		want                     []int
	}{
		"three by three":         {3, 3, 3, []int{3, 4, 3, 4, 3, 4, 3}},
		"one by one":             {1, 1, 1, []int{1, 2, 1}},
		"one by three":           {1, 3, 1, []int{1, 2, 3, 4, 3}},
		"three by five":          {3, 5, 3, []int{3, 4, 5, 6, 5, 6, 5, 6, 5}},
		"one of three":           {3, 1, 1, []int{3, 4, 3}},
		"continued after an add": {4, 2, 3, []int{4, 3, 4, 3, 4, 3}},
		"only the old are left":  {4, 0, 1, []int{4, 3}},
		"nothing":                {3, 0, 0, []int{3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Sizes(test.voters, test.joining, test.leaving)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The leader goes last, and first who costs no vote.
func TestLeaving(t *testing.T) {
	s := survey()
	s.Hosts[0].Leader = true
	s.Raft.Servers[2].Leader, s.Raft.Servers[0].Leader = false, true
	gone := HostFacts{Host: "s4", Region: "global", NodeName: "s4"}
	dead := HostFacts{Host: "s5"}
	s.Raft.Servers = append(s.Raft.Servers, RaftMember{RaftServer: RaftServer{ID: "id-5", Address: "10.0.0.5:4647", Voter: true}, Node: "x.global"})
	var order []string
	address := func(host string) string { return map[string]string{"s5": "10.0.0.5"}[host] }
	for _, l := range Leaving([]HostFacts{s.Hosts[0], s.Hosts[2], s.Hosts[1], gone, dead}, s.Raft, address) {
		id := "no member"
		if l.Member != nil {
			id = l.Member.ID
		}
		order = append(order, l.Host+" "+id)
	}
	if diff := cmp.Diff([]string{"s4 no member", "s5 id-5", "s2 id-2", "s3 id-3", "s1 id-1"}, order); diff != "" {
		t.Error(diff)
	}
}
