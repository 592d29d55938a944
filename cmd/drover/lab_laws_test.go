// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"drover/internal/lab"
	"drover/internal/lab/watch"
)

// Laws 1, 2, 3, 5, 6 and 9 on three servers that stay on the old version until the last subtest.
func TestLabLaws(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3}, "drover")
	r.sub("an unknown host is refused", (*rig).unknownHost)
	r.sub("a host with another key is refused", (*rig).changedHost)
	r.sub("control characters of a host do not reach the terminal", (*rig).controlCharacters)
	r.sub("staging that is killed leaves no partial file", (*rig).stagingKilled)
	r.sub("staging goes on after the network was cut", (*rig).stagingCut)
	r.sub("a full disk is refused before anything is written", (*rig).fullDisk)
	r.sub("no stop while a voter is dead", (*rig).voterDead)
	r.sub("no stop while a voter is cut from its peers", (*rig).voterCut)
	r.sub("the first failed server ends the run", (*rig).firstFailureEnds)
	r.sub("leader last though leadership moves, and a package install is restarted", (*rig).leaderMoves)
}

// as is r with known_hosts replaced.
func (r *rig) as(knownHosts string) *rig {
	r.t.Helper()
	dir := r.t.TempDir()
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, []byte(knownHosts), 0o600); err != nil {
		r.t.Fatal(err)
	}
	inventory, err := os.ReadFile(r.inventory)
	if err != nil {
		r.t.Fatal(err)
	}
	here := *r
	here.inventory = filepath.Join(dir, "hosts.ini")
	text := strings.ReplaceAll(string(inventory), r.lab.KnownHostsFile(), known)
	if err := os.WriteFile(here.inventory, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return &here
}

func (r *rig) unknownHost() {
	a := r.as("").run("exec", "s1", "--", "true")
	wantAnswer(r.t, a, exitUnreachable, "the host's key is unknown", "SHA256:", "--accept-new")
}

func (r *rig) changedHost() {
	text, err := os.ReadFile(r.lab.KnownHostsFile())
	if err != nil {
		r.t.Fatal(err)
	}
	// s1 shows its own key where that of s2 is expected.
	var keys []string
	for line := range strings.Lines(string(text)) {
		keys = append(keys, line)
	}
	_, of1, _ := strings.Cut(keys[0], " ")
	_, of2, _ := strings.Cut(keys[1], " ")
	a := r.as(strings.Replace(string(text), of1, of2, 1)).run("exec", "s1", "--", "true")
	wantAnswer(r.t, a, exitUnreachable, "the host's key has CHANGED", "SHA256:")
	if strings.Contains(a.out+a.err, "--accept-new") {
		r.t.Errorf("it offers --accept-new for a changed key: %s", a)
	}
	a = r.as(strings.Replace(string(text), of1, of2, 1)).run("exec", "--accept-new", "s1", "--", "true")
	wantAnswer(r.t, a, exitUnreachable, "the host's key has CHANGED")
}

// controlCharacters sends the sequences that set a terminal's title and colour, and turn the writing direction.
func (r *rig) controlCharacters() {
	evil := "red \x1b[31m title \x1b]0;owned\x07 turned \u202e end \u009b2J"
	if err := os.WriteFile(r.path("s1", "etc/evil"), []byte(evil), 0o644); err != nil {
		r.t.Fatal(err)
	}
	book := r.playbook(`- hosts: s1
  gather_facts: false
  tasks:
    - slurp:
        src: /etc/evil
      register: file
    - debug:
        msg: "{{ file.content | b64decode }}"
    - command: cat /etc/evil
      register: words
    - debug:
        var: words.stdout
    - name: "{{ words.stdout }}"
      fail:
        msg: "{{ words.stdout }}"
      ignore_errors: true
    - command: sh -c 'cat /etc/evil >&2; exit 3'
`)
	for _, args := range [][]string{{"run", book}, {"run", book, "-vv"}, {"exec", "s1", "--", "cat", "/etc/evil"}, {"run", book, "--output", "json"}} {
		a := r.run(args...)
		if !strings.Contains(a.out+a.err, "title") {
			r.t.Errorf("drover %v does not show the text at all: %s", args, a)
		}
		for _, r2 := range a.out + a.err {
			if strings.ContainsRune("\x1b\x07\u009b\u202e", r2) {
				r.t.Errorf("drover %v lets %q through: %q", args, r2, a.out+a.err)
				break
			}
		}
	}
}

