// SPDX-License-Identifier: MPL-2.0

package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestTextIsNeverShown(t *testing.T) {
	secret := New("hunter2")
	target := struct {
		Password Text
		inside   struct{ password Text }
	}{Password: secret}
	target.inside.password = secret
	var shown bytes.Buffer
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&shown, format+format+format+"\n", secret, &secret, target)
	}
	if err := json.NewEncoder(&shown).Encode(map[string]any{"a": secret, "b": target}); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "secret", secret, "target", target)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "secret", secret, "target", target)
	for _, form := range []string{"hunter2", fmt.Sprintf("%x", "hunter2")} {
		if strings.Contains(shown.String(), form) {
			t.Errorf("shows %q:\n%s", form, shown.String())
		}
	}
	if !strings.Contains(shown.String(), Hidden) || secret.Reveal() != "hunter2" {
		t.Error("the secret is not there at all")
	}
}
