// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/nomad/api"

	"drover/internal/agentconfig"
)

const effectiveAnswer = `{
 "config": {
  "Region": "eu", "NodeName": "s1", "DataDir": "/opt/nomad", "LeaveOnInt": true, "LogLevel": "INFO",
  "AdvertiseAddrs": {"RPC": "10.0.0.1:4647"}, "TLSConfig": {"EnableHTTP": true, "CAFile": "/ca.pem"},
  "Server": {"RaftProtocol": 0, "HeartbeatGrace": 20000000000, "RetryJoin": [], "ServerJoin": {"RetryJoin": ["a", "b"], "RetryMaxAttempts": 3}, "RaftMultiplier": null},
  "Client": {"Meta": {"Rack_1": "r"}, "Options": {"driver.raw_exec.enable": "1"}},
  "Telemetry": {"PublishAllocationMetrics": true},
  "Vaults": [{"Name": "other", "Addr": "x"}, {"Name": "default", "Addr": "https://vault"}], "Vault": null,
  "Consul": {"Addr": "127.0.0.1:8500"}
 },
 "stats": {"raft": {"protocol_version": "2"}}
}`

func TestEffective(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, effectiveAnswer)
	}))
	defer server.Close()
	client, err := api.NewClient(&api.Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tests := map[string]struct {
		want any // nil: not shown
		not  any
	}{
		"server.raft_protocol":                  {2, 3},
		"region":                                {"eu", "us"},
		"name":                                  {"s1", "s2"},
		"data_dir":                              {"/opt/nomad", "/"},
		"leave_on_interrupt":                    {true, false},
		"log_level":                             {"INFO", "DEBUG"},
		"advertise.rpc":                         {"10.0.0.1:4647", ""},
		"tls.http":                              {true, false},
		"tls.ca_file":                           {"/ca.pem", "/other.pem"},
		"server.heartbeat_grace":                {"20s", "10s"},
		"server.retry_join":                     {[]any{}, []any{"a"}},
		"server.server_join.retry_join":         {[]any{"a", "b"}, []any{"a"}},
		"server.server_join.retry_max":          {3, 0},
		"client.meta.Rack_1":                    {"r", "R"},
		"client.options.driver.raw_exec.enable": {"1", "0"},
		"telemetry.publish_allocation_metrics":  {true, false},
		"vault.address":                         {"https://vault", "x"},
		"consul.address":                        {"127.0.0.1:8500", "x"},
		"server.raft_multiplier":                {nil, nil},
		"server.nothing":                        {nil, nil},
		"server":                                {nil, nil},
		"region.nothing":                        {nil, nil},
	}
	for key, test := range tests {
		t.Run(key, func(t *testing.T) {
			path, err := agentconfig.ParsePath(key)
			if err != nil {
				t.Fatal(err)
			}
			got, found, err := Effective(t.Context(), client, path)
			if err != nil || found != (test.want != nil) {
				t.Fatalf("%v, %v, %v", got, found, err)
			}
			if !found {
				return
			}
			want, _ := agentconfig.ValueOf(test.want)
			not, _ := agentconfig.ValueOf(test.not)
			if !SameSetting(got, want) || SameSetting(got, not) {
				t.Errorf("it is %v", got)
			}
		})
	}
}
