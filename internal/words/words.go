// SPDX-License-Identifier: MPL-2.0

// Package words splits a line into words and makes text one word again. Splitting is that of Python's shlex, which Ansible
// uses for commands, inventories and ssh arguments alike: a POSIX shell's without its expansions.
package words

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Word is one piece of a line and the column, counted from 1 in characters, where it begins.
type Word struct {
	Text   string
	Column int
}

// Split splits a line: quotes keep blanks, a backslash keeps the next character. A quote that is not closed is an error.
func Split(line string) ([]Word, error) {
	words, _, err := split(line, false)
	return words, err
}

// SplitComment is Split for lines that may end in a comment. As in shlex, a # begins one even
// inside an unquoted word; cut is then the column of that #, else 0.
func SplitComment(line string) (words []Word, cut int, err error) {
	return split(line, true)
}

func split(line string, comments bool) (words []Word, cut int, err error) {
	var current strings.Builder
	inWord, column, start := false, 0, 0
	flush := func() {
		if inWord {
			words = append(words, Word{current.String(), start})
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
		case r == '#' && comments:
			if inWord {
				cut = column
			}
			flush()
			return words, cut, nil
		case r == '\'' || r == '"':
			text, length, err := quoted(line[i:], byte(r))
			if err != nil {
				return nil, 0, err
			}
			current.WriteString(text)
			inWord = true
			column += utf8.RuneCountInString(line[i:i+length]) - 1
			size = length
		case r == '\\':
			_, next := utf8.DecodeRuneInString(line[i+1:])
			if next == 0 {
				return nil, 0, errors.New("a backslash at the end of the line has nothing to keep")
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
	return words, 0, nil
}

// quoted reads one quoted piece and returns its text and how many bytes it takes with its quotes.
func quoted(text string, quote byte) (string, int, error) {
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
