// SPDX-License-Identifier: MPL-2.0

package nomad

import "strings"

// LookUnreachable is the kind of a LookFailure where there was no connection at all.
const LookUnreachable = "unreachable"

// LookFailure is why nothing could be found out about a host, in words for a person.
type LookFailure struct {
	Kind   string // unreachable, host_key_unknown, sudo_wrong, no_systemd, ...
	Text   string
	Remedy string
}

// String is the failure without its remedy.
func (f LookFailure) String() string {
	if f.Kind == LookUnreachable {
		return "unreachable: " + f.Text
	}
	return f.Text
}

// ofServer is String for a host that is known to be a server of the cluster.
func (f LookFailure) ofServer() string {
	if f.Kind == LookUnreachable {
		return "unreachable, and a server of the cluster: " + f.Text
	}
	return f.Text + " (it is a server of the cluster)"
}

// remedy is what to do so that the host can be looked at. An agent does not know what the inventory calls its host.
func (f LookFailure) remedy(host string) string {
	switch {
	case f.Remedy != "":
		return strings.ReplaceAll(f.Remedy, "'!HOST', HOST as the inventory calls it", "'!"+host+"'")
	case f.Kind == LookUnreachable:
		return "repair the connection"
	}
	return "repair that on the host"
}

// orWithout adds the way on without a host that is no server, where the remedy does not name it already.
func (f LookFailure) orWithout(host string) string {
	remedy := f.remedy(host)
	if strings.Contains(remedy, "--limit '!"+host+"'") {
		return remedy
	}
	return remedy + ", or go on without it with --skip-unreachable"
}
