// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"drover/internal/secret"
)

// confirm asks whether to go on.
func confirm(s streams) error {
	fmt.Fprint(s.err, "Go on? [yes/no] ")
	line, err := unlessInterrupted(s, func() (string, error) { return bufio.NewReader(s.in).ReadString('\n') })
	var interrupted *exit
	if errors.As(err, &interrupted) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "yes" || answer == "y") {
		return nil
	}
	return &exit{exitError, errors.New("not confirmed; nothing was touched")}
}

// askSecret reads a line that the terminal does not show.
func askSecret(s streams, prompt string) (secret.Text, error) {
	what := strings.TrimSuffix(prompt, ": ")
	file, ok := s.in.(*os.File)
	if !ok || !terminal(s.in) {
		return secret.Text{}, usageError("cannot ask for the %s without a terminal: use --become-password-file FILE", what)
	}
	before, err := term.GetState(int(file.Fd()))
	if err != nil {
		return secret.Text{}, fmt.Errorf("ask for the %s: %w", what, err)
	}
	fmt.Fprint(s.err, prompt)
	text, err := unlessInterrupted(s, func() ([]byte, error) { return term.ReadPassword(int(file.Fd())) })
	fmt.Fprintln(s.err)
	var interrupted *exit
	switch {
	case errors.As(err, &interrupted):
		return secret.Text{}, errors.Join(err, term.Restore(int(file.Fd()), before)) // else the terminal would show nothing any more
	case err != nil:
		return secret.Text{}, fmt.Errorf("read the %s: %w", what, err)
	}
	return secret.New(string(text)), nil
}

// unlessInterrupted waits for a person, who may also interrupt. What is read after that is lost with the process.
func unlessInterrupted[T any](s streams, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := read()
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-s.interrupted:
		var none T
		return none, &exit{exitInterrupted, errors.New("interrupted while asking; nothing was touched")}
	}
}
