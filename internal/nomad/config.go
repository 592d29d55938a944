// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl"
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
}

// Merge reads one configuration file (HCL1 or JSON, as Nomad reads it) over what earlier files set. Later non-zero
// values win, blocks merge key by key.
func (c *ConfigText) Merge(text []byte) (err error) {
	// The decoder panics on numbers that do not fit.
	defer func() {
		if problem := recover(); problem != nil {
			err = errors.New("decode configuration: it holds a value that no agent takes")
		}
	}()
	tree, err := parseConfig(text)
	if err != nil {
		return fmt.Errorf("parse configuration: %w", err)
	}
	var root map[string]any
	if err := hcl.DecodeObject(&root, tree); err != nil {
		return fmt.Errorf("parse configuration: %w", err)
	}
	setText(&c.Region, root["region"])
	setText(&c.Datacenter, root["datacenter"])
	setText(&c.Name, root["name"])
	setText(&c.DataDir, root["data_dir"])
	setTrue(&c.Leave.OnInterrupt, root["leave_on_interrupt"])
	setTrue(&c.Leave.OnTerminate, root["leave_on_terminate"])
	for _, server := range blocks(root["server"]) {
		setTrue(&c.Server, server["enabled"])
		c.RetryJoin = c.RetryJoin || filled(server["retry_join"])
		for _, join := range blocks(server["server_join"]) {
			c.RetryJoin = c.RetryJoin || filled(join["retry_join"])
		}
	}
	for _, client := range blocks(root["client"]) {
		setTrue(&c.Client, client["enabled"])
	}
	for _, tls := range blocks(root["tls"]) {
		setTrue(&c.TLS, tls["http"])
	}
	return nil
}

func blocks(value any) []map[string]any {
	switch v := value.(type) {
	case []map[string]any:
		return v
	case map[string]any:
		return []map[string]any{v}
	case []any:
		var all []map[string]any
		for _, item := range v {
			all = append(all, blocks(item)...)
		}
		return all
	}
	return nil
}

func filled(value any) bool {
	list, ok := value.([]any)
	return ok && len(list) > 0
}

func setText(into *string, value any) {
	if text, ok := value.(string); ok && text != "" {
		*into = text
	}
}

func setTrue(into *bool, value any) {
	switch v := value.(type) {
	case bool:
		*into = *into || v
	case string:
		on, err := strconv.ParseBool(v)
		*into = *into || (err == nil && on)
	}
}
