// SPDX-License-Identifier: MPL-2.0

package release

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drover/internal/testrelease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server has a tree of releases and notes what it is asked for.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	tree  testrelease.Tree
	asked []string
	// instead answers for a path in place of the tree.
	instead map[string]http.HandlerFunc
}

func serve(t *testing.T, tree testrelease.Tree) *server {
	t.Helper()
	s := &server{tree: tree, instead: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.RequestURI)
	name := strings.TrimPrefix(r.URL.Path, "/")
	if answer, ok := s.instead[name]; ok {
		answer(w, r)
		return
	}
	content, ok := s.tree[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(content)
}

// requests are the paths that were asked for since the last call.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

const (
	sumsPath = "nomad/1.11.0/nomad_1.11.0_SHA256SUMS"
	zipPath  = "nomad/1.11.0/nomad_1.11.0_linux_amd64.zip"
)

var (
	today     = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	lastYear  = today.AddDate(-1, 0, 0)
	threeYear = 3 * 365 * 24 * time.Hour
)

// rig is a cache that knows a test's key.
type rig struct {
	t     *testing.T
	cache Cache
	key   *testrelease.Key
	file  string // of the public key
	said  []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, key: testrelease.NewKey(t, lastYear, threeYear), file: filepath.Join(dir, "release.asc")}
	write(t, r.file, r.key.Public(t))
	r.cache = Cache{Directory: filepath.Join(dir, "cache"), Now: func() time.Time { return today }, Say: func(text string) { r.said = append(r.said, text) }}
	return r
}

func (r *rig) wanted(mirror string) Wanted {
	return Wanted{Version: "1.11.0", Architecture: "amd64", Mirror: mirror, Key: r.file}
}

// nothingCounts fails where something is in the cache that a later run would take for the release.
func (r *rig) nothingCounts() {
	r.t.Helper()
	for _, pattern := range []string{"*.verified", "*.zip", ".new-*", ".version-*"} {
		if left, err := filepath.Glob(filepath.Join(r.cache.Directory, pattern)); err != nil || len(left) > 0 {
			r.t.Errorf("left in the cache: %v, %v", left, err)
		}
	}
}

