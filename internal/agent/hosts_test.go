// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/wire"
)

func TestLocksAreOfUnits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	first, second, third := inProcess(t, Options{LockDir: dir}), inProcess(t, Options{LockDir: dir}), inProcess(t, Options{LockDir: dir})
	get[wire.HelloResult](t, first, wire.Hello{Run: "one", Holder: "ann", Lock: true, Unit: "nomad-a"}, nil)
	get[wire.HelloResult](t, second, wire.Hello{Run: "two", Holder: "bob", Lock: true, Unit: "nomad-b.service"}, nil)
	for unit, holder := range map[string]string{"nomad-a.service": "ann", "nomad-b": "bob"} {
		_, err := try[wire.HelloResult](third, wire.Hello{Run: "three", Lock: true, Unit: unit}, nil)
		if !wire.IsKind(err, wire.KindLocked) || !strings.Contains(err.Error(), holder) {
			t.Errorf("%s: got %v, want a refusal that names %s", unit, err, holder)
		}
	}
	get[wire.HelloResult](t, third, wire.Hello{Run: "three", Holder: "cem", Lock: true}, nil)
	for _, name := range []string{"nomad-a.service.lock", "nomad-b.service.lock", "nomad.service.lock"} {
		if !exists(filepath.Join(dir, name)) {
			t.Errorf("there is no %s", name)
		}
	}
	if _, err := try[wire.HelloResult](third, wire.Hello{Lock: true, Unit: "../nomad"}, nil); !wire.IsKind(err, wire.KindInvalid) {
		t.Errorf("a path as unit: %v", err)
	}
}

func TestARunTakesTheLockOfTheUnitThatATaskNames(t *testing.T) {
	var locks, other unitLocks
	dir := t.TempDir()
	if held, err := locks.also(t.Context(), "nomad-b.service"); held || err != nil {
		t.Errorf("without a lock: %t, %v", held, err)
	}
	if _, err := locks.take(t.Context(), dir, "nomad.service", wire.Hello{Run: "one", Holder: "ann"}); err != nil {
		t.Fatal(err)
	}
	if held, err := locks.also(t.Context(), "nomad-b.service"); !held || err != nil {
		t.Errorf("with a lock: %t, %v", held, err)
	}
	if _, err := other.take(t.Context(), dir, "nomad-b.service", wire.Hello{Run: "two"}); !wire.IsKind(err, wire.KindLocked) {
		t.Errorf("the second unit is not locked: %v", err)
	}
	locks.release()
	if _, err := other.take(t.Context(), dir, "nomad-b.service", wire.Hello{Run: "two"}); err != nil {
		t.Error(err)
	}
	other.release()
}

