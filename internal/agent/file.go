// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

func file(ctx context.Context, c *call, request wire.File) (wire.FileResult, error) {
	var result wire.FileResult
	before, err := statPath(request.Path, false)
	if err != nil {
		return result, err
	}
	uid, gid, err := ownership(ctx, request.Owner, request.Group)
	if err != nil {
		return result, err
	}
	result.Before = before
	switch request.State {
	case "directory":
		result.Changed, err = makeDirectory(request, before)
	case "absent":
		result.Changed, err = remove(request, before)
	case "touch":
		result.Changed, err = touch(request, before)
	case "file":
		if !before.Exists || before.Type == "directory" {
			err = failure(wire.KindNotFound, "there is no file %s (state file makes none)", request.Path)
		}
	case "link", "hard":
		result.Changed, err = makeLink(request, before)
	default:
		err = failure(wire.KindInvalid, "unknown file state %q", request.State)
	}
	if err != nil {
		return result, err
	}
	if request.State != "absent" && request.State != "link" {
		changed, err := applyAttributes(ctx, request, uid, gid)
		if err != nil {
			return result, err
		}
		result.Changed = result.Changed || changed
	}
	result.After, err = statPath(request.Path, false)
	return result, err
}

func makeDirectory(request wire.File, before wire.StatResult) (bool, error) {
	now, err := statPath(request.Path, true)
	if err != nil || now.Type == "directory" {
		return false, err
	}
	if before.Exists {
		return false, failure(wire.KindInvalid, "%s exists and is a %s, not a directory", request.Path, before.Type)
	}
	if request.Check {
		return true, nil
	}
	if err := os.MkdirAll(request.Path, 0o755); err != nil {
		return false, fmt.Errorf("make directory: %w", err)
	}
	return true, nil
}

func remove(request wire.File, before wire.StatResult) (bool, error) {
	clean := filepath.Clean(request.Path)
	if strings.Count(clean, "/") < 2 && (before.Type == "directory" || clean == "/") {
		return false, failure(wire.KindInvalid, "refusing to remove %s: it is a top-level directory", clean)
	}
	if !before.Exists || request.Check {
		return before.Exists, nil
	}
	if err := os.RemoveAll(clean); err != nil {
		return false, fmt.Errorf("remove: %w", err)
	}
	return true, nil
}

func touch(request wire.File, before wire.StatResult) (bool, error) {
	if request.Check {
		return true, nil
	}
	if before.Exists {
		now := time.Now()
		if err := os.Chtimes(request.Path, now, now); err != nil {
			return false, fmt.Errorf("touch: %w", err)
		}
		return true, nil
	}
	f, err := os.OpenFile(request.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return false, fmt.Errorf("touch: %w", err)
	}
	return true, f.Close()
}

// makeLink puts a symbolic or hard link in its place by rename, so that the path never points nowhere.
func makeLink(request wire.File, before wire.StatResult) (bool, error) {
	if request.Source == "" {
		return false, failure(wire.KindInvalid, "state %s of %s needs a source", request.State, request.Path)
	}
	link := os.Symlink
	same := before.Type == "link" && before.LinkTarget == request.Source
	if request.State == "hard" {
		link = os.Link
		source, err := statPath(request.Source, false)
		if err != nil {
			return false, err
		}
		if !source.Exists {
			return false, failure(wire.KindNotFound, "there is no %s to link to", request.Source)
		}
		same = before.Exists && source.Inode == before.Inode && source.Device == before.Device
	}
	if same {
		return false, nil
	}
	if before.Exists && before.Type != "link" && !request.Force {
		return false, failure(wire.KindInvalid, "%s exists and is a %s; force: true replaces it", request.Path, before.Type)
	}
	if before.Type == "directory" {
		return false, failure(wire.KindInvalid, "%s is a directory, which a link does not replace", request.Path)
	}
	if request.Check {
		return true, nil
	}
	temporary := filepath.Join(filepath.Dir(request.Path), fmt.Sprintf("%s%d", temporaryPrefix(request.Path), time.Now().UnixNano()))
	if err := link(request.Source, temporary); err != nil {
		return false, fmt.Errorf("link: %w", err)
	}
	if err := os.Rename(temporary, request.Path); err != nil {
		os.Remove(temporary)
		return false, fmt.Errorf("put the link in its place: %w", err)
	}
	return true, nil
}

// applyAttributes sets mode and owner on the path and, where asked, on everything below it.
func applyAttributes(ctx context.Context, request wire.File, uid, gid int) (bool, error) {
	current, err := statPath(request.Path, true)
	if err != nil || !current.Exists {
		return false, err
	}
	changed, err := setAttributes(request.Path, current, request.Mode, uid, gid, request.Check)
	if err != nil || !request.Recurse || current.Type != "directory" {
		return changed, err
	}
	err = filepath.WalkDir(request.Path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if path == request.Path || entry.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		below, err := statPath(path, false)
		if err != nil || !below.Exists {
			return err
		}
		one, err := setAttributes(path, below, request.Mode, uid, gid, request.Check)
		changed = changed || one
		return err
	})
	return changed, err
}

// setAttributes changes owner and mode where they differ; mode last, since chown drops setuid.
func setAttributes(path string, current wire.StatResult, mode *uint32, uid, gid int, check bool) (bool, error) {
	changed := false
	if (uid >= 0 && uid != current.UID) || (gid >= 0 && gid != current.GID) {
		changed = true
		if !check {
			if err := os.Chown(path, uid, gid); err != nil {
				return false, fmt.Errorf("set the owner: %w", err)
			}
		}
	}
	if mode != nil && *mode&0o7777 != current.Mode {
		changed = true
	}
	if mode != nil && changed && !check {
		if err := unix.Chmod(path, *mode&0o7777); err != nil {
			return false, fmt.Errorf("set the mode of %s: %w", path, err)
		}
	}
	return changed, nil
}
