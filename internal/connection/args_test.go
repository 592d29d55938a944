// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCommonArgs(t *testing.T) {
	for _, test := range []struct {
		name string
		text string
		want CommonArgs
		err  string
	}{
		{name: "empty"},
		{name: "jump", text: "-J user@gate:2222", want: CommonArgs{options: []option{{"proxyjump", "user@gate:2222"}}}},
		{name: "joined and apart", text: "-p2222 -l bob -F /etc/my", want: CommonArgs{configFile: "/etc/my", options: []option{{"port", "2222"}, {"user", "bob"}}}},
		{
			name: "quotes", text: `-o ProxyCommand="ssh -W %h:%p -q 'my gate'" -oUserKnownHostsFile=/dev/null`,
			want: CommonArgs{options: []option{{"proxycommand", "ssh -W %h:%p -q 'my gate'"}, {"userknownhostsfile", "/dev/null"}}},
		},
		{name: "space for equals", text: `-o "StrictHostKeyChecking accept-new"`, want: CommonArgs{options: []option{{"stricthostkeychecking", "accept-new"}}}},
		{name: "without effect here", text: "-o ControlMaster=auto -o ControlPersist=60s"},
		{name: "unknown flag", text: "-A", err: "-A is not known"},
		{name: "unknown option", text: "-o StrictHostKeyCheckin=no", err: `did you mean "stricthostkeychecking"?`},
		{name: "no value", text: "-J", err: "-J needs a value"},
		{name: "no key", text: "-o =x", err: "want Key=Value"},
		{name: "open quote", text: "-o 'x", err: "quote is not closed"},
		{name: "not an option", text: "host", err: "is not an option"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseCommonArgs(test.text)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(CommonArgs{}, option{})); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}
