// SPDX-License-Identifier: MPL-2.0

package modules_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"drover/internal/modules"
	"drover/internal/wire"

	"go.uber.org/goleak"
)

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/json":
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprint(w, `{"a": [1, 2.5, null]}`)
	case "/away":
		http.Redirect(w, r, "/json", http.StatusFound)
	case "/loop":
		http.Redirect(w, r, "/loop", http.StatusFound)
	case "/large":
		w.Write(make([]byte, 9<<20))
	case "/broken":
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "no leader")
	case "/hang":
		<-r.Context().Done()
	default:
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		w.Header().Set("X-Nomad-Index", "7")
		fmt.Fprintf(w, "%s %s %s|%s|%s|%s|%s:%s", r.Method, r.Host, r.URL.RequestURI(), body, r.Header.Get("Content-Type"), r.Header.Get("X-Nomad-Token"), user, password)
	}
}

func direct(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

func TestURI(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, test := range []struct {
		name string
		task task
		want outcome
	}{
		{
			"get",
			task{args: map[string]any{"url": "/v1?x=1", "return_content": true}},
			outcome{message: "OK (", data: map[string]any{"status": int64(200), "x_nomad_index": "7", "content": "GET " + host + " /v1?x=1||||:", "redirected": false, "url": server.URL + "/v1?x=1"}},
		},
		{"no content", task{args: map[string]any{"url": "/"}}, outcome{data: map[string]any{"content": nil}}},
		{"json answer", task{args: map[string]any{"url": "/json"}}, outcome{data: map[string]any{"json": map[string]any{"a": []any{int64(1), 2.5, nil}}}}},
		{
			"json body",
			task{args: map[string]any{"url": "/", "method": "post", "body": map[string]any{"b": true}, "body_format": "json", "headers": map[string]any{"X-Nomad-Token": "t"}, "return_content": true}},
			outcome{data: map[string]any{"content": "POST " + host + ` /|{"b":true}|application/json|t|:`}},
		},
		{
			"form",
			task{args: map[string]any{"url": "/", "method": "PUT", "body": map[string]any{"b": []any{1, "x y"}, "a": "&"}, "body_format": "form-urlencoded", "return_content": true}},
			outcome{data: map[string]any{"content": "PUT " + host + " /|a=%26&b=1&b=x+y|application/x-www-form-urlencoded||:"}},
		},
		{
			"raw body, host and user",
			task{args: map[string]any{"url": "/", "method": "POST", "body": "x", "headers": map[string]any{"Host": "other"}, "user": "u", "password": "p", "return_content": true}},
			outcome{data: map[string]any{"content": "POST other /|x|||u:p"}},
		},
		{"unexpected", task{args: map[string]any{"url": "/broken"}}, outcome{failed: true, message: "status code was 503 and not [200]", data: map[string]any{"status": int64(503), "content": "no leader"}}},
		{"expected", task{args: map[string]any{"url": "/broken", "status_code": []any{200, "503"}}}, outcome{data: map[string]any{"status": int64(503)}}},
		{"redirect", task{args: map[string]any{"url": "/away"}}, outcome{data: map[string]any{"redirected": true, "url": server.URL + "/json"}}},
		{"redirect of a post", task{args: map[string]any{"url": "/away", "method": "POST", "status_code": 302}}, outcome{data: map[string]any{"redirected": false}}},
		{"no redirect", task{args: map[string]any{"url": "/away", "follow_redirects": "none", "status_code": 302}}, outcome{data: map[string]any{"location": "/json"}}},
		{"loop", task{args: map[string]any{"url": "/loop"}}, outcome{failed: true, message: "more than 10 redirects", data: map[string]any{"status": int64(-1)}}},
		{"large", task{args: map[string]any{"url": "/large"}}, outcome{err: "larger than 8 MiB"}},
		{"slow", task{args: map[string]any{"url": "/hang", "timeout": 0.05}}, outcome{failed: true, message: "no answer within 50ms", data: map[string]any{"status": int64(-1)}}},
		{"check", task{args: map[string]any{"url": "/", "method": "DELETE"}, check: true, dial: nil}, outcome{skipped: true, message: "DELETE would be sent"}},
		{"check of a get", task{args: map[string]any{"url": "/"}, check: true}, outcome{data: map[string]any{"status": int64(200)}}},
		{"bad url", task{args: map[string]any{"url": "ftp://x"}}, outcome{err: "must begin with http://"}},
		{"bad status", task{args: map[string]any{"url": "/", "status_code": "ok"}}, outcome{err: `"ok" is not a status`}},
		{"body without format", task{args: map[string]any{"url": "/", "body": map[string]any{}}}, outcome{err: "give body_format json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.task.module = "uri"
			test.task.dial = direct
			if address := test.task.args["url"].(string); strings.HasPrefix(address, "/") {
				test.task.args["url"] = server.URL + address
			}
			result, err := test.task.run(t)
			compare(t, test.want, result, err)
		})
	}
}

// TestURILeavesFromTheHost holds that every connection is made by the host, and what a failed one means.
func TestURILeavesFromTheHost(t *testing.T) {
	var asked string
	lost := &modules.Unreachable{Host: "h1", Err: errors.New("cut")}
	_, err := task{module: "uri", args: map[string]any{"url": "http://127.0.0.1:4646/"}, dial: func(_ context.Context, network, address string) (net.Conn, error) {
		asked = network + " " + address
		return nil, lost
	}}.run(t)
	if asked != "tcp 127.0.0.1:4646" || !errors.Is(err, lost) {
		t.Errorf("asked %q, %v", asked, err)
	}
	result, err := task{module: "uri", args: map[string]any{"url": "http://u:secret@localhost/", "unix_socket": "/run/s"}, dial: func(_ context.Context, network, address string) (net.Conn, error) {
		asked = network + " " + address
		return nil, &wire.Error{Kind: wire.KindFailed, Message: "refused"}
	}}.run(t)
	compare(t, outcome{failed: true, message: "request failed: ", data: map[string]any{"status": int64(-1)}}, result, err)
	if asked != "unix /run/s" {
		t.Errorf("asked %q", asked)
	}
	if text := fmt.Sprint(result.Message, data(result)); strings.Contains(text, "secret") {
		t.Errorf("the password is in %s", text)
	}
}

func TestURICertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are part of the test
	server.StartTLS()
	defer server.Close()
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	der, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	read := func(path, content string) step {
		return step{request: wire.Read{Path: path, Max: 4 << 20}, reply: wire.ReadResult{}, content: content}
	}
	for _, test := range []struct {
		name  string
		args  map[string]any
		steps []step
		want  outcome
	}{
		{"unknown authority", map[string]any{}, nil, outcome{failed: true, message: "certificate signed by unknown authority"}},
		{"no client certificate", map[string]any{"ca_path": "/ca"}, []step{read("/ca", certificate)}, outcome{failed: true, message: "certificate required"}},
		{
			"both",
			map[string]any{"ca_path": "/ca", "client_cert": "/c", "client_key": "/k"},
			[]step{read("/ca", certificate), read("/c", certificate), read("/k", key)},
			outcome{data: map[string]any{"status": int64(200)}},
		},
		{
			"one file, unchecked",
			map[string]any{"validate_certs": false, "client_cert": "/c"},
			[]step{read("/c", certificate+key)},
			outcome{data: map[string]any{"status": int64(200)}},
		},
		{"empty authority", map[string]any{"ca_path": "/ca"}, []step{read("/ca", "x")}, outcome{err: "ca_path /ca holds no certificate"}},
		{"no key", map[string]any{"client_cert": "/c"}, []step{read("/c", certificate)}, outcome{err: "client_cert /c: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.args["url"] = server.URL
			result, err := task{module: "uri", args: test.args, steps: test.steps, dial: direct}.run(t)
			compare(t, test.want, result, err)
		})
	}
}
