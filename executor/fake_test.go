// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/wire"
	"drover/inventory"
	"drover/playbooks"
)

// memoryHost is a host that only has a name.
type memoryHost struct{ name string }

func (h memoryHost) Name() string { return h.name }

func (h memoryHost) Call(context.Context, wire.Request, io.Reader, any) error { return nil }

func (h memoryHost) Receive(context.Context, wire.Request, any, io.Writer) error { return nil }

func (h memoryHost) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nothing listens")
}

// memoryFleet connects to hosts in memory and records who asked for what.
type memoryFleet struct {
	mu          sync.Mutex
	unreachable map[string]bool
	connects    []string
	running     int
	widest      int
	began       []string       // "host task"
	tries       map[string]int // by the same
}

func (f *memoryFleet) Connect(_ context.Context, host string, settings Connection) (modules.Host, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	user := "login"
	if settings.Become {
		user = "root"
		if settings.BecomeUser != "" {
			user = settings.BecomeUser
		}
	}
	address, _ := settings.Vars("ansible_host")
	f.connects = append(f.connects, fmt.Sprintf("%s as %s at %v", host, user, address))
	if f.unreachable[host] {
		return nil, &modules.Unreachable{Host: host, Err: errors.New("connection refused")}
	}
	return memoryHost{host}, nil
}

// enter returns how many times this has begun.
func (f *memoryFleet) enter(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tries == nil {
		f.tries = map[string]int{}
	}
	f.tries[what]++
	f.running++
	f.widest = max(f.widest, f.running)
	f.began = append(f.began, what)
	return f.tries[what]
}

func (f *memoryFleet) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
}

// refusal is how a module says that it did not dare.
type refusal struct{ error }

func (refusal) Refused() bool { return true }

// fakeModules are the real modules that need no host, and act, look and blind, which do what their arguments say.
func fakeModules(fleet *memoryFleet) []modules.Module {
	table := []modules.Module{}
	for _, name := range []string{"set_fact", "debug", "assert", "fail"} {
		if module, ok := modules.Find(name); ok {
			table = append(table, *module)
		}
	}
	act := modules.Module{
		Name: "act", FreeForm: "msg", Check: modules.CheckFull, Diff: true,
		Args: []modules.Arg{
			{Name: "msg", Kind: modules.String},
			{Name: "change", Kind: modules.Boolean, Default: true},
			{Name: "fail", Kind: modules.Boolean},
			{Name: "refuse", Kind: modules.Boolean},
			{Name: "panic", Kind: modules.Boolean},
			{Name: "lose", Kind: modules.Boolean},
			{Name: "blame", Kind: modules.String, Doc: "another host, which it cannot reach"},
			{Name: "data", Kind: modules.Dict},
			{Name: "facts", Kind: modules.Dict},
			{Name: "groups", Kind: modules.List},
			{Name: "takes", Kind: modules.Duration},
			{Name: "fails", Kind: modules.Integer, Doc: "how many times it fails before it does not"},
			{Name: "diff", Kind: modules.String},
			{Name: "password", Kind: modules.String, Secret: true},
			{Name: "ask", Kind: modules.String, Doc: "HOST.VARIABLE through the fleet"},
		},
		Run: func(ctx context.Context, call *modules.Call) (*modules.Result, error) {
			tries := fleet.enter(call.Host.Name() + " " + call.Args.String("msg"))
			defer fleet.leave()
			result, err := act(ctx, call)
			if result != nil {
				result.Data.Set("tries", tries)
				result.Failed = result.Failed || int64(tries) <= call.Args.Int("fails")
			}
			return result, err
		},
	}
	look, blind := act, act
	look.Name, look.Check = "look", modules.CheckReads
	blind.Name, blind.Check = "blind", modules.CheckSkipped
	group := modules.Module{
		Name: "make_group", Check: modules.CheckReads, Local: true, Args: []modules.Arg{{Name: "key", Kind: modules.String, Required: true}},
		Run: func(_ context.Context, call *modules.Call) (*modules.Result, error) {
			return &modules.Result{Groups: []string{call.Args.String("key")}}, nil
		},
	}
	return append(table, act, look, blind, group)
}

