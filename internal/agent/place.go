// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"drover/internal/wire"
)

// Names that drover gives to files beside an installed binary.
const (
	suffixPrevious  = ".drover-previous"  // the old binary, which stays
	suffixRunning   = ".drover-running"   // a copy of what runs, while a swap is prepared or at work
	suffixDisplaced = ".drover-displaced" // what was installed but did not run, while a swap is at work
)

// choose writes into the plan which files and names a swap of t to a version will use. running is the file that the unit's
// process executes; zero where none runs.
func (p *plan) choose(t target, oldVersion string, running fileID, runningPath string) error {
	version := p.Request.Version
	p.Binary, p.Previous = t.place(), t.file+suffixPrevious
	if t.link == "" {
		p.Placed, p.Ours = t.file+".drover-"+version, true
	} else {
		p.Placed = filepath.Join(filepath.Dir(t.file), versionedName(filepath.Base(t.file), oldVersion, version))
		p.LinkOld, p.LinkNew, p.LinkBack = t.text, t.pointing(p.Placed), t.text
	}
	var err error
	if p.Old, err = idOf(t.file); err != nil {
		return fmt.Errorf("look at the installed binary: %w", err)
	}
	p.Back = p.Old
	switch now, err := idOf(runningPath); {
	case running == fileID{} || running == p.Old:
		if t.link != "" {
			p.Previous = t.file
		}
	case t.link != "" && err == nil && now == running:
		p.Back, p.Previous, p.LinkBack = running, runningPath, t.pointing(runningPath)
	default:
		p.Kept, p.Back = t.file+suffixRunning, fileID{}
		if t.link == "" {
			p.Displaced = t.file + suffixDisplaced
		} else {
			p.LinkBack = t.pointing(p.Previous)
		}
	}
	return nil
}

// pointing is what the link would say to mean another file: relative where it is relative now.
func (t target) pointing(path string) string {
	prefix, base := filepath.Split(t.text)
	if filepath.Dir(path) == filepath.Dir(t.file) && base == filepath.Base(t.file) {
		return prefix + filepath.Base(path)
	}
	if relative, err := filepath.Rel(filepath.Dir(t.link), path); err == nil && !filepath.IsAbs(t.text) {
		return relative
	}
	return path
}

// versionedName is what a new version is called beside an old one that a link chooses: nomad-1.10.5 becomes nomad-1.11.0, and
// where the old name holds no version, nomad becomes nomad-1.11.0.
func versionedName(name, old, version string) string {
	at := strings.Index(name, old)
	if old == "" || at < 0 {
		return name + "-" + version
	}
	rest := name[at+len(old):]
	if rest != "" && strings.Contains("0123456789", rest[:1]) || at > 0 && strings.Contains("0123456789.", name[at-1:at]) {
		return name + "-" + version
	}
	return name[:at] + version + rest
}

// bring puts the new binary, and where needed a copy of what runs, beside the installed one. It copies: a hard link would share
// owner, mode and label with what is staged, which other units may use too. Filesystems that can, share the blocks.
func (a *Agent) bring(ctx context.Context, p *plan, t target) error {
	if err := a.copyBeside(ctx, p.Request.Staged, p.Placed, t.file, p.Ours); err != nil {
		return fmt.Errorf("put the new binary beside the installed one: %w", err)
	}
	var err error
	if p.New, err = idOf(p.Placed); err != nil {
		return fmt.Errorf("look at the new binary: %w", err)
	}
	if p.Kept == "" {
		return nil
	}
	exe := fmt.Sprintf("/proc/%d/exe", p.Request.MainPID)
	if err := a.copyBeside(ctx, exe, p.Kept, exe, true); err != nil {
		return fmt.Errorf("copy the binary that runs: %w", err)
	}
	if p.Back, err = idOf(p.Kept); err != nil {
		return fmt.Errorf("look at the copy of the binary that runs: %w", err)
	}
	return nil
}

