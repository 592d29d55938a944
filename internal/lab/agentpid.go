// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"os"
	"strings"
)

// AgentPID finds the Nomad agent of a host, as a process of this machine.
func (l *Lab) AgentPID(host string) (int, error) {
	if _, err := l.Host(host); err != nil {
		return 0, err
	}
	for _, pid := range groupPids(l.groupDirs(host, machineGroup)) {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // ended since it was listed
		}
		argv := strings.Split(string(cmdline), "\x00")
		if len(argv) > 1 && strings.HasSuffix(argv[0], "/nomad") && argv[1] == "agent" {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("%s: no Nomad agent runs", host)
}
