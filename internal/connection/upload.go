// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// sftpRequests is how many write requests may be under way at once; the default is twenty times slower over 20 ms.
const sftpRequests = 128

// upload stores a program as file, by way of a temporary name beside it. The start command checks the hash of what
// arrived before it runs it.
func upload(ctx context.Context, client *ssh.Client, file string, program []byte, mode os.FileMode) error {
	files, err := sftp.NewClient(client, sftp.UseConcurrentWrites(true), sftp.MaxConcurrentRequestsPerFile(sftpRequests))
	if err != nil {
		return fmt.Errorf("send the agent: open sftp (is `Subsystem sftp` in the host's sshd_config?): %w", err)
	}
	defer files.Close()
	stop := context.AfterFunc(ctx, func() { _ = files.Close() })
	defer stop()
	temporary := path.Join(path.Dir(file), ".sending-"+nonce())
	if err := send(files, temporary, program, mode); err != nil {
		// Nothing of it may stay; that it may be gone already, or the connection, does not matter.
		_ = files.Remove(temporary)
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("send the agent to %s: %w", excerpt(path.Dir(file)), err)
	}
	if err := files.PosixRename(temporary, file); err != nil {
		_ = files.Remove(temporary)
		return fmt.Errorf("send the agent: rename to %s: %w", excerpt(file), err)
	}
	return nil
}

func send(files *sftp.Client, name string, program []byte, mode os.FileMode) error {
	f, err := files.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	n, err := f.ReadFrom(bytes.NewReader(program))
	if err == nil && n != int64(len(program)) {
		err = fmt.Errorf("only %d of %d bytes arrived", n, len(program))
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		if serr := f.Sync(); serr != nil && !errors.Is(serr, errors.ErrUnsupported) && !isUnsupported(serr) {
			err = serr
		}
	}
	return errors.Join(err, f.Close())
}

// isUnsupported tells whether the server does not know fsync@openssh.com; the hash check makes up for it.
func isUnsupported(err error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxOpUnsupported
}
