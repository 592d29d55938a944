// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArgumentsHideCredentials(t *testing.T) {
	tests := map[string]struct{ argv, want string }{
		"nothing to hide":  {"/usr/bin/nomad agent -config /etc/nomad.d -server", "/usr/bin/nomad agent -config /etc/nomad.d -server"},
		"value behind =":   {"nomad agent -encrypt=abc -config=/etc/n", "nomad agent -encrypt=[redacted] -config=/etc/n"},
		"value by itself":  {"nomad agent -vault-token hunter2 -config /etc/n", "nomad agent -vault-token [redacted] -config /etc/n"},
		"flag without one": {"nomad agent --encrypt -config /etc/n", "nomad agent --encrypt -config /etc/n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(newRedactor().arguments(strings.Fields(test.argv)), " ")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
