// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"os"
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
