// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover/internal/words"
)

// starter is the one command that finds the agent on a host, checks it and becomes it.
type starter struct {
	token  string   // begins each line that the script itself prints, so that login noise cannot be taken for one
	dirs   []string // where to look and where it may be stored
	agents map[string]agentFile
	become *Become // nil: run as the login user
	prompt string  // what sudo prints when it wants the password; empty: it must not ask
}

// machines maps what `uname -m` prints to Go's names.
func machines() map[string][]string {
	return map[string][]string{"amd64": {"x86_64", "amd64"}, "arm64": {"aarch64", "arm64"}}
}

// foreign tells whether the agent will run as someone who is neither the login user nor root, and therefore must be able
// to reach the program in the login user's directory.
func (s starter) foreign() bool { return s.become != nil && s.become.user() != "root" }

// directories returns the shell words for the places of the agent, in order of preference.
func (s starter) directories() []string {
	var parts []string
	for _, dir := range s.dirs {
		if rest, ok := strings.CutPrefix(dir, "~/"); ok {
			parts = append(parts, `"$HOME"/`+words.Quote(rest))
			continue
		}
		parts = append(parts, words.Quote(dir))
	}
	if len(parts) > 0 {
		return parts
	}
	if s.foreign() {
		return []string{`/var/tmp/drover-"$(id -u)"-shared`}
	}
	return []string{`"$HOME"/.cache/drover`, `"$HOME"/.drover`, `/var/tmp/drover-"$(id -u)"`}
}

// modes are those of the directory, and of the program in it.
func (s starter) modes() (directory, program string) {
	if s.foreign() {
		return "711", "755"
	}
	return "700", "700"
}

// command returns what sshd is asked to execute. The login shell may be any, so the script is one quoted word for /bin/sh,
// on one line and without an exclamation mark, which csh would take for itself.
func (s starter) command() string { return "exec /bin/sh -c " + words.Quote(s.script()) }

// script starts as few programs as it can, since every connection runs it: stat and the agent. Hashing the agent costs more
// than all the rest together, so once its hash was right the script notes the file's inode, size and times beside it, and
// believes a file that still has them: nobody can change a file and keep its change time.
func (s starter) script() string {
	directory, _ := s.modes()
	var b strings.Builder
	b.WriteString("umask 077; LC_ALL=C; export LC_ALL; ")
	// The directory must be ours alone, else whoever can write there decides what runs. On a file system that has been mounted noexec since the
	// agent came there, it may not be executed any more.
	b.WriteString(`look() { f="$1/$n"; if [ -f "$f" ] && [ -x "$f" ] && [ -O "$1" ] && [ -O "$f" ]; then ` +
		`is=$(stat -c "%i %s %y %z" "$f" 2>/dev/null); was=; { read -r was <"$1/.checked-$n"; } 2>/dev/null; ` +
		`if [ -n "$is" ] && [ "$is" = "$was" ]; then ` + s.start(`"$f"`) + "; fi; " +
		`case "$(sha256sum <"$f" 2>/dev/null)" in "$h "*) { echo "$is" >"$1/.checked-$n"; } 2>/dev/null; ` + s.start(`"$f"`) + ";; esac; fi; }; ")
	platforms := slices.Sorted(maps.Keys(s.agents))
	for _, platform := range platforms {
		// Only the agent for the host's own machine type was ever sent there.
		fmt.Fprintf(&b, "h=%s; n=%s; ", s.agents[platform].SHA256, s.agents[platform].name())
		for _, dir := range s.directories() {
			b.WriteString("look " + dir + "; ")
		}
	}
	b.WriteString("m=$(uname -m); case $m in ")
	for _, platform := range platforms {
		fmt.Fprintf(&b, "%s) a=%s; n=%s;; ", strings.Join(machines()[strings.TrimPrefix(platform, "linux-")], "|"), platform, s.agents[platform].name())
	}
	b.WriteString("*) " + s.say("machine $m") + "exit 0;; esac; ")
	// An empty file that may be executed is an empty script, except on a file system mounted noexec.
	b.WriteString(`r=; place() { t="$1/.try-$$"; if (mkdir -p "$1" && [ -O "$1" ] && chmod ` + directory + ` "$1") 2>/dev/null; then ` +
		`if (: >"$t" && chmod 700 "$t") 2>/dev/null; then if "$t" 2>/dev/null; then rm -f "$t"; ` + s.say("send $a $1/$n") + `exit 0; fi; rm -f "$t"; r="$r $1: noexec;"; else r="$r $1: not writable;"; fi; ` +
		`else r="$r $1: not usable or not ours;"; fi; }; `)
	for _, dir := range s.directories() {
		b.WriteString("place " + dir + "; ")
	}
	b.WriteString(s.say("nowhere$r") + "exit 0")
	return b.String()
}

// say prints one of the lines that readToken understands.
func (s starter) say(text string) string { return fmt.Sprintf(`echo "%s %s"; `, s.token, text) }

// start returns the shell command that becomes the agent.
func (s starter) start(program string) string {
	if s.become == nil {
		return "exec " + program
	}
	parts := []string{"exec", words.Quote(s.become.exe())}
	if s.prompt == "" {
		parts = append(parts, "-n")
	} else {
		// -k: what sudo remembers of an earlier password must not decide whether this one is asked for.
		parts = append(parts, "-S", "-k", "-p", words.Quote(s.prompt))
	}
	return strings.Join(append(parts, "-H", "-u", words.Quote(s.become.user()), "--", program), " ")
}
