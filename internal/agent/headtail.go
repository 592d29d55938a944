// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"fmt"
	"strings"
)

// headTail keeps the first and the last part of what is written to it, in bounded memory.
type headTail struct {
	half  int
	head  []byte
	tail  []byte // a ring once it is full
	next  int    // where the ring is written next
	total int64
}

func newHeadTail(limit int) *headTail {
	if limit <= 0 {
		limit = defaultMaxBytes
	}
	return &headTail{half: max(limit/2, 1)}
}

func (h *headTail) Write(p []byte) (int, error) {
	n := len(p)
	h.total += int64(n)
	if room := h.half - len(h.head); room > 0 {
		take := min(room, len(p))
		h.head = append(h.head, p[:take]...)
		p = p[take:]
	}
	if len(p) > h.half {
		p = p[len(p)-h.half:]
	}
	if room := h.half - len(h.tail); room > 0 {
		take := min(room, len(p))
		h.tail = append(h.tail, p[:take]...)
		p = p[take:]
	}
	for len(p) > 0 {
		take := copy(h.tail[h.next:], p)
		h.next = (h.next + take) % h.half
		p = p[take:]
	}
	return n, nil
}

func (h *headTail) truncated() bool { return h.total > int64(len(h.head)+len(h.tail)) }

func (h *headTail) String() string {
	var text strings.Builder
	text.Write(h.head)
	if h.truncated() {
		fmt.Fprintf(&text, "\n[... %d bytes left out ...]\n", h.total-int64(len(h.head)+len(h.tail)))
	}
	text.Write(h.tail[h.next:])
	text.Write(h.tail[:h.next])
	return strings.ToValidUTF8(text.String(), "�")
}
