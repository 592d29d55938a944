// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/secret"
)

func someManifest() Manifest {
	return Manifest{Run: "r1", Command: "run", Target: "site.yml", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// someEvents are those of a small run.
func someEvents() []event.Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	list := []event.Event{
		{Kind: event.RunStart, File: "site.yml"},
		{Kind: event.PlayStart, Play: "p", Batch: []string{"a", "b"}},
		{Kind: event.TaskStart, Play: "p", Task: "t \"quoted\"\nand two lines", Module: "command"},
		{Kind: event.HostStart, Host: "a", Task: "t"},
		{Kind: event.HostWait, Host: "a", Message: "still ,\"crc\":\"00000000\"}"},
		{Kind: event.HostResult, Host: "a", Task: "t", Status: event.OK, Changed: true, Result: json.RawMessage(`{"z":1,"a":[true,null]}`), Seconds: 1.5},
		{Kind: event.RunEnd, Recap: []event.Tally{{Host: "a", OK: 1, Changed: 1}}, Outcome: event.Completed},
	}
	for i := range list {
		list[i].Version, list[i].Run, list[i].Time = 1, "r1", at.Add(time.Duration(i)*time.Second)
	}
	return list
}

// written is the directory of a run with these events.
func written(t testing.TB, events []event.Event) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "runs", "r1")
	w, err := Create(dir, someManifest(), &secret.Redactor{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if err := w.Emit(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// readBack reads all events of a directory.
func readBack(t testing.TB, dir string) (events []event.Event, torn bool, err error) {
	t.Helper()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range j.Events() {
		if err != nil {
			return events, j.Torn(), err
		}
		events = append(events, e)
	}
	return events, j.Torn(), nil
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	dir := written(t, someEvents())
	got, torn, err := readBack(t, dir)
	if err != nil || torn {
		t.Fatalf("torn %t, %v", torn, err)
	}
	if diff := cmp.Diff(someEvents(), got); diff != "" {
		t.Error(diff)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700 | os.ModeDir, PlanFile: 0o600, EventsFile: 0o600, "..": 0o700 | os.ModeDir} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

// A line is JSON as it stands, for tail and jq.
func TestLinesAreJSON(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(written(t, someEvents()), EventsFile))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		var keys struct {
			Seq     int    `json:"seq"`
			Version int    `json:"version"`
			CRC     string `json:"crc"`
		}
		if err := json.Unmarshal([]byte(line), &keys); err != nil || keys.Seq != i+1 || keys.Version != 1 || len(keys.CRC) != 8 {
			t.Errorf("%s: %+v, %v", line, keys, err)
		}
	}
}

// The figure is that of RFC 3720 for 32 bytes of zeros, so that others can check the sums.
func TestChecksumIsCRC32C(t *testing.T) {
	if got := checksum(make([]byte, 32)); got != 0x8a9136aa {
		t.Errorf("%08x", got)
	}
}

func TestAnyPrefixReadsBackAsAPrefix(t *testing.T) {
	dir := written(t, someEvents())
	path := filepath.Join(dir, EventsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for length := range len(text) + 1 {
		if err := os.WriteFile(path, text[:length], 0o600); err != nil {
			t.Fatal(err)
		}
		got, torn, err := readBack(t, dir)
		whole := strings.Count(string(text[:length]), "\n")
		if err != nil || len(got) != whole || !cmp.Equal(append([]event.Event{}, got...), someEvents()[:whole]) {
			t.Fatalf("%d bytes: %d events, want %d, %v", length, len(got), whole, err)
		}
		if want := length > 0 && text[length-1] != '\n'; torn != want {
			t.Fatalf("%d bytes: torn %t", length, torn)
		}
	}
}

func TestDamage(t *testing.T) {
	dir := written(t, someEvents())
	path := filepath.Join(dir, EventsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimRight(string(text), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	newer, err := encode(4, event.Event{Version: 2, Kind: event.HostStart})
	if err != nil {
		t.Fatal(err)
	}
	with := func(i int, line string) string {
		changed := slices.Clone(lines)
		changed[i] = line
		return strings.Join(changed, "")
	}
	for _, test := range []struct{ name, text, want string }{
		{"one letter", with(3, strings.Replace(lines[3], `"a"`, `"b"`, 1)), "damaged in line 4: the checksum does not fit"},
		{"a line is missing", with(3, ""), "damaged in line 4: it is not event 4"},
		{"a line stands twice", with(3, lines[3]+lines[3]), "damaged in line 5: it is not event 5"},
		{"two lines changed places", with(2, lines[3]) + lines[2], "damaged in line 3: it is not event 3"},
		{"zeros", with(3, strings.Repeat("\x00", len(lines[3])-1)+"\n"), "damaged in line 4: it is no line of a journal"},
		{"an empty line", with(3, "\n\n"), "damaged in line 4: it is no line of a journal"},
		{"a line without its end", with(3, strings.TrimRight(lines[3], "\n")), "damaged in line 4"},
		{"an endless line", with(3, strings.Repeat("x", 2*maxLine)), "damaged in line 4: it is no line of a journal"},
		{"a newer format", with(3, string(newer)), "its format has version 2 and this drover reads 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := readBack(t, dir)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), EventsFile) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if run := Look(dir); run.State != Damaged && test.name != "a newer format" {
				t.Errorf("state %s, %v", run.State, run.Problem)
			}
		})
	}
	for name, last := range map[string]string{
		"half":                "{\"seq\":7,",
		"zeros":               strings.Repeat("\x00", 100),
		"wrong with its end":  strings.Replace(lines[6], "run_end", "run_eno", 1),
		"an end and no more":  "\n",
		"one byte is missing": strings.TrimRight(lines[6], "\n"),
	} {
		t.Run("last line: "+name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(with(6, last)), 0o600); err != nil {
				t.Fatal(err)
			}
			got, torn, err := readBack(t, dir)
			if err != nil || !torn || len(got) != 6 {
				t.Errorf("torn %t, %d events, %v", torn, len(got), err)
			}
			if run := Look(dir); run.State != Died {
				t.Errorf("state %s, %v", run.State, run.Problem)
			}
		})
	}
}

func TestManifestHasNoSecrets(t *testing.T) {
	secrets := &secret.Redactor{}
	secrets.Keep("hunter2")
	secrets.Keep("pass\"word\\")
	m := someManifest()
	m.Playbook = &Playbook{File: "p.yml", Text: "- vars: {x: hunter2}\n"}
	m.Argv = []string{"echo", "hunter2"}
	m.Target = "echo hunter2"
	m.Plan = json.RawMessage(`{"steps":[{"host":"a","reason":"because of hunter2","from":1}]}`)
	m.Variables = expression.MapOf("db_password", "short", "plain", "has hunter2 inside", "nested", expression.MapOf("token", int64(12345678), "list", []any{"pass\"word\\"}))
	m.Resolved = expression.MapOf("_meta", expression.MapOf("hostvars", expression.MapOf("a", expression.MapOf("ansible_become_password", "root", "ansible_port", int64(22)))))
	dir := filepath.Join(t.TempDir(), "r")
	w, err := Create(dir, m, secrets)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	text, err := os.ReadFile(filepath.Join(dir, PlanFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"hunter2", "short", "12345678", `pass\"word`, `"root"`} {
		if strings.Contains(string(text), leak) {
			t.Errorf("%s is in\n%s", leak, text)
		}
	}
	for _, kept := range []string{`"ansible_port": 22`, `"plain": "has *** inside"`, `"reason": "because of ***"`, `"accepted_risks": []`} {
		if !strings.Contains(string(text), kept) {
			t.Errorf("%s is not in\n%s", kept, text)
		}
	}
	if value, _ := m.Variables.Get("db_password"); value != "short" {
		t.Error("the caller's variables were changed")
	}
	back, err := Open(dir)
	if err != nil || back.Manifest.Target != "echo ***" {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestManifestThatIsWrong(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"cut off", `{"version": 1, "run`, "plan.json is damaged"},
		{"something follows", "{\"version\": 1}\n{}", "something follows the record"},
		{"newer", `{"version": 2}`, "has format version 2 and this drover reads 1"},
		{"empty", ``, "plan.json is damaged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := written(t, nil)
			if err := os.WriteFile(filepath.Join(dir, PlanFile), []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if run := Look(dir); run.State != Damaged || run.Problem == nil {
				t.Errorf("state %s", run.State)
			}
		})
	}
}

func TestNoTwoRecordsInOneDirectory(t *testing.T) {
	dir := written(t, someEvents())
	if _, err := Create(dir, someManifest(), &secret.Redactor{}); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("%v", err)
	}
	if got, _, err := readBack(t, dir); err != nil || len(got) != len(someEvents()) {
		t.Errorf("%d events, %v", len(got), err)
	}
}

func TestResultTooLong(t *testing.T) {
	long := event.Event{Version: 1, Kind: event.HostResult, Host: "a", Message: "m", Result: strings.Repeat("x", maxLine)}
	got, _, err := readBack(t, written(t, []event.Event{long}))
	if err != nil || len(got) != 1 || got[0].Message != "m" || !strings.Contains(fmt.Sprintf("%s", got[0].Result), "left_out") {
		t.Errorf("%v, %v", got, err)
	}
}
