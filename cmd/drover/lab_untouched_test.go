// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"drover/internal/lab"
)

// picture is all that a refusal must leave as it is, by host and then by the thing's name: files, the agent's process,
// units, and what the cluster has in its log.
type picture map[string]map[string]string

// movesByItself are the paths of a host that change although nobody touches the host, or that are drover's own. Everything
// else has to stay: content, owner, mode, times and inode.
var movesByItself = []string{
	"var/log",                      // the journal, and in it what sshd and sudo say of each login
	"run/motd.dynamic",             // written by PAM at each login
	"run/sudo",                     // sudo's time stamps
	"var/lib/drover", "run/drover", // drover's own: records, staged binaries, locks
	"home/drover/.cache", "home/operator/.cache", // drover's agent, in a directory that may be the first one in .cache
	"opt/nomad/server", // raft's log and the keyring; the index tells whether they were written to
	"opt/nomad/client", // the client's database
	"opt/nomad/alloc",  // logs of tasks
}

// pictures remembers the content of files by their inode and ctime, which the kernel moves at every change and nobody
// can set back, so that each binary is read once.
type pictures struct {
	r    *rig
	mu   sync.Mutex
	sums map[string]string
}

func (r *rig) pictures() *pictures { return &pictures{r: r, sums: map[string]string{}} }

// take looks at everything, since an index of raft's log (0: the beginning). Hosts that are off the network are looked at like the
// others, from below.
func (p *pictures) take(t testing.TB, since uint64) picture {
	t.Helper()
	hosts := p.r.lab.Hosts()
	views := make([]map[string]string, len(hosts))
	errs := make([]error, len(hosts))
	var group sync.WaitGroup
	for i, host := range hosts {
		group.Go(func() { views[i], errs[i] = p.host(t, host) })
	}
	group.Wait()
	all := picture{}
	for i, host := range hosts {
		if errs[i] != nil {
			t.Fatalf("look at %s: %v", host.Name, errs[i])
		}
		all[host.Name] = views[i]
	}
	all[theCluster] = p.cluster(t, since)
	return all
}

func (p *pictures) host(t testing.TB, host lab.Host) (map[string]string, error) {
	view := map[string]string{}
	if err := errors.Join(p.files(host.Name, view), p.ways(host.Name, view)); err != nil {
		return nil, err
	}
	// /run and /tmp are file systems of the host's own. A type=char device is what the host's systemd masks with.
	listed, err := p.r.lab.Output(t.Context(), host.Name, "sh", "-c", `find /run /tmp /dev/shm -printf '%P|%H|%y %m %U:%G %s %T@ %C@ %i %l\n'; systemctl list-units --all --plain --no-legend --no-pager | sed 's/^/unit /'
systemctl show nomad -p MainPID,NRestarts,InvocationID,NeedDaemonReload,FragmentPath,DropInPaths,KillSignal,ActiveState`)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(listed) {
		p.line(strings.TrimSpace(line), view)
	}
	if host.RunsNomad() {
		p.log(t, host, view)
	}
	return view, nil
}

func (p *pictures) line(line string, view map[string]string) {
	if name, rest, ok := strings.Cut(line, "|"); ok {
		under, state, _ := strings.Cut(rest, "|")
		path := strings.TrimPrefix(filepath.Join(under, name), "/")
		if excepted(path) {
			return
		}
		if fields := strings.Fields(state); holdsExcepted(path) && len(fields) > 3 {
			state = strings.Join(fields[:3], " ")
		}
		view["/"+path] = state
		return
	}
	if unit, ok := strings.CutPrefix(line, "unit "); ok {
		name, state, _ := strings.Cut(unit, " ")
		view["unit "+name] = strings.Join(strings.Fields(state), " ")
		return
	}
	name, value, _ := strings.Cut(line, "=")
	view["nomad.service "+name] = value
}

// log is the agent's process, and what a server says of raft.
func (p *pictures) log(t testing.TB, host lab.Host, view map[string]string) {
	if pid, err := p.r.lab.AgentPID(host.Name); err == nil {
		view["agent process"] = fmt.Sprint(pid)
	}
	if host.Role != lab.Server {
		return
	}
	stats, err := p.raft(t, host.Name)
	if err != nil {
		view["raft"] = "does not answer"
		return
	}
	for _, name := range []string{"state", "term", "last_log_term", "latest_configuration"} {
		view["raft "+name] = stats[name]
	}
}

func (p *pictures) raft(t testing.TB, host string) (map[string]string, error) {
	var self struct {
		Stats struct{ Raft map[string]string }
	}
	err := p.r.lab.Call(t.Context(), host, "GET", "/v1/agent/self", nil, &self)
	return self.Stats.Raft, err
}

// theCluster is the place of a picture for what belongs to no one host, and lastIndex that of the last entry in raft's log. On an
// idle cluster it does not move: heartbeats are not written.
const (
	theCluster = "the cluster"
	lastIndex  = "last log index"
)

