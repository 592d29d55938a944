// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"os"
	"strings"
)

// Inventory renders the lab as an Ansible INI inventory for one of its users, "drover" or "operator".
func (l *Lab) Inventory(user string) (string, error) {
	if user != userDrover && user != userOperator {
		return "", fmt.Errorf("user %q: the lab's hosts have %s (sudo without a password) and %s (sudo with one)", user, userDrover, userOperator)
	}
	var text strings.Builder
	for _, group := range []struct {
		name string
		is   func(Host) bool
	}{
		{"nomad_servers", Host.IsServer},
		{"nomad_clients", func(h Host) bool { return h.Role == Client }},
		{"plain", func(h Host) bool { return h.Role == Plain }},
	} {
		hosts := which(l.state.Hosts, group.is)
		if len(hosts) == 0 {
			continue
		}
		fmt.Fprintf(&text, "[%s]\n", group.name)
		for _, host := range hosts {
			fmt.Fprintf(&text, "%s ansible_host=%s\n", host.Name, host.Address)
		}
		text.WriteByte('\n')
	}
	if l.state.Options.Servers > 0 {
		text.WriteString("[nomad:children]\nnomad_servers\n")
		if l.state.Options.Clients > 0 {
			text.WriteString("nomad_clients\n")
		}
		text.WriteByte('\n')
	}
	text.WriteString("[all:vars]\n")
	if user == userOperator {
		fmt.Fprintf(&text, "# sudo asks for the password in %s (--become-password-file)\n", l.path(passwordFile))
	}
	for _, line := range l.inventoryVars(user) {
		text.WriteString(line + "\n")
	}
	return text.String(), nil
}

func (l *Lab) inventoryVars(user string) []string {
	common := "-o UserKnownHostsFile=" + l.path(knownHostsFile)
	if l.state.Options.Jump {
		// Options given with -o hold for the last hop only, as in OpenSSH; a file holds for the jump host too.
		common = fmt.Sprintf("-F %s -J %s@%s", l.path(sshConfigFile), user, jumpFront)
	}
	vars := []string{
		"ansible_user=" + user,
		"ansible_ssh_private_key_file=" + l.path(keyFile),
		"ansible_ssh_common_args='" + common + "'",
	}
	if l.state.Options.ACL {
		vars = append(vars, "nomad_token_file="+l.path(tokenFile))
	}
	if l.state.Options.MTLS {
		vars = append(vars,
			"nomad_cacert="+l.path(caFile),
			"nomad_client_cert="+l.path(clientCertFile),
			"nomad_client_key="+l.path(clientKeyFile))
	}
	return vars
}

// knownHosts renders the hosts' keys under their names and addresses, as sshd(8) describes the file.
func knownHosts(hosts []Host, keys map[string]keyPair) string {
	var text strings.Builder
	for _, host := range hosts {
		fmt.Fprintf(&text, "%s,%s %s\n", host.Name, host.Address, keys[host.Name].public)
	}
	return text.String()
}

// sshConfig renders a file for OpenSSH by which `ssh -F FILE s1` reaches a host from the bastion, through the jump host if there is one.
func (l *Lab) sshConfig() string {
	var text strings.Builder
	for _, host := range l.state.Hosts {
		fmt.Fprintf(&text, "Host %s\n  HostName %s\n", host.Name, host.Address)
		if l.state.Options.Jump && host.Role != Jump {
			text.WriteString("  ProxyJump j1\n")
		}
	}
	fmt.Fprintf(&text, "Host *\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n  LogLevel ERROR\n",
		userDrover, l.path(keyFile), l.path(knownHostsFile))
	return text.String()
}

// SSHArgs is the ssh command that logs in to a host from the bastion, with an optional command to run there.
func (l *Lab) SSHArgs(host string, command ...string) ([]string, error) {
	if _, err := l.Host(host); err != nil {
		return nil, err
	}
	return append([]string{"ssh", "-F", l.path(sshConfigFile), host}, command...), nil
}

// KeyFile is the path of the private key that every host lets in.
func (l *Lab) KeyFile() string { return l.path(keyFile) }

// KnownHostsFile is the path of the host keys, in OpenSSH's known_hosts form.
func (l *Lab) KnownHostsFile() string { return l.path(knownHostsFile) }

// SSHConfigFile is the path of the ssh_config(5) by which an SSH client reaches the hosts by their names.
func (l *Lab) SSHConfigFile() string { return l.path(sshConfigFile) }

// PasswordFile holds the sudo password of the user "operator".
func (l *Lab) PasswordFile() string { return l.path(passwordFile) }

// Password is the sudo password of the user "operator".
func (l *Lab) Password() (string, error) {
	text, err := os.ReadFile(l.path(passwordFile))
	if err != nil {
		return "", fmt.Errorf("read the operator's password: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
