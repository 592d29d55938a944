// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupParent is the group above all labs, in every hierarchy.
const cgroupParent = "drover-lab"

// hierarchy is one mounted cgroup tree: a v1 controller, v1's name=systemd, or v2.
type hierarchy struct {
	mount   string
	version int
	cpuset  bool // v1 cpuset, whose new groups take no process before they have cpus and mems
}

// hierarchies reads the mounted cgroup trees out of the text of /proc/self/mountinfo (see proc(5)).
func hierarchies(mountinfo string) ([]hierarchy, error) {
	var found []hierarchy
	lines := bufio.NewScanner(strings.NewReader(mountinfo))
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(tail) < 3 || !strings.HasPrefix(fields[4], "/sys/fs/cgroup") {
			continue
		}
		switch tail[0] {
		case "cgroup":
			found = append(found, hierarchy{
				mount: fields[4], version: 1,
				cpuset: slices.Contains(strings.Split(tail[2], ","), "cpuset"),
			})
		case "cgroup2":
			found = append(found, hierarchy{mount: fields[4], version: 2})
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted below /sys/fs/cgroup: systemd cannot run in a container here")
	}
	return found, lines.Err()
}

func mountedHierarchies() ([]hierarchy, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	return hierarchies(string(text))
}

// make creates the group at path, such as "drover-lab/lab/s1", ready to take processes or further groups.
func (h hierarchy) make(path string) error {
	dir := h.mount
	for _, part := range strings.Split(path, "/") {
		if err := h.delegate(dir); err != nil {
			return err
		}
		parent := dir
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if h.cpuset {
			if err := inheritCpuset(parent, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate lets the children of a v2 group use every controller that the group itself has.
func (h hierarchy) delegate(dir string) error {
	if h.version != 2 {
		return nil
	}
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read cgroup controllers: %w", err)
	}
	for _, controller := range strings.Fields(string(available)) {
		// A controller may be refused alone (cpu, while realtime processes run); the others still count.
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
	}
	return nil
}

func inheritCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return fmt.Errorf("read cpuset: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
			return fmt.Errorf("set cpuset: %w", err)
		}
	}
	return nil
}

// groupPids lists the processes at and below the directories of groups; directories that are gone count as empty.
func groupPids(dirs []string) []int {
	seen := map[int]bool{}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return nil
			}
			text, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for _, field := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					seen[pid] = true
				}
			}
			return nil
		})
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

// killGroups ends every process in the groups and waits until they are empty. Only what a lab started can be in its groups.
func killGroups(ctx context.Context, dirs []string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return poll(ctx, 10*time.Millisecond, func() error {
		pids := groupPids(dirs)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d processes still run, the first is pid %d", len(pids), pids[0])
		}
		return nil
	})
}

// removeGroups removes the directories of groups with all groups below; the kernel needs a moment after the last process died.
func removeGroups(ctx context.Context, dirs []string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return poll(ctx, 10*time.Millisecond, func() error {
		var failed error
		for _, dir := range dirs {
			var nested []string
			_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					nested = append(nested, path)
				}
				return nil
			})
			slices.Reverse(nested)
			for _, path := range nested {
				if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
					failed = fmt.Errorf("remove cgroup %s: %w", path, err)
				}
			}
		}
		return failed
	})
}
