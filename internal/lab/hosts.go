// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"net/netip"
)

// Role says what runs on a host.
type Role string

// The roles of a lab's hosts.
const (
	Server Role = "server" // a Nomad server
	Client Role = "client" // a Nomad client
	Both   Role = "both"   // a Nomad server that is a client too
	Plain  Role = "plain"  // SSH and systemd, no Nomad
	Jump   Role = "jump"   // SSH only, between the bastion and the others
)

// Host is one machine of a lab.
type Host struct {
	Name    string     `json:"name"`
	Role    Role       `json:"role"`
	Address netip.Addr `json:"address"`
	Region  string     `json:"region"` // of its agent; "" without one
}

// RunsNomad reports whether the host has a Nomad agent.
func (h Host) RunsNomad() bool { return h.IsServer() || h.IsClient() }

// IsServer reports whether the host's agent is a server, whatever else it is.
func (h Host) IsServer() bool { return h.Role == Server || h.Role == Both }

// IsClient reports whether the host's agent is a client, whatever else it is.
func (h Host) IsClient() bool { return h.Role == Client || h.Role == Both }

// Every lab has a network of its own, so that all can use the same addresses.
var (
	fleetGateway = netip.MustParseAddr("10.64.0.1") // the switch: where the lab itself looks from
	bastionFleet = netip.MustParseAddr("10.64.0.2") // the bastion, when it may reach the hosts directly
	bastionFront = netip.MustParseAddr("10.65.0.2") // the bastion, in front of a jump host
	jumpFront    = netip.MustParseAddr("10.65.0.1")
)

const networkBits = 16

func makeHosts(o Options) []Host {
	var hosts []Host
	add := func(role Role, letter string, third byte, count int) {
		for i := 1; i <= count; i++ {
			hosts = append(hosts, Host{
				Name:    fmt.Sprintf("%s%d", letter, i),
				Role:    role,
				Address: netip.AddrFrom4([4]byte{10, 64, third, byte(i)}),
			})
			if role != Plain {
				hosts[len(hosts)-1].Region = o.Regions[(i-1)%len(o.Regions)]
			}
		}
	}
	server := Server
	if o.Combined {
		server = Both
	}
	add(server, "s", 1, o.Servers)
	add(Client, "c", 2, o.Clients)
	add(Plain, "h", 3, o.Plain)
	if o.Jump {
		hosts = append(hosts, Host{Name: "j1", Role: Jump, Address: jumpFront})
	}
	return hosts
}

// fleetAddress is where the switch's side of the network finds the host; it differs from Address for the jump host only.
func (h Host) fleetAddress() netip.Addr {
	if h.Role == Jump {
		return netip.AddrFrom4([4]byte{10, 64, 4, 1})
	}
	return h.Address
}

// within picks the hosts of a region.
func within(hosts []Host, region string) []Host {
	return which(hosts, func(h Host) bool { return h.Region == region })
}

func which(hosts []Host, is func(Host) bool) []Host {
	var found []Host
	for _, host := range hosts {
		if is(host) {
			found = append(found, host)
		}
	}
	return found
}
