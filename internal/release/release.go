// SPDX-License-Identifier: MPL-2.0

// Package release finds Nomad binaries and makes them ready to travel. A binary is looked for once per version and
// architecture, taken out of its zip, hashed and compressed once, and kept in a cache directory under its hash, so that
// any number of hosts can be sent the same bytes, in this run and in later ones. Concurrent callers, also of other
// processes, wait for each other through a lock file.
package release

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Binary is a Nomad binary that is ready to be sent.
type Binary struct {
	Source     string // file that the user named or that was found
	Path       string // the plain binary
	SHA256     string // of the plain binary, lower-case hex
	Size       int64  // of the plain binary
	Compressed string // the same, zstd
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

// Find looks in a directory for the binary of a version and architecture: a release zip, or a binary under one of the
// usual names. The error lists what was looked for.
func Find(directory, version, architecture string) (string, error) {
	names := []string{
		fmt.Sprintf("nomad_%s_linux_%s.zip", version, architecture),
		fmt.Sprintf("nomad_%s_linux_%s", version, architecture),
		fmt.Sprintf("nomad-%s-linux-%s", version, architecture),
		fmt.Sprintf("nomad-%s-%s", version, architecture),
		"nomad-" + version,
		filepath.Join(version, "linux_"+architecture, "nomad"),
		filepath.Join(version, "nomad-"+version),
		filepath.Join(version, "nomad"),
		"nomad",
	}
	var wrong []string
	for _, name := range names {
		path := filepath.Join(directory, name)
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if !strings.HasSuffix(name, ".zip") {
			if err := checkArchitecture(path, architecture); err != nil {
				wrong = append(wrong, err.Error())
				continue
			}
		}
		return path, nil
	}
	if len(wrong) > 0 {
		return "", fmt.Errorf("find Nomad %s for %s: %s", version, architecture, strings.Join(wrong, "; "))
	}
	return "", fmt.Errorf("find Nomad %s for %s: %s has none of %s", version, architecture, directory, strings.Join(names, ", "))
}

// checkArchitecture refuses a file that is not a Linux program for the architecture.
func checkArchitecture(path, architecture string) error {
	file, err := elf.Open(path)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s is not a Linux program", path)
		}
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer file.Close()
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if want := machines[architecture]; file.Machine != want {
		return fmt.Errorf("%s is a program for %s, and the host is %s", path, file.Machine, architecture)
	}
	return nil
}

// Cache keeps unpacked and compressed binaries in a directory of its own.
type Cache struct{ Directory string }

// Prepare makes a file (binary or release zip) ready for hosts of an architecture. Where its directory
// has a SHA256SUMS that lists it, the hash must be that one.
func (c Cache) Prepare(ctx context.Context, source, architecture string) (Binary, error) {
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return Binary{}, fmt.Errorf("make the cache of binaries: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(c.Directory, "lock"))
	if err != nil {
		return Binary{}, fmt.Errorf("wait for the cache of binaries: %w", err)
	}
	defer unlock()
	sum, err := c.hash(ctx, source)
	if err != nil {
		return Binary{}, err
	}
	if err := checkSums(source, sum); err != nil {
		return Binary{}, err
	}
	binary := Binary{Source: source, Path: source, SHA256: sum}
	if strings.HasSuffix(source, ".zip") {
		binary.Path = filepath.Join(c.Directory, sum+".unzipped")
		if err := c.unzip(ctx, source, binary.Path); err != nil {
			return Binary{}, err
		}
		if binary.SHA256, err = c.hash(ctx, binary.Path); err != nil {
			return Binary{}, err
		}
	}
	if err := checkArchitecture(binary.Path, architecture); err != nil {
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
