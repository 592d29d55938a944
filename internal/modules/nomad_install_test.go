// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"drover/internal/expression"
	"drover/internal/testrelease"
	"drover/internal/wire"
)

// diskHost is a host of which only its files, its unit and its addresses are known.
type diskHost struct {
	name      string
	files     map[string]string // a name that ends in / is a directory
	agent     *wire.AgentResult // nil: there is no unit
	addresses string
	version   string // that its binary says
	rejects   bool   // config validate fails
	log       []string
}

func (h *diskHost) Name() string { return h.name }

func (h *diskHost) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("not asked for")
}

func (h *diskHost) Receive(_ context.Context, request wire.Request, _ any, into io.Writer) error {
	_, err := io.WriteString(into, h.files[request.(wire.Read).Path])
	return err
}

func (h *diskHost) Call(_ context.Context, request wire.Request, body io.Reader, reply any) error {
	result, err := h.do(request, body)
	if err != nil {
		return err
	}
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, reply)
}

func (h *diskHost) do(request wire.Request, body io.Reader) (any, error) {
	switch q := request.(type) {
	case wire.Facts:
		return wire.FactsResult{Arch: "x86_64", Systemd: true}, nil
	case wire.Agent:
		if h.agent == nil {
			return nil, &wire.Error{Kind: wire.KindNotFound, Message: "there is no unit"}
		}
		return *h.agent, nil
	case wire.Unit:
		return wire.UnitState{LoadState: "not-found"}, nil
	case wire.Stat:
		return h.stat(q.Path), nil
	case wire.File:
		h.log, h.files[q.Path+"/"] = append(h.log, "mkdir "+q.Path), ""
		return wire.FileResult{Changed: true}, nil
	case wire.Write:
		if q.Encoding == "zstd" {
			plain, err := zstd.NewReader(body)
			if err != nil {
				return nil, err
			}
			defer plain.Close()
			body = plain
		}
		content, err := io.ReadAll(body)
		h.log, h.files[q.Path] = append(h.log, "write "+q.Path), string(content)
		return wire.WriteResult{Changed: true}, err
	case wire.UnitControl:
		h.log = append(h.log, "daemon-reload")
		return wire.UnitControlResult{}, nil
	case wire.Run:
		return h.run(q.Argv), nil
	}
	return nil, errors.New("not known: " + request.Op())
}

func (h *diskHost) stat(name string) wire.StatResult {
	if content, ok := h.files[name]; ok {
		sum := sha256.Sum256([]byte(content))
		return wire.StatResult{Exists: true, Type: "file", Mode: 0o640, User: "root", Group: "nomad", SHA256: hex.EncodeToString(sum[:])}
	}
	for file := range h.files {
		if strings.HasPrefix(file, name+"/") {
			return wire.StatResult{Exists: true, Type: "directory", Mode: 0o750, User: "nomad", Group: "nomad"}
		}
	}
	return wire.StatResult{}
}

func (h *diskHost) run(argv []string) wire.RunResult {
	switch {
	case argv[0] == "hostname":
		return wire.RunResult{Stdout: h.addresses + " \n"}
	case argv[0] == "find":
		var found string
		for _, file := range slices.Sorted(maps.Keys(h.files)) {
			kind := filepath.Ext(file)
			if strings.HasPrefix(file, argv[1]) && file != argv[1] && (!slices.Contains(argv, "*.hcl") || kind == ".hcl" || kind == ".json") {
				found += file + "\n"
			}
		}
		return wire.RunResult{Stdout: found}
	case argv[0] == "id":
		return wire.RunResult{Stdout: "999\n"}
	case argv[1] == "version":
		return wire.RunResult{Stdout: "Nomad v" + h.version + "\n"}
	case h.rejects:
		return wire.RunResult{RC: 1, Stderr: "Config validation failed"}
	}
	h.log = append(h.log, strings.Join(argv[1:], " "))
	return wire.RunResult{}
}

// diskFleet is hosts by name.
type diskFleet map[string]*diskHost

func (f diskFleet) Names(string) []string { return []string{"c1", "h1"} }

func (f diskFleet) Host(_ context.Context, name string, _ bool) (Host, error) { return f[name], nil }

