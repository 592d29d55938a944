// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/expression"
	"drover/internal/wire"
)

// configHost is a host with an agent's configuration files, and nothing else.
type configHost struct {
	agent    wire.AgentResult
	files    map[string]string
	fails    map[string]error // of writes, by path
	validate wire.RunResult
	trial    []string // what `config validate` got to read, in order
	ran      wire.Run
	written  []wire.Write
}

func newConfigHost(files map[string]string) *configHost {
	h := &configHost{files: files, fails: map[string]error{}, agent: wire.AgentResult{
		Binary: "/usr/bin/nomad", ConfigPaths: []string{"/etc/nomad.d"},
		Unit: wire.UnitState{Name: "nomad.service", User: "nomad", Group: "nomad", ExecStart: []string{"/usr/bin/nomad", "agent", "-config", "/etc/nomad.d"}},
	}}
	for name := range files {
		h.agent.ConfigFiles = append(h.agent.ConfigFiles, name)
	}
	slices.Sort(h.agent.ConfigFiles)
	return h
}

func (*configHost) Name() string { return "h1" }

func (*configHost) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no connections")
}

func (h *configHost) Receive(_ context.Context, request wire.Request, _ any, into io.Writer) error {
	text, ok := h.files[request.(wire.Read).Path]
	if !ok {
		return &wire.Error{Kind: wire.KindNotFound, Message: "no such file"}
	}
	_, err := io.WriteString(into, text)
	return err
}

func (h *configHost) Call(_ context.Context, request wire.Request, body io.Reader, reply any) error {
	result, err := h.operation(request, body)
	if err != nil {
		return err
	}
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, reply)
}

func (h *configHost) operation(request wire.Request, body io.Reader) (any, error) {
	switch q := request.(type) {
	case wire.Agent:
		return h.agent, nil
	case wire.Stat:
		if _, ok := h.files[q.Path]; ok {
			return wire.StatResult{Exists: true, Type: "file", Mode: 0o604, UID: 7, GID: 8}, nil
		}
		return wire.StatResult{Exists: true, Type: "directory", Mode: 0o755, UID: 1, GID: 2}, nil
	case wire.File:
		if q.State == "absent" {
			for name := range h.files {
				if strings.HasPrefix(name, q.Path+"/") {
					delete(h.files, name)
				}
			}
		}
		return wire.FileResult{Changed: true}, nil
	case wire.Write:
		return h.write(q, body)
	case wire.Run:
		h.ran = q
		for _, name := range q.Argv[3:] {
			h.trial = append(h.trial, path.Base(name)+": "+h.files[name])
		}
		return h.validate, nil
	}
	return nil, fmt.Errorf("unexpected call %T", request)
}

func (h *configHost) write(q wire.Write, body io.Reader) (any, error) {
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if err := h.fails[q.Path]; err != nil {
		return nil, err
	}
	if q.SHA256 != sumOf(content) || q.Size != int64(len(content)) {
		return nil, errors.New("wrong hash or size")
	}
	if before, ok := h.files[q.Path]; q.Replaces != "" && (!ok || sumOf([]byte(before)) != q.Replaces) {
		return nil, &wire.Error{Kind: wire.KindStale, Message: q.Path + " has changed since it was read"}
	}
	h.files[q.Path] = string(content)
	if !strings.HasPrefix(q.Path, "/run/") {
		h.written = append(h.written, q)
	}
	result := wire.WriteResult{Changed: true}
	if q.Backup {
		result.Backup = q.Path + "~"
	}
	return result, nil
}

func (h *configHost) do(t *testing.T, check bool, values map[string]any) (*Result, error) {
	t.Helper()
	module, _ := Find("nomad_config")
	converted := map[string]any{}
	for name, value := range values {
		converted[name] = expression.FromGo(value)
	}
	args, err := module.Decode(converted)
	if err != nil {
		t.Fatal(err)
	}
	c := newFakeCluster(t, 1, 0)
	return module.Run(t.Context(), &Call{Host: h, Name: "h1", Args: args, Check: check, Diff: true, Fleet: c, Run: c.run, Say: func(string, ...any) {}})
}

// args are the arguments of a task that sets the raft protocol.
func args(more ...any) map[string]any {
	all := map[string]any{"key": "server.raft_protocol", "value": 3}
	for i := 0; i < len(more); i += 2 {
		if all[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(all, more[i].(string))
		}
	}
	return all
}

