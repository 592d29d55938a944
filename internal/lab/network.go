// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The names of a lab's network namespaces. The dot cannot be part of a lab's name, so one lab's prefix never covers another's.
func (s *state) bastionNetns() string         { return "drover." + s.Name }
func (s *state) switchNetns() string          { return "drover." + s.Name + ".switch" }
func (s *state) hostNetns(host string) string { return "drover." + s.Name + "." + host }

func netnsPath(name string) string { return filepath.Join("/run/netns", name) }

// Interface names, each inside a namespace of the lab.
const (
	hostInterface  = "host0"  // in a host, and in the bastion: towards the fleet
	frontInterface = "front0" // between the bastion and the jump host
	bridge         = "fleet"  // in the switch
)

func switchPort(host string) string { return "v-" + host }

// deadMAC is an address that no interface has.
const deadMAC = "02:00:00:00:de:ad"

// buildNetwork makes the namespaces, the switch, and one cable per host. Nothing is made in the machine's own namespace.
func (l *Lab) buildNetwork(ctx context.Context) error {
	names := []string{l.state.bastionNetns(), l.state.switchNetns()}
	for _, host := range l.state.Hosts {
		names = append(names, l.state.hostNetns(host.Name))
	}
	var adds []string
	for _, name := range names {
		adds = append(adds, "netns add "+name)
	}
	if err := l.ip(ctx, "", adds); err != nil {
		return err
	}
	sw := l.state.switchNetns()
	if err := l.ip(ctx, sw, []string{
		"link add " + bridge + " type bridge forward_delay 0",
		addAddress(bridge, fleetGateway),
		"link set lo up",
		"link set " + bridge + " up",
	}); err != nil {
		return err
	}
	for _, host := range l.state.Hosts {
		if err := l.cable(ctx, host.Name, l.state.hostNetns(host.Name), host.fleetAddress()); err != nil {
			return err
		}
	}
	if !l.state.Options.Jump {
		return l.cable(ctx, "bastion", l.state.bastionNetns(), bastionFleet)
	}
	return l.frontCable(ctx)
}

// cable connects a namespace to the switch and gives it an address. A default route must exist, since Nomad looks for the
// address to advertise on the interface of that route; the unreachable one ends questions to cloud metadata at once.
func (l *Lab) cable(ctx context.Context, port, netns string, address netip.Addr) error {
	if err := l.ip(ctx, l.state.switchNetns(), []string{
		fmt.Sprintf("link add %s type veth peer name %s netns %s", switchPort(port), hostInterface, netns),
		fmt.Sprintf("link set %s master %s", switchPort(port), bridge),
		fmt.Sprintf("link set %s up", switchPort(port)),
	}); err != nil {
		return err
	}
	return l.ip(ctx, netns, []string{
		addAddress(hostInterface, address),
		"link set lo up",
		"link set " + hostInterface + " up",
		"route add default via " + fleetGateway.String(),
		"route add unreachable 169.254.169.254",
	})
}

// frontCable connects the bastion to nothing but the jump host. The other hosts have no route back to that side.
func (l *Lab) frontCable(ctx context.Context) error {
	bastion, jump := l.state.bastionNetns(), l.state.hostNetns("j1")
	if err := l.ip(ctx, bastion, []string{
		fmt.Sprintf("link add %s type veth peer name %s netns %s", frontInterface, frontInterface, jump),
		addAddress(frontInterface, bastionFront),
		"link set lo up",
		"link set " + frontInterface + " up",
		"route add default via " + jumpFront.String(),
	}); err != nil {
		return err
	}
	return l.ip(ctx, jump, []string{
		addAddress(frontInterface, jumpFront),
		"link set " + frontInterface + " up",
	})
}

func addAddress(device string, address netip.Addr) string {
	return fmt.Sprintf("address add %s/%d dev %s", address, networkBits, device)
}

// ip runs lines of ip(8) in a namespace, or in none. Where the lab is being built it inherits the lock, so that
// a killed `up` counts as running until its last child has ended.
func (l *Lab) ip(ctx context.Context, netns string, lines []string) error {
	args := []string{"-batch", "-"}
	if netns != "" {
		args = append([]string{"-n", netns}, args...)
	}
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Env = cleanEnv()
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if l.lock != nil {
		cmd.ExtraFiles = []*os.File{l.lock}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip in namespace %q: %s: %w", netns, bytes.TrimSpace(out), err)
	}
	return nil
}

// removeNetwork deletes every namespace of the lab; the cables and the switch go with them.
func removeNetwork(name string) error {
	mine, err := filepath.Glob(netnsPath("drover." + name + ".*"))
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	var failed error
	for _, path := range append(mine, netnsPath("drover."+name)) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			failed = errors.Join(failed, fmt.Errorf("unmount %s: %w", path, err))
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, fmt.Errorf("remove network namespace: %w", err))
		}
	}
	return failed
}

// Cut takes the host off the network: its cable stays plugged in and carries nothing.
func (l *Lab) Cut(ctx context.Context, host string) error {
	if _, err := l.Host(host); err != nil {
		return err
	}
	return l.ip(ctx, l.state.switchNetns(), []string{"link set " + switchPort(host) + " nomaster"})
}

// CutPeers makes the host and the other Nomad hosts unable to reach each other, while SSH from the bastion still works.
func (l *Lab) CutPeers(ctx context.Context, host string) error {
	return l.eachPeer(ctx, host, func(peer netip.Addr) string {
		return fmt.Sprintf("neighbour replace %s lladdr %s nud permanent dev %s", peer, deadMAC, hostInterface)
	})
}

// Heal undoes Cut and CutPeers for the host.
func (l *Lab) Heal(ctx context.Context, host string) error {
	if _, err := l.Host(host); err != nil {
		return err
	}
	port := fmt.Sprintf("link set %s master %s", switchPort(host), bridge)
	if err := l.ip(ctx, l.state.switchNetns(), []string{port}); err != nil {
		return err
	}
	return l.eachPeer(ctx, host, func(peer netip.Addr) string {
		return fmt.Sprintf("neighbour flush to %s dev %s nud permanent", peer, hostInterface)
	})
}

// eachPeer runs an ip line on both sides of every pair of the host and another Nomad host.
func (l *Lab) eachPeer(ctx context.Context, name string, line func(peer netip.Addr) string) error {
	host, err := l.Host(name)
	if err != nil {
		return err
	}
	var own []string
	for _, peer := range l.state.Hosts {
		if peer.Name == name || !peer.RunsNomad() {
			continue
		}
		own = append(own, line(peer.Address))
		if err := l.ip(ctx, l.state.hostNetns(peer.Name), []string{line(host.fleetAddress())}); err != nil {
			return err
		}
	}
	return l.ip(ctx, l.state.hostNetns(name), own)
}
