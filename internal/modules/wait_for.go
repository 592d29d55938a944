// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"

	"drover/internal/expression"
	"drover/internal/wait"
	"drover/internal/wire"
)

func waitForModule() Module {
	return Module{
		Name:  "wait_for",
		Short: "Wait until a port or a path is as it should be, seen from the host",
		Doc: "Asks again and again until a TCP port answers (or no longer does), or a path exists (or no longer does), or what is read from " +
			"either matches search_regex. Without port and path it only waits for the timeout.",
		Args: []Arg{
			{Name: "host", Kind: String, Default: "127.0.0.1", Doc: "Name or address, as the host sees it."},
			{Name: "port", Kind: Integer, Doc: "TCP port."},
			{Name: "path", Kind: Path, Doc: "Path on the host."},
			{
				Name: "state", Kind: String, Default: "started", Choices: []string{"absent", "present", "started", "stopped"},
				Doc: "started and present: the port answers, the path exists; stopped and absent: it does not.",
			},
			{Name: "search_regex", Kind: String, Doc: "What the port sends, or the file holds, must match this too."},
			{Name: "timeout", Kind: Duration, Default: 300, Doc: "How long to wait."},
			{Name: "delay", Kind: Duration, Default: 0, Doc: "How long to wait before the first look."},
			{Name: "sleep", Kind: Duration, Default: 1, Doc: "How long to wait between two looks."},
			{Name: "connect_timeout", Kind: Duration, Default: 5, Doc: "How long one look may take."},
			{Name: "msg", Kind: String, Doc: "The message when the time is up."},
		},
		Exclusive: [][]string{{"port", "path"}},
		Check:     CheckSkipped,
		Returns: []Arg{
			{Name: "elapsed", Kind: Integer, Doc: "Whole seconds that it took."},
			{Name: "state", Kind: String, Doc: "The state that was waited for."},
		},
		Example: `- wait_for:
    port: 4647
    timeout: 2m`,
		Run: waitFor,
	}
}

// maxMatched bounds what is read for search_regex, in bytes.
const maxMatched = 1 << 20

// watch is one wait: what is waited for and how often to look.
type watch struct {
	host    Host
	address string // host:port, "" for a path
	path    string
	gone    bool // wait for the absence
	search  *regexp.Regexp
	look    time.Duration
}

func waitFor(ctx context.Context, call *Call) (*Result, error) {
	args := call.Args
	w, err := newWatch(call)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	result := func() *Result {
		data := expression.MapOf("elapsed", int64(time.Since(start)/time.Second), "state", args.String("state"))
		for _, name := range []string{"port", "path", "search_regex"} {
			data.Set(name, args.Any(name))
		}
		return &Result{Data: data}
	}
	limited, cancel := context.WithTimeout(ctx, args.Duration("timeout"))
	defer cancel()
	ends, err := w.until(limited, call)
	onlyTime := w.address == "" && w.path == ""
	switch {
	case ctx.Err() != nil && !ends:
		return nil, fmt.Errorf("%s: %w", w, ctx.Err())
	case ends || onlyTime:
		return result(), nil
	case limited.Err() == nil:
		return nil, err
	}
	timedOut := result()
	timedOut.Failed, timedOut.Message = true, args.String("msg")
	if timedOut.Message == "" {
		timedOut.Message = fmt.Sprintf("timeout after %s %s", args.Duration("timeout"), w)
	}
	if err != nil {
		timedOut.Message += "; the last look said: " + err.Error()
	}
	return timedOut, nil
}

func newWatch(call *Call) (*watch, error) {
	args := call.Args
	w := &watch{host: call.Host, path: args.String("path"), look: args.Duration("connect_timeout")}
	w.gone = args.String("state") == "stopped" || args.String("state") == "absent"
	if args.Has("port") {
		port := args.Int("port")
		if port < 1 || port > 65535 {
			return nil, fmt.Errorf("port %d: it must be between 1 and 65535", port)
		}
		w.address = net.JoinHostPort(args.String("host"), strconv.FormatInt(port, 10))
	}
	if !args.Has("search_regex") {
		return w, nil
	}
	if w.gone || w.path == "" && w.address == "" {
		return nil, errors.New("search_regex needs a port or a path, and state started or present")
	}
	// As in Ansible, ^ and $ match at every line of a file.
	search, err := regexp.Compile("(?m)" + args.String("search_regex"))
	if err != nil {
		return nil, fmt.Errorf("search_regex: %w", err)
	}
	w.search = search
	return w, nil
}

// String completes a sentence about the wait.
func (w *watch) String() string {
	subject := w.path
	switch {
	case w.address != "":
		subject = "port " + w.address
	case w.path == "":
		return "waiting for time to pass"
	}
	switch {
	case w.gone:
		return "waiting for " + subject + " to go away"
	case w.search != nil:
		return fmt.Sprintf("waiting for %q from %s", w.search.String()[len("(?m)"):], subject)
	}
	return "waiting for " + subject
}

// until looks until it is so, or until the time is up.
func (w *watch) until(ctx context.Context, call *Call) (bool, error) {
	if w.address == "" && w.path == "" {
		call.Say("%s", w)
		<-ctx.Done()
		return false, nil
	}
	if err := wait.For(ctx, call.Args.Duration("delay")); err != nil {
		return false, nil
	}
	var last error
	for {
		so, err := w.once(ctx)
		var lost *Unreachable
		if so || errors.As(err, &lost) && ctx.Err() == nil {
			return so, err
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		call.Say("%s", w)
		if wait.For(ctx, max(call.Args.Duration("sleep"), 10*time.Millisecond)) != nil {
			return false, last
		}
	}
}

// once looks once. An error other than a lost connection means that it is not so, and why.
func (w *watch) once(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, w.look)
	defer cancel()
	if w.path != "" {
		return w.lookAtPath(ctx)
	}
	connection, err := w.host.Dial(ctx, "tcp", w.address)
	if err != nil {
		return w.refused(err)
	}
	defer connection.Close()
	if w.search == nil {
		return !w.gone, nil
	}
	stop := context.AfterFunc(ctx, func() { connection.Close() })
	defer stop()
	var got bytes.Buffer
	chunk := make([]byte, 4096)
	for got.Len() < maxMatched {
		n, err := connection.Read(chunk)
		got.Write(chunk[:n])
		if w.search.Match(got.Bytes()) {
			return true, nil
		}
		if err != nil {
			return false, nil
		}
	}
	return false, nil
}

// refused tells a port without a listener, which is an answer, from a host that cannot be asked.
func (w *watch) refused(err error) (bool, error) {
	var lost *Unreachable
	if errors.As(err, &lost) || errors.Is(err, context.Canceled) {
		return false, err
	}
	if w.gone {
		return true, nil
	}
	return false, err
}

func (w *watch) lookAtPath(ctx context.Context) (bool, error) {
	var state wire.StatResult
	if err := w.host.Call(ctx, wire.Stat{Path: w.path, Follow: true}, nil, &state); err != nil {
		return false, err
	}
	if w.search == nil || !state.Exists {
		return state.Exists != w.gone, nil
	}
	var content bytes.Buffer
	var reply wire.ReadResult
	if err := w.host.Receive(ctx, wire.Read{Path: w.path, Max: maxSlurp}, &reply, &content); err != nil {
		return false, err
	}
	return w.search.Match(content.Bytes()), nil
}
