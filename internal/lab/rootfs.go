// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const debianSuite = "bookworm"

// rootfsRecipe is what mmdebstrap is asked for; the name of the cached result is made from it.
func rootfsRecipe() []string {
	return []string{
		"--variant=minbase",
		"--include=systemd,systemd-sysv,openssh-server,sudo,iproute2,procps",
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		// The lab gives every host a key of its own.
		"--customize-hook=rm -f \"$1\"/etc/ssh/ssh_host_*",
		"--format=directory",
	}
}

// rootfs returns the Debian root that all hosts share read-only, made once and cached.
func rootfs(ctx context.Context, cache string, p *progress) (string, error) {
	recipe := rootfsRecipe()
	sum := sha256.Sum256([]byte(strings.Join(recipe, "\n")))
	dir := filepath.Join(cache, fmt.Sprintf("rootfs-%s-%s-%s", debianSuite, runtime.GOARCH, hex.EncodeToString(sum[:6])))
	unlock, err := lockCache(ctx, dir, p)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		p.say("Debian root: cached")
		return dir, nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("clear a half made Debian root: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	p.say("Debian root: mmdebstrap makes one (once, 20-60s)")
	args := append(recipe, debianSuite, partial)
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := runVisibly(cmd, p, "Debian root"); err != nil {
		return "", fmt.Errorf("make the Debian root with mmdebstrap: %w", err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return "", fmt.Errorf("keep the Debian root: %w", err)
	}
	return dir, nil
}

// checkRootfs refuses a directory given by the user that could not boot as a host.
func checkRootfs(dir string) error {
	for _, need := range []string{"lib/systemd/systemd", "usr/sbin/sshd", "usr/bin/sudo"} {
		if _, err := os.Stat(filepath.Join(dir, need)); err != nil {
			return fmt.Errorf("--rootfs %s cannot be used: %w", dir, err)
		}
	}
	return nil
}
