// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"drover/internal/modules"
	"drover/internal/wire"
)

const (
	maxNoise   = 64 << 10 // of what a host prints before the agent's marker, bytes
	exitWait   = time.Second
	startLimit = 45 * time.Second // for one start, sudo's own delays included
)

// process is a program that runs on a host over an SSH session, here the agent.
type process struct {
	session *ssh.Session
	input   io.WriteCloser
	output  *bufio.Reader
	stderr  *complaint
	done    chan struct{} // closed when the session has ended
	ended   error         // how, after done
}

// run starts a command.
func (c *connection) run(command string, prompt string) (*process, error) {
	session, err := c.client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	p := &process{session: session, done: make(chan struct{}), stderr: newComplaint(prompt)}
	session.Stderr = p.stderr
	if p.input, err = session.StdinPipe(); err == nil {
		var output io.Reader
		if output, err = session.StdoutPipe(); err == nil {
			p.output = bufio.NewReader(output)
			err = session.Start(command)
		}
	}
	if err != nil {
		_ = session.Close()
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	c.pool.running.Go(func() {
		p.ended = session.Wait()
		close(p.done)
	})
	return p, nil
}

func (p *process) close() { _ = p.session.Close() }

// abandon ends a process. A host that does not confirm it in time is gone, and so is the connection.
func (c *connection) abandon(p *process) {
	p.close()
	select {
	case <-p.done:
	case <-time.After(closeWait):
		_ = c.client.Close()
	}
}

// startAgent brings an agent up: one command when it is on the host already, else that command, an upload and the command
// again.
func (c *connection) startAgent(ctx context.Context, become *Become) (*process, error) {
	m, err := c.pool.agents.load()
	if err != nil {
		return nil, final(err)
	}
	for sent := false; ; sent = true {
		p, want, err := c.tryStart(ctx, m, become)
		if err != nil || want == nil {
			return p, err
		}
		if sent {
			return nil, obstacle(modules.ObstacleAgentNotStarted, "see whether its disk is full, and whether the host has sha256sum", "start the agent: %s was sent and its hash is still not right there", excerpt(want.file))
		}
		program, err := c.pool.agents.program(want.platform)
		if err != nil {
			return nil, final(err)
		}
		mode := os.FileMode(0o700)
		if become != nil && become.user() != "root" {
			mode = 0o755
		}
		if err := upload(ctx, c.client, want.file, program, mode); err != nil {
			return nil, err
		}
	}
}

// wanted is the host's answer that it has no agent yet.
type wanted struct{ platform, file string }

func (c *connection) tryStart(ctx context.Context, m manifest, become *Become) (*process, *wanted, error) {
	s := starter{token: nonce(), dirs: c.target.AgentDirs, agents: m.Agents, become: become}
	if become != nil && !become.Password.Empty() {
		s.prompt = "drover-" + nonce() + ":"
	}
	ctx, cancel := withTimeout(ctx, startLimit, "the agent to start")
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.client.Close() })
	p, err := c.run(s.command(), s.prompt)
	stop()
	if err != nil {
		return nil, nil, err
	}
	want, err := c.converse(ctx, p, s)
	if err != nil || want != nil {
		c.abandon(p)
		return nil, want, err
	}
	return p, nil, nil
}

// converse answers sudo and reads the host's lines until one says how it stands.
func (c *connection) converse(ctx context.Context, p *process, s starter) (*wanted, error) {
	type answer struct {
		want *wanted
		err  error
	}
	answers := make(chan answer, 1)
	c.pool.running.Go(func() {
		want, err := readStart(p.output, s)
		answers <- answer{want, err}
	})
	asked := 0
	for {
		select {
		case <-p.stderr.prompts:
			asked++
			if asked > 1 {
				return nil, sudoWrong(c.settings.user)
			}
			if _, err := io.WriteString(p.input, s.become.Password.Reveal()+"\n"); err != nil {
				return nil, fmt.Errorf("answer sudo: %w", err)
			}
		case a := <-answers:
			if errors.Is(a.err, io.EOF) {
				return nil, c.explainStart(p, s, asked)
			}
			return a.want, a.err
		case <-ctx.Done():
			return nil, fmt.Errorf("%w%s", context.Cause(ctx), p.stderr.said())
		}
	}
}

