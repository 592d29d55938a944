// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

// Dialer connects from the host that runs the agent, so that the bastion needs no route to it.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Endpoint is where an agent serves its HTTP API, as seen from its own host.
type Endpoint struct {
	Address string `json:"address"` // ip:port
	TLS     bool   `json:"tls"`
}

const (
	// answerTimeout bounds one question. It is longer than 6 s because an agent without a leader thinks for 5 s
	// before it says so.
	answerTimeout = 8 * time.Second
	probeTimeout  = 3 * time.Second
	maximumAnswer = 64 << 20
	maximumProbes = 64
	snapshotPath  = "/v1/operator/snapshot"
)

// TLSName is the name that Nomad's certificates carry for an agent: server.REGION.nomad or client.REGION.nomad.
func TLSName(server bool, region string) string {
	if region == "" {
		region = "global"
	}
	if server {
		return "server." + region + ".nomad"
	}
	return "client." + region + ".nomad"
}

// Connect returns a client of the agent at an endpoint, whose connections are all made through the dialer. serverName
// is the name that its certificate must carry, unless the credentials have one. Close it after use.
func Connect(dialer Dialer, endpoint Endpoint, serverName string, credentials Credentials) (*api.Client, error) {
	transport := &http.Transport{
		DialContext:         dialer.Dial,
		Proxy:               nil,
		TLSHandshakeTimeout: answerTimeout,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     30 * time.Second,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	scheme := "http"
	if endpoint.TLS {
		scheme = "https"
		transport.TLSClientConfig = tlsConfig(serverName, credentials)
	}
	// api.Config ignores its TLSConfig once an HttpClient is given, hence the transport carries it.
	client, err := api.NewClient(&api.Config{
		Address:    scheme + "://" + endpoint.Address,
		SecretID:   credentials.Token.Reveal(),
		HttpClient: &http.Client{Transport: bounded{transport}},
		TLSConfig:  &api.TLSConfig{},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the agent at %s: %w", endpoint.Address, err)
	}
	return client, nil
}

// bounded limits what an answer may weigh, except that of a snapshot, which goes to a file.
type bounded struct{ *http.Transport }

// RoundTrip sends one request.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.Transport.RoundTrip(request)
	if err != nil || request.URL.Path == snapshotPath {
		return response, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maximumAnswer), response.Body}
	return response, nil
}

func tlsConfig(serverName string, credentials Credentials) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName, RootCAs: credentials.Roots}
	if credentials.ServerName != "" {
		config.ServerName = credentials.ServerName
	}
	if credentials.ClientCert != nil {
		config.Certificates = []tls.Certificate{*credentials.ClientCert}
	}
	// The user asked for it by NOMAD_SKIP_VERIFY or nomad_skip_verify.
	config.InsecureSkipVerify = credentials.Insecure
	return config
}

// Find asks each socket that the agent's process listens on whether it speaks Nomad's HTTP API, without any
// credentials. listening is "ip:port" as in wire.AgentResult; wildcards are asked on loopback. bind and advertise
// may be templates in the configuration, so the sockets are the only sure source.
func Find(ctx context.Context, dialer Dialer, listening []string) (Endpoint, error) {
	candidates := preferred(listening)
	if len(candidates) > maximumProbes {
		candidates = candidates[:maximumProbes]
	}
	for len(candidates) > 0 {
		alike := 1
		for alike < len(candidates) && portRank(candidates[alike]) == portRank(candidates[0]) {
			alike++
		}
		if found, ok := findAmong(ctx, dialer, candidates[:alike]); ok {
			return found, nil
		}
		candidates = candidates[alike:]
	}
	if len(listening) == 0 {
		return Endpoint{}, errors.New("the agent's process listens on no socket: it has only just started, or it hangs")
	}
	return Endpoint{}, fmt.Errorf("no socket of the agent's process answers as Nomad's HTTP API (it listens on %s)", strings.Join(listening, ", "))
}

// findAmong asks several sockets at once and takes the first in their order that answers.
func findAmong(ctx context.Context, dialer Dialer, candidates []string) (Endpoint, bool) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	type answer struct {
		found Endpoint
		ok    bool
	}
	answers := make([]chan answer, len(candidates))
	for i, address := range candidates {
		answers[i] = make(chan answer, 1)
		go func() {
			secure, ok := probe(ctx, dialer, address)
			answers[i] <- answer{Endpoint{Address: address, TLS: secure}, ok}
		}()
	}
	for _, one := range answers {
		if a := <-one; a.ok {
			return a.found, true
		}
	}
	return Endpoint{}, false
}

// portRank puts the usual HTTP port first and the usual ports of RPC and gossip last: there Nomad logs an error for each request of HTTP.
func portRank(address string) int {
	switch _, port, _ := net.SplitHostPort(address); port {
	case "4646":
		return 0
	case "4647", "4648":
		return 2
	}
	return 1
}

// preferred puts the usual HTTP port first, then loopback, then the order given.
func preferred(listening []string) []string {
	var addresses []string
	for _, address := range listening {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			continue
		}
		switch ip := net.ParseIP(host); {
		case ip == nil:
			continue
		case ip.IsUnspecified() && ip.To4() != nil:
			host = "127.0.0.1"
		case ip.IsUnspecified():
			// Such a socket takes IPv4 too, unless IPv6 has one of its own; loopback may have no IPv6 address.
			addresses = append(addresses, net.JoinHostPort("::1", port))
			host = "127.0.0.1"
		}
		addresses = append(addresses, net.JoinHostPort(host, port))
	}
	rank := func(address string) int {
		host, _, _ := net.SplitHostPort(address)
		n := 2 * portRank(address)
		if net.ParseIP(host).IsLoopback() {
			n--
		}
		return n
	}
	slices.SortStableFunc(addresses, func(a, b string) int { return rank(a) - rank(b) })
	return slices.Compact(addresses)
}

// probe sends a plain HTTP request. Nomad's RPC and gossip ports hang up on it; an HTTPS port says so in plain text.
func probe(ctx context.Context, dialer Dialer, address string) (secure, ok bool) {
	transport := &http.Transport{DialContext: dialer.Dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/agent/self", nil)
	if err != nil {
		return false, false
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return false, false
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	switch response.StatusCode {
	case http.StatusBadRequest:
		return true, strings.Contains(string(body), "HTTP request to an HTTPS server")
	case http.StatusOK:
		return false, strings.Contains(string(body), "config")
	case http.StatusForbidden, http.StatusInternalServerError, http.StatusTooManyRequests:
		return false, true
	}
	return false, false
}