func act(ctx context.Context, call *modules.Call) (*modules.Result, error) {
	if call.Args.Has("takes") {
		call.Say("working for %v", call.Args.Duration("takes"))
		select {
		case <-time.After(call.Args.Duration("takes")):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	data := call.Args.Dict("data").Clone()
	if len(call.Environment) > 0 {
		for name, value := range call.Environment {
			data.Set(name, value)
		}
	}
	if host, name, ok := strings.Cut(call.Args.String("ask"), "."); ok {
		value, _ := call.Fleet.Variable(host, name)
		data.Set("answer", value)
	}
	switch {
	case call.Args.Bool("panic"):
		panic("out of its depth")
	case call.Args.Bool("lose"):
		return nil, &modules.Unreachable{Host: call.Host.Name(), Err: errors.New("connection lost")}
	case call.Args.Has("blame"):
		return nil, &modules.Unreachable{Host: call.Args.String("blame"), Err: errors.New("connection lost")}
	case call.Args.Bool("refuse"):
		return nil, refusal{errors.New("quorum would be lost")}
	}
	return &modules.Result{
		Changed: call.Args.Bool("change"), Failed: call.Args.Bool("fail"), Message: call.Args.String("msg"), Data: data,
		Facts: call.Args.Dict("facts"), Groups: call.Args.Strings("groups"), Diff: call.Args.String("diff"),
	}, nil
}

// events keeps what was emitted; fail, where set, says whether an event cannot be recorded.
type events struct {
	mu   sync.Mutex
	all  []event.Event
	fail func(event.Event) error
	on   func(event.Event)
}

func (s *events) Emit(e event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(e); err != nil {
			return err
		}
	}
	s.all = append(s.all, e)
	if s.on != nil {
		s.on(e)
	}
	return nil
}

// results are the outcomes as "task host status", in order.
func (s *events) results() []string {
	var lines []string
	for _, e := range s.all {
		if e.Kind == event.HostResult {
			lines = append(lines, fmt.Sprintf("%s %s %s", e.Task, e.Host, e.Status))
		}
	}
	return lines
}

func (s *events) messages(kind event.Kind) []string {
	var lines []string
	for _, e := range s.all {
		if e.Kind == kind {
			lines = append(lines, e.Message)
		}
	}
	return lines
}

// result returns what a host registered at a task.
func (s *events) result(t *testing.T, task, host string) map[string]any {
	t.Helper()
	for _, e := range slices.Backward(s.all) {
		if e.Kind == event.HostResult && e.Task == task && e.Host == host {
			return expression.ToGo(e.Result).(map[string]any)
		}
	}
	t.Fatalf("task %q has no result on %s; results: %q", task, host, s.results())
	return nil
}

// world is a run in the making.
type world struct {
	options Options
	fleet   *memoryFleet
	events  *events
	dir     string
}

// newWorld parses an inventory and a playbook; forks is 1, so that the order of events is known.
func newWorld(t *testing.T, hosts, playbook string) *world {
	t.Helper()
	w := &world{fleet: &memoryFleet{unreachable: map[string]bool{}}, events: &events{}, dir: t.TempDir()}
	file := filepath.Join(w.dir, "hosts.ini")
	if err := os.WriteFile(file, []byte(hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, _, err := inventory.Load(inventory.Options{Sources: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	book, _, err := playbooks.Parse(filepath.Join(w.dir, "play.yml"), []byte(playbook), playbooks.Options{Modules: fakeModules(w.fleet)})
	if err != nil {
		t.Fatal(err)
	}
	w.options = Options{
		Playbook: book, Inventory: inv, InventoryDir: w.dir, Connect: w.fleet, Sink: w.events, Forks: 1,
		Run: modules.Run{ID: "run-1"}, Now: func() time.Time { return time.Unix(0, 0) },
	}
	return w
}

func (w *world) run(t *testing.T) *Summary {
	t.Helper()
	summary, err := Run(t.Context(), w.options)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}
