// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/internal/secret"
	"drover/internal/wire"
	"drover/internal/words"
)

const sudoPassword = "correct horse '\"$(x)"

// withUsers runs the server in a mount namespace of its own, whose accounts and sudoers are files of the test: the machine's own
// are not touched. free needs no sudo password, operator has one, outsider may not use sudo.
func withUsers(sudoers string) sshdOption {
	return func(s *sshd, config *strings.Builder) {
		if _, err := exec.LookPath("sudo"); err != nil {
			absent(s.t, "sudo is not installed")
		}
		hash, err := exec.Command("openssl", "passwd", "-6", sudoPassword).Output()
		if err != nil {
			absent(s.t, "openssl is not installed: "+err.Error())
		}
		passwd, shadow := readFile(s.t, "/etc/passwd"), readFile(s.t, "/etc/shadow")
		for i, name := range []string{"free", "operator", "outsider"} {
			home := filepath.Join(s.dir, "home-"+name)
			if err := os.Mkdir(home, 0o700); err != nil {
				s.t.Fatal(err)
			}
			if err := os.Chown(home, 31000+i, 31000); err != nil {
				s.t.Fatal(err)
			}
			passwd += fmt.Sprintf("%s:x:%d:31000::%s:/bin/sh\n", name, 31000+i, home)
			shadow += fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", name, strings.TrimSpace(string(hash)))
		}
		rules := "Defaults use_pty, lecture=always\nfree ALL=(ALL) NOPASSWD: ALL\noperator ALL=(ALL) ALL\nDefaults logfile=" + s.dir + "/sudo.log, log_year\n" + sudoers
		var script strings.Builder
		script.WriteString("set -e; mount --make-rprivate /; mkdir -p /run/drover; mount -t tmpfs none /run/drover; ")
		fmt.Fprintf(&script, "mkdir %[1]s; mount -t tmpfs -o noexec,mode=1777 none %[1]s; ", words.Quote(filepath.Join(s.dir, "noexec")))
		for name, file := range map[string]struct {
			text string
			mode os.FileMode
		}{"passwd": {passwd, 0o644}, "shadow": {shadow, 0o600}, "sudoers": {rules, 0o440}} {
			path := filepath.Join(s.dir, "etc-"+name)
			write(s.t, path, file.text)
			if err := os.Chmod(path, file.mode); err != nil {
				s.t.Fatal(err)
			}
			fmt.Fprintf(&script, "mount --bind %s /etc/%s; ", words.Quote(path), name)
		}
		if err := os.Chmod(filepath.Join(s.dir, "authorized"), 0o644); err != nil {
			s.t.Fatal(err)
		}
		// Accounts of the test must be able to pass through the test's directories.
		for dir := s.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				s.t.Fatal(err)
			}
		}
		s.before = []string{"unshare", "-m", "sh", "-c", script.String() + `exec "$@"`, "sh"}
	}
}

func readFile(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *sshd) as(user string, become Become) Target {
	target := s.target()
	target.User, target.AgentDirs, target.Become = user, nil, become
	return target
}