func (f diskFleet) Variable(string, string) (any, bool) { return nil, false }

const modelUnit = "[Service]\nExecStart=/usr/bin/nomad agent -config /etc/nomad.d\nUser=nomad\n"

// installFleet is a client c1, and h1 without Nomad.
func installFleet() diskFleet {
	return diskFleet{
		"c1": {
			name: "c1", addresses: "10.0.0.1 fd00::1", files: map[string]string{
				"/etc/nomad.d/a.hcl":                "name = \"c1\" # who\nbind_addr = \"10.0.0.1\"\nadvertise { http = \"10.0.0.1:4646\" }\ndata_dir = \"/opt/nomad\"\n",
				"/etc/nomad.d/b.json":               `{"client": {"enabled": true, "server_join": {"retry_join": ["10.0.0.9", "10.0.0.1"]}}, "tls": {"ca_file": "/etc/nomad.d/tls/ca.pem"}}`,
				"/etc/nomad.d/nomad.env":            "A=1\n",
				"/etc/nomad.d/tls/ca.pem":           "ca",
				"/lib/systemd/system/nomad.service": modelUnit,
				"/opt/nomad/client/":                "",
			},
			agent: &wire.AgentResult{
				BinaryStat: wire.StatResult{Exists: true},
				Unit: wire.UnitState{
					Name: "nomad.service", ExecStartPath: "/usr/bin/nomad", User: "nomad", FragmentPath: "/lib/systemd/system/nomad.service", EnvironmentFiles: []string{"/etc/nomad.d/nomad.env"},
				},
				ConfigPaths: []string{"/etc/nomad.d"}, ConfigFiles: []string{"/etc/nomad.d/a.hcl", "/etc/nomad.d/b.json"}, DataDir: "/opt/nomad",
			},
		},
		"h1": {name: "h1", addresses: "10.0.0.2", version: "1.11.0", files: map[string]string{"/usr/bin/ls": ""}},
	}
}

// install runs nomad_install on h1 with a binary of a few bytes.
func (f diskFleet) install(t *testing.T, check bool, args map[string]any, known ...Fleet) (*Result, error) {
	t.Helper()
	fleet := Fleet(f)
	if len(known) > 0 {
		fleet = known[0]
	}
	binary := filepath.Join(t.TempDir(), "nomad")
	if err := os.WriteFile(binary, testrelease.Program(t, "amd64", "1.11.0"), 0o700); err != nil {
		t.Fatal(err)
	}
	values := map[string]any{"version": "1.11.0", "binary": binary}
	for key, value := range args {
		values[key] = expression.FromGo(value)
	}
	m := nomadInstallModule()
	decoded, err := m.Decode(values)
	if err != nil {
		t.Fatal(err)
	}
	return m.Run(t.Context(), &Call{Host: f["h1"], Name: "h1", Args: decoded, Check: check, Fleet: fleet, Run: Run{ID: "r", Directory: t.TempDir()}, Vars: expression.Variables{"pool": "big"}, Say: func(string, ...any) {}})
}

