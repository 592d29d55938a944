// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"time"

	"drover/internal/secret"
)

// Target says how the inventory and the command line want one host to be reached. What is left empty comes from the SSH
// client configuration, then from OpenSSH's defaults.
type Target struct {
	Name     string      // the inventory name
	Address  string      // ansible_host; empty: Name
	Port     int         // ansible_port; 0: not said
	User     string      // ansible_user; empty: not said
	KeyFiles []string    // ansible_ssh_private_key_file
	Password secret.Text // ansible_password; password authentication is tried only when it is given
	// CommonArgs are what ParseCommonArgs made of ansible_ssh_common_args.
	CommonArgs CommonArgs
	Become     Become
	// Timeout bounds connecting: TCP, the SSH handshake and authentication. 0: ConnectTimeout, else 10 s.
	Timeout time.Duration
	// AgentDirs are absolute directories, or ones that begin with ~/, to keep the agent in; empty: ~/.cache/drover, ~/.drover, /var/tmp/drover-UID.
	AgentDirs []string
	// Unit is the service whose lock root's agent takes for a run (nomad_unit); empty: nomad.service.
	Unit string
}

// Become says how to act as another user. Only sudo is known.
type Become struct {
	Method   string // sudo or empty
	User     string // empty: root
	Password secret.Text
	Exe      string // empty: sudo
}

func (t Target) address() string {
	if t.Address != "" {
		return t.Address
	}
	return t.Name
}

func (b Become) user() string {
	if b.User != "" {
		return b.User
	}
	return "root"
}

func (b Become) exe() string {
	if b.Exe != "" {
		return b.Exe
	}
	return "sudo"
}
