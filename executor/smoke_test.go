// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSmoke(t *testing.T) {
	w := newWorld(t, "[servers]\na\nb\n", `
- name: first
  hosts: servers
  serial: 1
  vars: {greeting: "hello {{ inventory_hostname }}"}
  tasks:
    - name: greet
      act: "{{ greeting }}"
      register: said
    - name: check
      assert: {that: "said.msg == 'hello ' ~ inventory_hostname"}
`)
	summary := w.run(t)
	want := []string{"greet a ok", "check a ok", "greet b ok", "check b ok"}
	if diff := cmp.Diff(want, w.events.results()); diff != "" {
		t.Error(diff)
	}
	if summary.String() != "" {
		t.Error(summary)
	}
}
