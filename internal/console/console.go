// SPDX-License-Identifier: MPL-2.0

// Package console is what a person sees while a run goes on: lines in Ansible's words, or the events themselves as JSON
// lines. Results go to one writer, talk (why something waits, warnings) to another.
package console

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"drover/internal/event"
	"drover/internal/printable"
)

// Options tune the lines.
type Options struct {
	Color     bool
	Verbosity int // 0: results with their message; 1: also what a task returned; 2: also where the task stands in its file
	Width     int // of a heading, in columns; 0: 80
}

// Lines writes events as text: results to out, talk to talk.
func Lines(out, talk io.Writer, options Options) event.Sink {
	if options.Width == 0 {
		options.Width = 80
	}
	return &lines{out: out, talk: talk, options: options, said: map[string]string{}}
}

// JSON writes each event as one line of JSON to out.
func JSON(out io.Writer) event.Sink { return jsonLines{NewEncoder(out)} }

type jsonLines struct{ encoder *json.Encoder }

func (j jsonLines) Emit(e event.Event) error { return j.encoder.Encode(e) }

// lines keeps what was last said of each host, so that a wait is told when it changes and now and then, not at every poll.
type lines struct {
	out, talk io.Writer
	options   Options
	said      map[string]string
	saidAt    map[string]time.Time
	failed    error
}

// repeatWait is how often an unchanged wait is told again: often enough to see that drover lives.
const repeatWait = 10 * time.Second

func (l *lines) Emit(e event.Event) error {
	switch e.Kind {
	case event.PlayStart:
		l.heading("PLAY", e.Play)
		if e.Message != "" {
			l.print(l.out, skip, printable.Text(e.Message))
		}
	case event.BatchStart:
		l.print(l.out, plain, fmt.Sprintf("\nBATCH %s: %s", e.Message, strings.Join(e.Batch, ", ")))
	case event.TaskStart:
		l.heading("TASK", e.Task)
		if l.options.Verbosity > 1 && e.File != "" {
			l.print(l.out, plain, "at: "+e.File)
		}
	case event.HostItem:
		l.result(e)
	case event.HostRetry:
		l.print(l.talk, skip, fmt.Sprintf("retrying: [%s]: %s", l.host(e), printable.Text(e.Message)))
	case event.HostWait:
		l.wait(e)
	case event.HostResult:
		delete(l.said, e.Host)
		l.result(e)
	case event.Warning:
		l.print(l.talk, change, "warning: "+printable.Text(e.Message))
	case event.RunEnd:
		l.recap(e)
	case event.RunStart, event.HostStart, event.PlayEnd:
	}
	return l.failed
}

func (l *lines) heading(word, name string) {
	l.rule(fmt.Sprintf("%s [%s] ", word, printable.Text(name)))
}

// rule prints a head filled up with stars, after an empty line.
func (l *lines) rule(head string) {
	l.print(l.out, plain, "\n"+head+strings.Repeat("*", max(3, l.options.Width-len(head))))
}

func (l *lines) wait(e event.Event) {
	if l.saidAt == nil {
		l.saidAt = map[string]time.Time{}
	}
	if l.said[e.Host] == e.Message && e.Time.Sub(l.saidAt[e.Host]) < repeatWait {
		return
	}
	l.said[e.Host], l.saidAt[e.Host] = e.Message, e.Time
	l.print(l.talk, skip, fmt.Sprintf("  ... [%s] %s", l.host(e), printable.Text(e.Message)))
}

func (l *lines) host(e event.Event) string {
	if e.Delegate != "" && e.Delegate != e.Host {
		return e.Host + " -> " + e.Delegate
	}
	return e.Host
}

func (l *lines) result(e event.Event) {
	host := "[" + l.host(e) + "]"
	if e.Item != "" {
		host += " => (item=" + printable.Text(e.Item) + ")"
	}
	if e.Diff != "" {
		l.diff(e.Diff)
	}
	message := printable.Text(e.Message)
	switch e.Status {
	case event.Failed:
		l.print(l.out, fail, "fatal: "+host+": FAILED! => "+message)
		if e.Ignored {
			l.print(l.out, skip, "...ignoring")
		}
	case event.Unreachable:
		l.print(l.out, fail, "fatal: "+host+": UNREACHABLE! => "+message)
		if e.Ignored {
			l.print(l.out, skip, "...ignoring")
		}
	case event.Skipped:
		l.print(l.out, skip, join("skipping: "+host, message))
	default:
		if e.Changed {
			l.print(l.out, change, join("changed: "+host, message))
		} else {
			l.print(l.out, good, join("ok: "+host, message))
		}
	}
	if l.options.Verbosity > 0 && e.Result != nil {
		l.returned(e.Result)
	}
}

func (l *lines) returned(result any) {
	text, err := json.MarshalIndent(result, "    ", "  ")
	if err != nil {
		l.print(l.talk, change, "warning: a result cannot be shown: "+err.Error())
		return
	}
	l.print(l.out, plain, "    "+printable.Text(string(text)))
}

func (l *lines) diff(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(printable.Text(line), "\n")
		switch {
		case strings.HasPrefix(line, "+"):
			l.print(l.out, good, line)
		case strings.HasPrefix(line, "-"):
			l.print(l.out, fail, line)
		default:
			l.print(l.out, plain, line)
		}
	}
}

func (l *lines) recap(e event.Event) {
	if len(e.Recap) > 0 {
		l.rule("PLAY RECAP ")
		width := 0
		for _, tally := range e.Recap {
			width = max(width, len(tally.Host))
		}
		for _, t := range e.Recap {
			color := good
			switch {
			case t.Failed > 0 || t.Unreachable > 0:
				color = fail
			case t.Changed > 0:
				color = change
			}
			l.print(l.out, color, fmt.Sprintf("%-*s : ok=%-4d changed=%-4d unreachable=%-4d failed=%-4d skipped=%-4d rescued=%-4d ignored=%d",
				width, t.Host, t.OK, t.Changed, t.Unreachable, t.Failed, t.Skipped, t.Rescued, t.Ignored))
		}
	}
	if e.Message != "" {
		l.print(l.talk, plain, "\n"+printable.Text(e.Message))
	}
}

// Colors as Ansible uses them. Words always say the same, so that colour is never the only sign.
type color string

const (
	plain  color = ""
	good   color = "\x1b[32m"
	change color = "\x1b[33m"
	fail   color = "\x1b[31m"
	skip   color = "\x1b[36m"
)

func (l *lines) print(to io.Writer, c color, text string) {
	if l.options.Color && c != plain {
		text = string(c) + text + "\x1b[0m"
	}
	if _, err := io.WriteString(to, text+"\n"); err != nil && l.failed == nil {
		l.failed = fmt.Errorf("write to the screen: %w", err)
	}
}

func join(head, message string) string {
	if message == "" {
		return head
	}
	return head + " => " + message
}
