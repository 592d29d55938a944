// SPDX-License-Identifier: MPL-2.0

package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

var versionInName = regexp.MustCompile(`^(?:nomad[_-])?(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)[0-9A-Za-z.]*)?(?:\+[0-9A-Za-z.]+)?)(?:[_-](?:linux|amd64|arm64).*)?$`)

// Versions lists the versions that the names in a directory promise, in the layouts that Find knows, sorted as text. What a file really
// is, Find and the program itself tell.
func Versions(directory string) ([]string, error) {
	var versions []string
	for _, dir := range []string{directory, filepath.Join(directory, "nomad")} {
		entries, err := os.ReadDir(dir)
		if dir != directory && (errors.Is(err, fs.ErrNotExist) || err != nil && !isDirectory(dir)) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for Nomad releases: %w", err)
		}
		for _, entry := range entries {
			if match := versionInName.FindStringSubmatch(entry.Name()); match != nil {
				versions = append(versions, match[1])
			}
		}
	}
	slices.Sort(versions)
	return slices.Compact(versions), nil
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
