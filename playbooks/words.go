// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"errors"
	"fmt"
)

// longestWords bounds a text of key=value pairs, in bytes.
const longestWords = 64 << 10

// word is one part of a text of key=value pairs.
type word struct {
	text  string
	start int // in bytes
}

// splitWords splits a text at spaces that are neither in quotes nor in a template.
func splitWords(text string) ([]word, error) {
	if len(text) > longestWords {
		return nil, fmt.Errorf("more than %d KiB of name=value pairs", longestWords>>10)
	}
	var words []word
	start, quote, braces := -1, byte(0), 0
	for i := 0; i < len(text); i++ {
		c, first := text[i], i
		space := c == ' ' || c == '\t' || c == '\n' || c == '\r'
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{' && i+1 < len(text) && text[i+1] == '{':
			braces++
			i++
		case c == '}' && i+1 < len(text) && text[i+1] == '}' && braces > 0:
			braces--
			i++
		case space && braces == 0:
			if start >= 0 {
				words = append(words, word{text[start:i], start})
			}
			start = -1
			continue
		}
		if start < 0 {
			start = first
		}
	}
	if quote != 0 || braces != 0 {
		return nil, errors.New("a quote or a brace is not closed")
	}
	if start >= 0 {
		words = append(words, word{text[start:], start})
	}
	return words, nil
}

// unquote takes the quotes off a value that is quoted as a whole.
func unquote(text string) string {
	if n := len(text); n >= 2 && (text[0] == '"' || text[0] == '\'') && text[n-1] == text[0] {
		return text[1 : n-1]
	}
	return text
}
