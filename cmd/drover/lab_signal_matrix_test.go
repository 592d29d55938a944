// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/internal/lab"
	"drover/internal/lab/watch"
)

// stopCase is one combination of what decides how an agent may be stopped, and what must come of it.
type stopCase struct {
	interrupt, terminate bool   // leave_on_interrupt, leave_on_terminate
	killSignal           string // the unit's, without SIG
	dropIn               string // what drover must send instead; "" is the unit's own
	caught               string // how the agent's log calls the signal; "" where no signal is safe
}

func (c stopCase) safe() bool { return c.caught != "" }

// stopCases are all combinations. Number n is that of server sn and of client cn.
func stopCases() []stopCase {
	return []stopCase{
		{false, false, "INT", "", "interrupt"},
		{false, false, "TERM", "", "terminated"},
		{true, false, "INT", "TERM", "terminated"},
		{true, false, "TERM", "", "terminated"},
		{false, true, "INT", "", "interrupt"},
		{false, true, "TERM", "INT", "interrupt"},
		{true, true, "INT", "", ""},
		{true, true, "TERM", "", ""},
	}
}

// matrixLeader leads, and would leave by its unit's own signal.
const matrixLeader = "s9"

// stopMatrix is a cluster whose hosts are those cases.
type stopMatrix struct {
	cases map[string]stopCase
	pids  map[string]string // the process of each agent, as its host numbers it
	tasks map[string]uint64
	raft  map[string]string // IDs of the voters, by node name

	planned map[string]planned
}

// Every combination of leave flags and KillSignal, on servers and on clients that would drain themselves. Whatever a wrong
// signal does shows: a server leaves, a client becomes ineligible and its tasks end.
func TestLabStopSignals(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 9, Clients: 8, Job: true, DrainOnShutdown: true}, "drover")
	m := &stopMatrix{cases: map[string]stopCase{}, pids: map[string]string{}}
	for i, c := range stopCases() {
		m.cases[fmt.Sprintf("s%d", i+1)], m.cases[fmt.Sprintf("c%d", i+1)] = c, c
	}
	m.cases[matrixLeader] = stopCase{interrupt: true, killSignal: "INT", dropIn: "TERM", caught: "terminated"}
	r.sub("each agent is started with its flags", m.start)
	r.sub("the plan names the signals, and refuses where none is safe", m.plan)
	r.sub("the flags of the running process count, not those of the file", m.edited)
	r.sub("a safe signal is sent to all that have one", m.safely)
	r.sub("the others are killed when that is asked for", m.killed)
	r.sub("a server may leave, and votes again before the leader is stopped", m.leaves)
	r.sub("every task kept its process", func(r *rig) { r.wantTasks(m.tasks) })
}

func (m *stopMatrix) hosts(want func(name string, c stopCase) bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.cases)), func(name string) bool { return !want(name, m.cases[name]) })
}

func isClient(name string) bool { return strings.HasPrefix(name, "c") }

// patient lets servers that share two cores wait longer before they hold an election: raft_multiplier is a factor of its timeouts.
const patient = `sed -i 's/^server {/&\n  raft_multiplier  = 2/' /etc/nomad.d/server.hcl`

// setFlags edits the configuration file, without telling the agent.
func setFlags(c stopCase) string {
	return fmt.Sprintf(`sed -i -e 's/^\(leave_on_interrupt *=\).*/\1 %t/' -e 's/^\(leave_on_terminate *=\).*/\1 %t/' /etc/nomad.d/nomad.hcl`, c.interrupt, c.terminate)
}