func TestFetchOnceForTwoArchitectures(t *testing.T) {
	r := newRig(t)
	s := serve(t, testrelease.NewTree(t, r.key, "1.11.0", "amd64", "arm64"))
	for _, architecture := range []string{"amd64", "arm64"} {
		w := r.wanted(s.URL)
		w.Architecture = architecture
		want := testrelease.Program(t, architecture, "1.11.0")
		first, err := r.cache.Prepare(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if first.SHA256 != digest(want) || first.SignedBy != r.key.Fingerprint() || first.Size != int64(len(want)) {
			t.Errorf("%s: %+v", architecture, first)
		}
		if content, err := os.ReadFile(first.Path); err != nil || !bytes.Equal(content, want) {
			t.Errorf("%s: %d bytes, %v", architecture, len(content), err)
		}
		wantAsked := []string{"/" + sumsPath, "/" + sumsPath + ".sig", "/nomad/1.11.0/nomad_1.11.0_linux_" + architecture + ".zip"}
		if asked := s.requests(); !slices.Equal(asked, wantAsked) {
			t.Errorf("asked for %q", asked)
		}
		for _, mirror := range []string{s.URL, "http://127.0.0.1:1", ""} {
			w.Mirror = mirror
			again, err := r.cache.Prepare(t.Context(), w)
			if err != nil || again.SHA256 != first.SHA256 || again.SignedBy != first.SignedBy || !strings.Contains(again.Source, "verified on 2026-05-01") {
				t.Errorf("from the cache: %+v, %v", again, err)
			}
		}
		if asked := s.requests(); len(asked) > 0 {
			t.Errorf("asked again for %q", asked)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(r.cache.Directory, "*.zip")); len(left) > 0 {
		t.Errorf("the zips were kept: %v", left)
	}
}

func TestADamagedCacheIsFetchedAgain(t *testing.T) {
	r := newRig(t)
	s := serve(t, testrelease.NewTree(t, r.key, "1.11.0", "amd64"))
	first, err := r.cache.Prepare(t.Context(), r.wanted(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(first.Path, 200); err != nil {
		t.Fatal(err)
	}
	s.requests()
	again, err := r.cache.Prepare(t.Context(), r.wanted(s.URL))
	if err != nil || again.SHA256 != first.SHA256 || len(s.requests()) != 3 {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestACachedReleaseCountsForItsKeyOnly(t *testing.T) {
	r := newRig(t)
	s := serve(t, testrelease.NewTree(t, r.key, "1.11.0", "amd64"))
	if _, err := r.cache.Prepare(t.Context(), r.wanted(s.URL)); err != nil {
		t.Fatal(err)
	}
	w := r.wanted("")
	w.Key = ""
	if _, err := r.cache.Prepare(t.Context(), w); err == nil || !strings.Contains(err.Error(), "nothing says where to fetch it") {
		t.Errorf("what a test's key signed was taken for HashiCorp's: %v", err)
	}
}

func TestEditionsKeepTheirPlus(t *testing.T) {
	r := newRig(t)
	s := serve(t, testrelease.NewTree(t, r.key, "1.11.0+ent", "amd64"))
	w := r.wanted(s.URL)
	w.Version = "1.11.0+ent"
	if _, err := r.cache.Prepare(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if asked := s.requests(); asked[2] != "/nomad/1.11.0%2Bent/nomad_1.11.0%2Bent_linux_amd64.zip" {
		t.Errorf("asked for %q", asked)
	}
}

func TestMirrorBehindAPasswordAndAPath(t *testing.T) {
	r := newRig(t)
	tree := testrelease.NewTree(t, r.key, "1.11.0", "amd64")
	s := httptest.NewServer(http.StripPrefix("/mirror/of", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		content, ok := tree[strings.TrimPrefix(q.URL.Path, "/")]
		switch user, password, _ := q.BasicAuth(); {
		case user != "me" || password != "hunter2":
			w.WriteHeader(http.StatusUnauthorized)
		case !ok:
			http.NotFound(w, q)
		default:
			_, _ = w.Write(content)
		}
	})))
	defer s.Close()
	at := strings.TrimPrefix(s.URL, "http://") + "/mirror/of/"
	binary, err := r.cache.Prepare(t.Context(), r.wanted("http://me:hunter2@"+at))
	if err != nil {
		t.Fatal(err)
	}
	_, refused := r.cache.Prepare(t.Context(), Wanted{Version: "1.10.0", Architecture: "amd64", Mirror: "http://me:hunter3@" + at, Key: r.file})
	if refused == nil || !strings.Contains(refused.Error(), `the server answers "401 Unauthorized"`) {
		t.Errorf("error %v", refused)
	}
	_, unreachable := r.cache.Prepare(t.Context(), Wanted{Version: "1.10.0", Architecture: "amd64", Mirror: "http://me:hunter2@127.0.0.1:1/", Key: r.file})
	_, odd := r.cache.Prepare(t.Context(), Wanted{Version: "1.10.0", Architecture: "amd64", Mirror: "http://me:hunter2@h:x/", Key: r.file})
	told := fmt.Sprint(binary, refused, unreachable, odd, r.said)
	entries, err := os.ReadDir(r.cache.Directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(r.cache.Directory, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		told += string(content)
	}
	if strings.Contains(told, "hunter") {
		t.Errorf("the password shows in %s", told)
	}
}

func TestRedirects(t *testing.T) {
	r := newRig(t)
	there := serve(t, testrelease.NewTree(t, r.key, "1.11.0", "amd64"))
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, there.URL+q.URL.Path+"?token=hunter2", http.StatusFound)
	}))
	defer here.Close()
	w := r.wanted(here.URL)
	if _, err := r.cache.Prepare(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	w.Version = "1.12.0"
	_, err := r.cache.Prepare(t.Context(), w)
	if err == nil || !strings.Contains(err.Error(), "redirected to "+there.URL+"/nomad/1.12.0/") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
	there.Close()
	if _, err := r.cache.Prepare(t.Context(), w); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestProxy(t *testing.T) {
	r := newRig(t)
	s := serve(t, testrelease.NewTree(t, r.key, "1.11.0", "amd64"))
	r.cache.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(s.URL) }
	if _, err := r.cache.Prepare(t.Context(), r.wanted("http://releases.invalid/")); err != nil {
		t.Fatal(err)
	}
	if asked := s.requests(); asked[0] != "http://releases.invalid/"+sumsPath {
		t.Errorf("asked for %q", asked)
	}
}

func TestASecondSignatureIsTried(t *testing.T) {
	r := newRig(t)
	old := testrelease.NewKey(t, lastYear, threeYear)
	for name, first := range map[string][]byte{"signed by an older key": {}, "not there": nil} {
		t.Run(name, func(t *testing.T) {
			tree := testrelease.NewTree(t, r.key, "1.11.0", "amd64")
			tree[sumsPath+"."+r.key.ShortID()+".sig"] = r.key.SignArmored(t, tree[sumsPath])
			tree[sumsPath+".sig"] = old.Sign(t, tree[sumsPath])
			if first == nil {
				delete(tree, sumsPath+".sig")
			}
			r.cache.Directory = t.TempDir()
			if _, err := r.cache.Prepare(t.Context(), r.wanted(serve(t, tree).URL)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFetchRefuses(t *testing.T) {
	other := testrelease.NewKey(t, lastYear, threeYear)
	for name, test := range map[string]struct {
		spoil func(r *rig, s *server)
		want  []string
	}{
		"wrong hash": {
			func(r *rig, s *server) {
				s.tree[zipPath] = testrelease.Zip(t, "nomad", testrelease.Program(t, "amd64", "1.11.0-evil"))
			},
			[]string{"nomad_1.11.0_linux_amd64.zip has SHA-256 ", "the signed nomad_1.11.0_SHA256SUMS says", "nothing of it was kept"},
		},
		"list changed after it was signed": {
			func(r *rig, s *server) {
				s.tree[zipPath] = testrelease.Zip(t, "nomad", testrelease.Program(t, "amd64", "1.11.0-evil"))
				s.tree[sumsPath] = testrelease.Sums(map[string][]byte{"nomad_1.11.0_linux_amd64.zip": s.tree[zipPath]})
			},
			[]string{"nomad_1.11.0_SHA256SUMS.sig does not fit", "changed or damaged"},
		},
		"signed by another key": {
			func(r *rig, s *server) { s.tree[sumsPath+".sig"] = other.Sign(t, s.tree[sumsPath]) },
			[]string{"was signed by the key ", "only the key ", "--release-key FILE"},
		},
		"no signature": {
			func(r *rig, s *server) { delete(s.tree, sumsPath+".sig") },
			[]string{"has no nomad_1.11.0_SHA256SUMS.sig, so nobody vouches"},
		},
		"a page instead of a signature": {
			func(r *rig, s *server) { s.tree[sumsPath+".sig"] = []byte("<html>please log in</html>") },
			[]string{"nomad_1.11.0_SHA256SUMS.sig is not an OpenPGP signature"},
		},
		"expired key": {
			func(r *rig, s *server) { r.cache.Now = func() time.Time { return lastYear.Add(threeYear + time.Hour) } },
			[]string{"was signed by the key ", "which expired on 2028-04-30 (today is 2028-04-30)", "name a newer public key with --release-key FILE"},
		},
		"revoked key": {
			func(r *rig, s *server) { r.key.Revoke(t); write(t, r.file, r.key.Public(t)) },
			[]string{"which its owner has revoked"},
		},
		"a private key is named": {
			func(r *rig, s *server) { write(t, r.file, r.key.Private(t)) },
			[]string{"is a private key"},
		},
		"no key is in the file": {
			func(r *rig, s *server) { write(t, r.file, []byte("ssh-ed25519 AAAA")) },
			[]string{"is not an OpenPGP public key"},
		},
		"missing architecture": {
			func(r *rig, s *server) { s.tree = testrelease.NewTree(t, r.key, "1.11.0", "arm64") },
			[]string{"does not list nomad_1.11.0_linux_amd64.zip: of Nomad 1.11.0 for Linux it has arm64"},
		},
		"missing SHA256SUMS": {
			func(r *rig, s *server) { delete(s.tree, sumsPath) },
			[]string{`nomad_1.11.0_SHA256SUMS: the server answers "404 Not Found"`, "whether there is such a version", "BASE/nomad/VERSION/"},
		},
		"missing zip": {
			func(r *rig, s *server) { delete(s.tree, zipPath) },
			[]string{`nomad_1.11.0_linux_amd64.zip: the server answers "404 Not Found"`},
		},
		"server in trouble": {
			func(r *rig, s *server) {
				s.instead[zipPath] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
			},
			[]string{`the server answers "502 Bad Gateway"`},
		},
		"cut-off download": {
			func(r *rig, s *server) {
				s.instead[zipPath] = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", fmt.Sprint(len(s.tree[zipPath])))
					_, _ = w.Write(s.tree[zipPath][:100])
				}
			},
			[]string{"cut off after 100 of ", "nothing of it was kept: run this again"},
		},
		"server falls silent": {
			func(r *rig, s *server) {
				s.instead[zipPath] = func(w http.ResponseWriter, q *http.Request) {
					w.Header().Set("Content-Length", fmt.Sprint(len(s.tree[zipPath])))
					_, _ = w.Write(s.tree[zipPath][:100])
					w.(http.Flusher).Flush()
					<-q.Context().Done()
				}
			},
			[]string{"not a byte came for 500ms, after 100 of ", "see whether the server is well"},
		},
		"server never answers": {
			func(r *rig, s *server) {
				s.instead[sumsPath] = func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }
			},
			[]string{"not a byte came for 500ms"},
		},
		"nobody listens": {
			func(r *rig, s *server) { s.Close() },
			[]string{"connection refused", "--binary-dir DIR"},
		},
		"oversized by its own word": {
			func(r *rig, s *server) {
				s.instead[zipPath] = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "2147483648") }
			},
			[]string{"it is larger than 1048576 bytes", "nothing of it was kept"},
		},
		"oversized without a word": {
			func(r *rig, s *server) {
				s.instead[zipPath] = func(w http.ResponseWriter, _ *http.Request) {
					for range 3 {
						_, _ = w.Write(make([]byte, 1<<20))
						w.(http.Flusher).Flush()
					}
				}
			},
			[]string{"it is larger than 1048576 bytes"},
		},
		"oversized list": {
			func(r *rig, s *server) { s.tree[sumsPath] = make([]byte, maximumSums+1) },
			[]string{"nomad_1.11.0_SHA256SUMS: it is larger than 1048576 bytes"},
		},
		"another version inside": {
			func(r *rig, s *server) {
				s.tree = testrelease.TreeOf(t, r.key, "1.11.0", map[string][]byte{"amd64": testrelease.Program(t, "amd64", "1.10.5")})
			},
			[]string{"the binary is Nomad 1.10.5 (it says so itself), and 1.11.0 is wanted"},
		},
		"another architecture inside": {
			func(r *rig, s *server) {
				s.tree = testrelease.TreeOf(t, r.key, "1.11.0", map[string][]byte{"amd64": testrelease.Program(t, "arm64", "1.11.0")})
			},
			[]string{"is a program for arm64, and the host is amd64"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.cache.limits = limits{idle: 500 * time.Millisecond, zip: 1 << 20}
			s := serve(t, testrelease.NewTree(t, r.key, "1.11.0", "amd64"))
			test.spoil(r, s)
			_, err := r.cache.Prepare(t.Context(), r.wanted(s.URL))
			if err == nil {
				t.Fatal("it was accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v\nwant %q", err, want)
				}
			}
			r.nothingCounts()
		})
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	r := newRig(t)
	s := serve(t, testrelease.NewTree(t, r.key, "1.11.0", "amd64"))
	ctx, cancel := contextWithCause(t)
	stop := errors.New("the person pressed ^C")
	s.instead[zipPath] = func(w http.ResponseWriter, q *http.Request) {
		cancel(stop)
		<-q.Context().Done()
	}
	if _, err := r.cache.Prepare(ctx, r.wanted(s.URL)); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	r.nothingCounts()
	delete(s.instead, zipPath)
	if _, err := r.cache.Prepare(t.Context(), r.wanted(s.URL)); err != nil {
		t.Errorf("a later run: %v", err)
	}
}

func TestWhatAKilledRunLeftIsTakenAway(t *testing.T) {
	r := newRig(t)
	s := serve(t, testrelease.NewTree(t, r.key, "1.11.0", "amd64"))
	write(t, filepath.Join(r.cache.Directory, ".new-1"), []byte("half a zip"))
	write(t, filepath.Join(r.cache.Directory, ".version-1", "nomad"), []byte("a copy"))
	if _, err := r.cache.Prepare(t.Context(), r.wanted(s.URL)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".new-1", ".version-1"} {
		if _, err := os.Stat(filepath.Join(r.cache.Directory, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseMirror(t *testing.T) {
	for text, good := range map[string]bool{
		"https://releases.hashicorp.com": true, "http://10.0.0.1:8080/mirror/": true, "https://me:secret@mirror.example": true,
		"mirror.example": false, "ftp://mirror.example": false, "file:///srv": false, "http:///nomad": false, "http://h:secret@x:y": false,
		"http://h/?a=secret": false, "http://h/#secret": false, "secret:x@h": false, "": false,
	} {
		_, err := ParseMirror(text)
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