func (r *rig) stagePlaybook(host, binary string) string {
	return r.playbook("- hosts: " + host + "\n  become: true\n  tasks:\n    - nomad_facts:\n    - nomad_stage:\n        version: " + newVersion + "\n        binary: " + binary + "\n")
}

// stageDir is where binaries are staged on a host, as seen from here.
func (r *rig) stageDir(host string) string { return r.path(host, "var/lib/drover/stage") }

// staged are the binaries under their final names there.
func (r *rig) staged(host string) []string {
	found, _ := filepath.Glob(filepath.Join(r.stageDir(host), "*", "nomad"))
	return found
}

// beginStaging returns once part of the binary has arrived on a host.
func (r *rig) beginStaging(host string) *started {
	r.t.Helper()
	partial := func() bool {
		found, _ := filepath.Glob(filepath.Join(r.stageDir(host), "*", ".nomad.drover-*"))
		found = append(found, r.staged(host)...) // where it must not be yet
		return slices.ContainsFunc(found, func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.Size() > 1<<20
		})
	}
	s := r.begin("run", r.stagePlaybook(host, r.binary))
	for end := time.Now().Add(time.Minute); !partial(); {
		if time.Now().After(end) {
			r.t.Fatal("no partial file was seen while the binary was staged")
		}
	}
	return s
}

func (r *rig) stagingKilled() {
	before := r.mainPIDs()
	r.beginStaging("s1").kill()
	r.wantNotStaged("s1")
	r.eventually("the partial file to go", 20*time.Second, func() bool {
		found, _ := filepath.Glob(filepath.Join(r.stageDir("s1"), "*", ".nomad*"))
		return len(found) == 0
	})
	r.wantNotStaged("s1")
	r.wantUntouched(before)
	r.must("run", r.stagePlaybook("s1", r.binary))
	if len(r.staged("s1")) != 1 {
		r.t.Errorf("staged: %q", r.staged("s1"))
	}
}

// stagingCut takes the host off the network for a moment.
func (r *rig) stagingCut() {
	s := r.beginStaging("s3")
	if err := r.lab.Cut(r.t.Context(), "s3"); err != nil {
		r.t.Fatal(err)
	}
	r.wantNotStaged("s3")
	if err := r.lab.Heal(r.t.Context(), "s3"); err != nil {
		r.t.Fatal(err)
	}
	wantAnswer(r.t, s.end(r.t, time.Minute), exitOK)
	if out := r.onHost("s3", "sh", "-c", "/var/lib/drover/stage/*/nomad version"); !strings.HasPrefix(out, "Nomad v"+newVersion) {
		r.t.Errorf("staged was %q", out)
	}
}

func (r *rig) wantNotStaged(host string) {
	r.t.Helper()
	for _, path := range r.staged(host) {
		if info, err := os.Stat(path); err == nil {
			r.t.Errorf("%d bytes are under the final name of a binary that was never sent whole", info.Size())
		}
	}
}

