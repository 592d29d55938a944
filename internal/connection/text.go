// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"strings"

	"drover/internal/printable"
)

// maxShown bounds how much of a host's own words goes into an error, in bytes.
const maxShown = 500

// excerpt makes text that came from a host fit for one line of an error: the end is kept, where programs say why they gave up.
func excerpt(text string) string {
	text = printable.Line(text)
	if len(text) > maxShown {
		text = "..." + strings.ToValidUTF8(text[len(text)-maxShown:], "")
	}
	return text
}
