// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"slices"
	"strings"
	"testing"
)

func TestNomadStart(t *testing.T) {
	const joins = `data_dir = "/opt/nomad" server { enabled = true server_join { retry_join = ["s1"] } }`
	tests := map[string]struct {
		host, version, config string
		running               bool
		want                  string // of the error; "": it is started
	}{
		"a client":                        {"c1", "1.10.5", "", false, ""},
		"a client that runs":              {"c1", "1.10.5", "", true, ""},
		"another version":                 {"c1", "1.11.0", "", false, "the agent is 1.10.5 and not 1.11.0"},
		"another version that runs":       {"c1", "1.11.0", "", true, "the agent is 1.10.5 and not 1.11.0"},
		"a server that runs":              {"s2", "1.10.5", "", true, ""},
		"a server without a join list":    {"s2", "1.10.5", "", false, "has no server_join"},
		"a server that bootstraps itself": {"s2", "1.10.5", strings.Replace(joins, "enabled = true", "enabled = true\nbootstrap_expect = 1\n", 1), false, "bootstrap_expect = 1"},
		"a server whose name is taken":    {"s2", "1.10.5", joins, false, "a server with the name s2.global lives"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, 3, 1)
			a := c.agent(test.host)
			a.running, a.config = test.running, test.config
			c.factsOfAll()
			result, err := c.do(t.Context(), test.host, "nomad_start", map[string]any{"version": test.version, "timeout": "5s"})
			started := slices.Contains(a.log, "unit_control")
			switch {
			case test.want == "" && (err != nil || !started):
				t.Errorf("started: %t, %v", started, err)
			case test.want == "" && !slices.Contains(result.Groups, map[string]string{"c1": GroupClients, "s2": GroupServers}[test.host]):
				t.Errorf("groups %v", result.Groups)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || started):
				t.Errorf("error %v, want %q; started: %t", err, test.want, started)
			}
		})
	}
}
