// SPDX-License-Identifier: MPL-2.0

package words_test

import (
	"os/exec"
	"strings"
	"testing"

	"drover/internal/words"
)

func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "plain", "two words", "it's", "$(id) `id` $HOME", "a\nb", "-n", "~", "#x", "a=b", `\`, "'\"'", "\xff", "*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := strings.ReplaceAll(text, "\x00", "")
		if split, err := words.Split(words.Quote(text)); err != nil || len(split) != 1 || split[0].Text != want {
			t.Errorf("%q was split into %v, %v", text, split, err)
		}
		output, err := exec.Command("/bin/sh", "-c", "printf %s "+words.Quote(text)+"x").Output()
		if err != nil || string(output) != want+"x" {
			t.Errorf("%q became %q, %v", text, output, err)
		}
		// Twice, as the script inside the command for the login shell.
		output, err = exec.Command("/bin/sh", "-c", "exec /bin/sh -c "+words.Quote("printf %s "+words.Quote(text)+"x")).Output()
		if err != nil || string(output) != want+"x" {
			t.Errorf("nested: %q became %q, %v", text, output, err)
		}
	})
}
