// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"path/filepath"

	"drover/internal/nomad"
	"drover/internal/release"
)

// binaryArgs say where the new Nomad comes from; without any it is the cache, then the releases that the run names.
func binaryArgs() []Arg {
	return []Arg{
		{Name: "binary", Kind: Path, Doc: "A Nomad binary or a release zip."},
		{Name: "directory", Kind: Path, Aliases: []string{"binary_dir"}, Doc: "A directory of release zips (nomad_1.11.0_linux_amd64.zip) or binaries (nomad-1.11.0, nomad); the one for the host is picked. SHA256SUMS and its signature beside them are checked."},
		{Name: "mirror", Kind: String, Doc: "Fetch the release from this URL, laid out as HashiCorp's releases are, instead of from there."},
		{Name: "release_key", Kind: Path, Doc: "The public key, ASCII-armoured, whose signature of SHA256SUMS counts, instead of HashiCorp's."},
	}
}

// binarySources exclude one another.
func binarySources() []string { return []string{"binary", "directory", "mirror"} }

// CheckMirror refuses what cannot be the base URL of a mirror; the error repeats no password.
func CheckMirror(text string) error {
	_, err := release.ParseMirror(text)
	return err
}

// prepareBinary makes the binary of a version ready for hosts of an architecture, as the task says where it is.
func prepareBinary(ctx context.Context, call *Call, target nomad.Version, machine string) (release.Binary, error) {
	architecture, err := release.Architecture(machine)
	if err != nil {
		return release.Binary{}, fmt.Errorf("%s: %w", call.Name, err)
	}
	wanted := release.Wanted{Version: target.String(), Architecture: architecture, Mirror: call.Args.String("mirror")}
	for _, path := range []struct {
		argument string
		into     *string
	}{{"binary", &wanted.File}, {"directory", &wanted.Directory}, {"release_key", &wanted.Key}} {
		if name := call.Args.String(path.argument); name != "" {
			if *path.into, err = findPath(call, name); err != nil {
				return release.Binary{}, err
			}
		}
	}
	if wanted.Mirror == "" {
		wanted.Mirror = call.Run.Releases
	}
	cache := release.Cache{Directory: call.Run.Cache, Proxy: call.Run.Proxy}
	if cache.Directory == "" {
		cache.Directory = filepath.Join(call.Run.Directory, "binaries")
	}
	if call.Say != nil {
		cache.Say = func(text string) { call.Say("%s", text) }
	}
	return cache.Prepare(ctx, wanted)
}

// namesBinary tells whether there is a place for a new binary to come from.
func namesBinary(call *Call) bool {
	for _, source := range binarySources() {
		if call.Args.String(source) != "" {
			return true
		}
	}
	return call.Run.Releases != ""
}

func findPath(call *Call, path string) (string, error) {
	if filepath.IsAbs(path) || call.Files == nil {
		return path, nil
	}
	return call.Files(path)
}
