// SPDX-License-Identifier: MPL-2.0

package nomad

// Setting is one attribute of an agent's configuration files that a version's notes ask for. Secrets have no value here.
type Setting struct {
	Key   string `json:"key"` // as vault.token
	Value string `json:"value,omitempty"`
	File  string `json:"file"`
	Line  int    `json:"line"`
}
