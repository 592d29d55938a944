// SPDX-License-Identifier: MPL-2.0

package release

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/testrelease"
)

func contextWithCause(t *testing.T) (context.Context, context.CancelCauseFunc) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, cancel
}

// The embedded key is what its comment says.
func TestHashiCorpKey(t *testing.T) {
	known, err := readKeys("")
	if err != nil {
		t.Fatal(err)
	}
	if got := known.fingerprints(); !slices.Equal(got, []string{"C874011F0AB405110D02105534365D9472D7468F"}) {
		t.Fatalf("fingerprints %v", got)
	}
	entity := known.ring[0]
	const signs = "374EC75B485913604A831CC7C820C6D5CD27AB87"
	for _, sub := range entity.Subkeys {
		if fmt.Sprintf("%X", sub.PublicKey.Fingerprint) == signs {
			end := sub.PublicKey.CreationTime.Add(time.Duration(*sub.Sig.KeyLifetimeSecs) * time.Second).UTC().Format(time.DateOnly)
			if !sub.Sig.FlagSign || end != "2030-03-01" {
				t.Errorf("the signing subkey: signs %v, ends on %s", sub.Sig.FlagSign, end)
			}
			return
		}
	}
	t.Errorf("there is no subkey %s", signs)
}

// A directory is checked as far as there is something to check it with.
func TestFilesBesideARelease(t *testing.T) {
	key := testrelease.NewKey(t, lastYear, threeYear)
	const zip, sums = "nomad_1.11.0_linux_amd64.zip", "nomad_1.11.0_SHA256SUMS"
	for name, test := range map[string]struct {
		change func(files map[string][]byte)
		key    bool   // --release-key is given
		want   string // of the error, "": accepted
		signed bool
	}{
		"signed":                            {func(map[string][]byte) {}, true, "", true},
		"signed by a key that is not known": {func(map[string][]byte) {}, false, "only HashiCorp's key C874011F0AB405110D02105534365D9472D7468F counts", false},
		"changed since it was signed":       {func(f map[string][]byte) { f[sums] = append(f[sums], '\n') }, true, "does not fit", false},
		"hashes alone":                      {func(f map[string][]byte) { delete(f, sums+".sig") }, false, "", false},
		"hashes alone, and a key is given":  {func(f map[string][]byte) { delete(f, sums+".sig") }, true, "has no signature beside it", false},
		"nothing beside it":                 {func(f map[string][]byte) { delete(f, sums+".sig"); delete(f, sums) }, false, "", false},
		"nothing beside it, and a key":      {func(f map[string][]byte) { delete(f, sums+".sig"); delete(f, sums) }, true, "there is no signature to check", false},
		"a list of others": {func(f map[string][]byte) {
			f[sums] = []byte(strings.Repeat("0", 64) + "  nomad_1.11.0_linux_arm64.zip\n")
		}, false, "does not list " + zip + ", so nothing vouches for that: of Nomad 1.11.0 for Linux it has arm64", false},
		"another list of others beside it": {func(f map[string][]byte) { f["SHA256SUMS"] = []byte(strings.Repeat("0", 64) + "  x\n") }, true, "", true},
		"damaged":                          {func(f map[string][]byte) { f[zip] = append(f[zip], 0) }, true, "it is damaged or not the release", false},
		"signed under the name of the key too": {func(f map[string][]byte) {
			f[sums+"."+key.ShortID()+".sig"] = f[sums+".sig"]
			f[sums+".sig"] = testrelease.NewKey(t, lastYear, 0).Sign(t, f[sums])
		}, true, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string][]byte{}
			for path, content := range testrelease.NewTree(t, key, "1.11.0", "amd64") {
				files[filepath.Base(path)] = content
			}
			test.change(files)
			for name, content := range files {
				write(t, filepath.Join(dir, "releases", name), content)
			}
			w := Wanted{Version: "1.11.0", Architecture: "amd64", Directory: filepath.Join(dir, "releases")}
			if test.key {
				w.Key = filepath.Join(dir, "key.asc")
				write(t, w.Key, key.Public(t))
			}
			cache := Cache{Directory: filepath.Join(dir, "cache"), Now: func() time.Time { return today }}
			binary, err := cache.Prepare(t.Context(), w)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			if (binary.SignedBy == key.Fingerprint()) != test.signed {
				t.Errorf("signed by %q", binary.SignedBy)
			}
			w.Directory = ""
			if _, err := cache.Prepare(t.Context(), w); (err == nil) != test.signed {
				t.Errorf("from the cache, later: %v", err)
			}
		})
	}
}

// What was unpacked before and has changed since is not taken for the content of the zip.
func TestADamagedUnpackedBinaryIsUnpackedAgain(t *testing.T) {
	dir := t.TempDir()
	zip := filepath.Join(dir, "nomad_1.11.0_linux_amd64.zip")
	write(t, zip, testrelease.Zip(t, "nomad", testrelease.Program(t, "amd64", "1.11.0")))
	cache := Cache{Directory: filepath.Join(dir, "cache")}
	w := Wanted{Version: "1.11.0", Architecture: "amd64", File: zip}
	first, err := cache.Prepare(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first.Path, testrelease.Program(t, "amd64", "1.11.1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if again, err := cache.Prepare(t.Context(), w); err != nil || again.SHA256 != first.SHA256 {
		t.Errorf("%+v, %v", again, err)
	}
}

func FuzzParseSums(f *testing.F) {
	for _, seed := range []string{
		"", strings.Repeat("a", 64) + "  nomad_1.11.0_linux_amd64.zip\n", strings.Repeat("A", 64) + " *./x\r\n\n", "<html>",
		strings.Repeat("0", 64) + "  x\n" + strings.Repeat("1", 64) + "  x\n", strings.Repeat("g", 64) + "  x", "ab  x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseSums([]byte(text))
		if err != nil {
			return
		}
		var canonical strings.Builder
		for name, sum := range list {
			if len(sum) != 64 || strings.ToLower(sum) != sum {
				t.Fatalf("%q has the hash %q", name, sum)
			}
			fmt.Fprintf(&canonical, "%s  ./%s\n", sum, name)
		}
		again, err := parseSums([]byte(canonical.String()))
		if err != nil || len(again) != len(list) {
			t.Errorf("%q became %q: %v", text, canonical.String(), err)
		}
	})
}
