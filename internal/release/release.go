// SPDX-License-Identifier: MPL-2.0

// Package release finds Nomad binaries, makes sure of them and makes them ready to travel. A binary comes from a file, from
// a directory, or from the web in the layout of HashiCorp's releases (BASE/nomad/VERSION/nomad_VERSION_linux_ARCH.zip with
// nomad_VERSION_SHA256SUMS and its signature). What comes from the web is believed only along one chain: a key that was embedded
// or named signed SHA256SUMS, SHA256SUMS lists the zip, the zip has that hash, and the binary in it is a program for the
// architecture that calls itself that version. What was verified so is noted in the cache and found there again without the network.
//
// A binary is looked for once per version and architecture, taken out of its zip, hashed and compressed once, and kept in a cache
// directory under its hash, so that any number of hosts can be sent the same bytes, in this run and in later ones. Concurrent
// callers, also of other processes, wait for each other through a lock file. Nothing is ever removed from the cache but what is
// damaged; all of it may be deleted while no drover runs.
package release

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Binary is a Nomad binary that is ready to be sent.
type Binary struct {
	Source     string // where it came from: a file, a URL without its password, or the cache
	Path       string // the plain binary
	SHA256     string // of the plain binary, lower-case hex
	Size       int64  // of the plain binary
	Compressed string // the same, zstd
	SignedBy   string // fingerprint of the key that signed its SHA256SUMS, upper-case hex; "": nobody's signature was checked
}

// named is what the user knows the plain binary by: it may lie unpacked in the cache.
func (b Binary) named() string {
	if b.Path == b.Source {
		return b.Path
	}
	return "nomad in " + b.Source
}

// Wanted is a binary that hosts need, and where to look for it: File, else Directory, else the cache, else Mirror.
type Wanted struct {
	Version      string // as Nomad writes it: 1.11.0, 1.11.0+ent, 1.11.0-rc.1
	Architecture string // as releases are named: amd64, arm64
	File         string // a binary or a release zip
	Directory    string // release zips or binaries, see Find
	Mirror       string // base URL of releases in HashiCorp's layout
	Key          string // file of the public keys whose signatures count; "": HashiCorp's
}

// Cache keeps unpacked and compressed binaries, and what is known of them, in a directory of its own.
type Cache struct {
	Directory string
	Proxy     func(*http.Request) (*url.URL, error) // nil: none
	Say       func(text string)                     // is told what takes longer than a second; may be nil
	Now       func() time.Time                      // nil: time.Now
	limits    limits
}

// limits bound what is taken from a server; the zero value means the defaults.
type limits struct {
	idle time.Duration // without a byte
	zip  int64         // bytes
}

const (
	maximumBinary    = 1 << 30
	maximumZip       = 1 << 30
	maximumSums      = 1 << 20
	maximumSignature = 64 << 10
	idleLimit        = 30 * time.Second
)

func (c Cache) say(format string, args ...any) {
	if c.Say != nil {
		c.Say(fmt.Sprintf(format, args...))
	}
}

func (c Cache) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Architecture turns what `uname -m` says into what releases are named after; names that are one already stay.
func Architecture(machine string) (string, error) {
	switch machine {
	case "x86_64", "amd64":
		return "amd64", nil
	case "aarch64", "arm64":
		return "arm64", nil
	}
	return "", fmt.Errorf("no Nomad binary is known for the architecture %q (amd64 and arm64 are)", machine)
}

