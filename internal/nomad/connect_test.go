// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/internal/secret"
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (f dialFunc) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return f(ctx, network, address)
}

var direct = dialFunc((&net.Dialer{}).DialContext)

func TestFind(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Nomad-Token") != "" {
			t.Error("the probe sends a token")
		}
		http.Error(w, "Permission denied", http.StatusForbidden)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	secure.Config.ErrorLog = nil
	// An RPC port hangs up on what is not its protocol.
	rpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer rpc.Close()
	go func() {
		for {
			conn, err := rpc.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for _, server := range []*httptest.Server{plain, secure} {
		address := server.Listener.Addr().String()
		got, err := Find(t.Context(), direct, []string{rpc.Addr().String(), address})
		if err != nil || got != (Endpoint{Address: address, TLS: server == secure}) {
			t.Errorf("found %+v, %v", got, err)
		}
	}
	if _, err := Find(t.Context(), direct, []string{rpc.Addr().String()}); err == nil {
		t.Error("the RPC port was taken for the API")
	}
}

func TestPreferredAsksWildcardsOnLoopback(t *testing.T) {
	got := fmt.Sprint(preferred([]string{"10.0.0.1:4647", "[::]:4648", "0.0.0.0:4646", "nonsense", "10.0.0.1:4646"}))
	if want := "[127.0.0.1:4646 10.0.0.1:4646 [::1]:4648 127.0.0.1:4648 10.0.0.1:4647]"; got != want {
		t.Errorf("preferred = %s, want %s", got, want)
	}
}

func TestAutopilotAnswersThatAreNotErrors(t *testing.T) {
	tests := []struct {
		status  int
		body    string
		healthy bool
		words   string
		fails   bool
	}{
		{200, `{"Healthy":true,"FailureTolerance":1,"Servers":[{"ID":"a","Voter":true}]}`, true, "", false},
		{429, `{"Healthy":false,"Servers":[{"ID":"a"}]}`, false, "", false},
		{429, `{"Healthy":false,"Servers":null}`, false, "no report yet", false},
		{500, `all servers must have raft_protocol set to 3 or higher`, false, "raft_protocol", false},
		{403, `Permission denied`, false, "", true},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			}))
			defer server.Close()
			client, err := Connect(direct, Endpoint{Address: server.Listener.Addr().String()}, "", Credentials{})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			report, err := AskAutopilot(t.Context(), client)
			if (err != nil) != test.fails || report.Healthy != test.healthy || !strings.Contains(report.Unavailable, test.words) || (test.words == "") != (report.Unavailable == "") && !test.fails {
				t.Errorf("report %+v, %v", report, err)
			}
			if test.healthy && (report.FailureTolerance != 1 || !report.Servers[0].Voter) {
				t.Errorf("report %+v", report)
			}
			if test.fails && !IsForbidden(err) {
				t.Errorf("%v is not recognised as forbidden", err)
			}
		})
	}
}

func TestConnectSendsTheTokenOnlyThroughTheDialer(t *testing.T) {
	token := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("X-Nomad-Token")
		fmt.Fprint(w, selfServer)
	}))
	defer server.Close()
	dialed := ""
	dialer := dialFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed = address
		return direct(ctx, network, server.Listener.Addr().String())
	})
	client, err := Connect(dialer, Endpoint{Address: "192.0.2.1:4646"}, "", Credentials{Token: secret.New("abc")})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	view, err := Self(t.Context(), client, "s1")
	if err != nil || view.NodeName != "s1" || token != "abc" || dialed != "192.0.2.1:4646" || time.Since(view.Asked) > time.Minute {
		t.Errorf("view %+v, token %q, dialed %q, %v", view, token, dialed, err)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	credentials, err := ReadCredentials(Sources{
		Variable:    func(string) string { return "" },
		Environment: func(name string) string { return map[string]string{"NOMAD_TOKEN": "hush"}[name] },
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(credentials.Token)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %s", credentials, credentials, credentials, credentials.Token, text)
	if strings.Contains(shown, "hush") || credentials.Token.Reveal() != "hush" {
		t.Errorf("shown: %s", shown)
	}
}

func TestReadCredentialsNamesWhatIsWrong(t *testing.T) {
	missing := func(string) ([]byte, error) { return nil, errors.New("no such file") }
	for variables, want := range map[string]string{
		"nomad_cacert": "nomad_cacert", "nomad_client_cert": "together", "nomad_token_file": "nomad_token_file",
	} {
		_, err := ReadCredentials(Sources{
			Variable:    func(name string) string { return map[string]string{variables: "/x"}[name] },
			Environment: func(string) string { return "" }, ReadFile: missing,
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", variables, err)
		}
	}
}

// recording dials one server whatever the address is, and notes which addresses were asked for.
type recording struct {
	mu    sync.Mutex
	to    string
	asked []string
}

func (d *recording) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.asked = append(d.asked, address)
	d.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, d.to)
}

// Each request of HTTP to the ports of RPC and gossip is an error in the agent's log.
func TestFindLeavesTheOtherPortsAlone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Permission denied", http.StatusForbidden)
	}))
	defer server.Close()
	for _, test := range []struct{ listening, want string }{
		{"10.0.0.1:4646 10.0.0.1:4647 10.0.0.1:4648", "[10.0.0.1:4646]"},
		{"10.0.0.1:4647 10.0.0.1:4648 10.0.0.1:8646", "[10.0.0.1:8646]"},
	} {
		d := &recording{to: server.Listener.Addr().String()}
		if _, err := Find(t.Context(), d, strings.Fields(test.listening)); err != nil || fmt.Sprint(d.asked) != test.want {
			t.Errorf("of %s asked %s, want %s (%v)", test.listening, d.asked, test.want, err)
		}
	}
}