// fullDisk gives the binaries' directory a file system without room for a second one.
func (r *rig) fullDisk() {
	before := r.mainPIDs()
	r.onHost("s2", "sh", "-c", "mount -t tmpfs -o size=200m small /mnt && cp -a /usr/local/bin/nomad /mnt/ && mount --bind /mnt /usr/local/bin")
	a := r.run("run", r.stagePlaybook("s2", r.binary))
	wantAnswer(r.t, a, exitRefused, "space", "/usr/local/bin")
	if left := r.onHost("s2", "ls", "-A", "/usr/local/bin"); left != "nomad\n" {
		r.t.Errorf("left behind: %q", left)
	}
	r.onHost("s2", "sh", "-c", "umount -l /usr/local/bin && umount -l /mnt")
	r.wantUntouched(before)
}

// voterDead has one server stopped: stopping another would leave one of three.
func (r *rig) voterDead() {
	leader, followers := r.roles()
	r.onHost(followers[0], "systemctl", "stop", "nomad")
	before := map[string]int{}
	for _, host := range []string{leader, followers[1]} {
		pid, err := r.lab.AgentPID(host)
		if err != nil {
			r.t.Fatal(err)
		}
		before[host] = pid
	}
	for _, host := range []string{followers[1], leader} {
		a := r.run("run", r.swapPlaybook(host, r.binary, "timeout: 3"))
		wantAnswer(r.t, a, exitRefused, "["+host+"]: FAILED! => the server was not stopped", "does not answer for itself", "stopping it would leave 1 of 3 voters, and the cluster needs 2")
	}
	a := r.run("run", r.swapPlaybook(leader, r.binary, "timeout: 3\n        accept_down: ["+followers[0]+"]"))
	wantAnswer(r.t, a, exitRefused, "stopping it would leave 1 of 3 voters")
	r.wantUntouched(before)
	r.onHost(followers[0], "systemctl", "start", "nomad")
	r.healthy()
}

// voterCut has one server that SSH reaches and its peers do not.
func (r *rig) voterCut() {
	leader, followers := r.roles()
	before := r.mainPIDs()
	if err := r.lab.CutPeers(r.t.Context(), followers[1]); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("the cut server to notice", 20*time.Second, func() bool {
		state, err := r.self(followers[1])
		return err == nil && state.Stats.Raft.State == "Candidate"
	})
	a := r.run("run", r.swapPlaybook(followers[0], r.binary, "timeout: 3"))
	wantAnswer(r.t, a, exitRefused, "["+followers[0]+"]: FAILED! => the server was not stopped", followers[1]+":", "stopping it would leave 1 of 3 voters, and the cluster needs 2")
	r.wantUntouched(before)
	if !r.leads(leader) {
		r.t.Errorf("%s does not lead any more", leader)
	}
	if err := r.lab.Heal(r.t.Context(), followers[1]); err != nil {
		r.t.Fatal(err)
	}
	r.healthy()
}

// healthy waits until autopilot has three healthy voters.
func (r *rig) healthy() {
	r.t.Helper()
	r.eventually("a healthy cluster", time.Minute, func() bool {
		var health struct {
			Healthy bool
			Servers []struct{ Voter, Healthy bool }
		}
		if err := r.lab.Call(r.t.Context(), "s1", "GET", "/v1/operator/autopilot/health", nil, &health); err != nil || !health.Healthy {
			return false
		}
		for _, server := range health.Servers {
			if !server.Voter || !server.Healthy {
				return false
			}
		}
		return len(health.Servers) == r.lab.Options().Servers
	})
}

// firstFailureEnds upgrades to a binary that does not come up: the first server gets its old one back, the others are
// left alone.
func (r *rig) firstFailureEnds() {
	_, followers := r.roles()
	before := r.mainPIDs()
	a := r.run("upgrade", "--to", newVersion, "--binary", r.standIn(), "--yes")
	wantAnswer(r.t, a, exitFailed, "["+followers[0]+"]: FAILED! => swapping Nomad to "+newVersion+" did not succeed", "the old binary runs again", "the stand-in's line 30")
	delete(before, followers[0])
	r.wantUntouched(before)
	r.wantRuns(followers[0], oldVersion)
	r.healthy()
}

