// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

// defaultHomes are the places for what root's agent keeps on a host, in order of preference: the first that can be written
// to and is not mounted noexec is taken. The records of earlier runs are found in any of them.
func defaultHomes() []string {
	return []string{"/var/lib/drover", "/opt/drover", "/usr/local/lib/drover"}
}

const (
	homeSwap  = "swap"  // UNIT/ID: the record of a swap
	homeStage = "stage" // SHA256/nomad: a binary that waits
)

// home is the place to keep things in from now on. Looking for it makes nothing.
func (a *Agent) home() (string, error) {
	var reasons []string
	for _, dir := range a.options.Homes {
		why := unusable(dir)
		if why == "" {
			return dir, nil
		}
		reasons = append(reasons, dir+" ("+why+")")
	}
	nowhere := failure(wire.KindUnsupported, "drover has no place of its own on this host: %s", strings.Join(reasons, ", "))
	nowhere.Hint = "nothing was touched; make one of these directories writable for root, on a filesystem that is not mounted noexec"
	return "", nowhere
}

// unusable says why a directory, which need not exist yet, cannot hold programs that root runs; "" when it can.
func unusable(dir string) string {
	there := existing(dir)
	var fsinfo unix.Statfs_t
	if err := unix.Statfs(there, &fsinfo); err != nil {
		return err.Error()
	}
	switch {
	case fsinfo.Flags&unix.ST_RDONLY != 0:
		return "read-only"
	case fsinfo.Flags&unix.ST_NOEXEC != 0:
		return "mounted noexec"
	case unix.Access(there, unix.W_OK) != nil:
		return "not writable"
	}
	info, err := os.Stat(there)
	if err != nil {
		return err.Error()
	}
	raw := info.Sys().(*syscall.Stat_t)
	// Whoever can write there decides what root runs. The sticky directories of tests do no harm above it.
	if there == dir && (!info.IsDir() || int(raw.Uid) != os.Geteuid() || raw.Mode&0o022 != 0) {
		return "not a directory that only root can write to"
	}
	return ""
}

// existing is the path itself or the nearest directory above it that exists.
func existing(path string) string {
	for path != "/" {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
		path = filepath.Dir(path)
	}
	return path
}

// makeHome makes a directory below a home. Others than root may pass through it, where mode says so, but not list it:
// what is staged there is run once as the unit's user.
func makeHome(home, below string, mode os.FileMode) (string, error) {
	dir := home
	for _, part := range append([]string{""}, strings.Split(below, "/")...) {
		dir = filepath.Join(dir, part)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("make drover's own directory: %w", err)
		}
		one := mode
		if dir == home {
			one = 0o711
		}
		if err := os.Chmod(dir, one); err != nil {
			return "", fmt.Errorf("make drover's own directory: %w", err)
		}
	}
	return dir, nil
}

// swapDirs are all places where records of swaps may be.
func (a *Agent) swapDirs() []string { return swapDirsIn(a.options.Homes) }

func swapDirsIn(homes []string) []string {
	var dirs []string
	for _, home := range homes {
		dirs = append(dirs, filepath.Join(home, homeSwap))
	}
	return dirs
}

// recordsOf reads all transactions of a unit, oldest first.
func (a *Agent) recordsOf(unit string) ([]*record, error) {
	all, err := records(a.swapDirs())
	var own []*record
	for _, r := range all {
		if r.plan.Request.Unit == unit {
			own = append(own, r)
		}
	}
	return own, err
}
