// SPDX-License-Identifier: MPL-2.0

package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"drover/internal/landing"
)

// verified is what the cache knows of a release whose signature was checked.
type verified struct {
	Version      string    `json:"version"`
	Architecture string    `json:"architecture"`
	Key          string    `json:"key"`    // fingerprint of the key that signed
	Sums         string    `json:"sums"`   // SHA-256 of SHA256SUMS
	Zip          string    `json:"zip"`    // SHA-256 of the zip
	Binary       string    `json:"binary"` // SHA-256 of the plain binary
	Source       string    `json:"source"`
	At           time.Time `json:"at"`
}

func (c Cache) record(w Wanted, key string) string {
	return filepath.Join(c.Directory, fmt.Sprintf("nomad_%s_linux_%s.%s.verified", w.Version, w.Architecture, key))
}

func (c Cache) note(w Wanted, binary Binary, zipSum string, by proof) error {
	text, err := json.Marshal(verified{
		Version: w.Version, Architecture: w.Architecture, Key: by.key, Sums: by.list, Zip: zipSum, Binary: binary.SHA256,
		Source: binary.Source, At: c.now().UTC(),
	})
	if err != nil {
		return err
	}
	_, err = landing.File(c.record(w, by.key), func(file *os.File) error { _, err := file.Write(text); return err })
	return err
}

// recall finds a release that one of the keys was found to have signed before. What does not have the hash that it had then is taken
// away, and counts as not found.
func (c Cache) recall(ctx context.Context, w Wanted, keys keys) (Binary, bool, error) {
	for _, key := range keys.fingerprints() {
		text, err := os.ReadFile(c.record(w, key))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return Binary{}, false, fmt.Errorf("look into the cache of binaries: %w", err)
		}
		var known verified
		if json.Unmarshal(text, &known) != nil || known.Version != w.Version || known.Architecture != w.Architecture || known.Key != key {
			continue
		}
		path := c.unzipped(known.Zip)
		sum, err := c.hash(ctx, path)
		if err := ctx.Err(); err != nil {
			return Binary{}, false, context.Cause(ctx)
		}
		if err != nil || sum != known.Binary {
			if err := errors.Join(removed(c.record(w, key)), removed(path)); err != nil {
				return Binary{}, false, fmt.Errorf("take a damaged binary out of the cache: %w", err)
			}
			continue
		}
		binary := Binary{Path: path, SHA256: sum, SignedBy: key}
		binary.Source = fmt.Sprintf("the cache (from %s, verified on %s)", known.Source, known.At.Format(time.DateOnly))
		binary, err = c.finish(ctx, w, binary)
		return binary, err == nil, err
	}
	return Binary{}, false, nil
}

func removed(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