// versionForm keeps a version from being a path or a pattern.
var versionForm = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~-]*$`)

func (w Wanted) check() error {
	if !versionForm.MatchString(w.Version) {
		return fmt.Errorf("%q is not a version of Nomad", w.Version)
	}
	if _, err := Architecture(w.Architecture); err != nil {
		return err
	}
	return nil
}

func (w Wanted) zipName() string {
	return fmt.Sprintf("nomad_%s_linux_%s.zip", w.Version, w.Architecture)
}

func (w Wanted) sumsName() string { return fmt.Sprintf("nomad_%s_SHA256SUMS", w.Version) }

// Prepare finds the binary, verifies it and makes it ready for hosts of the architecture. An error says what was found and what to
// do; nothing unverified is left in the cache under a name that counts.
func (c Cache) Prepare(ctx context.Context, w Wanted) (Binary, error) {
	if err := w.check(); err != nil {
		return Binary{}, err
	}
	keys, err := readKeys(w.Key)
	if err != nil {
		return Binary{}, err
	}
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return Binary{}, fmt.Errorf("make the cache of binaries: %w", err)
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return Binary{}, fmt.Errorf("wait for the cache of binaries in %s, which another run uses: %w", c.Directory, err)
	}
	defer unlock()
	switch {
	case w.File != "":
		return c.fromFile(ctx, w, w.File, keys)
	case w.Directory != "":
		path, err := Find(w.Directory, w.Version, w.Architecture)
		if err != nil {
			return Binary{}, err
		}
		return c.fromFile(ctx, w, path, keys)
	}
	binary, found, err := c.recall(ctx, w, keys)
	if found || err != nil {
		return binary, err
	}
	if w.Mirror == "" {
		return Binary{}, fmt.Errorf("no verified Nomad %s for %s is in the cache, and nothing says where to fetch it: name a binary, a directory or a mirror", w.Version, w.Architecture)
	}
	return c.fromMirror(ctx, w, keys)
}

// fromFile makes a file of the user's ready: a binary, or a release zip. The SHA256SUMS beside it and its signature are checked
// as far as they are there.
func (c Cache) fromFile(ctx context.Context, w Wanted, source string, keys keys) (Binary, error) {
	sum, err := c.hash(ctx, source)
	if err != nil {
		return Binary{}, err
	}
	proof, err := c.beside(w, source, sum, keys)
	if err != nil {
		return Binary{}, err
	}
	binary := Binary{Source: source, Path: source, SHA256: sum, SignedBy: proof.key}
	if !strings.HasSuffix(source, ".zip") {
		return c.finish(ctx, w, binary)
	}
	if binary, err = c.fromZip(ctx, w, binary, source, sum); err == nil && proof.key != "" {
		err = c.note(w, binary, sum, proof)
	}
	return binary, err
}

// fromZip unpacks a zip whose hash is known, where that was not done before or what came of it has changed since.
func (c Cache) fromZip(ctx context.Context, w Wanted, binary Binary, source, sum string) (Binary, error) {
	binary.Path = c.unzipped(sum)
	known := c.recalled(c.content(sum))
	var err error
	if known != "" {
		if binary.SHA256, err = c.hash(ctx, binary.Path); err == nil && binary.SHA256 == known {
			return c.finish(ctx, w, binary)
		}
	}
	if err = c.unzip(ctx, source, binary.Path); err != nil {
		return Binary{}, err
	}
	if err = checkProgram(binary.Path, binary.named(), w.Architecture); err != nil {
		return Binary{}, errors.Join(err, removed(binary.Path))
	}
	if binary.SHA256, err = c.hash(ctx, binary.Path); err != nil {
		return Binary{}, err
	}
	if err = c.remember(c.content(sum), binary.SHA256); err != nil {
		return Binary{}, err
	}
	return c.finish(ctx, w, binary)
}

func (c Cache) unzipped(zipSum string) string { return filepath.Join(c.Directory, zipSum+".unzipped") }

// content holds the hash of what was in a zip.
func (c Cache) content(zipSum string) string { return filepath.Join(c.Directory, zipSum+".content") }

// fromMirror fetches a release. The signature comes first, so that nothing large is fetched in vain.
func (c Cache) fromMirror(ctx context.Context, w Wanted, keys keys) (Binary, error) {
	m, err := c.mirror(w)
	if err != nil {
		return Binary{}, err
	}
	defer m.close()
	sums, err := m.get(ctx, w.sumsName(), maximumSums)
	if err != nil {
		return Binary{}, err
	}
	key, err := m.signed(ctx, w.sumsName(), sums, keys, c.now())
	if err != nil {
		return Binary{}, err
	}
	list, err := parseSums(sums)
	if err != nil {
		return Binary{}, fmt.Errorf("read %s of %s: %w", w.sumsName(), m, err)
	}
	sum, ok := list[w.zipName()]
	if !ok {
		return Binary{}, fmt.Errorf("%s of %s does not list %s: %s", w.sumsName(), m, w.zipName(), others(list, w.Version))
	}
	source, err := c.download(ctx, m, w, sum)
	if err != nil {
		return Binary{}, err
	}
	defer os.Remove(source) // what is needed of it is unpacked then
	binary, err := c.fromZip(ctx, w, Binary{Source: m.link(w.zipName()), SignedBy: key}, source, sum)
	if err != nil {
		return Binary{}, fmt.Errorf("%s of %s: %w", w.zipName(), m, err)
	}
	return binary, c.note(w, binary, sum, proof{key: key, list: digest(sums)})
}

// finish looks at the plain binary and compresses it.
func (c Cache) finish(ctx context.Context, w Wanted, binary Binary) (Binary, error) {
	if err := checkProgram(binary.Path, binary.named(), w.Architecture); err != nil {
		return Binary{}, err
	}
	if err := c.checkVersion(ctx, w, binary); err != nil {
		return Binary{}, err
	}
	info, err := os.Stat(binary.Path)
	if err != nil {
		return Binary{}, fmt.Errorf("read the binary: %w", err)
	}
	binary.Size = info.Size()
	binary.Compressed = filepath.Join(c.Directory, binary.SHA256+".zst")
	return binary, c.compress(ctx, binary.Path, binary.Compressed)
}
