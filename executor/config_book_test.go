// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/wire"
	"drover/playbooks"
)

const configFile = "/etc/nomad.d/nomad.hcl"

// configured is a host with an agent and one configuration file.
type configured struct {
	memoryHost
	text    string
	flag    string // of its ExecStart
	rejects bool   // its binary does not take the configuration
	fleet   *configuredFleet
}

// configuredFleet connects to such hosts.
type configuredFleet struct {
	memoryFleet
	hosts   map[string]*configured
	written []string // the hosts whose file was written, in order
}

func (f *configuredFleet) Connect(ctx context.Context, host string, settings Connection) (modules.Host, error) {
	if _, err := f.memoryFleet.Connect(ctx, host, settings); err != nil {
		return nil, err
	}
	return f.hosts[host], nil
}

func (h *configured) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nothing listens")
}

func (h *configured) Receive(_ context.Context, _ wire.Request, _ any, into io.Writer) error {
	_, err := io.WriteString(into, h.text)
	return err
}

func (h *configured) Call(_ context.Context, request wire.Request, body io.Reader, reply any) error {
	text, err := json.Marshal(h.answer(request, body))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, reply)
}

func (h *configured) answer(request wire.Request, body io.Reader) any {
	switch q := request.(type) {
	case wire.Agent:
		argv := []string{"/usr/bin/nomad", "agent", "-config", configFile}
		if h.flag != "" {
			argv = append(argv, h.flag)
		}
		return wire.AgentResult{Binary: argv[0], ConfigPaths: argv[3:4], ConfigFiles: argv[3:4], Unit: wire.UnitState{Name: "nomad.service", ExecStart: argv}}
	case wire.Run:
		if h.rejects {
			return wire.RunResult{RC: 1, Stderr: "invalid configuration"}
		}
		return wire.RunResult{}
	case wire.Write:
		if q.Path == configFile {
			var content bytes.Buffer
			_, _ = content.ReadFrom(body)
			h.text = content.String()
			h.fleet.written = append(h.fleet.written, h.name)
		}
		return wire.WriteResult{Changed: true}
	}
	return struct{}{}
}

// The ready playbook config writes to no host before all have been asked, and to one before the others.
func TestConfigPlaybook(t *testing.T) {
	const two, three = "server {\n  raft_protocol = 2\n}\n", "server {\n  raft_protocol = 3\n}\n"
	set := map[string]any{"key": "server.raft_protocol", "value": "3"} // as -e 'key=... value=3' has it
	tests := map[string]struct {
		extra   map[string]any
		change  func(hosts map[string]*configured)
		check   bool
		fails   bool
		written string // the hosts, in order
		text    string // of b's file afterwards
		says    string // of b's edit
		refuses string // the first task
	}{
		"a number by the command line": {extra: set, written: "a b c", text: three, says: "server.raft_protocol set to 3 in nomad.hcl"},
		"a number by a file":           {extra: map[string]any{"key": "server.raft_protocol", "value": 3}, written: "a b c", text: three},
		"true by the command line":     {extra: map[string]any{"key": "server.enabled", "value": "true"}, written: "a b c", text: "server {\n  raft_protocol = 2\n  enabled = true\n}\n"},
		"a text":                       {extra: map[string]any{"key": "server.raft_protocol", "value": "2x"}, written: "a b c", text: strings.Replace(two, "2", `"2x"`, 1)},
		"taken out":                    {extra: map[string]any{"key": "server.raft_protocol", "absent": "true"}, written: "a b c", text: "server {\n}\n"},
		"checked":                      {extra: set, check: true, text: two, says: "server.raft_protocol would be set to 3 in nomad.hcl"},
		"done already":                 {extra: set, change: func(h map[string]*configured) { h["b"].text = three }, written: "a c", text: three},
		"one refuses": {
			extra: set, change: func(h map[string]*configured) { h["c"].flag = "-raft-protocol=2" },
			fails: true, text: two,
		},
		"the first binary rejects it": {extra: set, change: func(h map[string]*configured) { h["a"].rejects = true }, fails: true, text: two},
		"a secret":                    {extra: map[string]any{"key": "server.encrypt", "secret": "c2VjcmV0"}, written: "a b c", text: "server {\n  raft_protocol = 2\n  encrypt = \"c2VjcmV0\"\n}\n", says: "server.encrypt set to (hidden) in nomad.hcl"},
		"no value":                    {extra: map[string]any{"key": "server.raft_protocol"}, fails: true, text: two, refuses: "Say which key and what becomes of it"},
		"a proof of what is not there": {
			extra: map[string]any{"key": "server.raft_protocol", "absent": true, "prove": true},
			fails: true, text: two,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a\nb\nc\n", "- hosts: all\n  tasks: []\n")
			fleet := &configuredFleet{hosts: map[string]*configured{}}
			for _, host := range []string{"a", "b", "c"} {
				fleet.hosts[host] = &configured{memoryHost: memoryHost{host}, text: two, fleet: fleet}
			}
			if test.change != nil {
				test.change(fleet.hosts)
			}
			book, _, err := playbooks.LoadLibrary("config", playbooks.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w.options.Playbook, w.options.Connect, w.options.Check, w.options.Diff = book, fleet, test.check, true
			w.options.ExtraVars = expression.FromGo(test.extra).(*expression.Map)
			summary, err := Run(t.Context(), w.options)
			if failed := len(summary.Failed) > 0; err != nil || failed != test.fails {
				t.Errorf("failed: %v, %v: %s", summary.Failed, err, w.events)
			}
			if diff := cmp.Diff(test.written, strings.Join(fleet.written, " ")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.text, fleet.hosts["b"].text); diff != "" {
				t.Error(diff)
			}
			if test.refuses != "" {
				if said := w.events.result(t, "See that a key and what becomes of it are said", "a")["msg"]; !strings.HasPrefix(fmt.Sprint(said), test.refuses) {
					t.Errorf("it says %v", said)
				}
			}
			if test.says != "" {
				if said := w.events.result(t, "Set the key", "b")["msg"]; fmt.Sprint(said) != test.says {
					t.Errorf("it says %v", said)
				}
			}
		})
	}
}