// copyBeside makes to a copy of from with the owner, mode and attributes of like. A copy that an earlier preparation made is used
// again, and so is a file of somebody else with the same content, which is not touched.
func (a *Agent) copyBeside(ctx context.Context, from, to, like string, ours bool) error {
	want, size, err := a.cache.hash(ctx, from)
	if err != nil {
		return err
	}
	there, err := a.sameFile(ctx, to, want, size)
	if err != nil || there {
		return err
	}
	if !ours {
		return failure(wire.KindStale, "%s has just changed", to)
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := enoughSpace(filepath.Dir(to), size, to); err != nil {
		return err
	}
	l := landing{path: to, like: like, size: size, sha256: want, uid: -1, gid: -1}
	if _, err := l.land(ctx, f); err != nil {
		return err
	}
	// What was just hashed need not be hashed again for the next preparation.
	if info, err := os.Lstat(to); err == nil {
		a.cache.update(identity(info), func(e *cacheEntry) { e.SHA256 = want })
	}
	return nil
}

// sameFile tells whether a regular file has the content.
func (a *Agent) sameFile(ctx context.Context, path, sha256 string, size int64) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return false, err
	}
	sum, _, err := a.cache.hash(ctx, path)
	return sum == sha256, err
}

// claim decides whose the file is that a switched link will point to. earlier are files that a preparation of drover's brought
// and that nobody used.
func (a *Agent) claim(ctx context.Context, p *plan, size int64, earlier []string) error {
	if p.LinkNew == "" {
		return nil
	}
	if !exists(p.Placed) {
		p.Ours = true
		return nil
	}
	same, err := a.sameFile(ctx, p.Placed, p.Request.SHA256, size)
	if err != nil {
		return err
	}
	if !same {
		refused := failure(wire.KindInvalid, "%s, where Nomad %s would go, exists already and is another file", p.Placed, p.Request.Version)
		refused.Hint = "nothing was touched; see what it is (" + p.Placed + " version), move it away and run again"
		return refused
	}
	for _, path := range earlier {
		p.Ours = p.Ours || path == p.Placed
	}
	return nil
}

// tidy removes what a preparation brought and what only a transaction at work needs, once it has ended as state says; twice does
// no harm. The state "" means that it never began.
func tidy(p plan, state string, swapDirs []string) {
	if p.Kind == "" {
		return
	}
	undone := state == "" || state == wire.SwapUntouched || state == wire.SwapReverted
	if undone && p.Ours && !placedIsUsed(p, swapDirs) {
		os.Remove(p.Placed)
	}
	if state == wire.SwapUntouched && p.Kept != "" {
		if id, err := idOf(p.Previous); err == nil && id == p.Back {
			os.Remove(p.Previous)
		}
	}
	for _, path := range []string{p.Kept, p.Displaced} {
		if path != "" {
			os.Remove(path)
		}
	}
	// What was killed in the middle of a move has left its temporary name.
	for _, path := range []string{p.Placed, p.Previous, p.Kept, p.Displaced} {
		if path != "" {
			removeLeftovers(path)
		}
	}
	if p.LinkNew != "" {
		os.Remove(temporaryLink(p.Binary))
	}
}

func temporaryLink(link string) string {
	return filepath.Join(filepath.Dir(link), temporaryPrefix(link)+"link")
}

// placedIsUsed tells whether the file that a preparation brought has a use: the link points to it, or another unit's does, by the
// record of its swap.
func placedIsUsed(p plan, swapDirs []string) bool {
	placed, err := idOf(p.Placed)
	if err != nil {
		return true
	}
	if now, err := idOf(p.Binary); err == nil && now == placed {
		return true
	}
	if p.LinkNew == "" {
		return false
	}
	for _, process := range nomadProcesses() {
		if process.exe == placed {
			return true
		}
	}
	all, err := records(swapDirs)
	for _, r := range all {
		if r.plan.Placed == p.Placed && r.plan.Request.Unit != p.Request.Unit {
			return true
		}
	}
	return err != nil
}

// switchLink makes a symbolic link point elsewhere, by way of another that takes its place. It belongs to whom it belonged.
func switchLink(link, text string) error {
	temporary := temporaryLink(link)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := os.Lstat(link)
	if err != nil {
		return err
	}
	if err := os.Symlink(text, temporary); err != nil {
		return err
	}
	raw := info.Sys().(*syscall.Stat_t)
	if err := os.Lchown(temporary, int(raw.Uid), int(raw.Gid)); err != nil {
		os.Remove(temporary)
		return err
	}
	if err := os.Rename(temporary, link); err != nil {
		os.Remove(temporary)
		return err
	}
	return syncDir(filepath.Dir(link))
}
