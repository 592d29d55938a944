// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var now = time.Unix(1000, 0)

// cluster returns the answers of n healthy voters s1..sn, the last of which leads.
func cluster(n int) []Answer {
	var servers []RaftServer
	for i := range n {
		servers = append(servers, RaftServer{ID: fmt.Sprintf("id-%d", i+1), Address: fmt.Sprintf("10.0.0.%d:4647", i+1), Voter: true})
	}
	answers := make([]Answer, n)
	for i := range answers {
		name := fmt.Sprintf("s%d", i+1)
		answers[i] = Answer{Host: name, Identity: servers[i], View: AgentView{
			Host: name, NodeName: name, Region: "global", Asked: now.Add(-200 * time.Millisecond), Server: true, ServerID: servers[i].ID, RPC: servers[i].Address,
			Version: version("1.10.5"), DataDir: "/opt/nomad",
			Raft: Raft{State: Follower, Term: 3, LastContact: 30 * time.Millisecond, Commit: 50, Applied: 50, Peers: n - 1, Protocol: 3, Servers: servers, LeaderAddr: servers[n-1].Address},
		}}
	}
	answers[n-1].View.Raft.State = Leader
	answers[n-1].View.Raft.LastContact = 0
	return answers
}

func version(text string) Version {
	v, err := ParseVersion(text)
	if err != nil {
		panic(err)
	}
	return v
}

func fail(answers []Answer, i int) {
	answers[i] = Answer{Host: answers[i].Host, Identity: answers[i].Identity, Error: "connection refused"}
}

func TestMayStop(t *testing.T) {
	tests := []struct {
		name     string
		servers  int
		change   func(q *StopQuestion)
		contains string // of the problems; "" when it may stop
	}{
		{"healthy three", 3, nil, ""},
		{"healthy five", 5, nil, ""},
		{"the leader itself", 3, func(q *StopQuestion) { q.Stopping = "s3" }, ""},
		{"other does not answer", 3, func(q *StopQuestion) { fail(q.Answers, 1) }, "does not answer for itself"},
		{"other does not answer, five", 5, func(q *StopQuestion) { fail(q.Answers, 1) }, "does not answer for itself"},
		{"accepted down, five", 5, func(q *StopQuestion) { fail(q.Answers, 1); q.Accepted.Down = []string{"s2"} }, ""},
		{"accepted down, and it lives", 5, func(q *StopQuestion) {
			q.Answers[1].View.Raft.LastContact = Never
			q.Accepted.Down = []string{"s2"}
		}, "has not heard from the leader"},
		{"accepted down, three", 3, func(q *StopQuestion) { fail(q.Answers, 1); q.Accepted.Down = []string{"s2"} }, "would leave 1 of 3"},
		{"outage accepted does not loosen three", 3, func(q *StopQuestion) { fail(q.Answers, 1); q.Accepted = Accepted{Down: []string{"s2"}, Outage: true} }, "would leave 1 of 3"},
		{"old answer", 3, func(q *StopQuestion) { q.Answers[1].View.Asked = now.Add(-1100 * time.Millisecond) }, "only one of the last second counts"},
		{"answer from the future", 3, func(q *StopQuestion) { q.Answers[1].View.Asked = now.Add(time.Second) }, "only one of the last second counts"},
		{"candidate", 3, func(q *StopQuestion) { q.Answers[1].View.Raft.State = "Candidate" }, "neither follower nor leader"},
		{"out of contact", 3, func(q *StopQuestion) { q.Answers[1].View.Raft.LastContact = time.Second }, "not heard from the leader for 1s"},
		{"never in contact", 3, func(q *StopQuestion) { q.Answers[1].View.Raft.LastContact = Never }, "since it started"},
		{"behind", 3, func(q *StopQuestion) { q.Answers[1].View.Raft.Applied = 49 }, "applied index 49"},
		{"other term", 3, func(q *StopQuestion) { q.Answers[1].View.Raft.Term = 2 }, "term 2"},
		{"other configuration", 3, func(q *StopQuestion) { q.Answers[1].View.Raft.Servers = q.Answers[1].View.Raft.Servers[:2] }, "another raft configuration"},
		{"voter not in the inventory", 3, func(q *StopQuestion) { q.Answers = []Answer{q.Answers[0], q.Answers[2]} }, "answers from no host of the inventory"},
		{"no leader", 3, func(q *StopQuestion) { q.Answers[2].View.Raft.State = Follower }, "no server says that it leads"},
		{"no leader, outage accepted", 3, func(q *StopQuestion) {
			q.Answers[2].View.Raft.State, q.Accepted.Outage, q.Leaderless = Follower, true, ElectionPatience
		}, ""},
		{"an election, outage accepted", 3, func(q *StopQuestion) {
			q.Answers[2].View.Raft.State, q.Accepted.Outage, q.Leaderless = Follower, true, ElectionPatience-1
		}, "no server says that it leads"},
		{"two leaders", 3, func(q *StopQuestion) { q.Answers[1].View.Raft.State, q.Answers[1].View.Raft.Term = Leader, 2 }, "also says that it leads"},
		{"two servers", 2, nil, "would leave 1 of 2"},
		{"two servers, outage accepted", 2, func(q *StopQuestion) { q.Accepted.Outage = true }, ""},
		{"single server", 1, nil, ""},
		{"down server is repaired", 3, func(q *StopQuestion) { fail(q.Answers, 0); fail(q.Answers, 1); q.Down = true }, ""},
		{"two names for one server", 3, func(q *StopQuestion) {
			alias := q.Answers[0]
			alias.Host = "alias"
			fail(q.Answers, 1)
			q.Answers, q.Stopping = append(q.Answers, alias), "alias"
			q.Accepted.Down = []string{"s2"}
		}, "same server as s1"},
		{"an answer stands for one voter", 3, func(q *StopQuestion) {
			for i := range q.Answers {
				servers := append([]RaftServer{}, q.Answers[i].View.Raft.Servers...)
				servers[1] = RaftServer{ID: "10.0.0.3:4647", Address: "10.0.0.3:4647", Voter: true}
				q.Answers[i].View.Raft.Servers = servers
			}
			q.Answers = []Answer{q.Answers[0], q.Answers[2]}
		}, "answers from no host"},
		{"non-voter costs no vote", 3, func(q *StopQuestion) {
			for i := range q.Answers {
				q.Answers[i].View.Raft.Servers = append([]RaftServer{{ID: "id-1", Address: "10.0.0.1:4647"}}, q.Answers[i].View.Raft.Servers[1:]...)
			}
		}, ""},
		{"unanswered voter below protocol 3, known by address", 3, func(q *StopQuestion) { fail(q.Answers, 1); q.Answers[1].Identity.ID = "10.0.0.2:4647" }, "s2: the server does not answer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q := StopQuestion{Stopping: "s1", Answers: cluster(test.servers), Reached: 50, Now: now}
			if test.change != nil {
				test.change(&q)
			}
			words := Words(MayStop(q))
			if (test.contains == "") != (words == "") || !strings.Contains(words, test.contains) {
				t.Errorf("problems = %q, want %q", words, test.contains)
			}
		})
	}
}

