// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// outputFile holds what drover has printed, kept beside its own files to be searched like them.
const outputFile = "output.txt"

// secretWatch looks at all processes of this machine, which are those of the bastion and of all hosts, for secrets.
type secretWatch struct {
	secrets map[string]string // by name
	stop    func() []string   // what was found
}

// watchSecrets starts to look.
func (r *rig) watchSecrets() *secretWatch {
	r.t.Helper()
	token, err := r.lab.Token()
	if err != nil {
		r.t.Fatal(err)
	}
	password, err := r.lab.Password()
	if err != nil {
		r.t.Fatal(err)
	}
	w := &secretWatch{secrets: map[string]string{"the ACL token": token, "the sudo password": password, "the control": "drover-control-" + strconv.Itoa(os.Getpid())}}
	for name, secret := range w.secrets {
		if len(secret) < 8 {
			r.t.Fatalf("%s %q is too short to be looked for", name, secret)
		}
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	r.t.Cleanup(cancel)
	var group sync.WaitGroup
	found := map[string]bool{}
	group.Go(func() {
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		for {
			w.look(found)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	w.stop = func() []string {
		cancel()
		group.Wait()
		var list []string
		for what := range found {
			list = append(list, what)
		}
		return list
	}
	return w
}

// look reads argv and environment of every process but this one.
func (w *secretWatch) look(found map[string]bool) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, file := range []string{"cmdline", "environ"} {
			text, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), file))
			for name, secret := range w.secrets {
				if bytes.Contains(text, []byte(secret)) {
					program, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "comm"))
					found[fmt.Sprintf("%s in %s of %s", name, file, strings.TrimSpace(string(program)))] = true
				}
			}
		}
	}
}

// wantSecrets ends the watch and looks where secrets could have been written down.
func (r *rig) wantSecrets(w *secretWatch) {
	t := r.t
	t.Helper()
	r.onHost("s1", "sh", "-c", "sleep 0.3; : "+w.secrets["the control"])
	seen := false
	for _, what := range w.stop() {
		if strings.HasPrefix(what, "the control") {
			seen = true
			continue
		}
		t.Error(what)
	}
	if !seen {
		t.Error("the watch did not see the control, so that it proves nothing")
	}
	texts := map[string]string{}
	for _, host := range r.agentHosts() {
		texts["the journal of "+host] = r.onHost(host, "journalctl", "--no-pager", "-o", "json", "--all")
		texts["the records of swaps of "+host] = r.onHost(host, "sh", "-c", "cat /var/lib/drover/swap/*/*/*.json* /var/lib/drover/*.json 2>/dev/null; true")
	}
	err := filepath.WalkDir(r.state, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if strings.Contains(path, "/runs/") && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %s", path, info.Mode())
		}
		if entry.IsDir() || info.Size() > 8<<20 {
			return nil
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range texts {
		for name, secret := range w.secrets {
			if name != "the control" && strings.Contains(text, secret) {
				t.Errorf("%s is in %s", name, where)
			}
		}
	}
	if len(texts) < 10 {
		t.Errorf("only %d places were searched", len(texts))
	}
}
