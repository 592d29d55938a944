// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/agentconfig"
)

func TestRenewJoins(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a server's list":                 {"server {\n  server_join {\n    retry_join = [\"10.0.0.1\", \"10.0.0.2\"] # ours\n  }\n}\n", "server {\n  server_join {\n    retry_join = [\"10.0.0.2\", \"10.0.0.9\"] # ours\n  }\n}\n"},
		"the old key":                     {`server { retry_join = ["10.0.0.1:4648"] }`, `server { retry_join = ["10.0.0.9:4648"] }`},
		"a client's, by name":             {`client { servers = ["S1:4647", "s2:4647"] }`, `client { servers = ["s2:4647", "10.0.0.9:4647"] }`},
		"JSON":                            {`{"client": {"server_join": {"retry_join": ["10.0.0.1"]}}}`, `{"client": {"server_join": {"retry_join": ["10.0.0.9"]}}}`},
		"IPv6":                            {`client { servers = ["[fd00::1]:4647"] }`, `client { servers = ["10.0.0.9:4647"] }`},
		"one that has the new one":        {`client { servers = ["10.0.0.1", "10.0.0.9:4647"] }`, `client { servers = ["10.0.0.9:4647"] }`},
		"nobody of these":                 {`client { servers = ["10.0.0.2"] }`, `client { servers = ["10.0.0.2"] }`},
		"a longer address":                {`client { servers = ["10.0.0.11"] }`, `client { servers = ["10.0.0.11"] }`},
		"a provider":                      {`client { server_join { retry_join = ["provider=aws tag_key=x"] } }`, `client { server_join { retry_join = ["provider=aws tag_key=x"] } }`},
		"an address of something else":    {`advertise { http = "10.0.0.1" }`, `advertise { http = "10.0.0.1" }`},
		"no list where one is looked for": {`server { enabled = true }`, `server { enabled = true }`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sources := []agentconfig.Source{{Path: "/etc/nomad.d/a.hcl", Text: []byte(test.text)}}
			gone := []string{"10.0.0.1", "s1", "fd00::1"}
			edits, err := RenewJoins(sources, gone, []string{"10.0.0.9"})
			if err != nil {
				t.Fatal(err)
			}
			got := test.text
			if len(edits) > 0 {
				got = string(edits[0].After)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if stale, err := StaleJoins(sources, nil, gone); err != nil || (len(stale) > 0) != (test.text != test.want) {
				t.Errorf("stale %v, %v", stale, err)
			}
		})
	}
}

func TestStaleJoins(t *testing.T) {
	sources := []agentconfig.Source{{Path: "/etc/nomad.d/c.hcl", Text: []byte("client {\n  enabled = true\n  servers = [\"10.0.0.1:4647\", \"10.0.0.2\"]\n}\n")}}
	argv := []string{"nomad", "agent", "-config", "/etc/nomad.d", "-retry-join=10.0.0.1"}
	stale, err := StaleJoins(sources, argv, []string{"10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range stale {
		lines = append(lines, s.String())
	}
	want := []string{"/etc/nomad.d/c.hcl:3:3: client.servers names 10.0.0.1:4647", "the flag -retry-join of ExecStart: server.server_join.retry_join names 10.0.0.1"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestExtendJoins(t *testing.T) {
	text := "server {\n  server_join { retry_join = [\"10.0.0.1:4648\"] }\n}\nclient { server_join { retry_join = [\"provider=aws\"] } }\n"
	sources := []agentconfig.Source{{Path: "a.hcl", Text: []byte(text)}}
	edits, err := ExtendJoins(sources, []string{"10.0.0.9", "10.0.0.1"})
	if err != nil || len(edits) != 1 {
		t.Fatal(edits, err)
	}
	want := strings.Replace(text, `"10.0.0.1:4648"`, `"10.0.0.1:4648", "10.0.0.9:4648"`, 1)
	if diff := cmp.Diff(want, string(edits[0].After)); diff != "" {
		t.Error(diff)
	}
	if !NamesServers(sources) || NamesServers([]agentconfig.Source{{Text: []byte("server { enabled = true }")}}) {
		t.Error("NamesServers")
	}
}
