// SPDX-License-Identifier: MPL-2.0

package secret

import "testing"

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