// start gives every host its combination and restarts its agent, which still runs with no flag set.
func (m *stopMatrix) start(r *rig) {
	var restarts errgroup.Group
	restarts.SetLimit(6)
	for _, host := range m.hosts(func(string, stopCase) bool { return true }) {
		restarts.Go(func() error {
			c, edit := m.cases[host], "true"
			if !isClient(host) {
				edit = patient
			}
			out, err := r.lab.Output(r.t.Context(), host, "sh", "-c", edit+" && "+setFlags(c)+` && mkdir -p /etc/systemd/system/nomad.service.d &&
printf '[Service]\nKillSignal=SIG`+c.killSignal+`\n' > /etc/systemd/system/nomad.service.d/signal.conf && systemctl daemon-reload && systemctl restart nomad`)
			if err != nil {
				return fmt.Errorf("%s: %w: %s", host, err, out)
			}
			return nil
		})
	}
	if err := restarts.Wait(); err != nil {
		r.t.Fatal(err)
	}
	m.lead(r)
	r.healthy()
	for host := range m.cases {
		m.wantFlags(r, host)
		m.pids[host] = strings.TrimSpace(r.onHost(host, "systemctl", "show", "-p", "MainPID", "--value", "nomad"))
	}
	r.eventually("the clients to be ready", time.Minute, func() bool {
		nodes, err := r.nodes()
		return err == nil && len(nodes) == 8 && !slices.ContainsFunc(nodes, func(n matrixNode) bool { return n.Status != "ready" })
	})
	m.tasks, m.raft = r.tasks(), r.voterIDs()
}

// lead has the server lead that is to be done last. Seventeen hosts on a small machine hold an election now and then.
func (m *stopMatrix) lead(r *rig) {
	r.t.Helper()
	if leader, _ := r.roles(); leader != matrixLeader {
		if err := r.transfer(leader, matrixLeader); err != nil {
			r.t.Fatal(err)
		}
	}
}

// wantFlags asks the running agent.
func (m *stopMatrix) wantFlags(r *rig, host string) {
	r.t.Helper()
	var self struct {
		Config struct{ LeaveOnInt, LeaveOnTerm bool } `json:"config"`
	}
	r.eventually(host+" to answer", 20*time.Second, func() bool {
		return r.lab.Call(r.t.Context(), host, "GET", "/v1/agent/self", nil, &self) == nil
	})
	if c := m.cases[host]; self.Config.LeaveOnInt != c.interrupt || self.Config.LeaveOnTerm != c.terminate {
		r.t.Errorf("%s runs with %+v, want %+v", host, self.Config, c)
	}
}

// planned is what drover says of one host.
type planned struct {
	Host, Action, Signal string
	Problem              string
}

func (m *stopMatrix) planOf(r *rig, more ...string) (map[string]planned, answer) {
	r.t.Helper()
	a := r.run(append([]string{"plan", "--to", newVersion, "--output", "json"}, more...)...)
	var plan struct {
		Steps    []planned `json:"steps"`
		Problems []struct{ Host, Text, Remedy string }
	}
	if err := json.Unmarshal([]byte(a.out), &plan); err != nil {
		r.t.Fatalf("%v: %s", err, a)
	}
	steps := map[string]planned{}
	for _, step := range plan.Steps {
		for _, problem := range plan.Problems {
			if problem.Host == step.Host {
				step.Problem += problem.Text + ": " + problem.Remedy
			}
		}
		steps[step.Host] = step
	}
	return steps, a
}

func (m *stopMatrix) plan(r *rig) {
	steps, a := m.planOf(r)
	wantAnswer(r.t, a, exitRefused)
	for host, c := range m.cases {
		step := steps[host]
		switch {
		case c.safe() && (step.Action != "upgrade" || step.Signal != c.dropIn || step.Problem != ""):
			r.t.Errorf("%s: %+v, want an upgrade with drop-in %q", host, step, c.dropIn)
		case !c.safe() && (step.Action != "refused" || !strings.Contains(step.Problem, "neither SIGINT nor SIGTERM") || !strings.Contains(step.Problem, "--stop-signal KILL")):
			r.t.Errorf("%s: %+v, want a refusal that names --stop-signal KILL", host, step)
		case !c.safe() && strings.Contains(step.Problem, "--allow-leave") == isClient(host):
			r.t.Errorf("%s: --allow-leave is for servers, and is named there alone: %s", host, step.Problem)
		}
	}
	leave, a := m.planOf(r, "--allow-leave")
	wantAnswer(r.t, a, exitRefused)
	if leave["s7"].Action != "upgrade" || leave["c7"].Action != "refused" {
		r.t.Errorf("with --allow-leave: %+v, %+v; want servers to be let go and clients refused", leave["s7"], leave["c7"])
	}
	m.planned = steps
}

