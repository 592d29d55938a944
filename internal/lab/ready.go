// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"drover/internal/printable"
)

// Limits of the waits; a lab of 30 hosts on two cores took 23 seconds in all.
const (
	sshLimit     = 2 * time.Minute
	clusterLimit = 2 * time.Minute
	jobLimit     = time.Minute
)

func (l *Lab) waitReady(ctx context.Context, p *progress) error {
	if err := p.waitFor(ctx, fmt.Sprintf("SSH on %d hosts", len(l.state.Hosts)), sshLimit, l.sshCheck(ctx)); err != nil {
		return l.withConsole(err)
	}
	if l.state.Options.Servers == 0 {
		return nil
	}
	for _, region := range l.state.Options.Regions {
		if err := l.waitRegion(ctx, p, region); err != nil {
			return err
		}
	}
	return nil
}

// waitRegion waits for the cluster of a region, as its first server sees it.
func (l *Lab) waitRegion(ctx context.Context, p *progress, region string) error {
	o, hosts := l.state.Options, within(l.state.Hosts, region)
	servers, nodes := which(hosts, Host.IsServer), len(which(hosts, Host.IsClient))
	first := servers[0].Name
	if err := p.waitFor(ctx, "a leader", clusterLimit, func() error { return l.checkLeader(ctx, first) }); err != nil {
		return l.withConsole(err)
	}
	if o.ACL {
		if err := p.waitFor(ctx, "the ACL bootstrap", clusterLimit, func() error { return l.bootstrapACL(ctx) }); err != nil {
			return err
		}
	}
	if err := p.waitFor(ctx, fmt.Sprintf("%d servers healthy", len(servers)), clusterLimit, func() error { return l.checkServers(ctx, first, len(servers)) }); err != nil {
		return l.withConsole(err)
	}
	if nodes > 0 {
		if err := p.waitFor(ctx, fmt.Sprintf("%d clients ready", nodes), clusterLimit, func() error { return l.checkClients(ctx, first, nodes) }); err != nil {
			return l.withConsole(err)
		}
	}
	if !o.Job {
		return nil
	}
	if err := l.Call(ctx, first, "PUT", "/v1/jobs", practiceJob(nodes), nil); err != nil {
		return fmt.Errorf("register the job: %w", err)
	}
	want := jobAllocations(nodes)
	return p.waitFor(ctx, fmt.Sprintf("%d allocations running", want), jobLimit, func() error { return l.checkJob(ctx, first, want) })
}

// sshCheck logs in to each host until it succeeded once; hosts that did are not asked again.
func (l *Lab) sshCheck(ctx context.Context) func() error {
	done := make([]bool, len(l.state.Hosts))
	return func() error {
		text, err := os.ReadFile(l.path(keyFile))
		if err != nil {
			return fmt.Errorf("read the lab's key: %w", err)
		}
		signer, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return fmt.Errorf("read the lab's key: %w", err)
		}
		var tasks errgroup.Group
		tasks.SetLimit(8)
		for i, host := range l.state.Hosts {
			if !done[i] {
				tasks.Go(func() error {
					err := l.login(ctx, host, signer)
					done[i] = err == nil
					return err
				})
			}
		}
		err = tasks.Wait()
		count := 0
		for _, ok := range done {
			if ok {
				count++
			}
		}
		if err != nil {
			return fmt.Errorf("%d of %d answer: %w", count, len(done), err)
		}
		return nil
	}
}

// login runs `true` as the ordinary user: before systemd has finished booting, PAM turns such users away though sshd answers.
func (l *Lab) login(ctx context.Context, host Host, signer ssh.Signer) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := l.Dial(ctx, "tcp", net.JoinHostPort(host.Name, "22"))
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	config := &ssh.ClientConfig{
		User: userDrover,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		// The wire is the lab's own; the bastion's known_hosts file is for those who come after.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	}
	secure, channels, requests, err := ssh.NewClientConn(conn, host.Name, config)
	if err != nil {
		return fmt.Errorf("%s: %w", host.Name, err)
	}
	client := ssh.NewClient(secure, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("%s: %w", host.Name, err)
	}
	if err := session.Run("true"); err != nil {
		return fmt.Errorf("%s: %w", host.Name, err)
	}
	return nil
}

func (l *Lab) checkLeader(ctx context.Context, server string) error {
	var leader string
	if err := l.Call(ctx, server, "GET", "/v1/status/leader", nil, &leader); err != nil {
		return err
	}
	if leader == "" {
		return errors.New("none yet")
	}
	return nil
}

func (l *Lab) bootstrapACL(ctx context.Context) error {
	var made struct{ SecretID string }
	if err := l.Call(ctx, "s1", "PUT", "/v1/acl/bootstrap", nil, &made); err != nil {
		return err
	}
	return l.writeFile(tokenFile, made.SecretID+"\n")
}

// checkServers asks autopilot, and where that cannot say (raft protocol 2), the list of raft peers.
func (l *Lab) checkServers(ctx context.Context, server string, want int) error {
	var health struct {
		Healthy bool
		Servers []struct {
			Name    string
			Healthy bool
			Voter   bool
		}
	}
	err := l.Call(ctx, server, "GET", "/v1/operator/autopilot/health", nil, &health)
	var status *statusError
	if errors.As(err, &status) && status.code == 500 && strings.Contains(status.body, "raft_protocol") {
		var peers []string
		if err := l.Call(ctx, server, "GET", "/v1/status/peers", nil, &peers); err != nil {
			return err
		}
		if len(peers) != want {
			return fmt.Errorf("%d of %d raft peers", len(peers), want)
		}
		return nil
	}
	if err != nil {
		return err
	}
	healthy := 0
	for _, server := range health.Servers {
		if server.Healthy && server.Voter {
			healthy++
		}
	}
	if !health.Healthy || healthy != want {
		return fmt.Errorf("%d of %d healthy voters", healthy, want)
	}
	return nil
}

func (l *Lab) checkClients(ctx context.Context, server string, want int) error {
	var nodes []struct{ Name, Status string }
	if err := l.Call(ctx, server, "GET", "/v1/nodes", nil, &nodes); err != nil {
		return err
	}
	ready := 0
	for _, node := range nodes {
		if node.Status == "ready" {
			ready++
		}
	}
	if ready != want {
		return fmt.Errorf("%d of %d ready", ready, want)
	}
	return nil
}

// withConsole adds the last lines of the hosts' consoles to an error.
func (l *Lab) withConsole(err error) error {
	const lines, hosts = 5, 3
	for i, host := range l.state.Hosts {
		text, readErr := os.ReadFile(l.consolePath(host.Name))
		if readErr != nil || i == hosts {
			break
		}
		all := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
		for _, line := range all[max(0, len(all)-lines):] {
			err = fmt.Errorf("%w\n  console of %s: %s", err, host.Name, printable.Line(line))
		}
	}
	return err
}
