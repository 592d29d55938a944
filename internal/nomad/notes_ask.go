// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/agentconfig"
)

const (
	// maximumJobs is how many jobs, and how many ACL policies, are looked at; jobsAtOnce of them together.
	maximumJobs = 2000
	jobsAtOnce  = 8
	// jobsTimeout bounds the time for all of them.
	jobsTimeout = 2 * time.Minute
)

// AskNotes asks a server for what the notes of versions up to the target need to know of the cluster and its jobs, and for
// nothing else. What cannot be asked is said in Unread.
func AskNotes(ctx context.Context, client *api.Client, survey *Survey, target Version) ClusterNotes {
	ctx, cancel := context.WithTimeout(ctx, jobsTimeout)
	defer cancel()
	asked := ClusterNotes{}
	var from Version
	for _, facts := range survey.Hosts {
		if facts.VersionRunning.Known() && (!from.Known() || facts.VersionRunning.Compare(from) < 0) {
			from = facts.VersionRunning
		}
	}
	crossed := func(is func(*note) bool) bool {
		return slices.ContainsFunc(versionNotes(), func(n note) bool { return is(&n) && n.crossed(from, target) })
	}
	if crossed(func(n *note) bool { return n.job != nil || n.id == "kill-timeout-1.3.2" }) {
		asked.askJobs(ctx, client)
	}
	if survey.acl() && crossed(func(n *note) bool { return n.id == "acl-namespace-1.5.7" }) {
		asked.askPolicies(ctx, client)
	}
	// The check exists from 1.7.3 on.
	if survey.answeredBy("1.7.3") && crossed(func(n *note) bool { return n.id == "vault-tokens-1.10" }) {
		asked.askVault(ctx, client)
	}
	return asked
}

func (s *Survey) acl() bool {
	return slices.ContainsFunc(s.Hosts, func(f HostFacts) bool { return f.Server && f.ACL })
}

// answeredBy tells whether every server that answers is of a release or later.
func (s *Survey) answeredBy(release string) bool {
	return !slices.ContainsFunc(s.Hosts, func(f HostFacts) bool { return f.Server && f.Answers && !f.VersionRunning.AtLeast(release) })
}

func (c *ClusterNotes) unread(format string, args ...any) {
	c.Unread = append(c.Unread, fmt.Sprintf(format, args...))
}

// askJobs looks at the jobs of all namespaces, except those that are dead and those that a periodic or parameterized job has made.
func (c *ClusterNotes) askJobs(ctx context.Context, client *api.Client) {
	var list []struct{ ID, Namespace, ParentID, Status string }
	if err := get(ctx, client, "/v1/jobs?namespace=*", &list); err != nil {
		c.unread("the jobs, which could not be listed: %v", err)
		return
	}
	var paths []string
	for _, job := range list {
		if job.ParentID == "" && job.Status != "dead" {
			paths = append(paths, "/v1/job/"+url.PathEscape(job.ID)+"?namespace="+url.QueryEscape(job.Namespace))
		}
	}
	eachOf(ctx, c, client, "jobs", paths, c.Add)
}

// askPolicies looks for ACL policies with a namespace that has no name.
func (c *ClusterNotes) askPolicies(ctx context.Context, client *api.Client) {
	var list []struct{ Name string }
	if err := get(ctx, client, "/v1/acl/policies", &list); err != nil {
		c.unread("the ACL policies, which could not be listed: %v", err)
		return
	}
	var paths []string
	for _, policy := range list {
		paths = append(paths, "/v1/acl/policy/"+url.PathEscape(policy.Name))
	}
	eachOf(ctx, c, client, "ACL policies", paths, func(policy *aclPolicy) {
		switch nameless, err := policy.nameless(); {
		case err != nil:
			c.unread("the ACL policy %s, whose rules cannot be parsed", policy.Name)
		case nameless:
			c.Policies = append(c.Policies, policy.Name)
		}
	})
	slices.Sort(c.Policies)
}

type aclPolicy struct{ Name, Rules string }

// nameless tells whether a policy has a namespace without a name: one that has an attribute, or its variables, right inside. Policies are
// in the language of configuration files.
func (p *aclPolicy) nameless() (bool, error) {
	rules, err := agentconfig.Parse([]byte(p.Rules))
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(rules.Entries(), func(e agentconfig.Entry) bool {
		inside := len(e.Path) == 2 && strings.EqualFold(e.Path[0], "namespace")
		return inside && (e.Value.Kind != agentconfig.Block || e.Path[1] == "variables")
	}), nil
}

// askVault runs Nomad's own check of Vault's workload identities.
func (c *ClusterNotes) askVault(ctx context.Context, client *api.Client) {
	var answer struct{ OutdatedNodes, VaultTokens []struct{} }
	if err := get(ctx, client, "/v1/operator/upgrade-check/vault-workload-identity", &answer); err != nil {
		c.unread("Nomad's own check of Vault's workload identities, which could not be run: %v", err)
		return
	}
	c.OldVaultNodes, c.VaultTokens = len(answer.OutdatedNodes), len(answer.VaultTokens)
}

// eachOf asks for some things at a time and calls do with each, one at a time.
func eachOf[T any](ctx context.Context, c *ClusterNotes, client *api.Client, what string, paths []string, do func(*T)) {
	if len(paths) > maximumJobs {
		c.unread("%d of %d %s, since only %d are looked at", len(paths)-maximumJobs, len(paths), what, maximumJobs)
		paths = paths[:maximumJobs]
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var failed int
	var reason error
	slots := make(chan struct{}, jobsAtOnce)
	for _, path := range paths {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			var one T
			err := get(ctx, client, path, &one)
			mu.Lock()
			defer mu.Unlock()
			if code, _ := statusCode(err); code == 404 {
				return // it has gone since the list was made
			}
			if err != nil {
				failed, reason = failed+1, err
				return
			}
			do(&one)
		})
	}
	group.Wait()
	if failed > 0 {
		c.unread("%d of %d %s, which could not be read: %v", failed, len(paths), what, reason)
	}
}
