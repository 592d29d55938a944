// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"cmp"
	"context"
	"sync"
)

// occupied looks into the data directories that hosts without Nomad are going to have, and returns by host what lies in one. Where that directory
// is not known yet, or cannot be looked into, nomad_install finds out.
func (c *cluster) occupied(ctx context.Context, hosts []string) map[string]string {
	model, _ := c.facts(c.call.Args.String("from"))
	dataDir := cmp.Or(c.call.Args.String("data_dir"), model.DataDir)
	found := map[string]string{}
	if dataDir == "" {
		return found
	}
	var mu sync.Mutex
	c.each(hosts, func(name string) {
		facts, known := c.facts(name)
		if !known || facts.Role != "none" || facts.Running {
			return
		}
		host, err := c.host(ctx, name)
		if err != nil {
			return
		}
		in := &installation{cluster: &cluster{call: &Call{Host: host, Name: name}}}
		if content, err := in.contentOf(ctx, dataDir); err == nil && content != "" {
			mu.Lock()
			defer mu.Unlock()
			found[name] = content
		}
	})
	return found
}

// dataDirArg is the argument that occupied reads beside from.
func dataDirArg() Arg {
	return Arg{Name: "data_dir", Kind: String, Doc: "The data directory of the new ones, where it is not that of from."}
}
