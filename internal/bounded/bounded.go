// SPDX-License-Identifier: MPL-2.0

// Package bounded reads files of this machine that people name, up to a limit that the reader sets. The limit is held while reading and
// not against the size that the file is said to have: a pipe, a device or a file that grows says nothing true about that.
package bounded

import (
	"fmt"
	"io"
	"os"
)

// ReadFile returns the content of a file of at most limit bytes. Each error names the file; one that is larger is refused after
// limit+1 bytes, and nothing of it is returned.
func ReadFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %s", path, size(limit))
	}
	return content, nil
}

// size writes a limit in the largest unit that it is a whole number of.
func size(bytes int64) string {
	switch {
	case bytes >= 1<<20 && bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 1<<10 && bytes%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}