func TestNomadInstallLikeAnother(t *testing.T) {
	f := installFleet()
	if result, err := f.install(t, true, map[string]any{"from": "c1"}); err != nil || !result.Changed || len(f["h1"].log) > 0 {
		t.Fatalf("check: %v, %v", err, f["h1"].log)
	}
	result, err := f.install(t, false, map[string]any{"from": "c1", "set": map[string]any{"client.node_pool": "big", "client.enabled": true}})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Changed || !strings.Contains(result.Message, "is installed and not started") {
		t.Error(result.Message)
	}
	want := map[string]string{
		"/etc/nomad.d/a.hcl":                "name = \"h1\" # who\nbind_addr = \"10.0.0.2\"\nadvertise { http = \"10.0.0.2:4646\" }\ndata_dir = \"/opt/nomad\"\n",
		"/etc/nomad.d/nomad.env":            "A=1\n",
		"/etc/nomad.d/tls/ca.pem":           "ca",
		"/etc/systemd/system/nomad.service": modelUnit,
	}
	for name, content := range want {
		if diff := cmp.Diff(content, f["h1"].files[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if b := f["h1"].files["/etc/nomad.d/b.json"]; !strings.Contains(b, `["10.0.0.9", "10.0.0.1"]`) || !strings.Contains(b, `"node_pool": "big"`) {
		t.Errorf("b.json: %s", b)
	}
	log := f["h1"].log
	if at := slices.Index(log, "config validate /etc/nomad.d"); at < 0 || log[len(log)-2] != "write /etc/systemd/system/nomad.service" || at > len(log)-2 {
		t.Errorf("order: %v", log)
	}
	f["h1"].log = nil
	if result, err = f.install(t, false, map[string]any{"from": "c1", "set": map[string]any{"client.node_pool": "big", "client.enabled": true}}); err != nil || result.Changed {
		t.Errorf("the second time: %v, %+v, %v", err, result, f["h1"].log)
	}
}

func TestNomadInstallOwnFiles(t *testing.T) {
	f := installFleet()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10.hcl":    "data_dir = \"/srv/nomad\"\nbind_addr = \"{{ GetInterfaceIP \\\"eth0\\\" }}\"\n",
		"20.hcl.j2": "client {\n  enabled = true\n  node_pool = \"{{ pool }}\"\n}\n",
		"notes.txt": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.install(t, false, map[string]any{"config": dir}); err != nil {
		t.Fatal(err)
	}
	h := f["h1"]
	if got := h.files["/etc/nomad.d/20.hcl"]; !strings.Contains(got, `node_pool = "big"`) {
		t.Error(got)
	}
	if got := h.files["/etc/nomad.d/10.hcl"]; !strings.Contains(got, "GetInterfaceIP") {
		t.Error(got)
	}
	unit := h.files["/etc/systemd/system/nomad.service"]
	if !strings.Contains(unit, "ExecStart=/usr/local/bin/nomad agent -config /etc/nomad.d") || !strings.Contains(unit, "Type=notify") {
		t.Error(unit)
	}
	if _, ok := h.files["/srv/nomad/"]; !ok {
		t.Errorf("no data directory: %v", h.log)
	}
}

func TestNomadInstallRefuses(t *testing.T) {
	there := func(change func(*wire.AgentResult)) func(diskFleet) {
		return func(f diskFleet) {
			agent := wire.AgentResult{BinaryStat: wire.StatResult{Exists: true}, Unit: wire.UnitState{ExecStartPath: "/usr/bin/nomad"}, BinaryVersion: "Nomad v1.11.0", DataDir: "/opt/nomad", Running: true}
			change(&agent)
			f["h1"].agent = &agent
		}
	}
	tests := map[string]struct {
		change func(diskFleet)
		want   string // "": nothing to do
	}{
		"the same agent runs":           {there(func(*wire.AgentResult) {}), ""},
		"another binary":                {there(func(a *wire.AgentResult) { a.Unit.ExecStartPath = "/opt/nomad/nomad" }), "already with the binary /opt/nomad/nomad"},
		"another data directory":        {there(func(a *wire.AgentResult) { a.DataDir = "/srv" }), "already with the data directory /srv"},
		"another version":               {there(func(a *wire.AgentResult) { a.BinaryVersion = "Nomad v1.10.5" }), "already with the version 1.10.5"},
		"a data directory with a life":  {func(f diskFleet) { f["h1"].files["/opt/nomad/client/client-id"] = "x" }, "is not empty"},
		"another file as the binary":    {func(f diskFleet) { f["h1"].files["/usr/bin/nomad"] = "x" }, "/usr/bin/nomad is there and is another file"},
		"a stranger in the directory":   {func(f diskFleet) { f["h1"].files["/etc/nomad.d/z.hcl"] = "x" }, "/etc/nomad.d/z.hcl is there"},
		"a rejected configuration":      {func(f diskFleet) { f["h1"].rejects = true }, "rejects the configuration"},
		"a binary of another version":   {func(f diskFleet) { f["h1"].version = "1.10.5" }, "not Nomad v1.11.0"},
		"no address to put in":          {func(f diskFleet) { f["h1"].addresses = "10.0.0.2 10.1.0.2" }, "h1 has 2 addresses (10.0.0.2, 10.1.0.2)"},
		"a model without configuration": {func(f diskFleet) { f["c1"].agent.ConfigFiles = nil }, "reads no configuration files"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := installFleet()
			test.change(f)
			result, err := f.install(t, false, map[string]any{"from": "c1"})
			switch {
			case test.want == "" && (err != nil || result.Changed || !strings.Contains(result.Message, "another one than this installation has (/etc/nomad.d/a.hcl, /etc/nomad.d/b.json)")):
				t.Errorf("%v, %+v", err, result)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			}
			if _, unit := f["h1"].files["/etc/systemd/system/nomad.service"]; unit {
				t.Error("a unit was made")
			}
		})
	}
}

// Nobody is told to remove the data of a server because its configuration has been edited since.
func TestNomadInstallLeavesAServersData(t *testing.T) {
	for role, want := range map[string]bool{"client": true, "server": false} {
		fleet := installFleet()
		fleet["h1"].files["/etc/nomad.d/a.hcl"] = "another"
		fleet["h1"].agent = &wire.AgentResult{
			Running: true, BinaryStat: wire.StatResult{Exists: true}, BinaryVersion: "Nomad v1.11.0", DataDir: "/opt/nomad", Unit: wire.UnitState{Name: "nomad.service", ExecStartPath: "/usr/bin/nomad"},
		}
		known := lookedFleet{fleet, map[string]any{"h1": expression.FromGo(map[string]any{"unit": "nomad.service", "running": true, "server": role == "server"})}}
		result, err := fleet.install(t, false, map[string]any{"from": "c1"}, known)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(result.Message, "another one than this installation has") || strings.Contains(result.Message, "remove the unit and the data directory") != want {
			t.Errorf("%s: %s", role, result.Message)
		}
	}
}

func TestMentionsAddress(t *testing.T) {
	tests := map[string]struct {
		text, address string
		want          bool
	}{
		"alone":            {"10.0.0.1", "10.0.0.1", true},
		"with a port":      {"10.0.0.1:4646", "10.0.0.1", true},
		"a longer one":     {"10.0.0.12", "10.0.0.1", false},
		"IPv6 with a port": {"[fd00::1]:4646", "fd00::1", true},
		"a longer IPv6":    {"[fd00::12]:4646", "fd00::1", false},
		"a wildcard":       {"0.0.0.0", "10.0.0.1", false},
		"a template":       {`{{ GetPrivateIP }}`, "10.0.0.1", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := mentions(test.text, test.address); got != test.want {
				t.Errorf("%t, want %t", got, test.want)
			}
		})
	}
}

// What lies in a new host's data directory is found before anything is touched.
func TestOccupied(t *testing.T) {
	tests := map[string]struct {
		args map[string]any
		want map[string]string
	}{
		"where the model has it": {map[string]any{"from": "c1"}, map[string]string{"h1": "/opt/nomad/server"}},
		"elsewhere":              {map[string]any{"from": "c1", "data_dir": "/data"}, map[string]string{}},
		"not known":              {map[string]any{}, map[string]string{}},
	}
	for name, test := range tests {
		fleet := installFleet()
		fleet["h1"].files["/opt/nomad/server/"] = ""
		known := lookedFleet{fleet, map[string]any{
			"c1": expression.FromGo(map[string]any{"unit": "nomad.service", "role": "client", "data_dir": "/opt/nomad"}), "h1": expression.FromGo(map[string]any{"unit": "nomad.service", "role": "none"}),
		}}
		m := nomadReplaceServersCheckModule()
		args := map[string]any{"version": "1.11.0", "new": []any{"h1"}, "old": []any{"c1"}}
		maps.Copy(args, test.args)
		decoded, err := m.Decode(args)
		if err != nil {
			t.Fatal(err)
		}
		c := newCluster(&Call{Name: "c1", Fleet: known, Args: decoded})
		if diff := cmp.Diff(test.want, c.occupied(t.Context(), []string{"h1", "c1"})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// lookedFleet is a fleet with what nomad_facts has found, by host.
type lookedFleet struct {
	diskFleet
	facts map[string]any
}

func (f lookedFleet) Variable(host, name string) (any, bool) {
	return f.facts[host], name == factNomad
}
