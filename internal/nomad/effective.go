// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/agentconfig"
)

// Effective asks a running agent which value a key of its configuration has (/v1/agent/self, 1.2.6 to 2.0). server.raft_protocol is the
// protocol in force, also where nothing sets it. found is false for a key that the agent does not show.
func Effective(ctx context.Context, client *api.Client, key agentconfig.Path) (value agentconfig.Value, found bool, err error) {
	var answer struct {
		Config map[string]any
		Stats  map[string]map[string]any
	}
	if err := get(ctx, client, "/v1/agent/self", &answer); err != nil {
		return value, false, err
	}
	if key.Equal(agentconfig.Path{"server", "raft_protocol"}) {
		if protocol, ok := answer.Stats["raft"]["protocol_version"]; ok {
			return agentconfig.Value{Kind: agentconfig.Number, Text: fmt.Sprint(protocol)}, true, nil
		}
	}
	var at any = answer.Config
	for i := range key {
		fields, ok := inner(at)
		if !ok {
			return value, false, nil
		}
		if at, ok = field(fields, key[:i+1]); !ok {
			return value, false, nil
		}
	}
	if at == nil {
		return value, false, nil
	}
	if value, err = agentconfig.ValueOf(at); err != nil {
		return value, false, nil //nolint:nilerr // a block has no value
	}
	return value, true, nil
}

// inner is an object, or the default one of a list: Vaults and Consuls.
func inner(value any) (map[string]any, bool) {
	list, ok := value.([]any)
	if !ok {
		fields, ok := value.(map[string]any)
		return fields, ok
	}
	for _, element := range list {
		if fields, ok := element.(map[string]any); ok && (fields["Name"] == "default" || len(list) == 1) {
			return fields, true
		}
	}
	return nil, false
}

// field finds the last name of a key among the fields of Nomad's structures, which leave out the underscores; some have other names.
func field(fields map[string]any, key agentconfig.Path) (any, bool) {
	name := key[len(key)-1]
	names := []string{strings.ReplaceAll(name, "_", "")}
	switch strings.ToLower(strings.Join(key, ".")) {
	case "name":
		names = []string{"NodeName"}
	case "leave_on_interrupt":
		names = []string{"LeaveOnInt"}
	case "leave_on_terminate":
		names = []string{"LeaveOnTerm"}
	case "advertise":
		names = []string{"AdvertiseAddrs"}
	case "tls":
		names = []string{"TLSConfig"}
	case "vault", "consul":
		names = []string{name, name + "s"}
	case "tls.http", "tls.rpc", "consul.ssl":
		names = []string{"Enable" + name}
	case "consul.address", "vault.address":
		names = []string{"Addr"}
	case "vault.create_from_role":
		names = []string{"Role"}
	case "server.retry_max", "server.server_join.retry_max", "client.server_join.retry_max":
		names = []string{"RetryMaxAttempts"}
	case "server.encrypt":
		names = []string{"EncryptKey"}
	case "client.template":
		names = []string{"TemplateConfig"}
	}
	for _, want := range names {
		for have, value := range fields {
			if strings.EqualFold(have, want) && (value != nil || len(names) == 1) {
				return value, true
			}
		}
	}
	// Keys of maps, such as client.meta, are the user's own.
	value, ok := fields[name]
	return value, ok
}

// SameSetting tells whether a running agent's value is the wanted one. Agents show durations in nanoseconds.
func SameSetting(shown, want agentconfig.Value) bool {
	if shown.Equal(want) {
		return true
	}
	if d, err := time.ParseDuration(want.Text); err == nil && want.Kind == agentconfig.String && shown.Kind == agentconfig.Number {
		return shown.Text == fmt.Sprint(d.Nanoseconds())
	}
	return false
}
