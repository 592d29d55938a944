// SPDX-License-Identifier: MPL-2.0

package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"drover/internal/bounded"
)

// parseSums reads what sha256sum writes: a line per file, "HEX  NAME" or "HEX *NAME". The result maps names to lower-case hex.
func parseSums(text []byte) (map[string]string, error) {
	list := map[string]string{}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		sum := strings.ToLower(fields[0])
		raw, err := hex.DecodeString(sum)
		if len(fields) != 2 || err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("line %d is not a SHA-256 and a file name", number)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(fields[1], "*"), "./")
		if before, twice := list[name]; twice && before != sum {
			return nil, fmt.Errorf("line %d has another SHA-256 for %s than a line before", number, name)
		}
		list[name] = sum
	}
	return list, nil
}

// others says which architectures a list has instead of the one that is missing.
func others(list map[string]string, version string) string {
	var found []string
	for name := range list {
		middle, ok := strings.CutPrefix(name, "nomad_"+version+"_linux_")
		if architecture, zip := strings.CutSuffix(middle, ".zip"); ok && zip {
			found = append(found, architecture)
		}
	}
	if len(found) == 0 {
		return fmt.Sprintf("it has no Nomad %s for Linux at all (%d files)", version, len(list))
	}
	slices.Sort(found)
	return fmt.Sprintf("of Nomad %s for Linux it has %s", version, strings.Join(found, ", "))
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// proof is what a file was compared with.
type proof struct {
	key  string // fingerprint of the key that signed the list, "" where nothing was signed
	list string // SHA-256 of SHA256SUMS
}

// beside compares a file with the lists in its directory, and the list that has it with its signature. A release zip has to be in the
// list of its version where that list is there; a plain binary need not be, since releases list zips only. With a key
// that the user named there has to be a signature.
func (c Cache) beside(w Wanted, source, sum string, keys keys) (proof, error) {
	directory, name := filepath.Dir(source), filepath.Base(source)
	lists, err := listsIn(directory)
	if err != nil {
		return proof{}, err
	}
	var unlisted error
	for _, path := range lists {
		text, err := bounded.ReadFile(path, maximumSums)
		if err != nil {
			return proof{}, err
		}
		list, err := parseSums(text)
		if err != nil {
			return proof{}, fmt.Errorf("read %s: %w", path, err)
		}
		want, listed := list[name]
		base := filepath.Base(path)
		switch {
		case listed && want != sum:
			return proof{}, fmt.Errorf("%s has SHA-256 %s, and %s says %s: it is damaged or not the release; copy both again", source, sum, base, want)
		case listed:
			key, err := signedBeside(path, text, keys, c.now())
			return proof{key: key, list: digest(text)}, err
		case strings.HasSuffix(name, ".zip") && (base == w.sumsName() || base == "SHA256SUMS"):
			unlisted = fmt.Errorf("%s does not list %s, so nothing vouches for that: %s; put the list of that release there, or take this one away",
				path, name, others(list, w.Version))
		}
	}
	if unlisted != nil {
		return proof{}, unlisted
	}
	if keys.named != "" {
		return proof{}, fmt.Errorf("--release-key %s is given, and no SHA256SUMS beside %s lists it, so there is no signature to check: put %s and %s.sig there, or leave out --release-key",
			keys.named, source, w.sumsName(), w.sumsName())
	}
	return proof{}, nil
}

// listsIn are the lists of Nomad's hashes in a directory.
func listsIn(directory string) ([]string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, fmt.Errorf("look for SHA256SUMS: %w", err)
	}
	var lists []string
	for _, entry := range entries {
		if name := entry.Name(); name == "SHA256SUMS" || strings.HasPrefix(name, "nomad") && strings.HasSuffix(name, "SHA256SUMS") {
			lists = append(lists, filepath.Join(directory, name))
		}
	}
	return lists, nil
}

// signedBeside checks the signatures beside a list: LIST.sig, or LIST.KEYID.sig; one that is right is enough. It returns "" where
// there are none.
func signedBeside(list string, text []byte, keys keys, now time.Time) (string, error) {
	directory, base := filepath.Split(list)
	entries, err := os.ReadDir(filepath.Clean(directory))
	if err != nil {
		return "", fmt.Errorf("look for a signature: %w", err)
	}
	found := map[string][]byte{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), base+".") && strings.HasSuffix(entry.Name(), ".sig") {
			if found[entry.Name()], err = bounded.ReadFile(filepath.Join(directory, entry.Name()), maximumSignature); err != nil {
				return "", err
			}
		}
	}
	if len(found) == 0 {
		if keys.named != "" {
			return "", fmt.Errorf("--release-key %s is given, and %s has no signature beside it: put %s.sig there, or leave out --release-key", keys.named, list, base)
		}
		return "", nil
	}
	var first error
	for _, name := range slices.Sorted(maps.Keys(found)) {
		fingerprint, err := keys.verify(list, text, name, found[name], now)
		if err == nil {
			return fingerprint, nil
		}
		if first == nil || isForeign(first) {
			first = err
		}
	}
	return "", first
}