// edited changes the files of clients under their agents, and has them reload: set where none was, unset where they were.
func (m *stopMatrix) edited(r *rig) {
	for host, c := range map[string]stopCase{"c1": {interrupt: true, terminate: true}, "c3": {}, "c6": {}, "c7": {}} {
		r.onHost(host, "sh", "-c", setFlags(c)+" && systemctl reload nomad")
		r.eventually(host+" to have reloaded", 10*time.Second, func() bool {
			return strings.Contains(r.onHost(host, "journalctl", "-u", "nomad", "--no-pager", "-o", "cat"), "Caught signal: hangup")
		})
		m.wantFlags(r, host)
	}
	if after, _ := m.planOf(r); !maps.Equal(m.planned, after) {
		r.t.Errorf("the plan was %+v, is %+v", m.planned, after)
	}
}

// safely leaves out what has no safe signal, and the leader, which then still has old followers.
func (m *stopMatrix) safely(r *rig) {
	hosts := m.hosts(func(name string, c stopCase) bool { return c.safe() && name != matrixLeader })
	m.lead(r)
	var a answer
	report := r.watched(func() { a = r.upgrade("--limit", strings.Join(hosts, ","), "--batch", "3") })
	wantAnswer(r.t, a, exitOK)
	m.wantUnfelt(r, report, hosts)
	for _, host := range hosts {
		m.wantStopped(r, host, m.cases[host].caught)
	}
	m.wantNobodyLeft(r, hosts)
	m.log(r.t, a, report, "")
}

func (m *stopMatrix) killed(r *rig) {
	hosts := []string{"c7", "c8", "s8"}
	var a answer
	report := r.watched(func() { a = r.upgrade("--limit", strings.Join(hosts, ","), "--stop-signal", "KILL", "--batch", "3") })
	wantAnswer(r.t, a, exitOK)
	m.wantUnfelt(r, report, hosts)
	for _, host := range hosts {
		m.wantStopped(r, host, "")
	}
	m.wantNobodyLeft(r, hosts)
	m.log(r.t, a, report, "KILL")
}

// leaves upgrades the last two servers: one that leaves, then the leader.
func (m *stopMatrix) leaves(r *rig) {
	m.lead(r)
	voting := r.watchVoter("s7")
	var a answer
	report := r.watched(func() { a = r.upgrade("--limit", "s7,"+matrixLeader, "--allow-leave") })
	away := voting()
	wantAnswer(r.t, a, exitOK)
	wantOrder(r.t, report, "s7", matrixLeader)
	if r.t.Failed() {
		return
	}
	stopped := report.Absences[1].Gone
	switch {
	case away.From.IsZero():
		r.t.Error("s7 was never seen without a vote, so that it shows nothing")
	case !away.To.Before(stopped):
		r.t.Errorf("%s was stopped at %s, and s7 had no vote %s", matrixLeader, stopped.Format("15:04:05.000"), away)
	}
	m.wantStopped(r, "s7", "interrupt")
	m.wantStopped(r, matrixLeader, m.cases[matrixLeader].caught)
	if log := r.leaveLog(); !strings.Contains(log, "EventMemberLeave: s7.") || strings.Contains(log, "EventMemberLeave: "+matrixLeader+".") {
		r.t.Errorf("s7 alone should have left: %s", log)
	}
	r.wantVersion(newVersion)
	r.wantNothingLeft()
	r.t.Logf("s7 had no vote %s", away)
	m.log(r.t, a, report, "")
}

// wantUnfelt checks what a wrong signal would have changed. How long each agent is away is judged elsewhere, where fewer hosts
// share the machine.
func (m *stopMatrix) wantUnfelt(r *rig, report *watch.Report, hosts []string) {
	r.t.Helper()
	for _, problem := range slices.Concat(report.Missed, report.ChangedTasks, report.ChangedNodes, report.Unanswered) {
		r.t.Error(problem)
	}
	var restarted []string
	for _, absence := range report.Absences {
		restarted = append(restarted, absence.Host)
	}
	slices.Sort(restarted)
	if !slices.Equal(restarted, hosts) {
		r.t.Errorf("restarted were %v, want %v", restarted, hosts)
	}
	if voters := r.voterIDs(); !maps.Equal(voters, m.raft) {
		r.t.Errorf("the voters were %v, are %v", m.raft, voters)
	}
}

