// SPDX-License-Identifier: MPL-2.0

package nomad

import "strings"

// Problem is one reason against going on, in words for a person.
type Problem struct {
	Host   string `json:"host,omitempty"` // inventory name; "" when it concerns the cluster
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"` // what to do about it
}

func (p Problem) String() string {
	text := p.Text
	if p.Host != "" {
		text = p.Host + ": " + text
	}
	if p.Remedy != "" {
		text += " (" + p.Remedy + ")"
	}
	return text
}

// Words joins problems into one line.
func Words(problems []Problem) string {
	texts := make([]string, len(problems))
	for i, problem := range problems {
		texts[i] = problem.String()
	}
	return strings.Join(texts, "; ")
}
