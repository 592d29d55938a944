// SPDX-License-Identifier: MPL-2.0

package secret

import (
	"strings"
	"testing"
)

func TestRedactor(t *testing.T) {
	var r Redactor
	if got := r.Clean("nothing is known"); got != "nothing is known" {
		t.Errorf("%q", got)
	}
	for _, text := range []string{"hunter2", "hunter2000", "abc", "", "hunter2"} {
		r.Keep(text)
	}
	for _, test := range []struct{ name, text, want string }{
		{"none", "abc", "abc"},
		{"inside", "xhunter2x hunter2", "x***x ***"},
		{"the longer one whole", "hunter2000", "***"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := r.Clean(test.text); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestNamed(t *testing.T) {
	for name, want := range map[string]bool{
		"ansible_become_password": true, "ansible_ssh_pass": true, "nomad_token": true, "NOMAD_TOKEN": true, "SecretID": true,
		"db_credentials": true, "encrypt": true, "consul_encrypt": true, "vault_token": true, "aws_secret_access_key": true,
		"ansible_host": false, "ansible_ssh_private_key_file": false, "token_file": false, "become_password_file": false,
		"nomad_client_key": false, "compass": false, "bypass_checks": false, "encrypted": false, "version": false, "token_ttl": false,
	} {
		if got := Named(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestArguments(t *testing.T) {
	for argv, want := range map[string]string{
		"nomad job run -token abcd x.hcl":        "nomad job run -token *** x.hcl",
		"nomad status -token=abcd":               "nomad status -token=***",
		"env NOMAD_TOKEN=abcd nomad status":      "env NOMAD_TOKEN=*** nomad status",
		"mysql --db-password x --host y":         "mysql --db-password *** --host y",
		"tool --password --verbose":              "tool --password --verbose",
		"cat /etc/password=x token":              "cat /etc/password=x token",
		"nomad operator api -token-file /t /v1/": "nomad operator api -token-file /t /v1/",
	} {
		if got := strings.Join(Arguments(strings.Fields(argv)), " "); got != want {
			t.Errorf("%s: %s", argv, got)
		}
	}
}
