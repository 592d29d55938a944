// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"drover/internal/agentconfig"
	"drover/internal/nomad"
	"drover/internal/wire"
)

// recoverHost is a survivor that notes what it is asked, together with the others.
type recoverHost struct {
	name  string
	fleet *recoverFleet
	files map[string]string
	// fails is the operation that it cannot do.
	fails string
	// undone makes its transaction end without a pause, done with its agent started.
	undone, done bool
}

type recoverFleet struct {
	mu  sync.Mutex
	log []string
}

func (h *recoverHost) Name() string { return h.name }

func (h *recoverHost) Call(_ context.Context, request wire.Request, _ io.Reader, reply any) error {
	h.fleet.mu.Lock()
	h.fleet.log = append(h.fleet.log, request.Op()+" "+h.name)
	h.fleet.mu.Unlock()
	if request.Op() == h.fails {
		return errors.New("the disk is full")
	}
	var answer any = struct{}{}
	switch q := request.(type) {
	case wire.SwapPrepare:
		answer = wire.SwapPrepareResult{Token: h.name}
	case wire.SwapCommit:
		answer = wire.SwapOutcome{ID: h.name, State: wire.SwapRunning, Paused: true, Backup: "/opt/nomad/server.drover-backup-" + h.name}
		if h.done {
			answer = wire.SwapOutcome{ID: h.name, State: wire.SwapDone, Backup: "/opt/nomad/server.drover-backup-" + h.name}
		}
		if h.undone {
			answer = wire.SwapOutcome{ID: h.name, State: wire.SwapReverted, Error: "copy: no space"}
		}
	case wire.Stat:
		answer = wire.StatResult{Exists: h.files[q.Path] != ""}
	case wire.SwapContinue:
		answer = wire.SwapOutcome{ID: h.name, State: wire.SwapDone}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, reply)
}

func (h *recoverHost) Receive(_ context.Context, request wire.Request, _ any, into io.Writer) error {
	if read, ok := request.(wire.Read); ok && h.files[read.Path] != "" {
		_, err := io.WriteString(into, h.files[read.Path])
		return err
	}
	return errors.New("not faked")
}

func (h *recoverHost) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("not faked")
}

// recoveryOf is a recovery of three survivors, as far as their stop and start.
func recoveryOf(change func(hosts []*recoverHost)) (*recovery, *recoverFleet) {
	fleet := &recoverFleet{}
	hosts := []*recoverHost{{name: "s1", fleet: fleet}, {name: "s2", fleet: fleet}, {name: "s3", fleet: fleet}}
	if change != nil {
		change(hosts)
	}
	call := &Call{Run: Run{}}
	r := &recovery{cluster: newCluster(call), voice: voice{call: call}}
	for _, host := range hosts {
		own := &Call{Name: host.name, Host: host}
		m := &migration{swap: &swap{cluster: newCluster(own), voice: voice{call: own}}}
		m.facts = nomad.HostFacts{Host: host.name, DataDir: "/opt/nomad", Unit: "nomad.service"}
		r.survivors = append(r.survivors, &survivor{migration: m})
	}
	return r, fleet
}

// first is where the first line of an operation is; -1: nowhere.
func (f *recoverFleet) first(op string) int {
	return slices.IndexFunc(f.log, func(line string) bool { return strings.HasPrefix(line, op+" ") })
}

func (f *recoverFleet) count(op string) int {
	n := 0
	for _, line := range f.log {
		if strings.HasPrefix(line, op+" ") {
			n++
		}
	}
	return n
}

// No survivor is stopped before all are ready, and none is started before all are stopped and have their files.
func TestRecoverTogether(t *testing.T) {
	r, fleet := recoveryOf(nil)
	if err := r.stopAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fleet.first("swap_commit") != 3 || fleet.count("swap_commit") != 3 || fleet.count("swap_continue") != 0 {
		t.Errorf("until all are stopped: %q", fleet.log)
	}
	if err := r.startAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fleet.first("swap_continue") != 6 || fleet.count("swap_continue") != 3 || fleet.count("file") != 0 {
		t.Errorf("in all: %q", fleet.log)
	}
	if got := r.backups(); len(got) != 3 {
		t.Errorf("backups %q", got)
	}
}