func TestBecome(t *testing.T) {
	server := startSSHD(t, withUsers(""))
	for _, test := range []struct {
		name   string
		user   string
		become Become
		uid    int
		want   []string // of the error
	}{
		{name: "without a password", user: "free", uid: 0},
		{name: "a password that is not asked for", user: "free", become: Become{Password: secret.New("wrong")}, uid: 0},
		{name: "with a password", user: "operator", become: Become{Password: secret.New(sudoPassword)}, uid: 0},
		{name: "another user", user: "free", become: Become{User: "operator"}, uid: 31001},
		{name: "another user with a password", user: "operator", become: Become{User: "outsider", Password: secret.New(sudoPassword)}, uid: 31002},
		{name: "no password given", user: "operator", want: []string{"wants a password", "-K", "ansible_become_password"}},
		{name: "wrong password", user: "operator", become: Become{Password: secret.New("hunter2")}, want: []string{"refused the password", "once"}},
		{name: "not a sudoer", user: "outsider", become: Become{Password: secret.New(sudoPassword)}, want: []string{"does not allow", "outsider"}},
		{name: "unknown user", user: "free", become: Become{User: "nosuchuser"}, want: []string{"nosuchuser"}},
		{name: "no sudo", user: "free", become: Become{Exe: "/usr/bin/no-sudo"}, want: []string{"no-sudo"}},
		{name: "already that user", user: "free", become: Become{User: "free", Exe: "/usr/bin/no-sudo"}, uid: 31000},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := pool(t, server.options())
			hello, err := greeting(limited(t, 30*time.Second), p, server.as(test.user, test.become), true)
			if len(test.want) == 0 {
				if err != nil || hello.UID != test.uid {
					t.Fatalf("uid %d, %v; want %d", hello.UID, err, test.uid)
				}
				return
			}
			lost(t, err, test.want...)
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), sudoPassword) {
				t.Errorf("the error shows the password: %v", err)
			}
			// Nothing is tried again: the second answer is the first one, at once.
			started := time.Now()
			_, again := greeting(limited(t, 30*time.Second), p, server.as(test.user, test.become), true)
			if again == nil || again.Error() != err.Error() || time.Since(started) > 500*time.Millisecond {
				t.Errorf("the second time: %v after %s", again, time.Since(started))
			}
		})
	}
}

// TestWrongPasswordIsTriedOnce reads sudo's own log: more tries would lock accounts.
func TestWrongPasswordIsTriedOnce(t *testing.T) {
	server := startSSHD(t, withUsers(""))
	p := pool(t, server.options())
	for range 2 {
		_, err := greeting(limited(t, 30*time.Second), p, server.as("operator", Become{Password: secret.New("hunter2")}), true)
		lost(t, err, "refused the password")
	}
	_ = p.Close() // waits for sudo to have ended
	var log string
	for end := time.Now().Add(10 * time.Second); !strings.Contains(log, "COMMAND="); time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(server.dir, "sudo.log"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) || time.Now().After(end) {
			t.Fatalf("sudo's log: %q, %v", log, err)
		}
		log = string(text)
	}
	if strings.Count(log, "COMMAND=") != 1 || !strings.Contains(log, "1 incorrect password attempt") {
		t.Errorf("sudo's log:\n%s", log)
	}
	if strings.Contains(log, "hunter2") {
		t.Errorf("the password is in sudo's log:\n%s", log)
	}
}

func TestSudoThatWantsATerminal(t *testing.T) {
	server := startSSHD(t, withUsers("Defaults requiretty\n"))
	_, err := greeting(limited(t, 30*time.Second), pool(t, server.options()), server.as("free", Become{}), true)
	lost(t, err, "requiretty", "sudoers")
}

func TestBothAccountsShareTheConnection(t *testing.T) {
	server := startSSHD(t, withUsers(""))
	p := pool(t, server.options())
	target := server.as("free", Become{})
	for _, become := range []bool{false, true} {
		h, err := p.Host(limited(t, 30*time.Second), target, become)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Call(limited(t, 30*time.Second), wire.Ping{}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(server.log.String(), "Accepted publickey"); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	program, err := filepath.Glob(filepath.Join(server.dir, "home-free/.cache/drover/drover-agent-*"))
	if err != nil || len(program) != 1 {
		t.Fatalf("programs: %v, %v", program, err)
	}
	info, err := os.Stat(filepath.Dir(program[0]))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the agent's directory: %v, %v", info.Mode(), err)
	}
}

func TestNoexecDirectory(t *testing.T) {
	server := startSSHD(t, withUsers(""))
	target := server.as("free", Become{})
	target.AgentDirs = []string{filepath.Join(server.dir, "noexec/agents")}
	refused(t, server.options(), target, "noexec", target.AgentDirs[0])
	target.AgentDirs = append(target.AgentDirs, "~/agents")
	reached(t, server.options(), target)
	if found, _ := filepath.Glob(filepath.Join(server.dir, "home-free/agents/drover-agent-*")); len(found) != 1 {
		t.Errorf("programs in the second directory: %v", found)
	}
}
