// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drover/internal/modules"
)

// TestThePageNamesTheLanguage holds docs/playbooks.md to the words that there are.
func TestThePageNamesTheLanguage(t *testing.T) {
	text, err := os.ReadFile("../docs/playbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	words := append(metaActions(), "leader_last")
	for _, keyword := range keywords() {
		words = append(words, keyword.name)
	}
	for _, name := range modules.Names() {
		if !strings.HasPrefix(name, "nomad_") {
			words = append(words, name)
		}
	}
	for _, word := range words {
		if !strings.Contains(string(text), "`"+word+"`") {
			t.Errorf("docs/playbooks.md does not name %s", word)
		}
	}
}

// TestProcedurePages holds the pages of procedures to the four things that each says, under headings that read alike.
func TestProcedurePages(t *testing.T) {
	pages, err := filepath.Glob("../docs/procedures/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, page := range append(pages, "../docs/health.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		headings := []string{"What it does", "What it refuses", "What it needs", "When it is interrupted"}
		if filepath.Base(page) == "raft-v3.md" {
			headings = headings[2:] // what it does and refuses is said of each of its two ways
		}
		for _, heading := range headings {
			if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.HasPrefix(line, "## "+heading) }) {
				t.Errorf("%s has no heading %q", page, heading)
			}
		}
	}
}