// cluster is the end of raft's log, and how the servers see each client. What the cluster writes by itself, after the index since, is
// left out of account; anything else is named.
func (p *pictures) cluster(t testing.TB, since uint64) map[string]string {
	t.Helper()
	view := map[string]string{}
	var last, applied uint64
	speaker := "" // one that has just started knows the log's end before it has applied any of it
	for _, host := range p.r.lab.Hosts() {
		if host.Role != lab.Server {
			continue
		}
		stats, err := p.raft(t, host.Name)
		index, parseErr := strconv.ParseUint(stats["last_log_index"], 10, 64)
		if err != nil || parseErr != nil {
			continue
		}
		last = max(last, index)
		if at, err := strconv.ParseUint(stats["applied_index"], 10, 64); err == nil && at > applied {
			applied, speaker = at, host.Name
		}
	}
	var nodes []struct {
		Name, SchedulingEligibility string
		Drain                       bool
	}
	if err := p.r.lab.Call(t.Context(), speaker, "GET", "/v1/nodes?stale", nil, &nodes); err != nil {
		t.Fatalf("ask %s about the clients: %v", speaker, err)
	}
	for _, node := range nodes {
		view["client "+node.Name] = fmt.Sprintf("%s, drains: %t", node.SchedulingEligibility, node.Drain)
	}
	if since > 0 && last > since {
		for _, entry := range p.entries(t, speaker, since) {
			if slices.Contains(writtenByItself, entry.kind()) {
				last--
			} else {
				view[fmt.Sprintf("entry %d", entry.Index)] = entry.kind()
			}
		}
	}
	view[lastIndex] = fmt.Sprint(last)
	return view
}

// writtenByItself are the entries of raft's log that an idle cluster makes: the leader waits for a barrier at each reconciliation, once a
// minute; a client registers again when it finds something new about its host; and its status changes when it misses heartbeats.
var writtenByItself = []string{"LogBarrier", "NodeRegisterRequestType", "NodeUpdateStatusRequestType", "UpsertNodeEventsType"}

// logEntry is a line of `nomad operator raft logs`.
type logEntry struct {
	LogType, CommandType string
	Index                uint64
}

func (e logEntry) kind() string { return cmp.Or(e.CommandType, e.LogType) }

// entries reads a copy of a server's log, after an index.
func (p *pictures) entries(t testing.TB, host string, since uint64) []logEntry {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "raft.db")
	text, err := os.ReadFile(p.r.path(host, "opt/nomad/server/raft/raft.db"))
	if err == nil {
		err = os.WriteFile(copied, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err := lab.Nomad(t.Context(), p.r.lab.Options().Version, "", p.r.lab.Options().Dirs.Cache, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, "operator", "raft", "logs", copied)
	command.Env = []string{}
	out, err := command.Output()
	if err != nil {
		t.Fatalf("read the log of %s: %v", host, err)
	}
	var after []logEntry
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var entry logEntry
		if err := decoder.Decode(&entry); err != nil {
			t.Fatalf("read the log of %s: %v", host, err)
		}
		if entry.Index > since {
			after = append(after, entry)
		}
	}
	return after
}

// files walks what was written on a host since its root was shared with others, which is every file that can have changed.
func (p *pictures) files(host string, view map[string]string) error {
	root := p.r.lab.Written(host)
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if excepted(name) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if holdsExcepted(name) {
			return nil
		}
		view["/"+name], err = p.file(path)
		return err
	})
}

// ways looks at the directories on the way to what is excepted. They are read in the host's whole root, since they come into the
// host's own layer with the first file that is made below them.
func (p *pictures) ways(host string, view map[string]string) error {
	for _, own := range movesByItself {
		for dir := filepath.Dir(own); dir != "."; dir = filepath.Dir(dir) {
			var stat unix.Stat_t
			if err := unix.Lstat(p.r.path(host, dir), &stat); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return err
			}
			view["/"+dir] = fmt.Sprintf("mode %o owner %d:%d", stat.Mode, stat.Uid, stat.Gid)
		}
	}
	return nil
}

func (p *pictures) file(path string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return "", err
	}
	text := fmt.Sprintf("mode %o owner %d:%d", stat.Mode, stat.Uid, stat.Gid)
	changed := fmt.Sprintf("inode %d written %d.%09d changed %d.%09d", stat.Ino, stat.Mtim.Sec, stat.Mtim.Nsec, stat.Ctim.Sec, stat.Ctim.Nsec)
	content := ""
	var err error
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content, err = p.sum(path, fmt.Sprintf("%d %s", stat.Dev, changed))
	case unix.S_IFLNK:
		content, err = os.Readlink(path)
	}
	return fmt.Sprintf("%s size %d %s %s", text, stat.Size, changed, content), err
}

func (p *pictures) sum(path, version string) (string, error) {
	p.mu.Lock()
	sum, known := p.sums[version]
	p.mu.Unlock()
	if known {
		return sum, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	sum = hex.EncodeToString(hash.Sum(nil))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sums[version] = sum
	return sum, nil
}

func excepted(path string) bool {
	return slices.ContainsFunc(movesByItself, func(own string) bool { return path == own || strings.HasPrefix(path, own+"/") })
}

// holdsExcepted tells whether a directory is on the way to an excepted path, so that its times move with that.
func holdsExcepted(path string) bool {
	return path == "." || slices.ContainsFunc(movesByItself, func(own string) bool { return strings.HasPrefix(own, path+"/") })
}

// want compares with how everything is now.
func (p *pictures) want(t testing.TB, before picture) {
	t.Helper()
	since, err := strconv.ParseUint(before[theCluster][lastIndex], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	after := p.take(t, since)
	for _, host := range slices.Sorted(maps.Keys(before)) {
		if changes := diff.Diff(before[host], after[host]); changes != "" {
			t.Errorf("%s was touched (-before +after):\n%s", host, changes)
		}
	}
}

// calm waits until the cluster's log has come to rest, so that whatever moves it afterwards was done to it.
func (p *pictures) calm(t testing.TB) picture {
	t.Helper()
	const rest = 1500 * time.Millisecond
	index := func() string { return p.cluster(t, 0)[lastIndex] }
	last, since := index(), time.Now()
	p.r.with(t.(*testing.T)).eventually("the cluster to come to rest", time.Minute, func() bool {
		if now := index(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > rest
	})
	return p.take(t, 0)
}
