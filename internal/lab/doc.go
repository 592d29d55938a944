// SPDX-License-Identifier: MPL-2.0

// Package lab makes practice hosts on one Linux machine, real enough to try an upgrade on: each runs systemd as pid 1, sshd,
// sudo and a Nomad agent, in a systemd-nspawn container of its own.
//
// A lab has a name, and everything it makes carries that name, so that labs stand side by side and Down finds what to
// remove without being told:
//
//   - a folder STATE/NAME with the state, the SSH keys, the certificates, the consoles and the hosts' files;
//   - network namespaces drover.NAME (the bastion's), drover.NAME.switch and drover.NAME.HOST;
//   - a cgroup drover-lab/NAME/HOST in every hierarchy, which also records the lab's processes: what is in it was started by the lab.
//
// Hosts are plugged into a bridge inside the switch's namespace. The bastion is where a user of the lab stands: Command and
// Become run programs there, with the files of this machine. Behind a jump host the bastion reaches nothing else. The lab
// itself looks from the switch (Dial, Call, APIClient), so that it sees every host that is not cut, whatever the bastion sees.
//
// A host's root is an overlay of three layers: a Debian root shared by all labs, a layer shared by the hosts of one lab, and
// its own writable layer, in memory unless the lab is to use the disk.
package lab
