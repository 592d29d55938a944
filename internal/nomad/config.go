// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strconv"
	"strings"

	"drover/internal/agentconfig"
)

// ConfigText is the part of an agent's configuration files that is needed while the agent itself does not answer. The
// running agent's own answer is always better: values may be templates, and flags may override them.
type ConfigText struct {
	Region     string
	Datacenter string
	Name       string
	DataDir    string
	Server     bool
	Client     bool
	Leave      LeaveFlags
	RetryJoin  bool
	TLS        bool // HTTPS API
	// LicensePath is where an Enterprise server reads its licence; "" where the environment says it.
	LicensePath string
}

// Merge reads one configuration file (HCL1 or JSON, as Nomad reads it) over what earlier files set. Later non-zero
// values win, blocks merge key by key.
func (c *ConfigText) Merge(text []byte) error {
	file, err := agentconfig.Parse(text)
	if err != nil {
		return fmt.Errorf("parse configuration: %w", err)
	}
	for key, into := range map[string]*string{"region": &c.Region, "datacenter": &c.Datacenter, "name": &c.Name, "data_dir": &c.DataDir, "server.license_path": &c.LicensePath} {
		if entry, ok := file.Last(strings.Split(key, ".")); ok && entry.Value.Text != "" {
			*into = entry.Value.Text
		}
	}
	for key, into := range map[string]*bool{
		"leave_on_interrupt": &c.Leave.OnInterrupt, "leave_on_terminate": &c.Leave.OnTerminate,
		"server.enabled": &c.Server, "client.enabled": &c.Client, "tls.http": &c.TLS,
	} {
		if entry, ok := file.Last(strings.Split(key, ".")); ok {
			on, err := strconv.ParseBool(entry.Value.Text)
			*into = *into || err == nil && on
		}
	}
	for _, path := range []agentconfig.Path{{"server", "retry_join"}, {"server", "server_join", "retry_join"}} {
		for _, entry := range file.All(path) {
			c.RetryJoin = c.RetryJoin || len(entry.Value.List) > 0
		}
	}
	return nil
}