// A server that is given up goes without --accept-outage, which the commands for that have not.
func TestMayStopForGoodNamesNoOutage(t *testing.T) {
	for name, change := range map[string]func(q *StopQuestion){
		"no leader":   func(q *StopQuestion) { q.Answers[1].View.Raft.State = Follower },
		"two servers": func(*StopQuestion) {},
	} {
		q := StopQuestion{Stopping: "s1", Answers: cluster(2), Reached: 50, Now: now}
		change(&q)
		if words := Words(MayStop(q)); !strings.Contains(words, "--accept-outage") {
			t.Errorf("%s: %q", name, words)
		}
		q.ForGood = true
		if words := Words(MayStop(q)); words == "" || strings.Contains(words, "--accept-outage") {
			t.Errorf("%s, for good: %q", name, words)
		}
	}
}

// TestMayStopNeverLosesQuorum draws clusters in any state. Whenever a stop is allowed without an accepted outage and
// the server is not down, the voters that really are well are a majority without it (or it is the only voter).
func TestMayStopNeverLosesQuorum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 7).Draw(t, "servers")
		answers := cluster(n)
		well := make([]bool, n)
		for i := range answers {
			well[i] = damage(t, answers, i)
		}
		var accepted Accepted
		for i := range answers {
			if rapid.IntRange(0, 3).Draw(t, "accept down") == 0 {
				accepted.Down = append(accepted.Down, fmt.Sprintf("s%d", i+1))
			}
		}
		stopping := rapid.IntRange(0, n-1).Draw(t, "stopping")
		q := StopQuestion{Stopping: fmt.Sprintf("s%d", stopping+1), Answers: answers, Reached: 50, Now: now, Accepted: accepted}
		if len(MayStop(q)) > 0 {
			return
		}
		left := 0
		for i := range well {
			if well[i] && i != stopping {
				left++
			}
		}
		if left < n/2+1 && n > 1 {
			t.Fatalf("allowed to stop %s of %d servers with only %d others well", q.Stopping, n, left)
		}
	})
}

// damage breaks one server in a drawn way and tells whether it is still well.
func damage(t *rapid.T, answers []Answer, i int) bool {
	raft := &answers[i].View.Raft
	switch rapid.IntRange(0, 12).Draw(t, "damage") {
	case 0:
		fail(answers, i)
	case 1:
		answers[i].View.Asked = now.Add(-time.Duration(rapid.IntRange(1001, 60000).Draw(t, "age")) * time.Millisecond)
	case 2:
		raft.State = "Candidate"
	case 3:
		raft.Applied = uint64(rapid.IntRange(0, 49).Draw(t, "applied"))
	case 4:
		if raft.State == Leader {
			return true
		}
		raft.LastContact = time.Duration(rapid.IntRange(1000, 60000).Draw(t, "contact")) * time.Millisecond
	case 5:
		raft.Term = uint64(10 + i) // that nobody else is in
	default:
		return true
	}
	return false
}

// A host that could not be asked has no answer by which its server would be known.
func TestAcceptedServerOfAHostThatCannotBeAsked(t *testing.T) {
	answers := cluster(5)
	raft := RaftConfiguration{}
	for i, server := range answers[0].View.Raft.Servers {
		raft.Servers = append(raft.Servers, RaftMember{RaftServer: server, Node: answers[i].Host + ".global"})
	}
	nowhere := func(string) string { return "" }
	for _, test := range []struct {
		name    string
		down    string
		address func(string) string
		may     bool
	}{
		{"by its node's name", "s1", nowhere, true},
		{"by its address", "server-one", func(string) string { return "10.0.0.1" }, true},
		{"by its region too", "s1.global", nowhere, true},
		{"another", "s9", nowhere, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := StopQuestion{Stopping: "s2", Answers: answers[1:], Reached: 50, Now: now, Accepted: Accepted{Down: []string{test.down}}.Known(raft, test.address)}
			if problems := MayStop(q); (len(problems) == 0) != test.may {
				t.Errorf("problems %v", problems)
			}
		})
	}
}
