// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"runtime"
	"strings"
)

// nomadUnit renders nomad.service as HashiCorp's package has it, with the lab's settings in the places that upgrades stumble over.
func nomadUnit(o Options) string {
	return fmt.Sprintf(`[Unit]
Description=Nomad
Documentation=https://www.nomadproject.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
Type=%s
EnvironmentFile=-/etc/nomad.d/nomad.env
ExecReload=/bin/kill -HUP $MAINPID
ExecStart=/usr/local/bin/nomad agent -config /etc/nomad.d
KillMode=%s
KillSignal=%s
LimitNOFILE=65536
LimitNPROC=infinity
Restart=on-failure
RestartSec=2
OOMScoreAdjust=-1000
TasksMax=infinity

[Install]
WantedBy=multi-user.target
`, o.UnitType, o.KillMode, o.KillSignal)
}

// nomadConfig renders the files of /etc/nomad.d by name.
func nomadConfig(o Options, host Host, hosts []Host) map[string]string {
	files := map[string]string{
		"nomad.env": "# Environment of the agent.\n",
		"nomad.hcl": fmt.Sprintf(`name       = %q
region     = %q
datacenter = "dc1"
data_dir   = "/opt/nomad"
bind_addr  = "0.0.0.0"

leave_on_interrupt   = %t
leave_on_terminate   = %t
disable_update_check = true
`, host.Name, host.Region, o.LeaveOnInterrupt, o.LeaveOnTerminate),
	}
	if host.IsServer() {
		files["server.hcl"] = serverConfig(o, host, hosts)
	}
	if host.IsClient() {
		files["client.hcl"] = clientConfig(o, within(hosts, host.Region))
	}
	if o.ACL {
		files["acl.hcl"] = "acl {\n  enabled = true\n}\n"
	}
	if o.MTLS {
		files["tls.hcl"] = `tls {
  http = true
  rpc  = true

  ca_file   = "/etc/nomad.d/tls/ca.pem"
  cert_file = "/etc/nomad.d/tls/agent.pem"
  key_file  = "/etc/nomad.d/tls/agent-key.pem"

  verify_server_hostname = true
  verify_https_client    = true
}
`
	}
	return files
}

// join renders the block by which an agent finds the servers again, also after it left.
func join(hosts []Host) string {
	var addresses []string
	for _, server := range which(hosts, Host.IsServer) {
		addresses = append(addresses, fmt.Sprintf("%q", server.Address))
	}
	return fmt.Sprintf("  server_join {\n    retry_join     = [%s]\n    retry_interval = \"1s\"\n  }\n", strings.Join(addresses, ", "))
}

// serverConfig lets a server join those of all regions: they gossip in one pool, and each region elects a leader of its own.
func serverConfig(o Options, host Host, hosts []Host) string {
	more := ""
	if o.RaftProtocol != 0 {
		more = fmt.Sprintf("  raft_protocol    = %d\n", o.RaftProtocol)
	}
	if len(o.Regions) > 1 {
		more += fmt.Sprintf("  authoritative_region = %q\n", o.Regions[0])
	}
	expect := len(which(within(hosts, host.Region), Host.IsServer))
	return fmt.Sprintf("server {\n  enabled          = true\n  bootstrap_expect = %d\n%s%s}\n", expect, more, join(hosts))
}

func clientConfig(o Options, hosts []Host) string {
	drain := ""
	if o.DrainOnShutdown {
		drain = "  drain_on_shutdown {\n    deadline = \"20s\"\n  }\n"
	}
	return fmt.Sprintf(`client {
  enabled = true
%s%s
  chroot_env {
%s  }
}

plugin "raw_exec" {
  config {
    enabled = true
  }
}
`, join(hosts), drain, chroot(runtime.GOARCH))
}

// chroot lists what an exec task of the lab needs to run a shell and sleep as the user nobody: Nomad's own list is about
// 200 MB per allocation. The shell and the loader are symlinks in Debian, so what they point to is here as well.
func chroot(arch string) string {
	libraries, loader, link := "/lib/x86_64-linux-gnu/", "ld-linux-x86-64.so.2", "/lib64/"
	if arch == "arm64" {
		libraries, loader, link = "/lib/aarch64-linux-gnu/", "ld-linux-aarch64.so.1", "/lib/"
	}
	var text strings.Builder
	for _, path := range []string{
		"/etc/passwd", "/etc/group", "/bin/sh", "/bin/dash", "/bin/sleep",
		libraries + "libc.so.6", libraries + loader, link + loader,
	} {
		fmt.Fprintf(&text, "    %q = %q\n", path, path)
	}
	return text.String()
}
