// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/wire"
)

// site is a directory with an installed binary, prepared for a swap.
type site struct {
	t    *testing.T
	dir  string
	plan plan
}

// Kinds of sites.
const (
	plainFile    = "a file"
	replacedFile = "a file that was replaced since"
	link         = "a link"
	replacedLink = "a link that was switched since"
	deletedLink  = "a link whose old target is gone"
)

func siteKinds() []string { return []string{plainFile, replacedFile, link, replacedLink, deletedLink} }

// newSite makes one: "running" is what runs, "installed" what is on disk, the same unless it was replaced, "new" the new binary.
func newSite(t *testing.T, kind string) *site {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir}
	name := "nomad"
	if kind == link || kind == replacedLink || kind == deletedLink {
		name = "nomad-1.10.5"
		s.must(os.Symlink("nomad-1.10.5", s.at("nomad")))
	}
	s.put(name, "installed")
	s.put("staged", "new")
	running, runningPath := fileID{}, s.at(name)
	switch kind {
	case plainFile, link:
		running = s.id(name)
	case replacedFile, deletedLink:
		s.put("unlinked", "running") // stands for /proc/PID/exe
		running = s.id("unlinked")
	case replacedLink:
		s.put("nomad-1.9.7", "running")
		running, runningPath = s.id("nomad-1.9.7"), s.at("nomad-1.9.7")
	}
	at, err := resolve(s.at("nomad"))
	s.must(err)
	s.plan = plan{ID: "1", Kind: kindSwap}
	s.plan.Request = wire.SwapPrepare{Unit: "nomad.service", Staged: "staged", Version: "1.11.0"}
	s.must(s.plan.choose(at, "1.10.5", running, runningPath))
	s.plan.Ours = true
	s.put(filepath.Base(s.plan.Placed), "new")
	s.plan.New = s.id(filepath.Base(s.plan.Placed))
	if s.plan.Kept != "" {
		s.must(os.Rename(s.at("unlinked"), s.plan.Kept))
		s.plan.Back = running
	}
	s.must(os.Remove(s.at("staged")))
	return s
}

func (s *site) at(name string) string { return filepath.Join(s.dir, name) }

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) put(name, text string) {
	s.t.Helper()
	s.must(os.WriteFile(s.at(name), []byte(text), 0o755))
}

func (s *site) id(name string) fileID {
	s.t.Helper()
	id, err := idOf(s.at(name))
	s.must(err)
	return id
}

// installed is the content that the next start would run.
func (s *site) installed() string {
	s.t.Helper()
	text, err := os.ReadFile(s.at("nomad"))
	s.must(err)
	return string(text)
}

// files are the names in the directory with what they hold or point to.
func (s *site) files() []string {
	s.t.Helper()
	entries, err := os.ReadDir(s.dir)
	s.must(err)
	var all []string
	for _, entry := range entries {
		text, err := os.Readlink(s.at(entry.Name()))
		if err != nil {
			content, err := os.ReadFile(s.at(entry.Name()))
			s.must(err)
			text = string(content)
		}
		all = append(all, entry.Name()+": "+text)
	}
	return all
}

