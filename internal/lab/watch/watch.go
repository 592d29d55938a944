// SPDX-License-Identifier: MPL-2.0

// Package watch looks at a lab's cluster from outside while something is done to it, and tells afterwards what its users would have
// felt: which servers were out of service and when, how long each agent was away, whether a heartbeat was missed and whether
// every task kept its process. It asks nobody but each host's own API and this machine's kernel.
package watch

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover/internal/lab"
)

// Sampling intervals.
const (
	serverEvery = 100 * time.Millisecond
	clientEvery = 250 * time.Millisecond
	goneEvery   = 5 * time.Millisecond // how often an agent's process is looked at
	askTimeout  = time.Second          // a server that takes longer is out of service for whoever asks
)

// heartbeatGrace is Nomad's default heartbeat_grace, which the lab does not change.
const heartbeatGrace = 10 * time.Second

// Interval is a stretch of time: from the last moment when all was well to the first when it was again.
type Interval struct{ From, To time.Time }

func (i Interval) String() string {
	return fmt.Sprintf("%s for %s", i.From.Format("15:04:05.000"), i.To.Sub(i.From).Round(time.Millisecond))
}

// Absence is one stop and start of an agent.
type Absence struct {
	Host    string
	Gone    time.Time // the old process was gone
	Answers time.Time // the new one's API answered
	// Heartbeat is when a client's first heartbeat after it came back was made; zero for servers.
	Heartbeat time.Time
	// Budget is how long after Gone the servers would have taken a client for lost: ttl - last heartbeat + grace.
	Budget time.Duration
}

// Gap is how long the API was away.
func (a Absence) Gap() time.Duration { return a.Answers.Sub(a.Gone) }

// Report is what was seen.
type Report struct {
	Samples      map[string]int        // by server
	OutOfService map[string][]Interval // by server; sorted
	TermBefore   int                   // the highest raft term that a server told
	TermAfter    int
	Absences     []Absence // in order of time
	Missed       []string  // node events about missed heartbeats, new since the start
	Tasks        int       // processes of allocations before
	ChangedTasks []string  // those that are not there any more with the same pid and start time, and new ones
	ChangedNodes []string  // clients whose eligibility or driver health changed
	Unanswered   []string  // what could not be asked, so that silence is not taken for health
}

// Watch is at work between Start and Stop.
type Watch struct {
	lab      *lab.Lab
	stop     context.CancelFunc
	group    sync.WaitGroup
	mu       sync.Mutex
	report   Report
	tasks    map[string]lab.Task
	nodes    map[string]node
	lastGood map[string]time.Time
	out      map[string]time.Time
	beats    map[string]beat
}

type beat struct {
	at   time.Time // of the last heartbeat
	ttl  time.Duration
	seen time.Time
}

// Start notes how everything is and begins to look.
func Start(ctx context.Context, l *lab.Lab) (*Watch, error) {
	w := &Watch{
		lab:      l,
		report:   Report{Samples: map[string]int{}, OutOfService: map[string][]Interval{}},
		lastGood: map[string]time.Time{}, out: map[string]time.Time{}, beats: map[string]beat{},
	}
	var err error
	if w.tasks, err = tasks(l); err != nil {
		return nil, err
	}
	w.report.Tasks = len(w.tasks)
	if w.nodes, err = w.askNodes(ctx); err != nil {
		return nil, err
	}
	ctx, w.stop = context.WithCancel(ctx)
	for _, host := range l.Hosts() {
		if host.IsServer() {
			w.group.Go(func() { w.every(ctx, serverEvery, func() { w.sampleServer(ctx, host.Name) }) })
		}
		if host.IsClient() {
			w.group.Go(func() { w.every(ctx, clientEvery, func() { w.sampleClient(ctx, host.Name) }) })
		}
		if host.RunsNomad() {
			w.group.Go(func() { w.watchProcess(ctx, host.Name) })
		}
	}
	return w, nil
}

// Stop ends the watch and compares.
func (w *Watch) Stop(ctx context.Context) (*Report, error) {
	w.stop()
	w.group.Wait()
	now := time.Now()
	for host, since := range w.out {
		w.report.OutOfService[host] = append(w.report.OutOfService[host], Interval{since, now})
	}
	after, err := tasks(w.lab)
	if err != nil {
		return nil, err
	}
	w.report.ChangedTasks = changedTasks(w.tasks, after)
	nodes, err := w.askNodes(ctx)
	if err != nil {
		return nil, err
	}
	w.report.Missed, w.report.ChangedNodes = changedNodes(w.nodes, nodes)
	slices.SortFunc(w.report.Absences, func(a, b Absence) int { return a.Gone.Compare(b.Gone) })
	return &w.report, nil
}

