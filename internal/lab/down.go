// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Down takes a lab down and leaves nothing of it: no process, mount, namespace, cgroup or file. It works from the lab's
// names alone, so that it also removes what a killed `up` left halfway. Taking down what is not there is no error.
func Down(ctx context.Context, dirs Dirs, name string, out io.Writer) error {
	p := newProgress(out)
	o := Options{Name: name, Dirs: dirs}.withDefaults()
	if err := checkName(o.Name); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("taking a lab down needs root")
	}
	groups, err := mountedHierarchies()
	if err != nil {
		return err
	}
	lock, err := waitLock(ctx, o.Dirs, o.Name)
	if err != nil {
		return err
	}
	defer lock.Close()
	l := &Lab{dir: filepath.Join(o.Dirs.State, o.Name), groups: groups, lock: lock, state: state{Name: o.Name, Options: o}}
	if !l.anyTrace() {
		p.say("lab %q: nothing is there", o.Name)
		return l.unlockForGood()
	}
	p.say("lab %q: taking it down", o.Name)
	if err := l.remove(ctx); err != nil {
		return fmt.Errorf("take down lab %q: %w", o.Name, err)
	}
	p.say("lab %q is gone", o.Name)
	return nil
}

// waitLock gives the children of a killed `up` a moment to end.
func waitLock(ctx context.Context, dirs Dirs, name string) (lock *os.File, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = poll(ctx, 100*time.Millisecond, func() error {
		lock, err = lockName(dirs, name)
		return err
	})
	return lock, err
}

func (l *Lab) anyTrace() bool { return l.refuseSecond() != nil }

// remove takes away everything of the lab, whatever of it exists, and goes on where one part fails.
func (l *Lab) remove(ctx context.Context) error {
	failed := killGroups(ctx, l.groupDirs())
	mounts, err := mountsBelow(l.dir)
	failed = errors.Join(failed, err)
	for _, host := range l.knownHostNames() {
		failed = errors.Join(failed, l.forget(host))
	}
	for _, mount := range mounts {
		if err := unix.Unmount(mount, 0); err != nil {
			failed = errors.Join(failed, fmt.Errorf("unmount %s: %w", mount, err))
		}
	}
	failed = errors.Join(failed, removeGroups(ctx, l.groupDirs()), removeNetwork(l.state.Name))
	for _, h := range l.groups {
		// Other labs may be below it.
		_ = unix.Rmdir(filepath.Join(h.mount, cgroupParent))
	}
	for _, dir := range []string{"locks", "propagate", "unix-export", ""} {
		// Only what is empty goes, and nspawn makes them again when it needs them.
		_ = unix.Rmdir(filepath.Join(nspawnRun, dir))
	}
	if failed != nil {
		return failed
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("remove the lab's folder: %w", err)
	}
	return l.unlockForGood()
}

// knownHostNames are the hosts by the folders made for them, since the state may be missing.
func (l *Lab) knownHostNames() []string {
	entries, err := os.ReadDir(l.path("hosts"))
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// unlockForGood removes the lock's file while holding it, and the labs' folder when this was the last one.
func (l *Lab) unlockForGood() error {
	if err := os.Remove(l.lock.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the lab's lock: %w", err)
	}
	_ = unix.Rmdir(filepath.Dir(l.lock.Name()))
	return nil
}

// mountsBelow lists the mount points at and below a directory, the innermost and latest first.
func mountsBelow(dir string) ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	defer file.Close()
	var mounts []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			mounts = append(mounts, fields[4])
		}
	}
	slices.Reverse(mounts)
	return mounts, lines.Err()
}

// Down takes this lab down; see the function Down.
func (l *Lab) Down(ctx context.Context, out io.Writer) error {
	return Down(ctx, l.state.Options.Dirs, l.state.Name, out)
}
