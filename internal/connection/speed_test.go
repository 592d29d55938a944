// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"drover/internal/modules"
	"drover/internal/wire"
)

// BenchmarkConnect compares a bare SSH client that executes one command with all that a first call through the agent takes,
// the agent being on the host already.
func BenchmarkConnect(b *testing.B) {
	server := startSSHD(b)
	agents, err := realAgent()
	if err != nil {
		b.Fatal(err)
	}
	options := server.options()
	options.Agents = agents
	ctx := context.Background()
	whole := func() {
		p := New(options)
		defer p.Close()
		h, err := p.Host(ctx, server.target(), false)
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Call(ctx, wire.Ping{}, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
	whole() // sends the agent
	var floor, ours []time.Duration
	for b.Loop() {
		// In turns, so that whatever else the machine does falls on both.
		started := time.Now()
		bare(b, server)
		between := time.Now()
		whole()
		floor, ours = append(floor, between.Sub(started)), append(ours, time.Since(between))
	}
	b.ReportMetric(median(floor).Seconds()*1000, "bare-ms")
	b.ReportMetric(median(ours).Seconds()*1000, "drover-ms")
	b.ReportMetric(float64(median(ours))/float64(median(floor)), "ratio")
	b.ReportMetric(slices.Min(floor).Seconds()*1000, "bare-min-ms")
	b.ReportMetric(slices.Min(ours).Seconds()*1000, "drover-min-ms")
}

func median(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}

// bare is the floor: connect, authenticate, execute true.
func bare(b *testing.B, server *sshd) {
	conn, err := net.Dial("tcp", server.address())
	if err != nil {
		b.Fatal(err)
	}
	config := &ssh.ClientConfig{
		Config: preferred(), User: server.user, HostKeyCallback: ssh.FixedHostKey(server.hostKey),
		Auth: []ssh.AuthMethod{ssh.PublicKeys(readSigner(b, server.keyFile))}, HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	}
	transport, channels, requests, err := ssh.NewClientConn(tune(conn, time.Minute), server.address(), config)
	if err != nil {
		b.Fatal(err)
	}
	client := ssh.NewClient(transport, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		b.Fatal(err)
	}
	if err := session.Run("true"); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCall is one more round trip on a live session.
func BenchmarkCall(b *testing.B) {
	server := startSSHD(b)
	var h modules.Host = connected(b, server.options(), server.target())
	for b.Loop() {
		if err := h.Call(context.Background(), wire.Ping{}, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
