// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// stdio is the connection to drover.
type stdio struct{ in, out *os.File }

func (s stdio) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s stdio) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s stdio) Close() error                { return errors.Join(s.in.Close(), s.out.Close()) }

// TakeStdio moves the process's stdin and stdout away to descriptors that no child inherits, and puts /dev/null in
// their place, so that nothing else can write into the protocol.
func TakeStdio() (io.ReadWriteCloser, error) {
	in, err := moveAway(0, "stdin")
	if err != nil {
		return nil, err
	}
	out, err := moveAway(1, "stdout")
	if err != nil {
		return nil, err
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/null: %w", err)
	}
	defer unix.Close(null)
	for fd := range 2 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return nil, fmt.Errorf("replace descriptor %d: %w", fd, err)
		}
	}
	return stdio{in, out}, nil
}

// moveAway duplicates a descriptor. Non-blocking, so that closing it ends a read or write that waits.
func moveAway(fd int, name string) (*os.File, error) {
	moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("take %s: %w", name, err)
	}
	if err := unix.SetNonblock(moved, true); err != nil {
		return nil, fmt.Errorf("take %s: %w", name, err)
	}
	return os.NewFile(uintptr(moved), name), nil
}
