// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestConfirm(t *testing.T) {
	silent, mute := io.Pipe() // nobody answers
	defer mute.Close()
	interrupted := make(chan struct{})
	close(interrupted)
	for name, test := range map[string]struct {
		in   io.Reader
		stop <-chan struct{}
		code int
	}{
		"yes":                      {in: strings.NewReader("yes\n"), code: exitOK},
		"no":                       {in: strings.NewReader("no\n"), code: exitError},
		"an empty line":            {in: strings.NewReader("\n"), code: exitError},
		"the end of what is typed": {in: strings.NewReader(""), code: exitError},
		"an interrupt":             {in: silent, stop: interrupted, code: exitInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			err := confirm(streams{in: test.in, err: io.Discard, interrupted: test.stop})
			code := exitOK
			var ended *exit
			if errors.As(err, &ended) {
				code = ended.code
			}
			if code != test.code || (err == nil) != (test.code == exitOK) {
				t.Errorf("exit code %d (%v), want %d", code, err, test.code)
			}
		})
	}
}
