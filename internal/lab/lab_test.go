// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// upInChild makes a child process of the tests bring a lab up, so that it can be killed.
const upInChild = "DROVER_LAB_TEST_UP"

func TestMain(m *testing.M) {
	if name := os.Getenv(upInChild); name != "" {
		dirs := FindDirs(os.Getenv)
		if _, err := Up(context.Background(), Options{Name: name, Dirs: dirs, Servers: 1, Plain: 1}, os.Stdout); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// needLab skips where a lab cannot run, and fails there under CI.
func needLab(t *testing.T) {
	t.Helper()
	err := Requirements()
	if err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// testDirs puts the labs of a test into a folder of its own, and shares the cache with everybody.
func testDirs(t *testing.T) Dirs {
	t.Helper()
	dirs := FindDirs(os.Getenv)
	dirs.State = filepath.Join(t.TempDir(), "labs")
	return dirs
}

// testOut shows a lab's progress in the test's log.
type testOut struct{ t *testing.T }

func (o testOut) Write(text []byte) (int, error) {
	o.t.Log(strings.TrimSpace(string(text)))
	return len(text), nil
}

func TestLabUpAndDown(t *testing.T) {
	needLab(t)
	defer goleak.VerifyNone(t)
	dirs := testDirs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	o := Options{Name: "t-updown", Dirs: dirs, Servers: 1, Clients: 1, Jump: true, ACL: true, MTLS: true, Job: true}
	l, err := Up(ctx, o, testOut{t})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Down(context.Background(), testOut{t}); err != nil {
			t.Error(err)
		}
		nothingLeft(t, dirs, o.Name)
		if err := Down(context.Background(), dirs, o.Name, testOut{t}); err != nil {
			t.Errorf("the second down: %v", err)
		}
		nothingLeft(t, dirs, o.Name)
	}()
	if _, err := Up(ctx, o, nil); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a second lab of the same name: got %v, want a refusal", err)
	}
	reopened, err := Open(dirs, o.Name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"s1 1.10.5", "c1 1.10.5", "j1 "}, statusWords(reopened.Status(ctx))); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	t.Run("ssh through the jump host", func(t *testing.T) { sshWorks(ctx, t, reopened) })
	t.Run("the bastion reaches the jump host only", func(t *testing.T) { directFails(ctx, t, reopened) })
	t.Run("sudo with a password", func(t *testing.T) { operatorSudo(ctx, t, reopened) })
	t.Run("restart keeps tasks", func(t *testing.T) { restartKeepsTasks(ctx, t, reopened) })
	t.Run("reboot", func(t *testing.T) { rebootWorks(ctx, t, reopened) })
	t.Run("power", func(t *testing.T) { powerWorks(ctx, t, reopened) })
	t.Run("cut", func(t *testing.T) { cutWorks(ctx, t, reopened) })
}

func statusWords(all []HostStatus) []string {
	var words []string
	for _, host := range all {
		words = append(words, host.Name+" "+host.Nomad)
	}
	return words
}

func sshRun(ctx context.Context, l *Lab, host string, command ...string) (string, error) {
	argv, err := l.SSHArgs(host, command...)
	if err != nil {
		return "", err
	}
	out, err := l.Command(ctx, argv...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func sshWorks(ctx context.Context, t *testing.T, l *Lab) {
	for _, host := range []string{"s1", "c1", "j1"} {
		got, err := sshRun(ctx, l, host, "hostname; id -un; sudo -n id -u")
		if want := host + "\ndrover\n0"; err != nil || got != want {
			t.Errorf("ssh %s: got %q (%v), want %q", host, got, err, want)
		}
	}
	var exit *exec.ExitError
	if _, err := sshRun(ctx, l, "s1", "exit 7"); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("a command that exits with 7: got %v", err)
	}
}

func directFails(ctx context.Context, t *testing.T, l *Lab) {
	host, err := l.Host("s1")
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.Command(ctx, "ssh", "-F", "none", "-o", "ConnectTimeout=1", "-i", l.KeyFile(),
		"-o", "UserKnownHostsFile="+l.KnownHostsFile(), "drover@"+host.Address.String(), "true")
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("timed out")) {
		t.Errorf("ssh past the jump host: got %q (%v), want no answer", out, err)
	}
}

func operatorSudo(ctx context.Context, t *testing.T, l *Lab) {
	password, err := l.Password()
	if err != nil {
		t.Fatal(err)
	}
	argv, err := l.SSHArgs("c1", "sudo -S -p '' id -u")
	if err != nil {
		t.Fatal(err)
	}
	argv = append([]string{argv[0], "-l", "operator"}, argv[1:]...)
	for _, try := range []struct {
		input string
		works bool
	}{{password + "\n", true}, {"wrong\n", false}} {
		cmd := l.Command(ctx, argv...)
		cmd.Stdin = strings.NewReader(try.input)
		out, err := cmd.Output()
		if works := err == nil && strings.TrimSpace(string(out)) == "0"; works != try.works {
			t.Errorf("sudo with the right password %t: got %q (%v)", try.works, out, err)
		}
	}
}

func restartKeepsTasks(ctx context.Context, t *testing.T, l *Lab) {
	before, err := l.Tasks("c1")
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != rawPerClient+isolatedPerClient {
		t.Fatalf("tasks on c1: got %v, want %d", before, rawPerClient+isolatedPerClient)
	}
	if _, err := l.Output(ctx, "c1", "systemctl", "restart", "nomad"); err != nil {
		t.Fatal(err)
	}
	waitNomad(ctx, t, l, "c1")
	after, err := l.Tasks("c1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("tasks over a restart (-before +after):\n%s", diff)
	}
}

