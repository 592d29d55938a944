// SPDX-License-Identifier: MPL-2.0

package release

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Find looks in a directory for the binary of a version and architecture: a release zip, also in the layout of HashiCorp's
// releases, or a binary under one of the usual names. The error lists what was looked for.
func Find(directory, version, architecture string) (string, error) {
	zip := fmt.Sprintf("nomad_%s_linux_%s.zip", version, architecture)
	names := []string{
		zip,
		filepath.Join("nomad", version, zip),
		filepath.Join(version, zip),
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
			if err := checkProgram(path, path, architecture); err != nil {
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

// checkProgram refuses a file, which the user knows by a name, that is not a whole Linux program for the architecture.
func checkProgram(path, named, architecture string) error {
	file, err := elf.Open(path)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s is not a Linux program, or only a part of one", named)
		}
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer file.Close()
	names := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}
	name := names[file.Machine]
	if name == "" {
		name = file.Machine.String()
	}
	if name != architecture {
		return fmt.Errorf("%s is a program for %s, and the host is %s", named, name, architecture)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	var end uint64
	for _, segment := range file.Progs {
		end = max(end, segment.Off+segment.Filesz)
	}
	for _, section := range file.Sections {
		if section.Type != elf.SHT_NOBITS {
			end = max(end, section.Offset+section.FileSize)
		}
	}
	if uint64(info.Size()) < end {
		return fmt.Errorf("%s is cut off: it has %d bytes, and the program in it has %d; copy it again", named, info.Size(), end)
	}
	return nil
}