func TestRecoverHeldUp(t *testing.T) {
	for _, test := range []struct {
		name            string
		change          func(hosts []*recoverHost)
		commits, starts int
		want            string
	}{
		{"one cannot be made ready", func(hosts []*recoverHost) { hosts[1].fails = "swap_prepare" }, 0, 0, "nothing was stopped: prepare the swap on s2"},
		{"one cannot be copied", func(hosts []*recoverHost) { hosts[1].undone = true }, 3, 2, "the others were started again as they were"},
		{"the word to stop is lost on one", func(hosts []*recoverHost) { hosts[2].fails = "swap_commit" }, 3, 2, "the others were started again as they were"},
		{"one cannot be started as it was", func(hosts []*recoverHost) { hosts[1].undone, hosts[2].fails = true, "file" }, 3, 1, "not all of the others could be started as they were: s3: remove /opt/nomad/server/raft/peers.json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, fleet := recoveryOf(test.change)
			err := r.stopAll(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if fleet.count("swap_commit") != test.commits || fleet.count("swap_continue") != test.starts {
				t.Errorf("%q", fleet.log)
			}
			// Nobody is started with the new raft configuration: its file goes first.
			for i, line := range fleet.log {
				if host, started := strings.CutPrefix(line, "swap_continue "); started && !slices.Contains(fleet.log[:i], "file "+host) {
					t.Errorf("%s was started with its peers.json: %q", host, fleet.log)
				}
			}
		})
	}
}

// A survivor that an interrupted recovery has not reached is started by itself, with its configuration edited, a copy and no peers.json.
func TestRecoverStartLate(t *testing.T) {
	r, fleet := recoveryOf(func(hosts []*recoverHost) { hosts[0].done = true })
	s := r.survivors[0]
	s.evidence.Edits = []agentconfig.Edit{{Path: "/etc/nomad.d/server.hcl", Before: []byte("2"), After: []byte("3")}}
	if err := r.startLate(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(fleet.log, ", "); got != "swap_prepare s1, swap_commit s1" {
		t.Errorf("asked: %s", got)
	}
	if p := s.prepare; len(p.Edits) != 1 || p.Edits[0].Path != "/etc/nomad.d/server.hcl" || p.Backup == nil || p.Backup.From != "/opt/nomad/server" || p.PauseMS != 0 {
		t.Errorf("prepared %+v", p)
	}
	if got := r.backups(); len(got) != 1 {
		t.Errorf("backups %q", got)
	}
}

// An error names only what there is.
func TestRecoverNotWell(t *testing.T) {
	r, _ := recoveryOf(nil)
	problems := []nomad.Problem{{Host: "s1", Text: "its agent does not run"}}
	if text := r.notWell(problems); strings.Contains(text, "is kept") || !strings.Contains(text, "s1: its agent does not run") {
		t.Errorf("without a copy: %s", text)
	}
	r.survivors[1].outcome.Backup = "/opt/nomad/server.drover-backup-1"
	if text := r.notWell(problems); !strings.Contains(text, "is kept: s2:/opt/nomad/server.drover-backup-1;") {
		t.Errorf("with a copy: %s", text)
	}
}

// A host whose configuration cannot be parsed shows no server, and says where.
func TestRecoverUnread(t *testing.T) {
	const file = "/etc/nomad.d/server.hcl"
	for text, want := range map[string]string{
		"client {\n  enabled = true\n}\n":   "",
		"server {\n  enabled = = true\n}\n": file + ":2:",
	} {
		r, _ := recoveryOf(nil)
		r.call.Name, r.call.Host = "s1", &recoverHost{name: "s1", files: map[string]string{file: text}}
		got := r.unread(t.Context(), nomad.HostFacts{Host: "s1", ConfigFiles: []string{file}})
		if !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// A stopped server with raft's store could be started instead of being given up.
func TestRecoverIdle(t *testing.T) {
	const store = "/opt/nomad/server/raft/raft.db"
	for _, test := range []struct {
		name   string
		change func(f *nomad.HostFacts, files map[string]string)
		want   bool
	}{
		{"stopped, with its data", func(*nomad.HostFacts, map[string]string) {}, true},
		{"it runs", func(f *nomad.HostFacts, _ map[string]string) { f.Running = true }, false},
		{"no server", func(f *nomad.HostFacts, _ map[string]string) { f.Server = false }, false},
		{"its data is gone", func(_ *nomad.HostFacts, files map[string]string) { delete(files, store) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, _ := recoveryOf(nil)
			files := map[string]string{store: "x"}
			facts := nomad.HostFacts{Host: "s2", Server: true, DataDir: "/opt/nomad"}
			test.change(&facts, files)
			r.call.Name, r.call.Host = "s2", &recoverHost{name: "s2", fleet: &recoverFleet{}, files: files}
			if got := r.idle(t.Context(), facts); got != test.want {
				t.Errorf("idle: %t", got)
			}
		})
	}
}