func TestNomadConfig(t *testing.T) {
	const protocol2, protocol3 = "server {\n  raft_protocol = 2\n}\n", "server {\n  raft_protocol = 3\n}\n"
	tests := map[string]struct {
		files   map[string]string // in /etc/nomad.d
		args    map[string]any
		check   bool
		want    map[string]string // that changed
		message string
	}{
		"the file that decides": {map[string]string{"a.hcl": protocol2, "b.hcl": protocol2}, args(), false, map[string]string{"b.hcl": protocol3}, "server.raft_protocol set to 3 in b.hcl"},
		"under check":           {map[string]string{"a.hcl": protocol2}, args(), true, nil, "server.raft_protocol would be set to 3 in a.hcl"},
		"it is so already":      {map[string]string{"a.hcl": protocol3}, args(), false, nil, "server.raft_protocol is 3 already"},
		"absent":                {map[string]string{"a.hcl": protocol2, "b.hcl": protocol2}, args("value", nil, "state", "absent"), false, map[string]string{"a.hcl": "server {\n}\n", "b.hcl": "server {\n}\n"}, "server.raft_protocol taken out of a.hcl, b.hcl"},
		"absent already":        {map[string]string{"a.hcl": "server {}"}, args("value", nil, "state", "absent"), false, nil, "server.raft_protocol is not set"},
		"a drop-in":             {map[string]string{"a.hcl": protocol2}, args("where", "dropin"), false, map[string]string{"zz-drover.hcl": protocol3}, "server.raft_protocol set to 3 in zz-drover.hcl"},
		"a drop-in under check": {map[string]string{"a.hcl": protocol2}, args("where", "dropin"), true, nil, "server.raft_protocol would be set to 3 in zz-drover.hcl"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := hostWith(test.files)
			result, err := h.do(t, test.check, test.args)
			if err != nil {
				t.Fatal(err)
			}
			changes := len(test.want) > 0 || test.check
			if result.Changed != changes || result.Message != test.message || (result.Diff == "") == changes {
				t.Errorf("changed %v, %q, diff:\n%s", result.Changed, result.Message, result.Diff)
			}
			for name, text := range test.files {
				if _, ok := test.want[name]; !ok && h.files["/etc/nomad.d/"+name] != text {
					t.Errorf("%s became %q", name, h.files["/etc/nomad.d/"+name])
				}
			}
			for name, text := range test.want {
				if got := h.files["/etc/nomad.d/"+name]; got != text {
					t.Errorf("%s is %q", name, got)
				}
			}
			if len(h.written) != len(test.want) || (h.ran.Argv != nil) != (len(test.want) > 0) {
				t.Errorf("written: %+v, tried: %v", h.written, h.ran.Argv)
			}
			for name := range h.files {
				if strings.HasPrefix(name, "/run/") {
					t.Errorf("%s was left behind", name)
				}
			}
		})
	}
}

func hostWith(files map[string]string) *configHost {
	all := map[string]string{}
	for name, text := range files {
		all["/etc/nomad.d/"+name] = text
	}
	return newConfigHost(all)
}

// What is written replaces only what was read, and a new file is like the one before it.
func TestNomadConfigWrites(t *testing.T) {
	h := hostWith(map[string]string{"a.hcl": "server {}"})
	if _, err := h.do(t, false, args("backup", true)); err != nil {
		t.Fatal(err)
	}
	if q := h.written[0]; q.Replaces != sumOf([]byte("server {}")) || !q.Backup || q.NoClobber || q.Mode != nil || q.Owner != "" {
		t.Errorf("%+v", q)
	}
	h = hostWith(map[string]string{"a.hcl": "server {}"})
	if _, err := h.do(t, false, args("backup", true, "where", "dropin")); err != nil {
		t.Fatal(err)
	}
	if q := h.written[0]; q.Replaces != "" || q.Backup || !q.NoClobber || *q.Mode != 0o604 || q.Owner != "7" || q.Group != "8" {
		t.Errorf("%+v", q)
	}
	h = newConfigHost(map[string]string{})
	if _, err := h.do(t, false, args("where", "dropin")); err != nil {
		t.Fatal(err)
	}
	if q := h.written[0]; *q.Mode != 0o640 || q.Owner != "1" || q.Group != "2" {
		t.Errorf("like its directory: %+v", q)
	}
}

func TestNomadConfigValidates(t *testing.T) {
	tests := map[string]struct {
		ended wire.RunResult
		extra bool
		want  string // "" where it is refused
	}{
		"ok":                  {wire.RunResult{Stdout: "Configuration is valid!"}, false, "ok"},
		"before 1.3":          {wire.RunResult{RC: 127, Stderr: "Usage: nomad"}, false, "absent"},
		"flags that it lacks": {wire.RunResult{RC: 1, Stderr: "Must specify data_dir"}, true, "warned"},
		"rejected":            {wire.RunResult{RC: 1, Stderr: "bad key\ntoken = \"s.hidden\""}, false, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := hostWith(map[string]string{"a.hcl": "region = \"eu\"", "b.hcl": "server {}", "zzz.hcl": ""})
			h.validate, h.agent.ExtraFlags = test.ended, test.extra
			result, err := h.do(t, false, args("where", "dropin"))
			if want := []string{"000-a.hcl: region = \"eu\"", "001-b.hcl: server {}", "002-zz-drover.hcl: server {\n  raft_protocol = 3\n}\n", "003-zzz.hcl: "}; !cmp.Equal(want, h.trial) {
				t.Error(cmp.Diff(want, h.trial))
			}
			if h.ran.User != "nomad" || h.ran.Group != "nomad" || !slices.Equal(h.ran.Argv[:3], []string{"/usr/bin/nomad", "config", "validate"}) {
				t.Errorf("%+v", h.ran)
			}
			switch {
			case test.want == "" && (err == nil || len(h.written) > 0 || !strings.Contains(err.Error(), "rejects the configuration with server.raft_protocol changed: bad key") || strings.Contains(err.Error(), "s.hidden")):
				t.Errorf("%v, written: %v", err, h.written)
			case test.want != "" && err != nil:
				t.Error(err)
			case test.want != "":
				if got, _ := result.Data.Get("validate"); got != test.want {
					t.Errorf("%v", got)
				}
			}
			if len(h.files) > 4 {
				t.Errorf("left behind: %v", h.files)
			}
		})
	}
	h := hostWith(map[string]string{"a.hcl": "server {}"})
	if _, err := h.do(t, false, args("validate", false)); err != nil || h.ran.Argv != nil {
		t.Errorf("validate: false: %v, %v", err, h.ran)
	}
}