func (s *site) want(what string, files ...string) {
	s.t.Helper()
	if diff := cmp.Diff(files, s.files()); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestSwapsEndWithTheRightFiles(t *testing.T) {
	before := map[string][]string{
		plainFile:    {"nomad: installed"},
		replacedFile: {"nomad: installed"},
		link:         {"nomad: nomad-1.10.5", "nomad-1.10.5: installed"},
		replacedLink: {"nomad: nomad-1.10.5", "nomad-1.10.5: installed", "nomad-1.9.7: running"},
		deletedLink:  {"nomad: nomad-1.10.5", "nomad-1.10.5: installed"},
	}
	done := map[string][]string{
		plainFile:    {"nomad: new", "nomad.drover-previous: installed"},
		replacedFile: {"nomad: new", "nomad.drover-previous: running"},
		link:         {"nomad: nomad-1.11.0", "nomad-1.10.5: installed", "nomad-1.11.0: new"},
		replacedLink: {"nomad: nomad-1.11.0", "nomad-1.10.5: installed", "nomad-1.11.0: new", "nomad-1.9.7: running"},
		deletedLink:  {"nomad: nomad-1.11.0", "nomad-1.10.5: installed", "nomad-1.10.5.drover-previous: running", "nomad-1.11.0: new"},
	}
	reverted := map[string][]string{
		plainFile:    {"nomad: installed"},
		replacedFile: {"nomad: running"},
		link:         {"nomad: nomad-1.10.5", "nomad-1.10.5: installed"},
		replacedLink: {"nomad: nomad-1.9.7", "nomad-1.10.5: installed", "nomad-1.9.7: running"},
		deletedLink:  {"nomad: nomad-1.10.5.drover-previous", "nomad-1.10.5: installed", "nomad-1.10.5.drover-previous: running"},
	}
	for _, kind := range siteKinds() {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, kind)
			tidy(s.plan, "", nil)
			s.want("never begun", before[kind]...)

			s = newSite(t, kind)
			s.must(exchange(s.plan))
			s.must(unexchange(s.plan))
			tidy(s.plan, wire.SwapUntouched, nil)
			s.want("untouched", before[kind]...)

			s = newSite(t, kind)
			s.must(exchange(s.plan))
			tidy(s.plan, wire.SwapDone, nil)
			s.want("done", done[kind]...)
			s.must(exchangeBack(s.plan))
			tidy(s.plan, wire.SwapReverted, nil)
			s.want("reverted on request", reverted[kind]...)

			s = newSite(t, kind)
			s.must(exchange(s.plan))
			s.must(exchangeBack(s.plan))
			s.put(temporaryPrefix(s.plan.Placed)+"killed", "left over")
			if s.plan.LinkNew != "" {
				s.must(os.Symlink("left over", temporaryLink(s.plan.Binary)))
			}
			tidy(s.plan, wire.SwapReverted, nil)
			s.want("reverted at once", reverted[kind]...)
		})
	}
}

// TestSwapsGoOnFromAnyCrash stops each move of the files after each of its parts, as a crash would, and repeats it from there.
func TestSwapsGoOnFromAnyCrash(t *testing.T) {
	crashes := map[string]func(plan) error{
		"before":           func(plan) error { return nil },
		"the old one kept": keepOld,
		"all done":         exchange,
		"a link half made": func(p plan) error {
			return os.Symlink("x", temporaryLink(p.Binary))
		},
		"half put back":      func(p plan) error { return firstHalf(p) },
		"not touched, again": func(p plan) error { return firstThen(exchange, unexchange)(p) },
	}
	for _, kind := range siteKinds() {
		for name, crash := range crashes {
			t.Run(kind+", "+name, func(t *testing.T) {
				for _, end := range []struct {
					name string
					run  func(plan) error
					want func(plan) fileID
				}{
					{"exchange", exchange, func(p plan) fileID { return p.New }},
					{"unexchange", firstThen(exchange, unexchange), func(p plan) fileID { return p.Old }},
					{"exchange back", firstThen(exchange, exchangeBack), func(p plan) fileID { return p.Back }},
				} {
					s := newSite(t, kind)
					s.must(crash(s.plan))
					if text := s.installed(); text != "installed" && text != "new" {
						t.Errorf("%s: after the crash %q is installed", end.name, text)
					}
					s.must(end.run(s.plan))
					if now := s.id("nomad"); now != end.want(s.plan) {
						t.Errorf("%s: %q is installed, files %v", end.name, s.installed(), s.files())
					}
				}
			})
		}
	}
}

func firstThen(first, then func(plan) error) func(plan) error {
	return func(p plan) error {
		if err := first(p); err != nil {
			return err
		}
		return then(p)
	}
}

// firstHalf puts the old binary back as far as the new one's own name.
func firstHalf(p plan) error {
	if err := exchange(p); err != nil || p.LinkNew != "" {
		return err
	}
	return linkOver(p.Binary, p.Placed)
}

func TestWhatIsPlacedStaysWhereItIsUsed(t *testing.T) {
	s := newSite(t, link)
	s.must(exchange(s.plan))
	tidy(s.plan, "", nil)
	if s.installed() != "new" {
		t.Error("the file that the link points to was removed")
	}
	s = newSite(t, link)
	other := s.plan
	other.Request.Unit, other.Binary = "nomad-b.service", s.at("nomad-b")
	s.must(createRecord(filepath.Join(s.dir, "swap", "nomad-b.service", "1"), other))
	tidy(s.plan, "", []string{filepath.Join(s.dir, "swap")})
	if !exists(s.plan.Placed) {
		t.Error("the file that another unit's swap uses was removed")
	}
	s = newSite(t, link)
	s.plan.Ours = false
	tidy(s.plan, "", nil)
	if !exists(s.plan.Placed) {
		t.Error("a file that was there before was removed")
	}
}

