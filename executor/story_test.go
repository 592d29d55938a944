// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"drover/internal/event"
	"drover/playbooks"
)

var update = flag.Bool("update", false, "write what the stories do now into their files")

// TestStories runs each playbook in testdata/stories over hosts in memory and compares what was told with the file.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { story(t, file) })
	}
}

func story(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, part := range archive.Files {
		parts[part.Name] = string(part.Data)
	}
	w := newWorld(t, parts["hosts"], parts["play.yml"])
	for name, content := range parts {
		if strings.HasPrefix(name, "files/") {
			if err := os.WriteFile(filepath.Join(w.dir, filepath.Base(name)), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.configure(t, parts["options"])
	summary, err := Run(t.Context(), w.options)
	got := strings.ReplaceAll(w.events.String()+ending(summary, err), w.dir, "DIR")
	if *update {
		for i := range archive.Files {
			if archive.Files[i].Name == "log" {
				archive.Files[i].Data = []byte(got)
			}
		}
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(parts["log"], "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// configure reads a story's options: one per line, its name and its value.
func (w *world) configure(t *testing.T, text string) {
	t.Helper()
	o := &w.options
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "":
		case "check":
			o.Check = true
		case "diff":
			o.Diff = true
		case "become":
			o.Become = true
		case "force_handlers":
			o.ForceHandlers = true
		case "limit":
			o.Limit = value
		case "tags":
			o.Tags = strings.Split(value, ",")
		case "skip_tags":
			o.SkipTags = strings.Split(value, ",")
		case "start_at":
			o.StartAt = value
		case "unreachable":
			w.fleet.unreachable[value] = true
		case "made_groups":
			o.MadeGroups = strings.Split(value, ",")
		case "extra":
			extra, err := playbooks.ParseExtraVars([]string{value}, nil)
			if err != nil {
				t.Fatal(err)
			}
			o.ExtraVars = extra
		default:
			t.Fatalf("a story has no option %q", name)
		}
	}
}

// String writes the events as a person would follow them.
func (s *events) String() string {
	var b strings.Builder
	for _, e := range s.all {
		if line := describe(e); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func describe(e event.Event) string {
	host := e.Host
	if e.Delegate != "" {
		host += " -> " + e.Delegate
	}
	switch e.Kind {
	case event.PlayStart:
		return said(fmt.Sprintf("PLAY %s: %s", e.Play, strings.Join(e.Batch, " ")), e.Message)
	case event.BatchStart:
		return fmt.Sprintf("BATCH %s: %s", e.Message, strings.Join(e.Batch, " "))
	case event.TaskStart:
		return "TASK " + e.Task
	case event.HostItem:
		return said(fmt.Sprintf("  %s (%s): %s", host, e.Item, verdict(e)), e.Message)
	case event.HostRetry:
		return said("  "+host+": again", e.Message)
	case event.HostWait:
		return said("  "+host+": waits", e.Message)
	case event.HostResult:
		return said("  "+host+": "+verdict(e), e.Message+e.Diff)
	case event.Warning:
		return "WARNING " + e.Message
	case event.RunEnd:
		var b strings.Builder
		for _, t := range e.Recap {
			fmt.Fprintf(&b, "RECAP %s ok=%d changed=%d unreachable=%d failed=%d skipped=%d rescued=%d ignored=%d\n",
				t.Host, t.OK, t.Changed, t.Unreachable, t.Failed, t.Skipped, t.Rescued, t.Ignored)
		}
		return b.String() + e.Message
	case event.RunStart, event.HostStart, event.PlayEnd:
	}
	return ""
}

func verdict(e event.Event) string {
	word := string(e.Status)
	if e.Changed {
		word += " changed"
	}
	if e.Ignored {
		word += " ignored"
	}
	return word
}

func said(line, message string) string {
	if message == "" {
		return line
	}
	return line + " | " + strings.ReplaceAll(strings.TrimSpace(message), "\n", " / ")
}

func ending(summary *Summary, err error) string {
	if summary == nil {
		return fmt.Sprintf("REFUSED %v\n", err)
	}
	text := fmt.Sprintf("END failed=%v unreachable=%v refused=%v", summary.Failed, summary.Unreachable, summary.Refused)
	if err != nil {
		text += fmt.Sprintf(" error=%v", err)
	}
	return text + "\n"
}
