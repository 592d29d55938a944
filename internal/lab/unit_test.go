// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"
)

func TestFindDirs(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want Dirs
	}{
		{"nothing set", nil, Dirs{"/var/lib/drover-lab", "/var/cache/drover"}},
		{"home", map[string]string{"HOME": "/home/u"}, Dirs{"/var/lib/drover-lab", "/home/u/.cache/drover"}},
		{
			"all set",
			map[string]string{"HOME": "/home/u", "XDG_CACHE_HOME": "/c", "DROVER_LAB_DIR": "/labs"},
			Dirs{"/labs", "/c/drover"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := FindDirs(func(name string) string { return test.env[name] })
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestOptionsCheck(t *testing.T) {
	for _, test := range []struct {
		name    string
		options Options
		want    string // part of the error; empty for none
	}{
		{"three and three", Options{Servers: 3, Clients: 3, Job: true}, ""},
		{"a version with a v", Options{Servers: 1, Version: "v1.11.0"}, ""},
		{"only plain hosts", Options{Plain: 20}, ""},
		{"nothing", Options{}, "at least one host"},
		{"too many", Options{Servers: 5, Clients: 30}, "at most 32"},
		{"negative", Options{Servers: -1, Plain: 3}, "cannot be negative"},
		{"clients alone", Options{Clients: 2}, "without a server"},
		{"job without clients", Options{Servers: 1, Job: true}, "at least one client"},
		{"a job on servers", Options{Servers: 3, Combined: true, Job: true}, ""},
		{"a name with a dot", Options{Servers: 1, Name: "a.b"}, "lab name"},
		{"a name that climbs", Options{Servers: 1, Name: ".."}, "lab name"},
		{"a version that climbs", Options{Servers: 1, Version: "../1"}, "version"},
		{"raft protocol", Options{Servers: 1, RaftProtocol: 4}, "raft protocol 4"},
		{"KillMode", Options{Servers: 1, KillMode: "proces"}, `KillMode="proces"`},
		{"Type", Options{Servers: 1, UnitType: "forking"}, "simple, exec, notify"},
		{"KillSignal", Options{Servers: 1, KillSignal: "2\nExecStart=/bin/false"}, "KillSignal="},
		{"a region without a server", Options{Servers: 1, Regions: []string{"west", "east"}}, "each region needs one"},
		{"a region with a quote", Options{Servers: 1, Regions: []string{"we\"st"}}, "want lower case letters"},
		{"regions with certificates for one", Options{Servers: 2, Regions: []string{"west", "east"}, MTLS: true}, "for one region"},
		{"a root with a colon", Options{Servers: 1, Rootfs: "/a:b"}, "separators"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.options.withDefaults().check()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// testLab is a lab on paper.
func testLab(o Options) *Lab {
	o = o.withDefaults()
	return &Lab{dir: "/labs/x", state: state{Name: o.Name, Options: o, Hosts: makeHosts(o)}}
}

func TestInventory(t *testing.T) {
	for _, test := range []struct {
		name, user string
		options    Options
		want       string
	}{
		{"servers and clients", "drover", Options{Servers: 2, Clients: 1}, `[nomad_servers]
s1 ansible_host=10.64.1.1
s2 ansible_host=10.64.1.2

[nomad_clients]
c1 ansible_host=10.64.2.1

[nomad:children]
nomad_servers
nomad_clients

[all:vars]
ansible_user=drover
ansible_ssh_private_key_file=/labs/x/id_ed25519
ansible_ssh_common_args='-o UserKnownHostsFile=/labs/x/known_hosts'
`},
		{"everything in the way", "operator", Options{Servers: 1, Jump: true, ACL: true, MTLS: true}, `[nomad_servers]
s1 ansible_host=10.64.1.1

[nomad:children]
nomad_servers

[all:vars]
# sudo asks for the password in /labs/x/operator.password (--become-password-file)
ansible_user=operator
ansible_ssh_private_key_file=/labs/x/id_ed25519
ansible_ssh_common_args='-F /labs/x/ssh_config -J operator@10.65.0.1'
nomad_token_file=/labs/x/nomad.token
nomad_cacert=/labs/x/tls/ca.pem
nomad_client_cert=/labs/x/tls/cli.pem
nomad_client_key=/labs/x/tls/cli-key.pem
`},
		{"a server that is a client too", "drover", Options{Servers: 1, Combined: true}, `[nomad_servers]
s1 ansible_host=10.64.1.1

[nomad:children]
nomad_servers

[all:vars]
ansible_user=drover
ansible_ssh_private_key_file=/labs/x/id_ed25519
ansible_ssh_common_args='-o UserKnownHostsFile=/labs/x/known_hosts'
`},
		{"plain hosts", "drover", Options{Plain: 1}, `[plain]
h1 ansible_host=10.64.3.1

[all:vars]
ansible_user=drover
ansible_ssh_private_key_file=/labs/x/id_ed25519
ansible_ssh_common_args='-o UserKnownHostsFile=/labs/x/known_hosts'
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := testLab(test.options).Inventory(test.user)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := testLab(Options{Plain: 1}).Inventory("root"); err == nil {
		t.Error("an inventory for root, who cannot log in, was rendered")
	}
}

func TestNomadConfigIsReadByNomadsParser(t *testing.T) {
	o := Options{
		Servers: 3, Clients: 1, RaftProtocol: 2, ACL: true, MTLS: true,
		LeaveOnInterrupt: true, DrainOnShutdown: true,
	}.withDefaults()
	hosts := makeHosts(o)
	for _, host := range []Host{hosts[0], hosts[3]} {
		var all strings.Builder
		for name, text := range nomadConfig(o, host, hosts) {
			if strings.HasSuffix(name, ".hcl") {
				all.WriteString(text)
			}
		}
		var got map[string]any
		if err := hcl.Decode(&got, all.String()); err != nil {
			t.Fatalf("%s: %v\n%s", host.Name, err, all.String())
		}
		if got["name"] != host.Name || got["leave_on_interrupt"] != true || got["leave_on_terminate"] != false {
			t.Errorf("%s: got %v", host.Name, got)
		}
		for _, want := range []string{`"10.64.1.3"`, "verify_server_hostname", "acl {"} {
			if !strings.Contains(all.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", host.Name, want, all.String())
			}
		}
		role := map[Role]string{Server: "raft_protocol    = 2", Client: "drain_on_shutdown"}[host.Role]
		if !strings.Contains(all.String(), role) {
			t.Errorf("%s: %q is missing in\n%s", host.Name, role, all.String())
		}
	}
}

func TestCombinedHost(t *testing.T) {
	o := Options{Servers: 2, Combined: true, Job: true}.withDefaults()
	host := makeHosts(o)[1]
	files := nomadConfig(o, host, makeHosts(o))
	for _, name := range []string{"server.hcl", "client.hcl"} {
		if !strings.Contains(files[name], `retry_join     = ["10.64.1.1", "10.64.1.2"]`) {
			t.Errorf("%s does not join the servers: %q", name, files[name])
		}
	}
	if !host.IsServer() || !host.IsClient() || certificateRole(host) != Server || jobAllocations(o.nodes()) != 6 {
		t.Errorf("%+v has certificate %q and the job %d allocations", host, certificateRole(host), jobAllocations(o.nodes()))
	}
}

func TestNomadUnit(t *testing.T) {
	unit := nomadUnit(Options{KillSignal: "SIGTERM", KillMode: "control-group", UnitType: "notify"}.withDefaults())
	for _, want := range []string{"\nType=notify\n", "\nKillSignal=SIGTERM\n", "\nKillMode=control-group\n", "\nRestart=on-failure\nRestartSec=2\n"} {
		if !strings.Contains(unit, want) {
			t.Errorf("%q is missing in\n%s", want, unit)
		}
	}
}

func TestHierarchies(t *testing.T) {
	const hybrid = `24 23 0:21 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:22 / /sys/fs/cgroup/cpuset rw,relatime shared:5 - cgroup cgroup rw,cpuset
26 24 0:23 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
27 24 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
28 24 0:25 / /mnt/elsewhere rw,relatime - cgroup cgroup rw,pids
`
	for _, test := range []struct {
		name, mountinfo string
		want            []hierarchy
	}{
		{"hybrid", hybrid, []hierarchy{
			{mount: "/sys/fs/cgroup/cpuset", version: 1, cpuset: true},
			{mount: "/sys/fs/cgroup/systemd", version: 1},
			{mount: "/sys/fs/cgroup/unified", version: 2},
		}},
		{
			"v2 only", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			[]hierarchy{{mount: "/sys/fs/cgroup", version: 2}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := hierarchies(test.mountinfo)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := hierarchies("1 2 0:1 / / rw - ext4 /dev/vda rw\n"); err == nil {
		t.Error("a machine without cgroups was accepted")
	}
}

func TestMakeGroupInheritsCpuset(t *testing.T) {
	mount := t.TempDir()
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if err := os.WriteFile(filepath.Join(mount, file), []byte("0-1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := (hierarchy{mount: mount, version: 1, cpuset: true}).make("drover-lab/x/s1"); err == nil {
		// In a real cgroup the kernel makes the files; here they are made by the write.
		got, err := os.ReadFile(filepath.Join(mount, "drover-lab/x/s1/cpuset.mems"))
		if err != nil || string(got) != "0-1\n" {
			t.Errorf("cpuset.mems of the innermost group: %q (%v)", got, err)
		}
	} else {
		t.Error(err)
	}
}

func TestBootScriptQuotes(t *testing.T) {
	l := testLab(Options{Plain: 1})
	l.dir = "/labs/it's"
	l.groups = []hierarchy{{mount: "/sys/fs/cgroup/pids", version: 1}}
	script := l.bootScript("h1")
	for _, want := range []string{
		`'--directory=/labs/it'"'"'s/hosts/h1'`,
		"echo 0 > /sys/fs/cgroup/pids/drover-lab/lab/h1/machine/cgroup.procs",
		"test $? -eq 133 || exit",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("%q is missing in\n%s", want, script)
		}
	}
}

func TestCertificateNames(t *testing.T) {
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	made, err := ca.issue("server")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(made.cert))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.cert))
	for name, valid := range map[string]bool{
		"server.global.nomad": true, "localhost": true, "127.0.0.1": true, "client.global.nomad": false,
	} {
		_, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: name})
		if (err == nil) != valid {
			t.Errorf("certificate for %s: valid %t, want %t (%v)", name, err == nil, valid, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	key, err := newKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey([]byte(key.private))
	if err != nil {
		t.Fatal(err)
	}
	text := knownHosts([]Host{{Name: "s1", Address: netip.MustParseAddr("10.64.1.1")}}, map[string]keyPair{"s1": key})
	_, hosts, public, _, _, err := ssh.ParseKnownHosts([]byte(text))
	if err != nil || !bytes.Equal(public.Marshal(), signer.PublicKey().Marshal()) {
		t.Errorf("known_hosts %q does not hold the key (%v)", text, err)
	}
	if diff := cmp.Diff([]string{"s1", "10.64.1.1"}, hosts); diff != "" {
		t.Errorf("names in known_hosts (-want +got):\n%s", diff)
	}
	password, hash, err := newPassword()
	if err != nil || bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
		t.Errorf("the hash %q is not that of the password (%v)", hash, err)
	}
}

// A stand-in for Nomad that is enough for `version`.
const versionScript = "#!/bin/sh\necho 'Nomad v1.10.5'\n"

func TestGivenNomad(t *testing.T) {
	script := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string)
		want string // part of the path, or of the error
	}{
		{"a binary", func(t *testing.T, dir string) { script(t, dir+"/nomad-1.10.5", versionScript) }, "/nomad-1.10.5"},
		{"a folder", func(t *testing.T, dir string) { script(t, dir+"/1.10.5/nomad", versionScript) }, "/1.10.5/nomad"},
		{"a release zip", func(t *testing.T, dir string) { zipNomad(t, dir) }, "-zip-"},
		{"another version under the name", func(t *testing.T, dir string) {
			script(t, dir+"/nomad-1.10.5", "#!/bin/sh\necho 'Nomad v1.10.6'\n")
		}, "not version 1.10.5"},
		{"nothing", func(*testing.T, string) {}, "looked for nomad-1.10.5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.make(t, dir)
			got, err := Nomad(t.Context(), "1.10.5", dir, t.TempDir(), nil)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func zipNomad(t *testing.T, dir string) {
	t.Helper()
	out, err := os.Create(filepath.Join(dir, "nomad_1.10.5_linux_"+runtime.GOARCH+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	archive := zip.NewWriter(out)
	entry, err := archive.Create("nomad")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := entry.Write([]byte(versionScript)); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnpinnedNomad(t *testing.T) {
	_, err := Nomad(t.Context(), "0.12.0", "", t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "1.10.5, 1.11.0, 1.2.6") {
		t.Errorf("got %v, want the versions that are pinned", err)
	}
}

func TestOnceFillsAgainAfterAFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nomad")
	p := newProgress(nil)
	fills := 0
	fill := func(fail error) func(string) error {
		return func(binary string) error {
			fills++
			if err := os.WriteFile(binary, []byte("half"), 0o755); err != nil {
				return err
			}
			return fail
		}
	}
	if _, err := once(t.Context(), dir, p, fill(context.Canceled)); err == nil {
		t.Error("a failed fill was kept")
	}
	for range 2 {
		if _, err := once(t.Context(), dir, p, fill(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if fills != 2 {
		t.Errorf("filled %d times, want 2: once failed, once for good", fills)
	}
}

func TestLockName(t *testing.T) {
	dirs := Dirs{State: filepath.Join(t.TempDir(), "labs")}
	first, err := lockName(dirs, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockName(dirs, "x"); err == nil {
		t.Error("two hold the lock of one name")
	}
	other, err := lockName(dirs, "y")
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	if err := (&Lab{lock: first}).unlockForGood(); err != nil {
		t.Fatal(err)
	}
	// The removed file is still locked by first; the name is free for a new one.
	second, err := lockName(dirs, "x")
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	first.Close()
}

func TestStartTime(t *testing.T) {
	one, err := startTime(os.Getpid())
	if err != nil || one == 0 {
		t.Fatalf("got %d (%v)", one, err)
	}
	if again, err := startTime(os.Getpid()); again != one || err != nil {
		t.Errorf("got %d, then %d (%v)", one, again, err)
	}
}

func TestBuildCount(t *testing.T) {
	var out strings.Builder
	count := &buildCount{p: newProgress(&out), version: "1.10.5"}
	for _, line := range []string{"go: downloading a.example v1.0.0", "internal/abi", "fmt"} {
		count.line(line)
	}
	if count.downloaded != 1 || count.compiled != 2 {
		t.Errorf("got %d downloaded, %d compiled", count.downloaded, count.compiled)
	}
	if !strings.Contains(out.String(), "1 modules fetched, 0 of about") {
		t.Errorf("got %q", out.String())
	}
}