func rebootWorks(ctx context.Context, t *testing.T, l *Lab) {
	before, err := l.initPid("s1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Output(ctx, "s1", "systemctl", "reboot"); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "a new pid 1", func() error {
		after, err := l.initPid("s1")
		if err == nil && after == before {
			err = errors.New("still the old one")
		}
		return err
	})
	waitNomad(ctx, t, l, "s1")
}

func powerWorks(ctx context.Context, t *testing.T, l *Lab) {
	if err := l.Kill(ctx, "s1"); err != nil {
		t.Fatal(err)
	}
	if status := l.Status(ctx)[0]; status.Up {
		t.Error("s1 is up after its power was cut")
	}
	if err := l.Boot(ctx, "s1"); err != nil {
		t.Fatal(err)
	}
	waitNomad(ctx, t, l, "s1")
	if err := l.Boot(ctx, "s1"); err == nil {
		t.Error("a running host was booted a second time")
	}
}

func cutWorks(ctx context.Context, t *testing.T, l *Lab) {
	answers := func(host string) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return l.Call(ctx, host, http.MethodGet, "/v1/agent/health", nil, nil) == nil
	}
	if err := l.Cut(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	if answers("c1") {
		t.Error("c1 answers while it is cut")
	}
	if err := l.Heal(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	waitNomad(ctx, t, l, "c1")
	peer := fmt.Sprintf("exec 3<>/dev/tcp/%s/4647", which(l.Hosts(), Host.IsServer)[0].Address)
	reaches := func() bool {
		_, err := l.Output(ctx, "c1", "timeout", "2", "bash", "-c", peer)
		return err == nil
	}
	if !reaches() {
		t.Error("c1 does not reach s1 though nothing is cut")
	}
	if err := l.CutPeers(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	if reaches() {
		t.Error("c1 reaches s1 while it is cut off from its peers")
	}
	if _, err := sshRun(ctx, l, "c1", "true"); err != nil {
		t.Errorf("ssh to a host cut off from its peers only: %v", err)
	}
	if err := l.Heal(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "c1 reaching s1", func() error {
		if !reaches() {
			return errors.New("not yet")
		}
		return nil
	})
}

func waitNomad(ctx context.Context, t *testing.T, l *Lab, host string) {
	t.Helper()
	eventually(ctx, t, "Nomad on "+host, func() error {
		if l.runningVersion(ctx, host) == "" {
			return errors.New("its API does not answer")
		}
		return nil
	})
}

func eventually(ctx context.Context, t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := poll(ctx, 100*time.Millisecond, check); err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

func TestLabDownAfterKilledUp(t *testing.T) {
	needLab(t)
	for _, step := range []string{"network:", "files:", "boot:", "SSH on"} {
		t.Run(strings.Trim(step, ":"), func(t *testing.T) {
			dirs := testDirs(t)
			const name = "t-killed"
			t.Cleanup(func() {
				if err := Down(context.Background(), dirs, name, nil); err != nil {
					t.Error(err)
				}
			})
			killUp(t, dirs, name, step)
			if err := Down(t.Context(), dirs, name, testOut{t}); err != nil {
				t.Error(err)
			}
			nothingLeft(t, dirs, name)
		})
	}
}

// killUp starts `up` in a child process and kills that with -9 as soon as it has said the step.
func killUp(t *testing.T, dirs Dirs, name, step string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), upInChild+"="+name, "DROVER_LAB_DIR="+dirs.State)
	cmd.Stderr = testOut{t}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		t.Log(lines.Text())
		if strings.Contains(lines.Text(), step) {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			break
		}
	}
	_, _ = io.Copy(io.Discard, out)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("up ended by itself before it could be killed at %q: %v", step, err)
	}
}

// nothingLeft fails when a process, mount, namespace, cgroup or file carries the lab's name.
func nothingLeft(t *testing.T, dirs Dirs, name string) {
	t.Helper()
	for _, pattern := range []string{
		dirs.State,
		netnsPath("drover." + name), netnsPath("drover." + name + ".*"),
		"/sys/fs/cgroup/*/" + cgroupParent + "/" + name, "/sys/fs/cgroup/" + cgroupParent + "/" + name,
		nspawnRun + "/*/drover-" + name + "-*",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) > 0 {
			t.Errorf("left behind: %v (%v)", found, err)
		}
	}
	mounts, err := mountsBelow(dirs.State)
	if err != nil || len(mounts) > 0 {
		t.Errorf("mounts left behind: %v (%v)", mounts, err)
	}
	// A dead process stays listed until pid 1 has taken note of it.
	eventually(context.Background(), t, "the lab's processes to be gone", func() error { return processesLeft(dirs, name) })
}

func processesLeft(dirs Dirs, name string) error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, process := range processes {
		groups, _ := os.ReadFile(filepath.Join(process, "cgroup"))
		command, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		if bytes.Contains(groups, []byte(cgroupParent+"/"+name+"/")) || bytes.Contains(command, []byte(dirs.State+"/"+name)) {
			return fmt.Errorf("%s %q is left", process, command)
		}
	}
	return nil
}