// leaderMoves upgrades all three servers. The first had its package replaced without a restart. After it, leadership is
// moved to the server that would be next; after the next, to an upgraded one.
func (r *rig) leaderMoves() {
	third, followers := r.roles()
	first, second := followers[0], followers[1]
	install(r.t, r.binary, r.path(first, "usr/local/bin/nomad"))
	binary := r.path(second, "usr/local/bin/nomad")
	dressed := dress(r.t, binary)
	wantAnswer(r.t, r.run("plan", "--to", newVersion), exitChanges, "has "+newVersion+" on disk, but still runs "+oldVersion)

	var a answer
	report := r.watched(func() {
		s := r.beginUpgrade()
		r.awaitRestart(first)
		if err := r.transfer(third, second); err != nil {
			r.t.Error(err)
		}
		r.awaitRestart(third)
		leader, _ := r.roles()
		if leader != first {
			if err := r.transfer(leader, first); err != nil {
				r.t.Error(err)
			}
		}
		a = s.end(r.t, 2*time.Minute)
	})
	wantAnswer(r.t, a, exitOK)
	wantOrder(r.t, report, first, third, second)
	r.wantVersion(newVersion)
	for _, host := range []string{first, second, third} {
		r.wantRuns(host, newVersion)
	}
	if diff := cmp.Diff(dressed, look(r.t, binary)); diff != "" {
		r.t.Errorf("owner, mode and attributes of the binary (-before +after):\n%s", diff)
	}
	if out := r.onHost(second, "sh", "-c", "/usr/local/bin/nomad.drover-previous version"); !strings.HasPrefix(out, "Nomad v"+oldVersion) {
		r.t.Errorf("beside the new binary is %q", out)
	}
}

// awaitRestart waits until the agent of a host is gone and another answers.
func (r *rig) awaitRestart(host string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if _, err := watch.Next(ctx, r.lab, host); err != nil {
		r.t.Fatalf("%s was not restarted: %v", host, err)
	}
}

func wantOrder(t testing.TB, report *watch.Report, want ...string) {
	t.Helper()
	var got []string
	for _, absence := range report.Absences {
		got = append(got, absence.Host)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the order of the stops (-want +got):\n%s", diff)
	}
}

// install puts a binary in place as a package manager does: by a rename, and without a restart.
func install(t testing.TB, binary, to string) {
	t.Helper()
	in, err := os.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to+".dpkg-new", os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".dpkg-new", to); err != nil {
		t.Fatal(err)
	}
}

// attributes are what a binary must keep through an exchange.
type attributes struct {
	UID, GID   uint32
	Mode       uint32
	Capability []byte
	Own        []byte
}

// dress gives a binary what a plain copy would lose.
func dress(t testing.TB, path string) attributes {
	t.Helper()
	// cap_net_bind_service, permitted and effective, as linux/capability.h lays out revision 2.
	capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for _, err := range []error{
		os.Chown(path, 0, 1000),
		os.Chmod(path, 0o751),
		unix.Setxattr(path, "security.capability", capability, 0),
		unix.Setxattr(path, "user.origin", []byte("the operator's own build"), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dressed := look(t, path)
	if dressed.GID != 1000 || dressed.Mode != 0o751 || !bytes.Equal(dressed.Capability, capability) {
		t.Fatalf("the binary could not be dressed up: %+v", dressed)
	}
	return dressed
}

func look(t testing.TB, path string) attributes {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	found := attributes{UID: stat.Uid, GID: stat.Gid, Mode: stat.Mode & 0o7777}
	for name, into := range map[string]*[]byte{"security.capability": &found.Capability, "user.origin": &found.Own} {
		value := make([]byte, 256)
		n, err := unix.Getxattr(path, name, value)
		if err != nil {
			t.Errorf("%s of %s: %v", name, path, err)
			continue
		}
		*into = value[:n]
	}
	return found
}
