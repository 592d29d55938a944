// SPDX-License-Identifier: MPL-2.0

package release

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"drover/internal/landing"
)

const (
	lockPoll = 20 * time.Millisecond
	sayAfter = time.Second
)

// lock waits for an exclusive lock on the cache; the lock ends with the process.
func (c Cache) lock(ctx context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(c.Directory, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	said := time.AfterFunc(sayAfter, func() { c.say("waiting for another user of the cache of binaries in %s", c.Directory) })
	defer said.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			file.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}

// hash is the SHA-256 of a file. It is remembered beside the cache under what identifies the file, so that a binary
// is not read again for every host.
func (c Cache) hash(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read the binary: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > maximumBinary {
		return "", fmt.Errorf("%s is larger than any Nomad: it has %d bytes, and at most %d are taken", path, info.Size(), maximumBinary)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	identity := fmt.Sprintf("%s %d %d", absolute, info.Size(), info.ModTime().UnixNano())
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		identity += fmt.Sprintf(" %d %d %d.%d", stat.Dev, stat.Ino, stat.Ctim.Sec, stat.Ctim.Nsec)
	}
	key := sha256.Sum256([]byte(identity))
	remembered := filepath.Join(c.Directory, hex.EncodeToString(key[:])+".hash")
	if sum := c.recalled(remembered); len(sum) == 2*sha256.Size {
		return sum, nil
	}
	sum, err := hashFile(ctx, path)
	if err != nil {
		return "", err
	}
	return sum, c.remember(remembered, sum)
}

// remember keeps a text in a file of the cache.
func (c Cache) remember(path, fact string) error {
	text, err := json.Marshal(fact)
	if err != nil {
		return err
	}
	_, err = landing.File(path, func(file *os.File) error { _, err := file.Write(text); return err })
	return err
}

// recalled is what remember kept, or "".
func (c Cache) recalled(path string) string {
	var fact string
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &fact) != nil {
		return ""
	}
	return fact
}

func hashFile(ctx context.Context, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, reader{ctx, file}); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// reader stops reading when the context ends.
type reader struct {
	ctx  context.Context
	from io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(p)
}

// unzip takes the member `nomad` out of a release zip, as a program of mode 0700.
func (c Cache) unzip(ctx context.Context, source, target string) error {
	archive, err := zip.OpenReader(source)
	if err != nil {
		return fmt.Errorf("open %s: %w: it is cut off or no zip", source, err)
	}
	defer archive.Close()
	for _, member := range archive.File {
		if member.Name != "nomad" {
			continue
		}
		if member.UncompressedSize64 > maximumBinary {
			return fmt.Errorf("%s: nomad in it is larger than %d bytes", source, maximumBinary)
		}
		content, err := member.Open()
		if err != nil {
			return fmt.Errorf("open nomad in %s: %w", source, err)
		}
		defer content.Close()
		c.say("unpacking %s", filepath.Base(source))
		_, err = landing.File(target, func(file *os.File) error {
			size, err := io.Copy(file, io.LimitReader(reader{ctx, content}, maximumBinary+1))
			if size > maximumBinary {
				return fmt.Errorf("nomad in it is larger than %d bytes", maximumBinary)
			}
			return errors.Join(err, file.Chmod(0o700))
		})
		if err != nil {
			return fmt.Errorf("unpack %s: %w", source, err)
		}
		return nil
	}
	return fmt.Errorf("%s has no member nomad, so it is not a Nomad release", source)
}

// compress makes the zstd form, at the fastest level: it takes well under a second and leaves about 40% to send.
func (c Cache) compress(ctx context.Context, source, target string) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	c.say("compressing %s", filepath.Base(source))
	_, err = landing.File(target, func(packed *os.File) error {
		encoder, err := zstd.NewWriter(packed, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return err
		}
		_, err = io.Copy(encoder, reader{ctx, file})
		return errors.Join(err, encoder.Close())
	})
	return err
}
