// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/wire"
)

func TestRun(t *testing.T) {
	t.Setenv("SECRET_OF_THE_AGENT", "leaked")
	c := inProcess(t, Options{})
	shell := func(script string) []string { return []string{"sh", "-c", script} }
	for _, test := range []struct {
		name    string
		request wire.Run
		want    wire.RunResult
	}{
		{"output and code", wire.Run{Argv: shell("echo out; echo err >&2; exit 3")}, wire.RunResult{RC: 3, Stdout: "out\n", Stderr: "err\n"}},
		{"stdin", wire.Run{Argv: []string{"cat"}, Stdin: "words"}, wire.RunResult{Stdout: "words"}},
		{"environment", wire.Run{Argv: shell("echo $A$SECRET_OF_THE_AGENT; pwd"), Env: map[string]string{"A": "b"}, Dir: "/usr"}, wire.RunResult{Stdout: "b\n/usr\n"}},
		{"killed", wire.Run{Argv: shell("kill -9 $$")}, wire.RunResult{RC: 137}},
		{"bounded", wire.Run{Argv: shell("printf 0123456789"), MaxBytes: 4}, wire.RunResult{Stdout: "01\n[... 6 bytes left out ...]\n89", Truncated: true}},
		{"as much as there may be, all control characters", wire.Run{Argv: shell("head -c 1048576 /dev/zero | tee /dev/stderr")}, wire.RunResult{
			Stdout: strings.Repeat("\x00", 1<<20), Stderr: strings.Repeat("\x00", 1<<20),
		}},
		{"creates", wire.Run{Argv: []string{"false"}, Creates: "/etc"}, wire.RunResult{Skipped: "/etc exists"}},
		{"removes", wire.Run{Argv: []string{"false"}, Removes: "/no/such"}, wire.RunResult{Skipped: "/no/such does not exist"}},
		{"a child keeps the output open", wire.Run{Argv: shell("sleep 100 & echo done")}, wire.RunResult{Stdout: "done\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := get[wire.RunResult](t, c, test.request, nil)
			got.Start, got.End = 0, 0
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := try[wire.RunResult](c, wire.Run{Argv: []string{"no-such-program"}}, nil); !wire.IsKind(err, wire.KindNotFound) {
		t.Errorf("missing program: got %v", err)
	}
}

func TestRunAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		absent(t, errors.New("needs root"))
	}
	c := inProcess(t, Options{})
	got := get[wire.RunResult](t, c, wire.Run{Argv: []string{"sh", "-c", "id -un; id -gn; echo $USER"}, User: "nobody"}, nil)
	if got.Stdout != "nobody\nnogroup\nnobody\n" {
		t.Errorf("got %+v", got)
	}
}

// A call's end, by time or because the caller goes away, ends the whole process group.
func TestRunIsKilledWithItsChildren(t *testing.T) {
	c := inProcess(t, Options{})
	marker := filepath.Join(t.TempDir(), "pid")
	request := wire.Run{Argv: []string{"sh", "-c", "sleep 1000 & echo $! > " + marker + "; wait"}}
	var result wire.RunResult
	if _, err := c.ask(request, nil, 500*time.Millisecond, &result); !wire.IsKind(err, wire.KindTimeout) {
		t.Errorf("got %v, want timeout", err)
	}
	gone(t, marker)

	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	stream, err := c.session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_ = wire.WriteMessage(stream, wire.Header{Op: "run"})
	_ = wire.WriteMessage(stream, request)
	for end := time.Now().Add(10 * time.Second); ; {
		if text, err := os.ReadFile(marker); err == nil && len(text) > 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the program does not start")
		}
	}
	stream.Close()
	gone(t, marker)
}

// gone waits for the process whose number is in the file to end.
func gone(t *testing.T, marker string) {
	t.Helper()
	text, err := os.ReadFile(marker)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); startTicks(pid) != 0; {
		if time.Now().After(end) {
			t.Fatalf("child %d still runs", pid)
		}
	}
}

func TestRedactor(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain", "agent: serf: EventMemberJoin: s1.global", "agent: serf: EventMemberJoin: s1.global"},
		{"pair", "consul: token=abc-def rest", "consul: token=[redacted] rest"},
		{"hcl", `encrypt = "c2VjcmV0"`, `encrypt = [redacted]`},
		{"json", `{"SecretID":"0000","x":1}`, `{"SecretID":[redacted],"x":1}`},
		{"header", "X-Nomad-Token: 1234", "X-Nomad-Token: [redacted]"},
		{"bearer", "Authorization: Bearer eyJh", "Authorization: Bearer [redacted]"},
		{"vault", "using hvs.CAESIJabcdef", "using [redacted]"},
		{"terminal", "\x1b[31mred\x07", "[31mred"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(newRedactor().lines(test.text, 5), "\n")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseAgentFlags(t *testing.T) {
	for _, test := range []struct {
		line string
		want agentFlags
	}{
		{"nomad agent -config /etc/nomad.d", agentFlags{configs: []string{"/etc/nomad.d"}}},
		{"nomad agent --config=/a -config=/b.hcl", agentFlags{configs: []string{"/a", "/b.hcl"}}},
		{"nomad agent -config /a -data-dir=/d", agentFlags{configs: []string{"/a"}, extra: true, dataDir: "/d"}},
		{"nomad agent -dev", agentFlags{extra: true}},
		{"nomad agent -bind 0.0.0.0 -config /a", agentFlags{configs: []string{"/a"}, extra: true}},
		{"bash run.sh", agentFlags{}},
	} {
		t.Run(test.line, func(t *testing.T) {
			got := parseAgentFlags(strings.Fields(test.line))
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(agentFlags{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10-base.hcl": `data_dir = "/opt/nomad"`, "zz.json": `{"data_dir": "/srv/nomad"}`, "zz.hcl~": "", ".#a.hcl": "", "#b.hcl#": "",
		"README": "", "20.hcl": "# data_dir = \"/wrong\"\nserver { enabled = true }",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := configFiles([]string{dir, filepath.Join(dir, "no-such")})
	want := []string{filepath.Join(dir, "10-base.hcl"), filepath.Join(dir, "20.hcl"), filepath.Join(dir, "zz.json")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if dataDir := configuredDataDir(got); dataDir != "/srv/nomad" {
		t.Errorf("data_dir %q, want the last one", dataDir)
	}
}

func TestParseEnvironment(t *testing.T) {
	got := parseEnvironment("# c\n; d\nA=1\nB=\"two words\"\nC='$x \"y\"'\nD=a\\\nb\n=no\nE\n")
	want := map[string]string{"A": "1", "B": "two words", "C": `$x "y"`, "D": "ab"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseSocket(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:1226":                         "127.0.0.1:4646",
		"00000000:1227":                         "0.0.0.0:4647",
		"00000000000000000000000000000000:1226": "[::]:4646",
		"0000000000000000FFFF00000100007F:1226": "127.0.0.1:4646",
	} {
		if got, ok := parseSocket(text); !ok || got.String() != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	if _, ok := parseSocket("xyz"); ok {
		t.Error("nonsense was read as a socket")
	}
}

// absent leaves a test out that cannot run here. Where CI runs none may be left out.
func absent(t *testing.T, why error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