func TestNomadConfigHidesSecrets(t *testing.T) {
	const before = "vault {\n  token = \"s.before\"\n}\nserver {\n  encrypt = \"s.gossip\"\n}\n"
	for name, values := range map[string]map[string]any{
		"the secret itself": {"key": "vault.token", "secret": "s.after"},
		"as a value":        {"key": "vault.token", "value": "s.after"},
		"beside it":         {"key": "vault.address", "value": "https://v"},
	} {
		h := hostWith(map[string]string{"a.hcl": before})
		result, err := h.do(t, false, values)
		if err != nil {
			t.Fatal(err)
		}
		if shown := result.Message + result.Diff + fmt.Sprint(expression.ToGo(result.Data)); strings.Contains(shown, "s.") && strings.Contains(shown, "before\"") || strings.Contains(shown, "s.after") || strings.Contains(shown, "s.gossip") {
			t.Errorf("%s: %s", name, shown)
		}
		if result.Diff == "" || !result.Changed {
			t.Errorf("%s: nothing is shown", name)
		}
	}
}

func TestNomadConfigRefuses(t *testing.T) {
	stale := &wire.Error{Kind: wire.KindStale, Message: "it has changed"}
	tests := map[string]struct {
		files   map[string]string
		change  func(h *configHost)
		args    map[string]any
		refused bool
		says    string
	}{
		"a flag": {map[string]string{"a.hcl": ""}, func(h *configHost) { h.agent.Unit.ExecStart = append(h.agent.Unit.ExecStart, "-raft-protocol=2") }, args(), true, "set by the flag -raft-protocol"},
		"a flag of a variable": {map[string]string{"a.hcl": ""}, func(h *configHost) {
			h.agent.Unit.ExecStart = []string{"$X"}
			h.agent.Cmdline = []string{"nomad", "agent", "-raft-protocol", "2"}
		}, args(), true, "set by the flag -raft-protocol"},
		"a broken file":             {map[string]string{"a.hcl": "server {", "b.hcl": ""}, nil, args(), false, "/etc/nomad.d/a.hcl:1:"},
		"no files":                  {nil, nil, args(), false, "names no -config"},
		"a file that is not there":  {map[string]string{"a.hcl": ""}, func(h *configHost) { h.agent.ConfigFiles = append(h.agent.ConfigFiles, "/x.hcl") }, args(), false, "read /x.hcl"},
		"no directory":              {map[string]string{"a.hcl": ""}, func(h *configHost) { h.agent.ConfigPaths = []string{"/etc/nomad.d/a.hcl"} }, args("where", "dropin"), false, "use where: deciding"},
		"it changed meanwhile":      {map[string]string{"a.hcl": "server {}"}, func(h *configHost) { h.fails["/etc/nomad.d/a.hcl"] = stale }, args(), false, "it has changed; nothing was written"},
		"the second of two files":   {map[string]string{"a.hcl": "server { raft_protocol = 2 }", "b.hcl": "server { raft_protocol = 2 }"}, func(h *configHost) { h.fails["/etc/nomad.d/b.hcl"] = stale }, args("value", nil, "state", "absent"), false, "these have changed already: /etc/nomad.d/a.hcl"},
		"a block that was mistyped": {map[string]string{"a.hcl": ""}, nil, args("key", "servr.raft_protocol"), false, "did you mean"},
		"no value":                  {map[string]string{"a.hcl": ""}, nil, args("value", nil), false, "needs a value"},
		"absent with a value":       {map[string]string{"a.hcl": ""}, nil, args("state", "absent"), false, "takes no value"},
		"a dictionary":              {map[string]string{"a.hcl": ""}, nil, args("value", map[string]any{"a": 1}), false, "want a boolean"},
		"a block":                   {map[string]string{"a.hcl": "server {}"}, nil, args("key", "server"), false, "server is a block at 1:8"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := hostWith(test.files)
			if test.change != nil {
				test.change(h)
			}
			result, err := h.do(t, false, test.args)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%+v, %v; want an error with %q", result, err, test.says)
			}
			var refused interface{ Refused() bool }
			if errors.As(err, &refused) != test.refused {
				t.Errorf("refused: %v", err)
			}
			if test.says != "these have changed already: /etc/nomad.d/a.hcl" && len(h.written) > 0 {
				t.Errorf("written: %v", h.written)
			}
		})
	}
}
