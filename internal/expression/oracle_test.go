// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOracle holds expressions and templates to the answers that Ansible gave. testdata/oracle.py writes them; the
// lines in testdata/differences.txt differ on purpose, each for the reason given there.
func TestOracle(t *testing.T) {
	data, err := os.ReadFile("testdata/variables.json")
	if err != nil {
		t.Fatal(err)
	}
	variables, err := DecodeJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	differences := readDifferences(t)
	total, agree := 0, 0
	for _, corpus := range []struct{ name, form string }{{"expressions", "{{ %s }}"}, {"templates", "%s"}} {
		lines, answers := readLines(t, corpus.name+".txt", "##"), readLines(t, corpus.name+".golden", "#")
		if len(lines) != len(answers) {
			t.Fatalf("%d lines in %s.txt, %d answers: run testdata/oracle.py", len(lines), corpus.name, len(answers))
		}
		for i, line := range lines {
			total++
			t.Run(corpus.name+"/"+line, func(t *testing.T) {
				source := strings.ReplaceAll(fmt.Sprintf(corpus.form, line), "¶", "\n")
				problem := oracleProblem(t, source, variables.(*Map), answers[i])
				reason, listed := differences[line]
				switch {
				case problem != "" && !listed:
					t.Error(problem)
				case problem == "" && listed:
					t.Errorf("differences.txt lists this line (%s), but the answers agree", reason)
				case problem == "":
					agree++
				}
			})
		}
	}
	t.Logf("%d of %d answers agree with Ansible's, %d differ on purpose", agree, total, len(differences))
}

// oracleProblem compares our answer with Ansible's and describes the difference.
func oracleProblem(t *testing.T, source string, variables *Map, answer string) string {
	var golden struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal([]byte(answer), &golden); err != nil {
		t.Fatal(err)
	}
	got, err := render(t, source, variables)
	if golden.Error != "" {
		if err == nil {
			return fmt.Sprintf("%#v, where Ansible refuses (%s)", got, golden.Error)
		}
		return ""
	}
	if err != nil {
		return fmt.Sprintf("%v, where Ansible answers %s", err, golden.Value)
	}
	want, err := DecodeJSON(golden.Value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Map{})); diff != "" {
		return "(-Ansible +drover)\n" + diff
	}
	return ""
}

func render(t *testing.T, source string, scope Scope) (any, error) {
	template, err := ParseTemplate(source, Position{"corpus", 1, 1})
	if err != nil {
		return nil, err
	}
	return template.Render(t.Context(), scope, Budget{})
}

func readLines(t *testing.T, name, comment string) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && !strings.HasPrefix(line, comment) {
			lines = append(lines, line)
		}
	}
	return lines
}

// readDifferences reads lines of an expression, " => " and the reason.
func readDifferences(t *testing.T) map[string]string {
	differences := map[string]string{}
	for _, line := range readLines(t, "differences.txt", "##") {
		source, reason, ok := strings.Cut(line, " => ")
		if !ok || reason == "" {
			t.Fatalf("differences.txt: no reason in %q", line)
		}
		differences[source] = reason
	}
	return differences
}
