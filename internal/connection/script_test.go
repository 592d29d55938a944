// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestScriptIsOneWordForAnyLoginShell holds the script to what fish and csh leave alone inside single quotes.
func TestScriptIsOneWordForAnyLoginShell(t *testing.T) {
	for _, s := range []starter{
		{token: "T", agents: map[string]agentFile{"linux-amd64": {SHA256: strings.Repeat("a", 64)}}},
		{token: "T", agents: map[string]agentFile{"linux-amd64": {SHA256: strings.Repeat("a", 64)}}, become: &Become{}, prompt: "p:"},
	} {
		if at := strings.IndexAny(s.script(), "'\\!\n"); at >= 0 {
			t.Errorf("the script has %q", s.script()[at:])
		}
	}
}

// TestScriptAnswers runs the command as sshd would, with each shell that is installed.
func TestScriptAnswers(t *testing.T) {
	sum := strings.Repeat("a", 64)
	for _, shell := range []string{"sh", "bash", "dash", "busybox", "zsh", "fish", "tcsh", "csh", "ksh", "mksh"} {
		program, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		t.Run(shell, func(t *testing.T) {
			s := starter{token: "T", dirs: []string{"~/it's $HOME/x", "/nonexistent/\"x"}, agents: map[string]agentFile{"linux-amd64": {SHA256: sum}, "linux-arm64": {SHA256: sum}}}
			home := t.TempDir()
			argv := []string{"-c", s.command()}
			if shell == "busybox" {
				argv = append([]string{"sh"}, argv...)
			}
			command := exec.Command(program, argv...)
			command.Env = append(os.Environ(), "HOME="+home)
			output, err := command.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(output), "T send linux-") || !strings.HasSuffix(string(output), " "+home+"/it's $HOME/x/drover-agent-"+sum[:32]+"\n") {
				t.Errorf("%q, %v", output, err)
			}
		})
	}
}
