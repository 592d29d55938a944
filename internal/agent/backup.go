// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"drover/internal/printable"
	"drover/internal/wire"
)

// suffixBackup is between the name of a directory and the id of the transaction that has copied it.
const suffixBackup = ".drover-backup-"

// chooseBackup names the copy and makes sure that it will find space.
func (p *plan) chooseBackup() error {
	b := p.Request.Backup
	if b == nil {
		return nil
	}
	if b.Keep < 1 {
		return failure(wire.KindInvalid, "of the copies of %s, %d shall stay: at least the new one has to", b.From, b.Keep)
	}
	if err := absolute(b.From); err != nil {
		return err
	}
	from, err := filepath.EvalSymlinks(b.From)
	if err != nil {
		return fmt.Errorf("the directory to copy: %w", err)
	}
	size, err := diskUsage(from)
	if err != nil {
		return fmt.Errorf("the directory to copy: %w", err)
	}
	kept := *b
	kept.From = from
	p.Request.Backup, p.Backup = &kept, from+suffixBackup+p.ID
	if readOnly(p.Backup) {
		return failure(wire.KindInvalid, "%s cannot be copied to %s: that filesystem is mounted read-only", from, p.Backup)
	}
	// The directory may grow until the agent is stopped.
	return enoughSpace(filepath.Dir(from), size+size/10+spaceReserve, "the copy of "+from)
}

// diskUsage is what the files below a directory take, in bytes.
func diskUsage(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) && entry != nil {
				return nil // a running agent removes files
			}
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		total += max(info.Sys().(*syscall.Stat_t).Blocks*512, 4096)
		return nil
	})
	return total, err
}

// backUp copies the directory. Only a whole copy gets its name.
func (t *transaction) backUp(ctx context.Context) error {
	if t.plan.Backup == "" || t.has(stepBackedUp) {
		return nil
	}
	if !exists(t.plan.Backup) {
		if err := copyTree(ctx, t.plan.Request.Backup.From, t.plan.Backup); err != nil {
			return fmt.Errorf("copy %s to %s: %w", t.plan.Request.Backup.From, t.plan.Backup, err)
		}
	}
	return t.mark(stepBackedUp, t.plan.Backup)
}

func copyTree(ctx context.Context, from, to string) error {
	partial := to + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	result, err := command{argv: []string{"cp", "-a", "-T", "--", from, partial}}.execute(ctx)
	if err == nil && result.rc != 0 {
		err = failure(wire.KindFailed, "cp ended with code %d: %s", result.rc, strings.TrimSpace(printable.Text(result.stderr)))
	}
	if err == nil {
		err = syncFilesystem(partial)
	}
	if err == nil {
		err = os.Rename(partial, to)
	}
	if err != nil {
		os.RemoveAll(partial) // on a full disk the outcome needs its place
		return err
	}
	return syncDir(filepath.Dir(to))
}

func syncFilesystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// pruneBackups removes the oldest copies of the directory; what is not a copy of drover's making is left alone.
func pruneBackups(p plan) {
	if p.Backup == "" {
		return
	}
	own := regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}-[0-9a-f]{6}(\.partial)?$`)
	prefix := p.Request.Backup.From + suffixBackup
	found, err := filepath.Glob(filepath.Join(filepath.Dir(prefix), "*"))
	if err != nil {
		return
	}
	var copies []string
	for _, path := range found {
		id, ours := strings.CutPrefix(path, prefix)
		if ours && own.MatchString(id) {
			copies = append(copies, path)
		}
	}
	slices.Sort(copies)
	for len(copies) > p.Request.Backup.Keep {
		os.RemoveAll(copies[0])
		copies = copies[1:]
	}
}
