// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"drover/internal/wire"
)

// target is what a unit's next start will run. A symbolic link whose name ends the path of ExecStart, or of another link,
// is how some hosts choose a version: there the last such link is what a swap switches, and the files stay.
// Symbolic links to directories choose nothing: they are only followed.
type target struct {
	path string // as ExecStart has it
	file string // the program, symbolic links resolved
	link string // the last link of the chain, in its real directory; "" where path names the program itself
	text string // what link says, relative or not
}

// place is what a swap exchanges: the link where there is one, else the file.
func (t target) place() string {
	if t.link != "" {
		return t.link
	}
	return t.file
}

// maxLinks is the kernel's own limit (MAXSYMLINKS).
const maxLinks = 40

// resolve follows a path to its program.
func resolve(path string) (target, error) {
	t := target{path: path}
	for range maxLinks {
		// Not cleaned first: what ".." means depends on where a link before it leads.
		parent, base := filepath.Split(path)
		dir, err := filepath.EvalSymlinks(parent)
		if err != nil {
			return target{}, err
		}
		path = filepath.Join(dir, base)
		info, err := os.Lstat(path)
		if err != nil {
			return target{}, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			t.file = path
			return t, nil
		}
		t.link = path
		if t.text, err = os.Readlink(path); err != nil {
			return target{}, err
		}
		path = t.text
		if !filepath.IsAbs(path) {
			path = dir + "/" + path
		}
	}
	return target{}, errors.New("too many symbolic links")
}

// installed is what the unit's next start will run.
func installed(s service) (target, error) {
	if s.LoadState == "masked" {
		masked := failure(wire.KindInvalid, "%s is masked, so it could not be started again", s.Name)
		masked.Hint = "systemctl unmask " + s.Name
		return target{}, masked
	}
	if s.ExecStartPath == "" {
		return target{}, failure(wire.KindInvalid, "%s has no ExecStart", s.Name)
	}
	t, err := resolve(s.ExecStartPath)
	if errors.Is(err, fs.ErrNotExist) {
		return target{}, nowhere(s, err)
	}
	if err != nil {
		return target{}, fmt.Errorf("the program of %s: %w", s.Name, err)
	}
	return t, nil
}

// nowhere says that a unit's program is not there, and what is missing on the way to it.
func nowhere(s service, err error) error {
	missing := failure(wire.KindInvalid, "ExecStart of %s names %s, which does not exist", s.Name, s.ExecStartPath)
	var at *fs.PathError
	if errors.As(err, &at) && at.Path != s.ExecStartPath {
		missing.Message = fmt.Sprintf("ExecStart of %s names %s, which leads to %s, and that does not exist", s.Name, s.ExecStartPath, at.Path)
	}
	missing.Hint = "put the Nomad binary there, or name the right one in ExecStart and reload systemd"
	return missing
}
