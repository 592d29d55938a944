// SPDX-License-Identifier: MPL-2.0

package modules_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"testing"

	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/wire"

	"github.com/google/go-cmp/cmp"
)

// step is one call that a module is expected to make, and the answer.
type step struct {
	request wire.Request
	body    string // that the module must send
	reply   any
	content string // that Receive hands over
	err     error
}

// scripted is a host that knows exactly which calls will come, and fails the test on any other.
type scripted struct {
	t     *testing.T
	steps []step
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
}

func (s *scripted) Name() string { return "h1" }

func (s *scripted) next(request wire.Request, body io.Reader, reply any) (step, error) {
	s.t.Helper()
	if len(s.steps) == 0 {
		s.t.Errorf("unexpected call %T %+v", request, request)
		return step{}, fmt.Errorf("unexpected call %T", request)
	}
	now := s.steps[0]
	s.steps = s.steps[1:]
	if diff := cmp.Diff(now.request, request); diff != "" {
		s.t.Errorf("call (-want +got):\n%s", diff)
	}
	if body != nil {
		got, err := io.ReadAll(body)
		if err != nil || string(got) != now.body {
			s.t.Errorf("body %q, %v; want %q", got, err, now.body)
		}
	}
	if now.err != nil || now.reply == nil {
		return now, now.err
	}
	text, err := json.Marshal(now.reply)
	if err != nil {
		s.t.Fatal(err)
	}
	return now, json.Unmarshal(text, reply)
}

func (s *scripted) Call(_ context.Context, request wire.Request, body io.Reader, reply any) error {
	s.t.Helper()
	_, err := s.next(request, body, reply)
	return err
}

func (s *scripted) Receive(_ context.Context, request wire.Request, reply any, into io.Writer) error {
	s.t.Helper()
	now, err := s.next(request, nil, reply)
	if err != nil {
		return err
	}
	_, err = io.WriteString(into, now.content)
	return err
}

func (s *scripted) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.t.Helper()
	if s.dial == nil {
		s.t.Errorf("unexpected connection to %s %s", network, address)
		return nil, fmt.Errorf("unexpected connection")
	}
	return s.dial(ctx, network, address)
}

func (s *scripted) finish() {
	s.t.Helper()
	for _, left := range s.steps {
		s.t.Errorf("call that never came: %T %+v", left.request, left.request)
	}
}

// task is one call of a module in a test.
type task struct {
	module string
	args   map[string]any
	vars   expression.Variables
	files  map[string]string // src of copy → path
	env    map[string]string
	check  bool
	diff   bool
	steps  []step
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

func (k task) run(t *testing.T) (*modules.Result, error) { return k.runIn(t, t.Context()) }

func (k task) runIn(t *testing.T, ctx context.Context) (*modules.Result, error) {
	t.Helper()
	module, ok := modules.Find(k.module)
	if !ok {
		t.Fatalf("no module %s", k.module)
	}
	values := map[string]any{}
	for name, value := range k.args {
		values[name] = expression.FromGo(value)
	}
	args, err := module.Decode(values)
	if err != nil {
		t.Fatalf("arguments: %v", err)
	}
	host := &scripted{t: t, steps: k.steps, dial: k.dial}
	call := &modules.Call{
		Name: "h1", Args: args, Check: k.check, Diff: k.diff, Vars: k.vars, Environment: k.env,
		Say: func(string, ...any) {},
		Files: func(name string) (string, error) {
			if path, ok := k.files[name]; ok {
				return path, nil
			}
			return "", fmt.Errorf("no file %s", name)
		},
		Evaluate: func(ctx context.Context, source string) (any, error) {
			parsed, err := expression.ParseExpression(source, expression.Position{File: "test", Line: 1, Column: 1})
			if err != nil {
				return nil, err
			}
			return parsed.Evaluate(ctx, k.vars, expression.Budget{})
		},
	}
	if !module.Local {
		call.Host = host
	}
	result, err := module.Run(ctx, call)
	host.finish()
	return result, err
}

// data returns a result's keys as plain Go values.
func data(result *modules.Result) map[string]any {
	if result == nil || result.Data == nil {
		return map[string]any{}
	}
	return expression.ToGo(result.Data).(map[string]any)
}

func pointer[T any](value T) *T { return &value }
