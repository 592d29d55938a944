// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"drover/internal/wire"
)

const defaultReadMax = 16 << 20

func stat(ctx context.Context, c *call, request wire.Stat) (wire.StatResult, error) {
	result, err := statPath(request.Path, request.Follow)
	if err != nil || !request.Hash || result.Type != "file" {
		return result, err
	}
	result.SHA256, _, err = c.agent.cache.hash(ctx, request.Path)
	return result, err
}

// statPath describes a path; a missing one is not an error.
func statPath(path string, follow bool) (wire.StatResult, error) {
	if err := absolute(path); err != nil {
		return wire.StatResult{}, err
	}
	look := os.Lstat
	if follow {
		look = os.Stat
	}
	info, err := look(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return wire.StatResult{}, nil
	}
	if err != nil {
		return wire.StatResult{}, fmt.Errorf("stat: %w", err)
	}
	raw := info.Sys().(*syscall.Stat_t)
	result := wire.StatResult{
		Exists: true, Type: fileType(info.Mode()), Size: info.Size(), Mode: raw.Mode & 0o7777,
		UID: int(raw.Uid), GID: int(raw.Gid), User: userName(int(raw.Uid)), Group: groupName(int(raw.Gid)),
		ModTime: info.ModTime().UnixNano(), Inode: raw.Ino, Device: uint64(raw.Dev),
	}
	if result.Type == "link" {
		if result.LinkTarget, err = os.Readlink(path); err != nil {
			return result, fmt.Errorf("read link: %w", err)
		}
	}
	return result, nil
}

func fileType(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "link"
	}
	return "other"
}

// absolute refuses a path that would depend on where the agent happens to run.
func absolute(path string) error {
	if !filepath.IsAbs(path) {
		return failure(wire.KindInvalid, "path %q is not absolute", path)
	}
	return nil
}

func read(_ context.Context, c *call, request wire.Read) (wire.ReadResult, error) {
	if err := absolute(request.Path); err != nil {
		return wire.ReadResult{}, err
	}
	limit := request.Max
	if limit <= 0 {
		limit = defaultReadMax
	}
	// Opening a FIFO for reading would wait for a writer.
	f, err := os.OpenFile(request.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return wire.ReadResult{}, fmt.Errorf("read: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = failure(wire.KindInvalid, "%s is not a regular file", request.Path)
	}
	if err == nil && info.Size() > limit {
		err = failure(wire.KindInvalid, "%s has %d bytes, over the limit of %d", request.Path, info.Size(), limit)
	}
	if err != nil {
		f.Close()
		return wire.ReadResult{}, err
	}
	c.reply = &limited{file: f, left: limit}
	return wire.ReadResult{Size: info.Size()}, nil
}

// limited fails once a file, which may grow while it is read, has given more than its limit.
type limited struct {
	file *os.File
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.file.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, failure(wire.KindInvalid, "%s grew over the limit while it was read", l.file.Name())
	}
	return n, err
}

func (l *limited) Close() error { return l.file.Close() }
