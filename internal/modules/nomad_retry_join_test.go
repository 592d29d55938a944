// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"strings"
	"testing"

	"drover/internal/expression"
	"drover/internal/wire"
)

// renewJoin runs nomad_retry_join; s1 is gone and s2 is new.
func (h *configHost) renewJoin(t *testing.T, update, check bool) (*Result, error) {
	t.Helper()
	m := nomadRetryJoinModule()
	decoded, err := m.Decode(map[string]any{"gone": []any{"s1"}, "new": []any{"s2"}, "update": update})
	if err != nil {
		t.Fatal(err)
	}
	c := newFakeCluster(t, 2, 0)
	c.factsOfAll()
	return m.Run(t.Context(), &Call{Host: h, Name: "h1", Args: decoded, Check: check, Fleet: c, Run: c.run, Say: func(string, ...any) {}})
}

func TestNomadRetryJoin(t *testing.T) {
	const before, after = "client {\n  servers = [\"s1:4647\"] # all\n}\n", "client {\n  servers = [\"s2:4647\"] # all\n}\n"
	h := hostWith(map[string]string{"a.hcl": "name = \"h1\"\n", "c.hcl": before})
	stale := "/etc/nomad.d/c.hcl:2:3: client.servers names s1:4647"
	result, err := h.renewJoin(t, false, false)
	if err != nil || result.Changed || !strings.Contains(result.Message, stale) || len(h.written) > 0 {
		t.Errorf("only looked at: %v, %+v", err, result)
	}
	if result, err = h.renewJoin(t, true, true); err != nil || !result.Changed || len(h.written) > 0 {
		t.Errorf("check: %v, %+v", err, result)
	}
	h.validate = wire.RunResult{RC: 1, Stderr: "no"}
	if _, err = h.renewJoin(t, true, false); err == nil || h.files["/etc/nomad.d/c.hcl"] != before {
		t.Errorf("rejected by Nomad: %v, %s", err, h.files["/etc/nomad.d/c.hcl"])
	}
	h.validate = wire.RunResult{}
	result, err = h.renewJoin(t, true, false)
	if list, _ := result.Data.Get("stale"); err != nil || !result.Changed || h.files["/etc/nomad.d/c.hcl"] != after || len(expression.ToGo(list).([]any)) > 0 {
		t.Errorf("updated: %v, %+v, %s", err, result, h.files["/etc/nomad.d/c.hcl"])
	}
	if result, err = h.renewJoin(t, true, false); err != nil || result.Changed {
		t.Errorf("the second time: %v, %+v", err, result)
	}
	h.agent.Unit.ExecStart = append(h.agent.Unit.ExecStart, "-retry-join=s1")
	if result, err = h.renewJoin(t, true, false); err != nil || result.Changed || !strings.Contains(result.Message, "the flag -retry-join of ExecStart") {
		t.Errorf("a flag: %v, %+v", err, result)
	}
}

// New servers know of each other from the start, and have a list also where the model has none.
func TestNomadInstallJoins(t *testing.T) {
	for name, test := range map[string]struct{ model, want string }{
		"a list":         {`server { enabled = true server_join { retry_join = ["10.0.0.1"] } } data_dir = "/opt/nomad"`, `["10.0.0.1", "h1", "h2"]`},
		"an old list":    {`server { enabled = true retry_join = ["10.0.0.1:4648"] } data_dir = "/opt/nomad"`, `["10.0.0.1:4648", "h1:4648", "h2:4648"]`},
		"a provider":     {`server { enabled = true retry_join = ["provider=aws"] } data_dir = "/opt/nomad"`, `["provider=aws"]`},
		"no list at all": {"server {\n  enabled = true\n}\ndata_dir = \"/opt/nomad\"\n", `retry_join = ["h1", "h2"]`},
	} {
		t.Run(name, func(t *testing.T) {
			f := installFleet()
			f["c1"].files["/etc/nomad.d/a.hcl"], f["c1"].files["/etc/nomad.d/b.json"] = test.model, "{}"
			if _, err := f.install(t, false, map[string]any{"from": "c1", "join": []any{"h1", "h2"}}); err != nil {
				t.Fatal(err)
			}
			if text := f["h1"].files["/etc/nomad.d/a.hcl"] + f["h1"].files["/etc/nomad.d/b.json"]; !strings.Contains(text, test.want) {
				t.Errorf("want %s in:\n%s", test.want, text)
			}
		})
	}
}