func TestResolveFindsTheLinkThatChooses(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(at("opt/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("opt/bin/nomad-1.10.5"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"bin": "opt/bin", "opt/bin/nomad": "nomad-1.10.5", "opt/sub": "bin", "up": "bin/../sub/nomad-1.10.5", "alternative": at("opt/bin/nomad"), "first": "alternative", "loop": "loop", "nowhere": "gone",
	} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct{ link, text string }{
		"opt/bin/nomad-1.10.5": {"", ""},
		"bin/nomad-1.10.5":     {"", ""},
		"opt/bin/nomad":        {"opt/bin/nomad", "nomad-1.10.5"},
		"bin/nomad":            {"opt/bin/nomad", "nomad-1.10.5"},
		"first":                {"opt/bin/nomad", "nomad-1.10.5"},
		"up":                   {"up", "bin/../sub/nomad-1.10.5"},
	}
	for path, want := range tests {
		t.Run(path, func(t *testing.T) {
			got, err := resolve(at(path))
			link := strings.TrimPrefix(strings.TrimPrefix(got.link, dir), "/")
			if err != nil || got.file != at("opt/bin/nomad-1.10.5") || link != want.link || got.text != want.text {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	for _, path := range []string{"loop", "nowhere"} {
		if got, err := resolve(at(path)); err == nil {
			t.Errorf("%s: got %+v", path, got)
		}
	}
}

func TestPackagesSayWhoOwnsAFile(t *testing.T) {
	tests := map[string]struct {
		read func(string) string
		text string
		want string
	}{
		"dpkg":               {dpkgOwner, "nomad: /usr/bin/nomad\n", "nomad"},
		"dpkg, two owners":   {dpkgOwner, "nomad, nomad-ent:amd64: /usr/bin/nomad\n", "nomad, nomad-ent:amd64"},
		"dpkg, a diversion":  {dpkgOwner, "diversion by foo from: /usr/bin/nomad\ndiversion by foo to: /usr/bin/nomad.x\n", ""},
		"dpkg, none":         {dpkgOwner, "", ""},
		"rpm":                {rpmOwner, "file /bin/nomad is not owned by any package\nnomad\n", "nomad"},
		"rpm, none":          {rpmOwner, "file /usr/bin/nomad is not owned by any package\n", ""},
		"rpm, no such file":  {rpmOwner, "error: file /bin/nomad: No such file or directory\n", ""},
		"rpm, empty answers": {rpmOwner, "\n\n", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.read(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	want := []string{"/usr/bin/nomad", "/bin/nomad", "/opt/nomad/nomad", "/usr/opt/nomad/nomad"}
	if diff := cmp.Diff(want, packagePaths(target{path: "/usr/bin/nomad", file: "/opt/nomad/nomad", link: "/usr/bin/nomad"})); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestControlGroupsTellContainers(t *testing.T) {
	id := strings.Repeat("0123abcd", 8)
	tests := map[string]string{
		"0::/system.slice/docker-" + id + ".scope":                   "docker container",
		"12:pids:/docker/" + id:                                      "docker container",
		"0::/machine.slice/libpod-" + id + ".scope/container":        "podman container",
		"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd": "Kubernetes container",
		"0::/system.slice/nerdctl-" + id + ".scope":                  "containerd container",
		"0::/default/" + id:                                          "containerd container",
		"0::/lxc.payload.web/init.scope":                             "LXC container",
		"0::/machine.slice/machine-web.scope":                        "machine of systemd-nspawn",
		"0::/system.slice/nomad.service":                             "",
		"0::/system.slice/docker.service":                            "",
		"0::/system.slice/docker-nomad.service":                      "",
		"0::/nomad.slice/share.slice":                                "",
	}
	for text, want := range tests {
		if got := containerKind(text + "\n"); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestUnitsThatStartContainersAreRefused(t *testing.T) {
	tests := map[string]string{
		"/usr/bin/docker run hashicorp/nomad agent": "starts docker", "/usr/bin/podman start nomad": "starts podman", "/usr/bin/nomad agent": "",
		"/bin/sh -c exec docker run --rm nomad": "starts docker",
	}
	for path, want := range tests {
		program, rest, _ := strings.Cut(path, " ")
		err := refuseContainer(service{UnitState: wire.UnitState{Name: "nomad.service", ExecStartPath: program, ExecStart: []string{program, rest}}})
		if want == "" && err != nil || want != "" && (!wire.IsKind(err, wire.KindUnsupported) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--limit")) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestOnlyNamesOfVariablesAreTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nomad.env")
	if err := os.WriteFile(file, []byte("# c\nNOMAD_LICENSE=secret1\nA=\"secret2\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := service{environment: []string{"B=secret3", "A=x"}, envFiles: []envFile{{path: file}, {path: file + ".gone"}}}
	if diff := cmp.Diff([]string{"A", "B", "NOMAD_LICENSE"}, environmentNames(s)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestTheHomeIsTheFirstUsablePlace(t *testing.T) {
	dir := t.TempDir()
	open, own := filepath.Join(dir, "open"), filepath.Join(dir, "own")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := &Agent{options: Options{Homes: []string{file + "/drover", open, own, filepath.Join(dir, "later")}}}
	if got, err := a.home(); err != nil || got != own {
		t.Errorf("got %s, %v; want %s", got, err, own)
	}
	if exists(own) {
		t.Error("looking made it")
	}
	a.options.Homes = []string{open}
	_, err := a.home()
	if !wire.IsKind(err, wire.KindUnsupported) || !strings.Contains(err.Error(), open) {
		t.Errorf("nowhere to go: %v", err)
	}
}

func TestLocksFile(t *testing.T) {
	const table = "1: FLOCK  ADVISORY  WRITE 4711 00:19:873 0 EOF\n2: POSIX  ADVISORY  WRITE 12 00:19:5 0 EOF\n3: -> FLOCK  ADVISORY  WRITE 13 00:19:873 0 EOF\n4: FLOCK\n"
	tests := map[string]struct {
		pid   int
		inode uint64
		want  bool
	}{
		"the holder": {4711, 873, true}, "another file": {4711, 73, false}, "a dead holder": {4712, 873, false},
		"another kind of lock": {12, 5, false}, "one that waits": {13, 873, false},
	}
	for name, test := range tests {
		if got := locksFile(table, test.pid, test.inode); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
