// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"strings"

	"drover/internal/expression"
	"drover/internal/nearest"
)

// connectionVariables are the ansible_* variables that decide how a host is reached, with the old spellings that
// inventories still use.
func connectionVariables() []string {
	return []string{
		"ansible_host", "ansible_port", "ansible_user", "ansible_password", "ansible_connection",
		"ansible_ssh_private_key_file", "ansible_private_key_file", "ansible_ssh_common_args", "ansible_ssh_extra_args",
		"ansible_ssh_host_key_checking", "ansible_host_key_checking",
		"ansible_become", "ansible_become_method", "ansible_become_user", "ansible_become_password", "ansible_become_pass",
		"ansible_become_exe", "ansible_become_flags",
		"ansible_shell_type", "ansible_remote_tmp", "ansible_timeout", "ansible_group_priority",
		"ansible_ssh_host", "ansible_ssh_port", "ansible_ssh_user", "ansible_ssh_pass",
	}
}

// ignoredVariables are settings of Ansible's that mean nothing here and harm nothing: drover needs no Python.
func ignoredVariables() []string {
	return []string{
		"ansible_python_interpreter", "ansible_pipelining", "ansible_ssh_pipelining", "ansible_ssh_transfer_method",
		"ansible_scp_if_ssh", "ansible_scp_extra_args", "ansible_sftp_extra_args", "ansible_sftp_batch_mode",
		"ansible_ssh_retries", "ansible_ssh_timeout", "ansible_control_path", "ansible_control_path_dir", "ansible_ssh_executable",
		"ansible_shell_executable", "ansible_executable", "ansible_async_dir", "ansible_no_log", "ansible_ssh_use_tty",
	}
}

// look warns about a variable that is read but is probably not what was meant.
func (l *loader) look(key string, at expression.Position) {
	if l.known == nil {
		l.known = map[string]bool{}
		for _, name := range append(connectionVariables(), ignoredVariables()...) {
			l.known[name] = true
		}
	}
	if strings.HasPrefix(key, "ansible_") && !l.known[key] {
		message := key + " is not a connection variable that is known here; it is kept as an ordinary variable"
		if hint := nearest.Hint(key, connectionVariables()); hint != "" {
			message += "; " + hint
		}
		l.warn(at, message)
	}
}

// lookAtNumber warns about a version in an INI file that became a number; for YAML its parser does so.
func (l *loader) lookAtNumber(key string, value any, at expression.Position) {
	if _, isFloat := value.(float64); isFloat && strings.Contains(key, "version") {
		l.warn(at, key+` is a number here, so 1.10 and 1.1 are the same; write it as "'1.10'"`)
	}
}

func (l *loader) warn(at expression.Position, message string) {
	w := Warning{At: at, Message: message}
	if n := len(l.warnings); n > 0 && l.warnings[n-1] == w {
		return // one line with a range warns once
	}
	l.warnings = append(l.warnings, w)
}
