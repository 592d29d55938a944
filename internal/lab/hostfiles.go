// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The users of every host. Both log in with the lab's key.
const (
	userDrover   = "drover"   // sudo without a password
	userOperator = "operator" // sudo with the password in the lab's folder
	uidDrover    = 1000
	uidOperator  = 1001
)

// writeBase makes the layer that all hosts of a lab share, over the Debian root: users, sshd's and systemd's settings.
func (l *Lab) writeBase(authorizedKey, passwordHash string) error {
	base := &layer{root: l.path(layersDir + "/base")}
	for _, file := range []struct {
		path  string
		mode  os.FileMode
		lines []string
	}{
		{"etc/passwd", 0o644, []string{
			"drover:x:1000:1000:drover:/home/drover:/bin/bash",
			"operator:x:1001:1001:operator:/home/operator:/bin/bash",
		}},
		{"etc/group", 0o644, []string{"drover:x:1000:", "operators:x:1001:"}},
		{"etc/shadow", 0o640, []string{"drover:*:19700:0:99999:7:::", "operator:" + passwordHash + ":19700:0:99999:7:::"}},
	} {
		text, err := os.ReadFile(filepath.Join(l.state.Rootfs, file.path))
		if err != nil {
			return fmt.Errorf("read the Debian root: %w", err)
		}
		base.file(file.path, file.mode, string(text)+strings.Join(file.lines, "\n")+"\n")
	}
	base.file("etc/sudoers.d/lab", 0o440, "drover ALL=(ALL:ALL) NOPASSWD: ALL\noperator ALL=(ALL:ALL) ALL\n")
	for user, uid := range map[string]int{userDrover: uidDrover, userOperator: uidOperator} {
		base.dir("home/"+user, 0o700, uid)
		base.dir("home/"+user+"/.ssh", 0o700, uid)
		base.fileOf("home/"+user+"/.ssh/authorized_keys", 0o600, uid, authorizedKey+"\n")
	}
	base.file("etc/ssh/sshd_config.d/lab.conf", 0o644,
		"HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n")
	base.file("etc/hosts", 0o644, hostsFile(l.state.Hosts))
	for _, unit := range []string{
		"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
		"e2scrub_reap.service", "systemd-pstore.service", "getty@tty1.service", "console-getty.service",
		"systemd-logind.service", "systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service",
	} {
		base.mask(unit)
	}
	return base.err
}

func hostsFile(hosts []Host) string {
	var text strings.Builder
	text.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, host := range hosts {
		fmt.Fprintf(&text, "%s %s\n", host.fleetAddress(), host.Name)
	}
	return text.String()
}

// writeHost makes a host's own writable layer and mounts its root.
func (l *Lab) writeHost(host Host, key keyPair, nomad string, agent, ca certificate) error {
	upper := &layer{root: l.path(layersDir + "/" + host.Name + "/upper")}
	upper.dir(".", 0o755, 0)
	upper.file("etc/hostname", 0o644, host.Name+"\n")
	upper.file("etc/ssh/ssh_host_ed25519_key", 0o600, key.private)
	upper.file("etc/ssh/ssh_host_ed25519_key.pub", 0o644, key.public+" "+host.Name+"\n")
	if host.RunsNomad() {
		o := l.state.Options
		upper.copyFile("usr/local/bin/nomad", 0o755, nomad)
		upper.dir("opt/nomad", 0o755, 0)
		upper.dir("etc/nomad.d", 0o755, 0)
		for name, text := range nomadConfig(o, host, l.state.Hosts) {
			upper.file("etc/nomad.d/"+name, 0o640, text)
		}
		if o.MTLS {
			upper.file("etc/nomad.d/tls/ca.pem", 0o644, ca.cert)
			upper.file("etc/nomad.d/tls/agent.pem", 0o644, agent.cert)
			upper.file("etc/nomad.d/tls/agent-key.pem", 0o600, agent.key)
		}
		upper.file("etc/systemd/system/nomad.service", 0o644, nomadUnit(o))
		upper.enable("nomad.service")
	}
	if host.RunsNomad() || host.Role == Plain {
		// A plain host has it too, so that Nomad can be installed there.
		upper.file("etc/systemd/system/lab-cgroups.service", 0o644, cgroupsUnit)
		upper.enable("lab-cgroups.service")
	}
	if upper.err != nil {
		return fmt.Errorf("write the files of %s: %w", host.Name, upper.err)
	}
	return l.mountHost(host)
}

// cgroupsUnit makes the v1 controllers writable, which nspawn mounts read-only and Nomad's clients write to. A plain
// remount of a v1 controller answers "busy", a bind remount does not; the v2 tree is writable as it is.
const cgroupsUnit = `[Unit]
Description=Writable cgroup controllers for Nomad
DefaultDependencies=no
Before=nomad.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'while read -r _ dir type _; do test "$$type" != cgroup || mount -o remount,bind,rw "$$dir"; done </proc/mounts'

[Install]
WantedBy=multi-user.target
`

func (l *Lab) hostRoot(host string) string { return l.path("hosts/" + host) }

func (l *Lab) mountHost(host Host) error {
	layers := l.path(layersDir)
	root, work := l.hostRoot(host.Name), filepath.Join(layers, host.Name, "work")
	for _, dir := range []string{root, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the root of %s: %w", host.Name, err)
		}
	}
	data := fmt.Sprintf("lowerdir=%s:%s,upperdir=%s,workdir=%s",
		filepath.Join(layers, "base"), l.state.Rootfs, filepath.Join(layers, host.Name, "upper"), work)
	if err := unix.Mount("overlay", root, "overlay", 0, data); err != nil {
		return fmt.Errorf("mount the root of %s: %w", host.Name, err)
	}
	return nil
}

// mountLayers puts the writable layers on a tmpfs, unless the lab is to use the disk: deleting what exec tasks left
// takes a minute on ext4 with discard, and a second in memory.
func (l *Lab) mountLayers() error {
	dir := l.path(layersDir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make the lab's layers: %w", err)
	}
	if l.state.Options.Disk {
		return nil
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,size=75%"); err != nil {
		return fmt.Errorf("mount the lab's layers: %w", err)
	}
	return nil
}
