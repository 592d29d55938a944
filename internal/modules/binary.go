// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"drover/internal/nomad"
	"drover/internal/release"
)

// binaryArgs say where the new Nomad is, on the bastion.
func binaryArgs() []Arg {
	return []Arg{
		{Name: "binary", Kind: Path, Doc: "A Nomad binary or a release zip."},
		{Name: "directory", Kind: Path, Aliases: []string{"binary_dir"}, Doc: "A directory of release zips (nomad_1.11.0_linux_amd64.zip) or binaries (nomad-1.11.0, nomad); the one for the host is picked."},
		{Name: "mirror", Kind: String, Doc: "Fetch the release from this URL, laid out as HashiCorp's releases are, instead of from there."},
		{Name: "release_key", Kind: Path, Doc: "The public key, ASCII-armoured, that signs the releases of the mirror, instead of HashiCorp's."},
	}
}

func prepareBinary(ctx context.Context, call *Call, target nomad.Version, machine string) (release.Binary, error) {
	architecture, err := release.Architecture(machine)
	if err != nil {
		return release.Binary{}, fmt.Errorf("%s: %w", call.Name, err)
	}
	var source string
	switch {
	case call.Args.String("binary") != "":
		source, err = findPath(call, call.Args.String("binary"))
	case call.Args.String("directory") != "":
		if source, err = findPath(call, call.Args.String("directory")); err == nil {
			source, err = release.Find(source, target.String(), architecture)
		}
	default:
		err = errors.New("nomad_stage needs a binary or a directory of binaries")
	}
	if err != nil {
		return release.Binary{}, err
	}
	directory := call.Run.Cache
	if directory == "" {
		directory = filepath.Join(call.Run.Directory, "binaries")
	}
	return release.Cache{Directory: directory}.Prepare(ctx, source, architecture)
}

func findPath(call *Call, path string) (string, error) {
	if filepath.IsAbs(path) || call.Files == nil {
		return path, nil
	}
	return call.Files(path)
}