func TestNewBinariesBesideALinksTarget(t *testing.T) {
	tests := []struct{ name, old, want string }{
		{"nomad-1.10.5", "1.10.5", "nomad-1.11.0"},
		{"nomad_1.10.5_linux", "1.10.5", "nomad_1.11.0_linux"},
		{"nomad", "1.10.5", "nomad-1.11.0"},
		{"nomad-1.10.50", "1.10.5", "nomad-1.10.50-1.11.0"},
		{"nomad-11.10.5", "1.10.5", "nomad-11.10.5-1.11.0"},
		{"nomad-1.10.5", "", "nomad-1.10.5-1.11.0"},
	}
	for _, test := range tests {
		if got := versionedName(test.name, test.old, "1.11.0"); got != test.want {
			t.Errorf("%s with %s: got %s, want %s", test.name, test.old, got, test.want)
		}
	}
	links := []struct{ link, text, file, path, want string }{
		{"/usr/bin/nomad", "nomad-1", "/usr/bin/nomad-1", "/usr/bin/nomad-2", "nomad-2"},
		{"/usr/bin/nomad", "../../opt/n/nomad-1", "/opt/n/nomad-1", "/opt/n/nomad-2", "../../opt/n/nomad-2"},
		{"/usr/bin/nomad", "/opt/n/nomad-1", "/opt/n/nomad-1", "/opt/n/nomad-2", "/opt/n/nomad-2"},
		{"/usr/bin/nomad", "../../opt/n/nomad-1", "/opt/n/nomad-1", "/srv/nomad", "../../srv/nomad"},
		{"/usr/bin/nomad", "/opt/n/nomad-1", "/opt/n/nomad-1", "/srv/nomad", "/srv/nomad"},
	}
	for _, test := range links {
		if got := (target{link: test.link, text: test.text, file: test.file}).pointing(test.path); got != test.want {
			t.Errorf("%s -> %s to %s: got %s, want %s", test.link, test.text, test.path, got, test.want)
		}
	}
}

func TestATakenNameIsRefused(t *testing.T) {
	a, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, link)
	sum, size, err := a.cache.hash(t.Context(), s.plan.Placed)
	s.must(err)
	s.plan.Request.SHA256, s.plan.Ours = sum, false
	if err := a.claim(t.Context(), &s.plan, size, nil); err != nil || s.plan.Ours {
		t.Errorf("the same content: %v, ours %t", err, s.plan.Ours)
	}
	if err := a.claim(t.Context(), &s.plan, size, []string{s.plan.Placed}); err != nil || !s.plan.Ours {
		t.Errorf("what an earlier preparation brought: %v, ours %t", err, s.plan.Ours)
	}
	s.put("nomad-1.11.0", "oth")
	err = a.claim(t.Context(), &s.plan, size, nil)
	if !wire.IsKind(err, wire.KindInvalid) || !strings.Contains(err.Error(), s.plan.Placed) {
		t.Errorf("another content: %v", err)
	}
}

func TestPreparationsUseACopyAgain(t *testing.T) {
	a, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	from, to, like := filepath.Join(dir, "from"), filepath.Join(dir, "to"), filepath.Join(dir, "like")
	for path, mode := range map[string]os.FileMode{from: 0o755, like: 0o750} {
		if err := os.WriteFile(path, []byte(fmt.Sprint("content of ", filepath.Base(path))), mode); err != nil {
			t.Fatal(err)
		}
	}
	var ids []fileID
	for range 2 {
		if err := a.copyBeside(t.Context(), from, to, like, true); err != nil {
			t.Fatal(err)
		}
		id, err := idOf(to)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	source, err := idOf(from)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o750 || ids[0] != ids[1] || ids[0] == source {
		t.Errorf("the copy: %v, %v, ids %v", info.Mode(), err, ids)
	}
	if err := os.WriteFile(to, []byte("damaged"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := a.copyBeside(t.Context(), from, to, like, true); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "content of from" {
		t.Errorf("a damaged copy was kept: %q, %v", text, err)
	}
}
