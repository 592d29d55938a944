// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"drover/internal/wire"
)

// cache remembers what is expensive to learn about a file's content: its hash and the version it prints. Entries are
// keyed by device, inode, size and both times, so a changed file is simply another entry.
type cache struct {
	path    string
	mu      sync.Mutex
	entries map[string]cacheEntry
}

type cacheEntry struct {
	SHA256  string `json:"sha256,omitempty"`
	Version string `json:"version,omitempty"`
	Package string `json:"package,omitempty"` // as packageOf gives it, or noPackage
	Used    int64  `json:"used"`              // grows with each use, so that the oldest can go first
}

const (
	maxCacheEntries = 256
	maxCacheBytes   = 1 << 20
)

func openCache(path string) *cache {
	c := &cache{path: path, entries: map[string]cacheEntry{}}
	if info, err := os.Stat(path); err != nil || info.Size() > maxCacheBytes {
		return c
	}
	if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &c.entries) != nil {
		c.entries = map[string]cacheEntry{}
	}
	return c
}

// identity is the key of an open file.
func identity(info os.FileInfo) string {
	raw := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d:%d:%d.%d:%d.%d", raw.Dev, raw.Ino, raw.Size, raw.Mtim.Sec, raw.Mtim.Nsec, raw.Ctim.Sec, raw.Ctim.Nsec)
}

func (c *cache) get(key string) cacheEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[key]
}

// update changes an entry and saves the cache. A cache that cannot be saved is only slower, so errors end here.
func (c *cache) update(key string, change func(*cacheEntry)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var newest, oldest int64
	var last string
	for k, e := range c.entries {
		newest = max(newest, e.Used)
		if last == "" || e.Used < oldest {
			last, oldest = k, e.Used
		}
	}
	if _, known := c.entries[key]; !known && len(c.entries) >= maxCacheEntries {
		delete(c.entries, last)
	}
	entry := c.entries[key]
	change(&entry)
	entry.Used = newest + 1
	c.entries[key] = entry
	text, err := json.Marshal(c.entries)
	if err != nil {
		return
	}
	temporary := fmt.Sprintf("%s.%d", c.path, os.Getpid())
	if os.WriteFile(temporary, text, 0o600) != nil || os.Rename(temporary, c.path) != nil {
		os.Remove(temporary)
	}
}

// hash gives the SHA-256 of a regular file and its size.
func (c *cache) hash(ctx context.Context, path string) (string, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", 0, fmt.Errorf("hash: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, fmt.Errorf("hash: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", 0, failure(wire.KindInvalid, "hash: %s is not a regular file", path)
	}
	key := identity(info)
	if known := c.get(key); known.SHA256 != "" {
		return known.SHA256, info.Size(), nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, contextReader{ctx, f}); err != nil {
		return "", 0, fmt.Errorf("hash %s: %w", path, err)
	}
	text := hex.EncodeToString(sum.Sum(nil))
	if after, err := f.Stat(); err == nil && identity(after) == key {
		c.update(key, func(e *cacheEntry) { e.SHA256 = text })
	}
	return text, info.Size(), nil
}

func hash(ctx context.Context, c *call, request wire.Hash) (wire.HashResult, error) {
	if err := absolute(request.Path); err != nil {
		return wire.HashResult{}, err
	}
	path, err := filepath.EvalSymlinks(request.Path)
	if err != nil {
		return wire.HashResult{}, fmt.Errorf("hash: %w", err)
	}
	sum, size, err := c.agent.cache.hash(ctx, path)
	return wire.HashResult{SHA256: sum, Size: size}, err
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx  context.Context
	from io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
