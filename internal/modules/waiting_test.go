// SPDX-License-Identifier: MPL-2.0

package modules_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drover/internal/modules"
	"drover/internal/wire"
)

// refusing is a port that refuses until it has been asked that many times, and then sends text.
func refusing(times int, text string, asked *int) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		*asked++
		if network != "tcp" || address != "127.0.0.1:4647" {
			return nil, errors.New("wrong address " + address)
		}
		if *asked <= times {
			return nil, &wire.Error{Kind: wire.KindFailed, Message: "connection refused"}
		}
		here, there := net.Pipe()
		go func() {
			there.Write([]byte(text))
			there.Close()
		}()
		return here, nil
	}
}

func TestWaitForPort(t *testing.T) {
	for _, test := range []struct {
		name  string
		args  map[string]any
		times int
		text  string
		took  time.Duration
		asked int
		want  outcome
	}{
		{"open", map[string]any{"port": 4647}, 0, "", 0, 1, outcome{data: map[string]any{"elapsed": int64(0), "state": "started", "port": int64(4647)}}},
		{"opens", map[string]any{"port": 4647, "sleep": 2, "delay": 5}, 3, "", 11 * time.Second, 4, outcome{data: map[string]any{"elapsed": int64(11)}}},
		{"never opens", map[string]any{"port": 4647, "timeout": "10s", "sleep": 3}, 99, "", 10 * time.Second, 4, outcome{failed: true, message: "timeout after 10s waiting for port 127.0.0.1:4647; the last look said: connection refused"}},
		{"own message", map[string]any{"port": 4647, "timeout": 0.5, "msg": "still down"}, 99, "", 500 * time.Millisecond, 1, outcome{failed: true, message: "still down"}},
		{"closed", map[string]any{"port": 4647, "state": "stopped"}, 9, "", 0, 1, outcome{data: map[string]any{"state": "stopped"}}},
		{"does not close", map[string]any{"port": 4647, "state": "absent", "timeout": 1.5}, 0, "", 1500 * time.Millisecond, 2, outcome{failed: true, message: "waiting for port 127.0.0.1:4647 to go away"}},
		{"says it", map[string]any{"port": 4647, "search_regex": "^SSH-2"}, 0, "hello\nSSH-2.0", 0, 1, outcome{data: map[string]any{"search_regex": "^SSH-2"}}},
		{"says another", map[string]any{"port": 4647, "search_regex": "SSH", "timeout": 1.5}, 0, "HTTP", 1500 * time.Millisecond, 2, outcome{failed: true, message: `waiting for "SSH" from port`}},
		{"bad port", map[string]any{"port": 70000}, 0, "", 0, 0, outcome{err: "port 70000"}},
		{"bad expression", map[string]any{"port": 4647, "search_regex": "("}, 0, "", 0, 0, outcome{err: "search_regex: error parsing"}},
		{"expression for absence", map[string]any{"port": 4647, "search_regex": "x", "state": "stopped"}, 0, "", 0, 0, outcome{err: "search_regex needs"}},
		{"only time", map[string]any{"timeout": 7}, 0, "", 7 * time.Second, 0, outcome{data: map[string]any{"elapsed": int64(7)}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, start := 0, time.Now()
				result, err := task{module: "wait_for", args: test.args, dial: refusing(test.times, test.text, &asked)}.run(t)
				compare(t, test.want, result, err)
				if took := time.Since(start); took != test.took || asked != test.asked {
					t.Errorf("took %s and asked %d times, want %s and %d", took, asked, test.took, test.asked)
				}
			})
		})
	}
}

func TestWaitForPath(t *testing.T) {
	look := wire.Stat{Path: "/run/x", Follow: true}
	missing, there := wire.StatResult{}, wire.StatResult{Exists: true, Type: "file"}
	synctest.Test(t, func(t *testing.T) {
		result, err := task{module: "wait_for", args: map[string]any{"path": "/run/x", "search_regex": "^ready$"}, steps: []step{
			{request: look, reply: missing},
			{request: look, reply: there},
			{request: wire.Read{Path: "/run/x", Max: 16 << 20}, reply: wire.ReadResult{}, content: "not yet\n"},
			{request: look, reply: there},
			{request: wire.Read{Path: "/run/x", Max: 16 << 20}, reply: wire.ReadResult{}, content: "now\nready\n"},
		}}.run(t)
		compare(t, outcome{data: map[string]any{"elapsed": int64(2), "path": "/run/x"}}, result, err)
		result, err = task{module: "wait_for", args: map[string]any{"path": "/run/x", "state": "absent"}, steps: []step{
			{request: look, reply: there}, {request: look, reply: missing},
		}}.run(t)
		compare(t, outcome{data: map[string]any{"elapsed": int64(1)}}, result, err)
	})
}

// TestWaitEnds holds that a lost host and a cancelled run end a wait at once.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := &modules.Unreachable{Host: "h1", Err: errors.New("cut")}
		start := time.Now()
		for _, state := range []string{"started", "stopped"} {
			_, err := task{module: "wait_for", args: map[string]any{"port": 1, "state": state}, dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, lost
			}}.run(t)
			if !errors.Is(err, lost) {
				t.Errorf("%s: %v, want the lost connection", state, err)
			}
		}
		_, err := task{module: "wait_for", args: map[string]any{"path": "/x"}, steps: []step{{request: wire.Stat{Path: "/x", Follow: true}, err: lost}}}.run(t)
		if !errors.Is(err, lost) {
			t.Errorf("path: %v", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
		for _, k := range []task{
			{module: "wait_for", args: map[string]any{"timeout": 100}},
			{module: "wait_for", args: map[string]any{"port": 1, "delay": 100}},
			{module: "pause", args: map[string]any{"minutes": 5}},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			if _, err := k.runIn(t, ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, want the end of the context", k.module, err)
			}
			cancel()
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		result, err := task{module: "pause", args: map[string]any{"minutes": 1.5, "prompt": "settling"}}.run(t)
		compare(t, outcome{data: map[string]any{"delta": int64(90), "stdout": "Paused for 90.00 seconds"}}, result, err)
		if took := time.Since(start); took != 90*time.Second {
			t.Errorf("took %s", took)
		}
		if start, _ := result.Data.Get("start"); !strings.HasPrefix(start.(string), "2000-01-01 00:00:00") {
			t.Errorf("start %v", start)
		}
	})
}
