// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"drover/internal/wire"
)

// maxWindow bounds the memory that a compressed body may ask for.
const maxWindow = 64 << 20

func write(ctx context.Context, c *call, request wire.Write) (wire.WriteResult, error) {
	path, err := writeTarget(request.Path)
	if err != nil {
		return wire.WriteResult{}, err
	}
	uid, gid, err := ownership(ctx, request.Owner, request.Group)
	if err != nil {
		return wire.WriteResult{}, err
	}
	existing, err := statPath(path, true)
	if err != nil {
		return wire.WriteResult{}, err
	}
	if existing.Exists && request.NoClobber {
		return wire.WriteResult{}, nil
	}
	if err := c.agent.unchanged(ctx, path, existing, request.Replaces); err != nil {
		return wire.WriteResult{}, err
	}
	if existing.Exists && existing.Size == request.Size && request.SHA256 != "" {
		sum, _, err := c.agent.cache.hash(ctx, path)
		if err != nil {
			return wire.WriteResult{}, err
		}
		if sum == request.SHA256 {
			changed, err := setAttributes(path, existing, request.Mode, uid, gid, false)
			return wire.WriteResult{Changed: changed}, err
		}
	}
	content, err := decode(c.body, request.Encoding)
	if err != nil {
		return wire.WriteResult{}, err
	}
	defer content.Close()
	if err := enoughSpace(filepath.Dir(path), request.Size, path); err != nil {
		return wire.WriteResult{}, err
	}
	result := wire.WriteResult{Changed: true}
	if request.Backup && existing.Exists {
		if result.Backup, err = backup(path); err != nil {
			return wire.WriteResult{}, err
		}
	}
	l := landing{path: path, like: path, size: request.Size, sha256: request.SHA256, mode: request.Mode, uid: uid, gid: gid}
	if _, err := l.land(ctx, content); err != nil {
		if result.Backup != "" {
			os.Remove(result.Backup)
		}
		return wire.WriteResult{}, err
	}
	return result, nil
}

// unchanged refuses to replace a file that is not the one that the caller has read. "" replaces anything.
func (a *Agent) unchanged(ctx context.Context, path string, existing wire.StatResult, sum string) error {
	if sum == "" {
		return nil
	}
	if existing.Exists {
		now, _, err := a.cache.hash(ctx, path)
		if err != nil {
			return err
		}
		if now == sum {
			return nil
		}
	}
	changed := failure(wire.KindStale, "%s has changed since it was read", path)
	changed.Hint = "somebody else is at work on it; nothing was written, run again"
	return changed
}

// writeTarget follows a symbolic link, so that writing to one replaces the file that it means and not the link.
func writeTarget(path string) (string, error) {
	if err := absolute(path); err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", fmt.Errorf("the directory of %s: %w", path, err)
		}
		return filepath.Join(dir, filepath.Base(path)), nil
	}
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	info, err := os.Stat(target)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return "", failure(wire.KindInvalid, "%s is a %s, not a file that can be replaced", path, fileType(info.Mode()))
	}
	return target, nil
}

// decode opens the body in its encoding.
func decode(body io.Reader, encoding string) (io.ReadCloser, error) {
	if body == nil {
		return nil, failure(wire.KindInvalid, "the request came without its content")
	}
	switch encoding {
	case "":
		return io.NopCloser(body), nil
	case "zstd":
		decoder, err := zstd.NewReader(body, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("start to decompress: %w", err)
		}
		return drained{decoder.IOReadCloser(), body}, nil
	}
	return nil, failure(wire.KindInvalid, "unknown encoding %q", encoding)
}

// drained reads its source to the end: the decompressor stops at its last frame, but the body ends with an empty chunk.
type drained struct {
	io.ReadCloser
	source io.Reader
}

func (d drained) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		if _, rest := io.Copy(io.Discard, d.source); rest != nil {
			return n, rest
		}
	}
	return n, err
}

// backup keeps the content of a file under a name in Ansible's manner. A hard link is enough, since the file is
// replaced and never written to.
func backup(path string) (string, error) {
	name := fmt.Sprintf("%s.%d.%s~", path, os.Getpid(), time.Now().Format("2006-01-02@15:04:05"))
	if err := os.Link(path, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("keep a backup: %w", err)
	}
	return name, nil
}

// spaceReserve is left free on a filesystem that drover writes to, in bytes.
const spaceReserve = 16 << 20

// enoughSpace says before a byte is written that a disk is too small.
func enoughSpace(dir string, size int64, what string) error {
	free, err := freeBytes(dir)
	if err != nil {
		return err
	}
	// A small file goes by the reserve: the reserve is for what drover lands, not a judgement of the disk.
	need := size
	if size > spaceReserve {
		need += spaceReserve
	}
	if free < need {
		short := failure(wire.KindNoSpace, "not enough space for %s: %s needs %d MiB free, has %d MiB, %d MiB are missing",
			what, dir, mebibytes(need), free>>20, mebibytes(need-free))
		short.Hint = "free some space on that filesystem and try again"
		return short
	}
	return nil
}

// mebibytes rounds up.
func mebibytes(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

func freeBytes(dir string) (int64, error) {
	var fsinfo syscall.Statfs_t
	if err := syscall.Statfs(dir, &fsinfo); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return int64(fsinfo.Bavail) * int64(fsinfo.Bsize), nil
}
