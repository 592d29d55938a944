// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/internal/testrelease"
)

// releaseServer has a tree, and counts what it is asked for.
type releaseServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func serveReleases(t *testing.T, tree testrelease.Tree) *releaseServer {
	t.Helper()
	s := &releaseServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.Path)
		s.mu.Unlock()
		if content, ok := tree[strings.TrimPrefix(r.URL.Path, "/")]; ok {
			_, _ = w.Write(content)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *releaseServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func releaseKey(t *testing.T) (key *testrelease.Key, file string) {
	t.Helper()
	key = testrelease.NewKey(t, time.Now().Add(-time.Hour), 24*time.Hour)
	file = filepath.Join(t.TempDir(), "release.asc")
	if err := os.WriteFile(file, key.Public(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return key, file
}

// One host has another architecture; its binary is a stand-in, since none of the hosts here could run it.
func TestTwoArchitecturesInOneRun(t *testing.T) {
	key, file := releaseKey(t)
	tree := testrelease.NewTree(t, key, "1.11.0", "amd64", "arm64")
	for name, source := range map[string]func(c *fakeCluster, args map[string]any) *releaseServer{
		"a mirror": func(_ *fakeCluster, args map[string]any) *releaseServer {
			s := serveReleases(t, tree)
			args["mirror"] = s.URL
			return s
		},
		"the run's releases": func(c *fakeCluster, _ map[string]any) *releaseServer {
			s := serveReleases(t, tree)
			c.run.Releases = s.URL
			return s
		},
		"a directory": func(_ *fakeCluster, args map[string]any) *releaseServer {
			dir := t.TempDir()
			for path, content := range tree {
				if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args["binary_dir"] = dir
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, 3, 1)
			c.agent("s2").arch, c.agent("c1").arch = "aarch64", "aarch64"
			c.factsOfAll()
			args := map[string]any{"version": "1.11.0", "release_key": file}
			s := source(c, args)
			c.must("s1", "nomad_preflight", args)
			var planned int
			if s != nil {
				planned = len(s.requests())
			}
			for host, architecture := range map[string]string{"s1": "amd64", "s2": "arm64", "s3": "amd64", "c1": "arm64"} {
				c.must(host, "nomad_stage", args)
				var staged stagedFact
				want := fmt.Sprintf("%x", sha256.Sum256(testrelease.Program(t, architecture, "1.11.0")))
				if !newCluster(&Call{Fleet: c}).readFact(host, factStaged, &staged) || staged.SHA256 != want {
					t.Errorf("%s was sent %s, not the binary for %s", host, staged.SHA256, architecture)
				}
			}
			if s != nil && (planned != 6 || len(s.requests()) != planned) {
				t.Errorf("the plan made %d requests, then the hosts %q", planned, s.requests()[planned:])
			}
		})
	}
}

// Whatever is wrong with a release is in the plan, and no host has heard of it.
func TestAReleaseIsRefusedBeforeAnyHostIsTouched(t *testing.T) {
	key, file := releaseKey(t)
	for name, test := range map[string]struct {
		tree testrelease.Tree
		want string
	}{
		"missing architecture": {testrelease.NewTree(t, key, "1.11.0", "amd64"), "does not list nomad_1.11.0_linux_arm64.zip: of Nomad 1.11.0 for Linux it has amd64"},
		"another version": {
			testrelease.TreeOf(t, key, "1.11.0", map[string][]byte{"amd64": testrelease.Program(t, "amd64", "1.10.5"), "arm64": testrelease.Program(t, "arm64", "")}),
			"the binary is Nomad 1.10.5",
		},
		"signed by somebody else": {testrelease.NewTree(t, testrelease.NewKey(t, time.Now().Add(-time.Hour), 0), "1.11.0", "amd64", "arm64"), "was signed by the key"},
		"no such release":         {testrelease.Tree{}, "404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, 3, 0)
			c.agent("s2").arch = "aarch64"
			c.factsOfAll()
			c.run.Releases = serveReleases(t, test.tree).URL
			_, err := c.do(t.Context(), "s1", "nomad_preflight", map[string]any{"version": "1.11.0", "release_key": file})
			var refused interface{ Refused() bool }
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("want a refusal with %q, got %v", test.want, err)
			}
			for _, a := range c.agents {
				if a.received > 0 {
					t.Errorf("%s was touched: %v", a.name, a.log)
				}
			}
		})
	}
}

func TestSourcesExcludeOneAnother(t *testing.T) {
	all := map[string]any{"binary": "a", "directory": "b", "mirror": "http://c/"}
	for _, name := range []string{"nomad_preflight", "nomad_stage"} {
		for left := range all {
			two := maps.Clone(all)
			delete(two, left)
			two["version"] = "1.11.0"
			if _, err := Among(nomadTable(), name).Decode(two); err == nil {
				t.Errorf("%s takes %v", name, two)
			}
		}
	}
}
