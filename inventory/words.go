// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// word is one piece of a line and the column, counted from 1 in characters, where it begins.
type word struct {
	text   string
	column int
}

// splitWords splits a host line as a POSIX shell does: quotes keep blanks, a backslash keeps the next character, # begins a
// comment. Ansible's splitter takes a # inside an unquoted word as a comment too, and so does this one.
func splitWords(line string) ([]word, error) {
	var words []word
	var current strings.Builder
	inWord, column, start := false, 0, 0
	flush := func() {
		if inWord {
			words = append(words, word{current.String(), start})
		}
		current.Reset()
		inWord = false
	}
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRuneInString(line[i:])
		column++
		if !inWord {
			start = column
		}
		switch {
		case r == ' ' || r == '\t' || r == '\r' || r == '\n':
			flush()
		case r == '#':
			flush()
			return words, nil
		case r == '\'' || r == '"':
			text, length, err := quotedWord(line[i:], byte(r))
			if err != nil {
				return nil, err
			}
			current.WriteString(text)
			inWord = true
			column += utf8.RuneCountInString(line[i:i+length]) - 1
			size = length
		case r == '\\':
			_, next := utf8.DecodeRuneInString(line[i+1:])
			if next == 0 {
				return nil, errors.New("a backslash at the end of the line has nothing to keep")
			}
			current.WriteString(line[i+1 : i+1+next])
			inWord = true
			column++
			size += next
		default:
			current.WriteString(line[i : i+size])
			inWord = true
		}
		i += size
	}
	flush()
	return words, nil
}

// quotedWord reads one quoted piece and returns its text and how many bytes it takes with its quotes.
func quotedWord(text string, quote byte) (string, int, error) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		c := text[i]
		switch {
		case c == quote:
			return b.String(), i + 1, nil
		case c == '\\' && quote == '"' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\'):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, errors.New("a quote is not closed")
}
