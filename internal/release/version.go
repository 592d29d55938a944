// SPDX-License-Identifier: MPL-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	versionLimit = 30 * time.Second
	outputLimit  = 64 << 10
	busyPoll     = 20 * time.Millisecond
)

// checkVersion runs `BINARY version` where this machine can run it, and refuses another version. Elsewhere (another architecture,
// a directory that is mounted noexec, a missing C library) nothing here tells the version for certain: Go's build information has
// none for HashiCorp's own builds. Then it is left to the hosts, which run the staged binary before anything is stopped.
func (c Cache) checkVersion(ctx context.Context, w Wanted, binary Binary) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != w.Architecture {
		return nil
	}
	version, err := c.knownVersion(ctx, binary)
	if err != nil {
		return err
	}
	if version != "" && version != w.Version {
		return fmt.Errorf("the binary is Nomad %s (it says so itself), and %s is wanted", version, w.Version)
	}
	return nil
}

// unknown stands for a version that could not be asked for.
const unknown = "unknown"

// knownVersion asks a binary once for its version; "" where it cannot be run here.
func (c Cache) knownVersion(ctx context.Context, binary Binary) (string, error) {
	remembered := filepath.Join(c.Directory, binary.SHA256+".version")
	version := c.recalled(remembered)
	if version == "" {
		var err error
		if version, err = c.askVersion(ctx, binary.Path, binary.named()); err != nil {
			return "", err
		}
		if version == "" {
			version = unknown
		}
		if err := c.remember(remembered, version); err != nil {
			return "", err
		}
	}
	if version == unknown {
		return "", nil
	}
	return version, nil
}

// askVersion is "" where the binary cannot be run here for a reason that need not hold on the hosts.
func (c Cache) askVersion(ctx context.Context, path, named string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	home, err := os.MkdirTemp(c.Directory, ".version-*")
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	defer os.RemoveAll(home)
	program, err := runnable(limited, path, home)
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	output, err := ask(limited, program, home)
	line, _, _ := strings.Cut(output, "\n")
	version, nomad := strings.CutPrefix(strings.TrimSpace(line), "Nomad v")
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case limited.Err() != nil:
		return "", fmt.Errorf("%s did not say its version within %s: it is damaged, or not Nomad", named, versionLimit)
	case err == nil && nomad:
		version, _, _ = strings.Cut(version, " ")
		return version, nil
	case err == nil:
		return "", fmt.Errorf("%s is not Nomad: asked for its version it says %.100q", named, line)
	case errors.As(err, &ended) && crashed(ended):
		return "", fmt.Errorf("%s crashes when it is asked for its version (%w): it is damaged; get it again", named, err)
	case errors.As(err, &ended) && ended.ExitCode() != noLibrary:
		return "", fmt.Errorf("%s is not Nomad, or damaged: asked for its version it ends with code %d and says none", named, ended.ExitCode())
	}
	c.say("%s could not be run on this machine (%v); its version is checked on each host before anything is stopped", named, err)
	return "", nil
}

// noLibrary is the exit code of the dynamic loader, before the program itself has begun, where a library is not there (ld.so(8)).
const noLibrary = 127

func crashed(ended *exec.ExitError) bool {
	status, ok := ended.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// runnable is the absolute path of a binary, or of a copy where it was saved without permission to run it.
func runnable(ctx context.Context, path, home string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode()&0o111 != 0 {
		return filepath.Abs(path)
	}
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(home, "nomad"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, reader{ctx, from})
	if err := errors.Join(err, to.Close()); err != nil {
		return "", err
	}
	return filepath.Abs(to.Name())
}

// ask runs a program. A file that was written a moment ago may be busy still, when another process was started while it was open.
func ask(ctx context.Context, path, home string) (string, error) {
	for {
		output, err := askOnce(ctx, path, home)
		if !errors.Is(err, syscall.ETXTBSY) {
			return output, err
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(busyPoll):
		}
	}
}

// askOnce runs `PATH version` with nothing of this process's environment.
func askOnce(ctx context.Context, path, home string) (string, error) {
	command := exec.CommandContext(ctx, path, "version")
	command.Dir = home
	command.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "LC_ALL=C", "CHECKPOINT_DISABLE=1"}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	output := &head{}
	command.Stdout = output
	err := command.Run()
	return string(output.kept), err
}

// head keeps the beginning of what is written.
type head struct{ kept []byte }

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), outputLimit-len(h.kept))]...)
	return len(p), nil
}
