// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/nomad"
	"drover/internal/wire"
)

// notedCluster is a fake cluster with configuration files, plugins, jobs and policies.
type notedCluster struct {
	*fakeCluster
	files   map[string]string // configuration by host
	plugins string            // what find prints
	answers map[string]any    // of the API, by path and query
	mu      sync.Mutex
	asked   []string
}

func newNotedCluster(t *testing.T, version string) *notedCluster {
	c := &notedCluster{fakeCluster: newFakeCluster(t, 3, 1), files: map[string]string{}, answers: map[string]any{"/v1/jobs?namespace=*": []any{}}}
	for _, a := range c.agents {
		a.version, a.disk = version, version
		c.files[a.name] = "data_dir = \"/opt/nomad\""
	}
	return c
}

// Host implements Fleet.
func (c *notedCluster) Host(_ context.Context, name string, _ bool) (Host, error) {
	return &notedHost{c.agent(name), c}, nil
}

type notedHost struct {
	*fakeAgent
	noted *notedCluster
}

// Receive implements Host.
func (h *notedHost) Receive(ctx context.Context, request wire.Request, reply any, into io.Writer) error {
	if read, ok := request.(wire.Read); ok && strings.HasSuffix(read.Path, ".hcl") && h.noted.files[h.name] != "" {
		_, err := io.WriteString(into, h.noted.files[h.name])
		return err
	}
	return h.fakeAgent.Receive(ctx, request, reply, into)
}

// Call implements Host.
func (h *notedHost) Call(ctx context.Context, request wire.Request, body io.Reader, reply any) error {
	switch q := request.(type) {
	case wire.Stat:
		if q.Path == "/opt/plugins" {
			*reply.(*wire.StatResult) = wire.StatResult{Exists: true, Type: "directory"}
			return nil
		}
		*reply.(*wire.StatResult) = wire.StatResult{}
		return nil
	case wire.Run:
		*reply.(*wire.RunResult) = wire.RunResult{Stdout: h.noted.plugins}
		return nil
	}
	return h.fakeAgent.Call(ctx, request, body, reply)
}

// Dial implements Host.
func (h *notedHost) Dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if namespace := r.URL.Query().Get("namespace"); namespace != "" {
			path += "?namespace=" + namespace
		}
		h.noted.mu.Lock()
		h.noted.asked = append(h.noted.asked, path)
		reply, ok := h.noted.answers[path]
		h.noted.mu.Unlock()
		switch status, failed := reply.(int); {
		case failed:
			http.Error(w, "no", status)
		case ok:
			answer(w, reply)
		default:
			h.ServeHTTP(w, r)
		}
	})
	go func() {
		_ = (&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}).Serve(&oneConn{conn: theirs})
	}()
	return ours, nil
}

// plan runs nomad_preflight, which looks at every host itself.
func (c *notedCluster) plan(t *testing.T, args map[string]any) (plan nomad.Plan, words string) {
	t.Helper()
	m := nomadPreflightModule()
	decoded, err := m.Decode(args)
	if err != nil {
		t.Fatal(err)
	}
	result, err := m.Run(t.Context(), &Call{Name: "s1", Args: decoded, Fleet: c, Become: true, Run: c.run, Say: func(string, ...any) {}})
	if result == nil {
		t.Fatal(err)
	}
	value, _ := result.Data.Get("plan")
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &plan); err != nil {
		t.Fatal(err)
	}
	return plan, nomad.Words(plan.Problems) + "\n" + nomad.Words(plan.Warnings)
}

func (c *notedCluster) job(id, rest string) {
	var job map[string]any
	if err := json.Unmarshal([]byte(fmt.Sprintf(`{"ID":%q,"Namespace":"apps",%s}`, id, rest)), &job); err != nil {
		panic(err)
	}
	list, _ := c.answers["/v1/jobs?namespace=*"].([]any)
	c.answers["/v1/jobs?namespace=*"] = append(list, map[string]any{"ID": id, "Namespace": "apps", "Status": "running"})
	c.answers["/v1/job/"+url.PathEscape(id)+"?namespace=apps"] = job
}