// readStart skips login noise until the agent's marker or one of the script's own lines.
func readStart(output *bufio.Reader, s starter) (*wanted, error) {
	for read := 0; ; {
		line, err := readLine(output, maxNoise-read)
		read += len(line) + 1
		text := strings.TrimRight(string(line), "\r")
		if at := strings.Index(text, s.token+" "); at >= 0 {
			return readToken(text[at+len(s.token)+1:])
		}
		if at := strings.Index(text, "drover-agent ready "); at >= 0 {
			return nil, checkMarker(text[at:])
		}
		if err != nil {
			return nil, err
		}
	}
}

// readLine reads up to a newline, at most limit bytes.
func readLine(from *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		b, err := from.ReadByte()
		if err != nil {
			return line, err
		}
		if b == '\n' {
			return line, nil
		}
		if len(line) >= limit {
			return line, fmt.Errorf("start the agent: the host printed %d bytes and no sign of the agent: what does the login shell print?: %s", maxNoise, excerpt(string(line)))
		}
		line = append(line, b)
	}
}

func checkMarker(line string) error {
	if line == wire.Marker() {
		return nil
	}
	return final(fmt.Errorf("the agent on the host is another one: it says %q and this drover needs %q: run make build", excerpt(line), wire.Marker()))
}

func readToken(text string) (*wanted, error) {
	verb, rest, _ := strings.Cut(text, " ")
	switch {
	case verb == "send":
		platform, file, ok := strings.Cut(rest, " ")
		if !ok || !strings.HasPrefix(file, "/") {
			return nil, fmt.Errorf("start the agent: the host answered %q", excerpt(text))
		}
		return &wanted{platform: platform, file: file}, nil
	case verb == "machine":
		return nil, obstacle(modules.ObstacleMachine, "", "the host's machine type is %q, and drover has agents for x86_64 and aarch64 only", excerpt(rest))
	case strings.HasPrefix(verb, "nowhere"):
		return nil, obstacle(modules.ObstacleAgentNotStarted, "give one that belongs to the login user and is not mounted noexec (drover_agent_dir)", "the host has no directory to run the agent from:%s", excerpt(rest))
	}
	return nil, fmt.Errorf("start the agent: the host answered %q", excerpt(text))
}

func sudoWrong(user string) error {
	return obstacle(modules.ObstacleSudoWrong, "check ansible_become_password or -K", "sudo on the host refused the password for user %q; it was tried once only, so that no account is locked", user)
}

// explainStart says why the command ended without an agent.
func (c *connection) explainStart(p *process, s starter, asked int) error {
	select {
	case <-p.done:
	case <-time.After(exitWait):
	}
	said := p.stderr.text()
	user := strconv.Quote(c.settings.user)
	if s.become != nil {
		switch {
		case strings.Contains(said, "you must have a tty"):
			return obstacle(modules.ObstacleSudoNotAllowed, fmt.Sprintf("put `Defaults:%s !requiretty` in its sudoers", c.settings.user), "sudo on the host wants a terminal (requiretty)")
		case strings.Contains(said, "a password is required") && s.prompt == "":
			return obstacle(modules.ObstacleSudoPassword, "use -K, or set ansible_become_password", "sudo on the host wants a password for user %s and none was given", user)
		case asked > 0 && (strings.Contains(said, "incorrect password") || strings.Contains(said, "no password was provided")):
			return sudoWrong(c.settings.user)
		case strings.Contains(said, "is not in the sudoers file"), strings.Contains(said, "is not allowed to execute"), strings.Contains(said, "may not run sudo"):
			return obstacle(modules.ObstacleSudoNotAllowed, "allow it in the host's sudoers, or log in as another user (ansible_user, -u)",
				"sudo on the host does not allow user %s to become %s: %s", user, strconv.Quote(s.become.user()), excerpt(said))
		case strings.Contains(said, "unknown user"):
			return obstacle(modules.ObstacleSudoNotAllowed, "correct become_user", "the host has no user %s to become: %s", strconv.Quote(s.become.user()), excerpt(said))
		case strings.Contains(said, "not found"):
			return obstacle(modules.ObstacleAgentNotStarted, "install sudo there, or set drover_agent_dir to a directory that root can read (an NFS home is none)",
				"the host has no %s for become, or it cannot reach the agent in the login user's directory: %s", s.become.exe(), excerpt(said))
		}
	}
	if strings.Contains(said, "Permission denied") {
		return obstacle(modules.ObstacleAgentNotStarted, "set drover_agent_dir to a directory that is not mounted noexec", "the host may not execute the agent: %s", excerpt(said))
	}
	how := "ended"
	if p.ended != nil {
		how = p.ended.Error()
	}
	return fmt.Errorf("start the agent: the command on the host stopped before the agent was ready (%s)%s", excerpt(how), p.stderr.said())
}