// wantStopped reads on a host which signal the old process was sent ("" is SIGKILL, which no process sees), and that the unit is
// again as it was.
func (m *stopMatrix) wantStopped(r *rig, host, signal string) {
	r.t.Helper()
	log := r.onHost(host, "journalctl", "--no-pager", "-o", "cat", "_SYSTEMD_UNIT=nomad.service", "_PID="+m.pids[host])
	caught := ""
	for line := range strings.Lines(log) {
		if _, what, ok := strings.Cut(line, "Caught signal: "); ok && strings.TrimSpace(what) != "hangup" {
			caught = strings.TrimSpace(what)
		}
	}
	if caught != signal {
		r.t.Errorf("%s: the agent was stopped by %q, want %q", host, caught, signal)
	}
	if signal == "" && !strings.Contains(r.onHost(host, "journalctl", "-u", "nomad", "--no-pager", "-o", "cat"), "status=9/KILL") {
		r.t.Errorf("%s was not stopped by SIGKILL", host)
	}
	want := map[string]string{"INT": "2", "TERM": "15"}[m.cases[host].killSignal]
	if out := r.onHost(host, "systemctl", "show", "-p", "KillSignal", "--value", "nomad"); strings.TrimSpace(out) != want {
		r.t.Errorf("%s: the unit's KillSignal is %s now, and was %s", host, strings.TrimSpace(out), want)
	}
	r.wantNoDropIn(host)
}

// wantNobodyLeft asks the leader's log, in which every leave stands, and the nodes.
func (m *stopMatrix) wantNobodyLeft(r *rig, hosts []string) {
	r.t.Helper()
	if log := r.leaveLog(); log != "" {
		r.t.Errorf("a server has left the cluster: %s", log)
	}
	nodes, err := r.nodes()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, node := range nodes {
		if slices.Contains(hosts, node.Name) && (node.SchedulingEligibility != "eligible" || node.Drain || node.LastDrain != nil) {
			r.t.Errorf("%s has drained: %+v", node.Name, node)
		}
	}
}

// leaveLog is what the leader has seen of servers that left.
func (r *rig) leaveLog() string {
	r.t.Helper()
	return r.onHost(matrixLeader, "sh", "-c", "journalctl -u nomad --no-pager -o cat | grep 'EventMemberLeave: s' || true")
}

// matrixNode is the part of a node that a drain changes.
type matrixNode struct {
	Name, Status, SchedulingEligibility string

	Drain     bool
	LastDrain *struct{ Status string }
}

func (r *rig) nodes() ([]matrixNode, error) {
	var nodes []matrixNode
	err := r.lab.Call(r.t.Context(), matrixLeader, "GET", "/v1/nodes", nil, &nodes)
	return nodes, err
}

// voterIDs are the servers that vote, by node name.
func (r *rig) voterIDs() map[string]string {
	r.t.Helper()
	voters, err := r.voters()
	if err != nil {
		r.t.Fatal(err)
	}
	return voters
}

func (r *rig) voters() (map[string]string, error) {
	var raft struct {
		Servers []struct {
			ID, Node string
			Voter    bool
		}
	}
	err := r.lab.Call(r.t.Context(), "s1", "GET", "/v1/operator/raft/configuration", nil, &raft)
	voters := map[string]string{}
	for _, server := range raft.Servers {
		if server.Voter {
			node, _, _ := strings.Cut(server.Node, ".")
			voters[node] = server.ID
		}
	}
	return voters, err
}

// watchVoter looks, until the result is called, at whether a server has a vote, and tells from when to when it had none.
func (r *rig) watchVoter(host string) func() watch.Interval {
	var away watch.Interval
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			voters, err := r.voters()
			if _, votes := voters[host]; err == nil && !votes {
				away.To = time.Now()
				away.From = cmp.Or(away.From, away.To)
			}
			select {
			case <-done:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() watch.Interval {
		close(done)
		<-ended
		return away
	}
}

// log writes the matrix as it was measured; asked is a signal that the user asked for.
func (m *stopMatrix) log(t testing.TB, a answer, report *watch.Report, asked string) {
	t.Logf("took %s; term %d -> %d", a.took.Round(time.Millisecond), report.TermBefore, report.TermAfter)
	for _, absence := range report.Absences {
		c := m.cases[absence.Host]
		t.Logf("%s: leave_on_interrupt=%t leave_on_terminate=%t KillSignal=%s drop-in %q: away %s", absence.Host,
			c.interrupt, c.terminate, c.killSignal, cmp.Or(asked, c.dropIn), absence.Gap().Round(time.Millisecond))
	}
}
