// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"drover/internal/wire"
)

// exchangeable finds what a swap of the unit exchanges, and refuses one that must not be.
func (a *Agent) exchangeable(ctx context.Context, m *manager, s service) (target, error) {
	if err := refuseContainer(s); err != nil {
		return target{}, err
	}
	t, err := installed(s)
	if err != nil {
		return target{}, err
	}
	if err := a.replaceable(ctx, s, t.file); err != nil {
		return target{}, err
	}
	if err := refuseReadOnly(s, t); err != nil {
		return target{}, err
	}
	shared, err := sharedBy(ctx, m, s, t)
	if err != nil {
		return target{}, err
	}
	return t, refuseShared(s, t, shared)
}

// replaceable refuses to put a Nomad binary in the place of anything that is none. A unit may start Nomad by way of a
// shell, env or a wrapper script; the program of ExecStart is that one then, and a swap would destroy it. A file that
// has Nomad's name and does not run may be a broken Nomad, and is worth repairing.
func (a *Agent) replaceable(ctx context.Context, s service, binary string) error {
	line, err := a.version(ctx, binary, nil)
	if _, nomad := nomadVersion(line); err == nil && nomad {
		return nil
	}
	script, readErr := isScript(binary)
	if readErr != nil {
		return readErr
	}
	if !script && err != nil && strings.HasPrefix(filepath.Base(binary), "nomad") {
		return nil
	}
	refused := failure(wire.KindInvalid, "%s starts %s, which is not a Nomad binary, so it cannot be replaced by one", s.Name, binary)
	refused.Hint = "nothing was touched; let ExecStart of the unit name the Nomad binary itself"
	return refused
}

// isScript tells whether a file begins with #!. A script is never run to ask for its version: one that starts Nomad
// whatever its arguments are would start a second agent.
func isScript(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", path, err)
	}
	defer f.Close()
	var head [2]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		return false, fmt.Errorf("look at %s: %w", path, err)
	}
	return string(head[:]) == "#!", nil
}
