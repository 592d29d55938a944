// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

// landing is how a file gets to its place so that no reader, and no crash, ever sees half of it: a temporary file in
// the same directory, hashed while it is written, fsync, rename, fsync of the directory.
type landing struct {
	path   string
	like   string // owner, mode and extended attributes are those of this file where it exists; usually path itself
	size   int64
	sha256 string  // lower-case hex; "" accepts any content
	mode   *uint32 // nil: that of like, or 0644
	uid    int     // -1: that of like
	gid    int
}

// land writes content to its place and returns the hash of what was written.
func (l landing) land(ctx context.Context, content io.Reader) (string, error) {
	removeLeftovers(l.path)
	f, err := os.CreateTemp(filepath.Dir(l.path), temporaryPrefix(l.path)+"*")
	if err != nil {
		return "", fmt.Errorf("make a temporary file beside %s: %w", l.path, err)
	}
	landed := false
	defer func() {
		f.Close()
		if !landed {
			os.Remove(f.Name())
		}
	}()
	// The flock tells a later landing that this temporary file is alive.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return "", fmt.Errorf("lock the temporary file of %s: %w", l.path, err)
	}
	sum, err := l.fill(ctx, f, content)
	if err != nil {
		return "", err
	}
	if err := l.dress(f); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("sync the temporary file of %s: %w", l.path, err)
	}
	if err := os.Rename(f.Name(), l.path); err != nil {
		return "", fmt.Errorf("put %s in its place: %w", l.path, err)
	}
	landed = true
	return sum, syncDir(filepath.Dir(l.path))
}

// fill writes the content and proves that it is the promised one.
func (l landing) fill(ctx context.Context, f *os.File, content io.Reader) (string, error) {
	// A copy of a file whose hash is known needs no second look where the filesystem shares the blocks.
	if from, ok := content.(*os.File); ok && l.sha256 != "" && unix.IoctlFileClone(int(f.Fd()), int(from.Fd())) == nil {
		return l.sha256, nil
	}
	sum := sha256.New()
	written, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(contextReader{ctx, content}, l.size+1))
	if err != nil {
		return "", fmt.Errorf("write %s: %w", l.path, err)
	}
	if written != l.size {
		return "", failure(wire.KindChecksum, "content of %s does not have the promised %d bytes: got %d", l.path, l.size, written)
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if l.sha256 != "" && got != l.sha256 {
		return "", failure(wire.KindChecksum, "content of %s has SHA-256 %s, promised was %s", l.path, got, l.sha256)
	}
	return got, nil
}

// dress gives the file its owner, extended attributes and mode, in this order: chown drops capabilities, and an ACL
// changes the mode.
func (l landing) dress(f *os.File) error {
	uid, gid, mode := l.uid, l.gid, uint32(0o644)
	model, err := os.Stat(l.like)
	if err == nil {
		raw := model.Sys().(*syscall.Stat_t)
		mode = raw.Mode & 0o7777
		if uid < 0 {
			uid = int(raw.Uid)
		}
		if gid < 0 {
			gid = int(raw.Gid)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", l.like, err)
	}
	if l.mode != nil {
		mode = *l.mode
	}
	if err := chownIfNeeded(f, uid, gid); err != nil {
		return err
	}
	if model != nil {
		if err := copyAttributes(f, l.like); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil {
		return fmt.Errorf("set the mode of %s: %w", l.path, err)
	}
	return nil
}

func chownIfNeeded(f *os.File, uid, gid int) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at the temporary file: %w", err)
	}
	raw := info.Sys().(*syscall.Stat_t)
	if (uid < 0 || uid == int(raw.Uid)) && (gid < 0 || gid == int(raw.Gid)) {
		return nil
	}
	if err := f.Chown(uid, gid); err != nil {
		return fmt.Errorf("set the owner: %w", err)
	}
	return nil
}

// copyAttributes copies all extended attributes: SELinux label, file capabilities, ACL and the user's own.
func copyAttributes(to *os.File, from string) error {
	names := make([]byte, 64<<10)
	n, err := unix.Listxattr(from, names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the extended attributes of %s: %w", from, err)
	}
	value := make([]byte, 64<<10)
	for _, name := range splitNull(names[:n]) {
		size, err := unix.Getxattr(from, name, value)
		if err != nil {
			return fmt.Errorf("read the extended attribute %s of %s: %w", name, from, err)
		}
		err = unix.Fsetxattr(int(to.Fd()), name, value[:size], 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set the extended attribute %s: %w", name, err)
		}
	}
	return nil
}

func temporaryPrefix(path string) string { return "." + filepath.Base(path) + ".drover-" }

// removeLeftovers removes the temporary files that an agent which was killed left beside path: those that no living
// process holds locked.
func removeLeftovers(path string) {
	entries, err := filepath.Glob(filepath.Join(filepath.Dir(path), temporaryPrefix(path)+"*"))
	if err != nil {
		return
	}
	for _, name := range entries {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.Remove(name)
		}
		f.Close()
	}
}

// syncDir makes a rename in a directory last.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
