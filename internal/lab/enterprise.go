// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
)

//go:embed enterprise/main.go
var standIn []byte

// Enterprise returns the path of a stand-in for the Enterprise binary of a pinned version: Nomad that says it is +ent, and prints for
// `license inspect` what Enterprise's documentation shows. Its licences are files of one word: valid, expired, or a product's name.
func Enterprise(ctx context.Context, version, cache string, out io.Writer) (string, error) {
	p := newProgress(out)
	mod, err := pins.ReadFile(path.Join("nomad", version, "mod.txt"))
	if err != nil {
		return "", fmt.Errorf("Nomad %s is not pinned here: %w", version, err)
	}
	sum, err := pins.ReadFile(path.Join("nomad", version, "sum.txt"))
	if err != nil {
		return "", fmt.Errorf("read the pins of Nomad %s: %w", version, err)
	}
	id := sha256.Sum256(slices.Concat(mod, sum, standIn, []byte(nomadTags)))
	dir := filepath.Join(cache, "nomad", fmt.Sprintf("%s+ent-%s-%s", version, runtime.GOARCH, hex.EncodeToString(id[:6])))
	binary, err := once(ctx, dir, p, func(binary string) error {
		source := filepath.Join(filepath.Dir(binary), "main.go")
		if err := os.WriteFile(source, standIn, 0o644); err != nil {
			return fmt.Errorf("build the stand-in for Nomad %s+ent: %w", version, err)
		}
		return buildProgram(ctx, version, filepath.Dir(binary), mod, sum, "main.go", p)
	})
	if err != nil {
		return "", err
	}
	return binary, checkNomad(ctx, binary, version+"+ent")
}