func TestNotesOfACluster(t *testing.T) {
	c := newNotedCluster(t, "1.9.7")
	c.files["s1"] = "data_dir = \"/opt/nomad\"\nserver { enabled = true }\nvault {\n  token = \"s.hidden\"\n}\n"
	c.files["s2"] = "data_dir = \"/opt/nomad\"\nserver { enabled = true\n"
	c.files["c1"] = "data_dir = \"/opt/nomad\"\nplugin_dir = \"/opt/plugins\"\nplugin \"docker\" { }\nclient { enabled = true }\n"
	c.plugins = "/opt/plugins/nomad-driver-podman\n/opt/plugins/docker\n"
	c.job("web/a b", `"TaskGroups":[{"Name":"g","Tasks":[{"Name":"t","Vault":{"Policies":["x"]},"Identities":[{"Name":"vault_default"}]}]}]`)
	c.job("quiet", `"TaskGroups":[{"Name":"g","Tasks":[{"Name":"t"}]}]`)
	c.answers["/v1/jobs?namespace=*"] = append(c.answers["/v1/jobs?namespace=*"].([]any),
		map[string]any{"ID": "gone", "Namespace": "apps", "Status": "running"}, map[string]any{"ID": "dead", "Namespace": "apps", "Status": "dead"},
		map[string]any{"ID": "child", "Namespace": "apps", "Status": "running", "ParentID": "quiet"}, map[string]any{"ID": "ill", "Namespace": "apps", "Status": "running"})
	c.answers["/v1/job/gone?namespace=apps"], c.answers["/v1/job/ill?namespace=apps"] = 404, 500
	c.answers["/v1/operator/upgrade-check/vault-workload-identity"] = map[string]any{"VaultTokens": []any{map[string]any{}, map[string]any{}}}
	plan, words := c.plan(t, map[string]any{"version": "1.10.5"})
	for _, want := range []string{
		"s1: /etc/nomad.d/nomad.hcl:4 sets vault.token, and Nomad 1.10 and later ignore it",
		"s2: /etc/nomad.d/nomad.hcl:3 cannot be read as configuration",
		`c1: nomad-driver-podman in /opt/plugins has no block plugin "nomad-driver-podman" { }`,
		"there is 1 job with policies in a vault block", "apps/web/a b (task t)",
		"Nomad's own check counts 2 Vault tokens",
		"1 of 4 jobs, which could not be read",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, strings.ReplaceAll(words, "; ", "\n"))
		}
	}
	text, err := json.Marshal(plan)
	if err != nil || strings.Contains(string(text), "s.hidden") {
		t.Errorf("%v, the plan holds a secret: %s", err, text)
	}
	for _, path := range c.asked {
		if strings.Contains(path, "dead") || strings.Contains(path, "child") || strings.Contains(path, "policies") {
			t.Errorf("asked %s", path)
		}
	}
	plan, _ = c.plan(t, map[string]any{"version": "1.10.5", "accept_notes": []any{"vault-token-1.10", "vault-policies-1.10", "vault-tokens-1.10", "plugin-block-1.10"}})
	for _, problem := range plan.Problems {
		if strings.Contains(problem.Remedy, "--accept-note") {
			t.Errorf("it was accepted: %s", problem)
		}
	}
	if len(plan.Accepted) < 4 {
		t.Errorf("accepted %v", plan.Accepted)
	}
}

func TestNotesOfPolicies(t *testing.T) {
	c := newNotedCluster(t, "1.5.6")
	c.answers["/v1/acl/policies"] = []any{map[string]any{"Name": "dev"}, map[string]any{"Name": "ops"}, map[string]any{"Name": "bad"}}
	c.answers["/v1/acl/policy/dev"] = map[string]any{"Name": "dev", "Rules": "namespace {\n policy = \"read\"\n}\n"}
	c.answers["/v1/acl/policy/ops"] = map[string]any{"Name": "ops", "Rules": "namespace \"default\" {\n policy = \"read\"\n}\nagent { policy = \"read\" }"}
	c.answers["/v1/acl/policy/bad"] = map[string]any{"Name": "bad", "Rules": "namespace \"default\" {"}
	_, words := c.plan(t, map[string]any{"version": "1.5.7"})
	if !strings.Contains(words, "ACL policies have a namespace block without a name (dev), and") || !strings.Contains(words, "the ACL policy bad, whose rules cannot be parsed") {
		t.Error(words)
	}
}

// TestNotesAskOnlyWhatTheyNeed has no boundary with a note to cross.
func TestNotesAskOnlyWhatTheyNeed(t *testing.T) {
	c := newNotedCluster(t, "1.10.5")
	c.job("web", `"TaskGroups":[]`)
	if _, words := c.plan(t, map[string]any{"version": "1.10.6"}); strings.Contains(words, "notes") {
		t.Error(words)
	}
	if slices.ContainsFunc(c.asked, func(path string) bool { return strings.HasPrefix(path, "/v1/job") }) {
		t.Errorf("asked %v", c.asked)
	}
}

func TestNotesSayWhenTheyStop(t *testing.T) {
	c := newNotedCluster(t, "1.10.5")
	list := []any{}
	for i := range 2001 {
		list = append(list, map[string]any{"ID": fmt.Sprintf("j%d", i), "Namespace": "apps", "Status": "running"})
		c.answers[fmt.Sprintf("/v1/job/j%d?namespace=apps", i)] = map[string]any{"ID": "j", "Namespace": "apps"}
	}
	c.answers["/v1/jobs?namespace=*"] = list
	_, words := c.plan(t, map[string]any{"version": "1.11.3"})
	if !strings.Contains(words, "1 of 2001 jobs, since only 2000 are looked at") {
		t.Error(words)
	}
	c.answers["/v1/jobs?namespace=*"] = 403
	if _, words = c.plan(t, map[string]any{"version": "1.11.3"}); !strings.Contains(words, "the jobs, which could not be listed") {
		t.Error(words)
	}
}

func TestSettingsOfAHost(t *testing.T) {
	c := newNotedCluster(t, "1.10.5")
	c.files["c1"] = "plugin_dir = \"/opt/plugins\""
	c.plugins = "/opt/plugins/b\n/opt/plugins/a\nfind: noise\n"
	want := []nomad.Setting{
		{Key: "plugin_dir", Value: "/opt/plugins", File: "/etc/x.hcl", Line: 1},
		{Key: nomad.KeyPluginFile, Value: "a", File: "/opt/plugins"},
		{Key: nomad.KeyPluginFile, Value: "b", File: "/opt/plugins"},
	}
	if diff := cmp.Diff(want, settings(t.Context(), &notedHost{c.agent("c1"), c}, []string{"/etc/x.hcl"})); diff != "" {
		t.Error(diff)
	}
	want = []nomad.Setting{{Key: nomad.KeyUnread, File: "/etc/gone.json"}}
	if diff := cmp.Diff(want, settings(t.Context(), &notedHost{c.agent("c1"), c}, []string{"/etc/gone.json"})); diff != "" {
		t.Error(diff)
	}
}
