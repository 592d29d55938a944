// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"drover/internal/nomad"
)

// keysMissing says which new servers lack keys that a server before 1.9 has, which goes now. Up to 1.8 the keys of variables and workload identities are files in
// server/keystore that servers copy from each other after they have joined; when the last server with a key goes before that, what it has
// encrypted is lost. From 1.9 on the keys are in raft (Nomad's upgrade notes).
func (r *removal) keysMissing(ctx context.Context, leaving string) ([]nomad.Problem, error) {
	facts, _ := r.facts(leaving)
	if r.lost[leaving] || facts.DataDir == "" || !facts.VersionDisk.Known() || facts.VersionDisk.AtLeast("1.9.0") {
		return nil, nil
	}
	keys, err := r.keys(ctx, leaving, facts.DataDir)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	var problems []nomad.Problem
	for _, name := range r.new {
		joined, _ := r.facts(name)
		if !joined.Server || joined.DataDir == "" {
			continue
		}
		has, err := r.keys(ctx, name, joined.DataDir)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if !slices.Contains(has, key) {
				problems = append(problems, nomad.Problem{Host: name, Text: fmt.Sprintf("its keystore lacks the key %.8s of %s", key, leaving)})
			}
		}
	}
	return problems, nil
}

// keys are the ids of the keys in a server's keystore: ID.nks.json up to 1.7, ID.PROVIDER.nks.json later.
func (r *removal) keys(ctx context.Context, name, dataDir string) ([]string, error) {
	host, err := r.host(ctx, name)
	if err != nil {
		return nil, err
	}
	call := *r.call
	call.Host, call.Name = host, name
	in := &installation{cluster: &cluster{call: &call}}
	found, err := in.list(ctx, dataDir+"/server/keystore", "-type", "f", "-name", "*.nks.json")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, file := range found {
		id, _, _ := strings.Cut(path.Base(file), ".")
		ids = append(ids, id)
	}
	return ids, nil
}
