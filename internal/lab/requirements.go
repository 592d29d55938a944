// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Requirements says in one line what keeps a lab from running on this machine, and why it is needed; nil when nothing does.
func Requirements() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root: it makes network namespaces, mounts and cgroups for hosts that run systemd")
	}
	var missing []string
	for _, need := range []struct{ tool, debian, why string }{
		{"systemd-nspawn", "systemd-container", "runs the hosts"},
		{"mmdebstrap", "mmdebstrap", "makes their Debian root"},
		{"ip", "iproute2", "makes their network"},
		{"ssh", "openssh-client", "logs in to them"},
		{"nsenter", "util-linux", "runs commands among them"},
		{"setsid", "util-linux", "starts them"},
	} {
		if _, err := exec.LookPath(need.tool); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s, %s)", need.tool, need.debian, need.why))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("a lab cannot run here, missing: %s", strings.Join(missing, "; "))
	}
	return nil
}
