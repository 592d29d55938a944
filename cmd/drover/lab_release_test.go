// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/lab"
	"drover/internal/testrelease"
)

// A release server stands in the lab's network, where drover runs. What it has that is wrong is refused in the plan; what is right is
// fetched once, and upgrades the cluster.
func TestLabRelease(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Clients: 1, Job: true}, "drover")
	key := testrelease.NewKey(t, time.Now().Add(-time.Hour), 24*time.Hour)
	keyFile := filepath.Join(r.state, "release.asc")
	if err := os.WriteFile(keyFile, key.Public(t), 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(r.binary)
	if err != nil {
		t.Fatal(err)
	}
	good := testrelease.TreeOf(t, key, newVersion, map[string][]byte{runtime.GOARCH: binary})
	other := testrelease.TreeOf(t, key, newVersion, map[string][]byte{runtime.GOARCH: testrelease.Program(t, runtime.GOARCH, oldVersion)})
	zip := "nomad/" + newVersion + "/nomad_" + newVersion + "_linux_" + runtime.GOARCH + ".zip"
	sums := "nomad/" + newVersion + "/nomad_" + newVersion + "_SHA256SUMS"
	s := r.serveReleases(map[string]testrelease.Tree{
		"good":     good,
		"tampered": {sums: good[sums], sums + ".sig": good[sums+".sig"], zip: other[zip]},
		"unsigned": {sums: other[sums], sums + ".sig": good[sums+".sig"], zip: other[zip]},
		"other":    other,
		"older":    testrelease.NewTree(t, key, oldVersion, runtime.GOARCH),
	})
	before, files := r.mainPIDs(), r.binariesOfHosts()
	for name, words := range map[string][]string{
		"tampered": {"has SHA-256 ", "the signed nomad_" + newVersion + "_SHA256SUMS says", "nothing was touched"},
		"unsigned": {"nomad_" + newVersion + "_SHA256SUMS.sig does not fit", "nothing was touched"},
		"other":    {"the binary is Nomad " + oldVersion + " (it says so itself)", "nothing was touched"},
		"older":    {`the server answers "404 Not Found"`, "whether there is such a version", "nothing was touched"},
	} {
		r.sub(name, func(r *rig) {
			for _, command := range [][]string{{"plan"}, {"upgrade", "--yes"}} {
				a := r.run(append(command, "--to", newVersion, "--mirror", "http://me:hunter2@"+s.address+"/"+name, "--release-key", keyFile)...)
				wantAnswer(r.t, a, exitRefused, words...)
			}
			r.wantUntouched(before)
			if after := r.binariesOfHosts(); !slices.Equal(files, after) {
				r.t.Errorf("the hosts' files were %q and are %q", files, after)
			}
		})
	}
	r.sub("good", func(r *rig) {
		flags := []string{"--to", newVersion, "--mirror", "http://me:hunter2@" + s.address + "/good/", "--release-key", keyFile}
		wantAnswer(r.t, r.run(append([]string{"plan"}, flags...)...), exitChanges, "Nothing stands in the way")
		fetched := s.requests("/good/")
		if len(fetched) != 3 {
			r.t.Errorf("the plan fetched %q", fetched)
		}
		a := r.run(append([]string{"upgrade", "--yes"}, flags...)...)
		wantAnswer(r.t, a, exitOK)
		r.wantVersion(newVersion)
		if again := s.requests("/good/"); len(again) != len(fetched) {
			r.t.Errorf("what the plan had verified was fetched again: %q", again[len(fetched):])
		}
		if strings.Contains(a.out+a.err, "hunter2") {
			r.t.Errorf("the password shows: %s", a)
		}
	})
	r.wantNowhere("hunter2")
}

// binariesOfHosts lists what lies beside each host's Nomad, and what was staged.
func (r *rig) binariesOfHosts() []string {
	r.t.Helper()
	var all []string
	for _, host := range r.agentHosts() {
		all = append(all, host+": "+r.onHost(host, "sh", "-c", "ls -lA --time-style=full-iso /usr/local/bin; find /var/lib/drover -name '*nomad*' 2>/dev/null || true"))
	}
	return all
}

// wantNowhere looks for a text in all that drover keeps, except the large files of its cache.
func (r *rig) wantNowhere(text string) {
	r.t.Helper()
	err := filepath.WalkDir(r.state, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(path, ".zst") || strings.HasSuffix(path, ".unzipped") {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			r.t.Errorf("%s has %q", path, text)
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
}

// releaseServer serves trees under their names, to whom knows the password.
type releaseServer struct {
	address string
	mu      sync.Mutex
	asked   []string
}

func (s *releaseServer) requests(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.asked), func(path string) bool { return !strings.HasPrefix(path, prefix) })
}

// serveReleases listens on the loopback of the lab's bastion.
func (r *rig) serveReleases(trees map[string]testrelease.Tree) *releaseServer {
	r.t.Helper()
	listener, err := r.listenOnBastion()
	if err != nil {
		r.t.Fatal(err)
	}
	s := &releaseServer{address: listener.Addr().String()}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, q.URL.Path)
		s.mu.Unlock()
		if _, password, _ := q.BasicAuth(); password != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		name, path, _ := strings.Cut(strings.TrimPrefix(q.URL.Path, "/"), "/")
		if content, ok := trees[name][path]; ok {
			_, _ = w.Write(content)
			return
		}
		http.NotFound(w, q)
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	r.t.Cleanup(server.Close)
	return s
}

// listenOnBastion makes a socket in the network namespace that drover's commands run in. The thread that went there is never used
// again: it ends with its goroutine.
func (r *rig) listenOnBastion() (net.Listener, error) {
	namespace := strings.TrimPrefix(r.lab.Command(r.t.Context(), "true").Args[1], "--net=")
	type result struct {
		listener net.Listener
		err      error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread()
		listener, err := listenIn(namespace)
		made <- result{listener, err}
	}()
	got := <-made
	return got.listener, got.err
}

func listenIn(namespace string) (net.Listener, error) {
	file, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	return net.Listen("tcp", "127.0.0.1:0")
}
