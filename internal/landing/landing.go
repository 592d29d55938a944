// SPDX-License-Identifier: MPL-2.0

// Package landing writes files of the machine that drover runs on, so that a crash leaves nothing half written.
package landing

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File writes a file of mode 0600 whole or not at all, in place of one that is there, and returns its size in bytes. When
// it returns nil the file survives a power cut.
func File(path string, fill func(*os.File) error) (int64, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	defer dir.Close()
	file, err := os.CreateTemp(dir.Name(), ".new-*")
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(file.Name())
	size, err := content(file, fill)
	if err := errors.Join(err, file.Close()); err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return size, dir.Sync()
}

func content(file *os.File, fill func(*os.File) error) (int64, error) {
	if err := fill(file); err != nil {
		return 0, err
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
