// SPDX-License-Identifier: MPL-2.0

package nomad

import "strings"

// Kinds of a LookFailure on which more depends than words: there was no connection at all; systemd does not run the host; or the agent on
// the host said what is wrong there.
const (
	LookUnreachable = "unreachable"
	LookNoSystemd   = "no_systemd"
	LookOther       = "other"
)

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

// problem is the failed look at a host that is no server, with the way on without it. What is wrong on a host that can be reached is
// no reason to skip the unreachable.
func (f LookFailure) problem(host string) Problem {
	found := Problem{Host: host, Kind: f.Kind, Text: f.String(), Remedy: f.remedy(host)}
	switch {
	case strings.Contains(found.Remedy, "--limit '!"+host+"'"):
	case f.Kind == LookOther || f.Kind == LookNoSystemd:
		found.Limit = "!" + host
	default:
		found.Remedy += ", or go on without it with --skip-unreachable"
	}
	return found
}