func (w *Watch) every(ctx context.Context, interval time.Duration, look func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		look()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// self is the part of /v1/agent/self that is watched. All stats are strings.
type self struct {
	Stats struct {
		Raft struct {
			State string `json:"state"`
			Term  string `json:"term"`
		} `json:"raft"`
		Nomad struct {
			Leader string `json:"leader_addr"`
		} `json:"nomad"`
		Client struct {
			LastHeartbeat string `json:"last_heartbeat"`
			TTL           string `json:"heartbeat_ttl"`
		} `json:"client"`
	} `json:"stats"`
}

func (w *Watch) ask(ctx context.Context, host, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return w.lab.Call(ctx, host, "GET", path, nil, out)
}

// sampleServer takes a server for in service when it answers for itself, is a follower or the leader, and knows a leader.
func (w *Watch) sampleServer(ctx context.Context, host string) {
	var answer self
	err := w.ask(ctx, host, "/v1/agent/self", &answer)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	state := answer.Stats.Raft.State
	good := err == nil && (state == "Leader" || state == "Follower") && answer.Stats.Nomad.Leader != ""
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Samples[host]++
	if term, err := strconv.Atoi(answer.Stats.Raft.Term); err == nil && term > 0 {
		if w.report.TermBefore == 0 {
			w.report.TermBefore = term
		}
		w.report.TermAfter = max(w.report.TermAfter, term)
	}
	since, isOut := w.out[host]
	switch {
	case good:
		if isOut {
			w.report.OutOfService[host] = append(w.report.OutOfService[host], Interval{since, now})
			delete(w.out, host)
		}
		w.lastGood[host] = now
	case !isOut:
		w.out[host] = w.lastGood[host]
		if w.lastGood[host].IsZero() {
			w.out[host] = now
		}
	}
}

func (w *Watch) sampleClient(ctx context.Context, host string) {
	var answer self
	if w.ask(ctx, host, "/v1/agent/self", &answer) != nil {
		return // the process watch tells how long it is away
	}
	now := time.Now()
	age, err := time.ParseDuration(answer.Stats.Client.LastHeartbeat)
	ttl, err2 := time.ParseDuration(answer.Stats.Client.TTL)
	// Before its first heartbeat an agent tells the age of the zero time.
	if err != nil || err2 != nil || ttl == 0 || age > time.Hour {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beats[host] = beat{now.Add(-age), ttl, now}
	for i := range w.report.Absences {
		if a := &w.report.Absences[i]; a.Host == host && a.Heartbeat.IsZero() && w.beats[host].at.After(a.Gone) {
			a.Heartbeat = w.beats[host].at
		}
	}
}

// watchProcess measures each stop and start of a host's agent.
func (w *Watch) watchProcess(ctx context.Context, host string) {
	for ctx.Err() == nil {
		absence, err := Next(ctx, w.lab, host)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		if err != nil {
			w.report.Unanswered = append(w.report.Unanswered, host+": "+err.Error())
			w.mu.Unlock()
			return
		}
		if last, ok := w.beats[host]; ok && last.seen.Before(absence.Answers) {
			absence.Budget = last.at.Add(last.ttl + heartbeatGrace).Sub(absence.Gone)
		}
		w.report.Absences = append(w.report.Absences, absence)
		w.mu.Unlock()
	}
}

// Next waits until the agent of a host is gone and another one answers, and tells when.
func Next(ctx context.Context, l *lab.Lab, host string) (Absence, error) {
	pid, err := l.AgentPID(host)
	if err != nil {
		return Absence{}, err
	}
	absence := Absence{Host: host}
	if err := poll(ctx, goneEvery, func() bool { return gone(pid) }); err != nil {
		return absence, err
	}
	absence.Gone = time.Now()
	client, base, err := l.APIClient(host)
	if err != nil {
		return absence, err
	}
	defer client.CloseIdleConnections()
	client.Timeout = askTimeout
	err = poll(ctx, 2*goneEvery, func() bool {
		answer, err := client.Get(base + "/v1/agent/health")
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil
	})
	absence.Answers = time.Now()
	return absence, err
}

func poll(ctx context.Context, interval time.Duration, done func() bool) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// gone tells whether a process has ended; one that only waits to be reaped has.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func tasks(l *lab.Lab) (map[string]lab.Task, error) {
	found := map[string]lab.Task{}
	for _, host := range l.Hosts() {
		if !host.IsClient() {
			continue
		}
		list, err := l.Tasks(host.Name)
		if err != nil {
			return nil, err
		}
		for _, task := range list {
			found[fmt.Sprintf("%s %s pid %d", host.Name, task.Alloc, task.PID)] = task
		}
	}
	return found, nil
}

func changedTasks(before, after map[string]lab.Task) []string {
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if now, ok := after[name]; !ok || now.Start != before[name].Start {
			changed = append(changed, "gone: "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; !ok {
			changed = append(changed, "new: "+name)
		}
	}
	return changed
}
