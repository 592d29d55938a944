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

	"golang.org/x/sys/unix"

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
	if refused := a.refusals(ctx, s, t); len(refused) > 0 {
		return target{}, refused[0]
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

// refusals are what stands in the way of a swap that has no field of its own in wire.AgentResult.
func (a *Agent) refusals(ctx context.Context, s service, t target) []*wire.Error {
	var all []*wire.Error
	for _, err := range []error{a.replaceable(ctx, s, t.file), refuseImmutable(s, t), refuseManual(s)} {
		if err != nil {
			all = append(all, classify(err))
		}
	}
	return all
}

// refuseManual refuses a unit that systemd starts and stops only for other units.
func refuseManual(s service) error {
	if s.RefuseManual == "" {
		return nil
	}
	refused := failure(wire.KindUnsupported, "%s has %s=yes, so systemd refuses to stop or start it when it is asked to", s.Name, s.RefuseManual)
	refused.Hint = "set " + s.RefuseManual + "=no with a drop-in and reload systemd (systemctl daemon-reload)"
	return refused
}

// refuseImmutable refuses a file, or a directory, whose attributes keep even root from exchanging what is there. A link that is
// switched leaves the file be.
func refuseImmutable(s service, t target) error {
	paths := []string{t.file, filepath.Dir(t.file)}
	if t.link != "" {
		paths = []string{filepath.Dir(t.link), filepath.Dir(t.file)}
	}
	for _, path := range paths {
		for _, attribute := range []struct {
			bit          uint64
			name, letter string
		}{{unix.STATX_ATTR_IMMUTABLE, "immutable", "i"}, {unix.STATX_ATTR_APPEND, "append-only", "a"}} {
			if attributes(path)&attribute.bit == 0 {
				continue
			}
			refused := failure(wire.KindUnsupported, "%s is %s (its attribute %s is set), so the binary of %s cannot be exchanged", path, attribute.name, attribute.letter, s.Name)
			refused.Hint = "ask who set that, and take it away: chattr -" + attribute.letter + " " + path
			return refused
		}
	}
	return nil
}

// attributes are those of chattr(1), as statx(2) has them; a filesystem that keeps none has none set.
func attributes(path string) uint64 {
	var found unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_TYPE, &found); err != nil {
		return 0
	}
	return found.Attributes & found.Attributes_mask
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
	refused.Hint = "let ExecStart of the unit name the Nomad binary itself"
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
