// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// proxyConn is a ProxyCommand's standard input and output as a connection.
type proxyConn struct {
	io.Reader
	input   io.WriteCloser
	command *exec.Cmd
	once    sync.Once
}

// startProxy runs a ProxyCommand as ssh does, by the shell.
func startProxy(text string, environ []string) (net.Conn, error) {
	command := exec.Command("/bin/sh", "-c", "exec "+text)
	command.Env = environ
	command.WaitDelay = time.Second
	// Its own process group, so that what the shell starts ends with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("proxy command: %w", err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("proxy command: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("proxy command: %w", err)
	}
	return &proxyConn{Reader: output, input: input, command: command}, nil
}

func (p *proxyConn) Write(b []byte) (int, error) { return p.input.Write(b) }

// Close ends the command.
func (p *proxyConn) Close() error {
	p.once.Do(func() {
		_ = p.input.Close()
		_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
		_ = p.command.Wait()
	})
	return nil
}

func (p *proxyConn) LocalAddr() net.Addr  { return proxyAddr{} }
func (p *proxyConn) RemoteAddr() net.Addr { return proxyAddr{} }

// Deadlines do not exist on pipes here; the dial closes the connection when its time is over.
func (p *proxyConn) SetDeadline(time.Time) error      { return nil }
func (p *proxyConn) SetReadDeadline(time.Time) error  { return nil }
func (p *proxyConn) SetWriteDeadline(time.Time) error { return nil }

type proxyAddr struct{}

func (proxyAddr) Network() string { return "proxy" }
func (proxyAddr) String() string  { return "127.0.0.1:22" }
