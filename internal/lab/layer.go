// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// layer is a directory tree that overlayfs puts over others. Its methods remember the first error.
type layer struct {
	root string
	err  error
}

// dir makes a directory and its parents; only the last one gets the mode and the owner.
func (l *layer) dir(path string, mode os.FileMode, uid int) {
	if l.err != nil {
		return
	}
	full := filepath.Join(l.root, path)
	if l.err = os.MkdirAll(full, 0o755); l.err != nil {
		return
	}
	if l.err = os.Chmod(full, mode); l.err != nil {
		return
	}
	l.err = os.Lchown(full, uid, uid)
}

func (l *layer) file(path string, mode os.FileMode, text string) {
	l.fileOf(path, mode, 0, text)
}

func (l *layer) fileOf(path string, mode os.FileMode, uid int, text string) {
	if l.err != nil {
		return
	}
	full := filepath.Join(l.root, path)
	if l.err = os.MkdirAll(filepath.Dir(full), 0o755); l.err != nil {
		return
	}
	if l.err = os.WriteFile(full, []byte(text), 0o600); l.err != nil {
		return
	}
	if l.err = os.Chmod(full, mode); l.err != nil {
		return
	}
	l.err = os.Lchown(full, uid, uid)
}

func (l *layer) link(path, target string) {
	if l.err != nil {
		return
	}
	full := filepath.Join(l.root, path)
	if l.err = os.MkdirAll(filepath.Dir(full), 0o755); l.err != nil {
		return
	}
	l.err = os.Symlink(target, full)
}

// enable starts a unit with multi-user.target; mask keeps one from ever starting.
func (l *layer) enable(unit string) {
	l.link("etc/systemd/system/multi-user.target.wants/"+unit, "/etc/systemd/system/"+unit)
}

func (l *layer) mask(unit string) { l.link("etc/systemd/system/"+unit, "/dev/null") }

// copyFile copies a file into the layer; the copy is the host's own and may be written to.
func (l *layer) copyFile(path string, mode os.FileMode, source string) {
	if l.err != nil {
		return
	}
	l.err = copyFile(filepath.Join(l.root, path), mode, source)
}

func copyFile(path string, mode os.FileMode, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if _, err := out.ReadFrom(in); err != nil {
		out.Close()
		return fmt.Errorf("copy %s: %w", source, err)
	}
	if err := out.Chmod(mode); err != nil {
		out.Close()
		return fmt.Errorf("copy %s: %w", source, err)
	}
	return out.Close()
}
