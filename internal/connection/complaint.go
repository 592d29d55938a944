// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bytes"
	"sync"
)

// maxComplaint bounds what is kept of a program's standard error, bytes.
const maxComplaint = 8 << 10

// complaint keeps the end of a program's standard error and reports each appearance of sudo's prompt, which it takes out.
type complaint struct {
	prompts chan struct{} // one element for each prompt
	prompt  []byte        // empty: none is expected

	mu   sync.Mutex
	kept []byte
}

func newComplaint(prompt string) *complaint {
	return &complaint{prompts: make(chan struct{}, 4), prompt: []byte(prompt)}
}

func (c *complaint) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, p...)
	for len(c.prompt) > 0 {
		at := bytes.Index(c.kept, c.prompt)
		if at < 0 {
			break
		}
		c.kept = append(c.kept[:at:at], c.kept[at+len(c.prompt):]...)
		select {
		case c.prompts <- struct{}{}:
		default: // two prompts already mean that the password was wrong
		}
	}
	if len(c.kept) > maxComplaint {
		c.kept = append([]byte(nil), c.kept[len(c.kept)-maxComplaint:]...)
	}
	return len(p), nil
}

func (c *complaint) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.kept)
}

// said is the text as the end of an error message, empty when the program said nothing.
func (c *complaint) said() string {
	text := excerpt(c.text())
	if text == "" {
		return ""
	}
	return "; it said: " + text
}
