// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzINI(f *testing.F) {
	for _, seed := range []string{
		"h1\n[a]\nh2 x=1\n[a:vars]\ny=[1, {'a': None}]\n[b:children]\na", "h[1:3]:22 a='b c' # d", "[a:children]\na", "h\\", "\"", "[x:vars]\n=", "\ufeff[a]\n[::1]:22",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := &loader{inventory: newInventory()}
		if err := l.ini("f", []byte(text)); err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("error without a place: %v", err)
			}
			return
		}
		l.reconcile()
		l.inventory.files = &varsFiles{}
		all, _ := l.inventory.Group(groupAll)
		if len(all) != len(l.inventory.hosts) {
			t.Errorf("all has %d of %d hosts", len(all), len(l.inventory.hosts))
		}
		if len(all) > 1000 {
			return
		}
		if _, err := json.Marshal(l.inventory.List()); err != nil {
			t.Errorf("list: %v", err)
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, seed := range []string{"h[1:3]", "h[01:10:2]x[a:c]", "[:5]", "[9:1]", "[[1:2]]", "h[1:99999999999999999999]", "[00:99][00:99][00:99]", "h[4611686018427387900:4611686018427387903]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		names, err := expand(name, 500)
		if err == nil && (len(names) == 0 || len(names) > 500) {
			t.Errorf("%q gives %d names", name, len(names))
		}
		seen := map[string]bool{}
		for _, n := range names {
			if seen[n] && strings.Count(name, "[") == 1 {
				t.Errorf("%q gives %q twice", name, n)
			}
			seen[n] = true
		}
		address(name)
	})
}

func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"all", "a:&b:!c", "~x(", "web[0:1]", "web[-1]", "[", "[!", "[]]", "*[0]", "!", "&", "a,,b", "::1", "[z-a]", "[[:alpha:]]", "a[1:0]", "@x"} {
		f.Add(seed)
	}
	l := &loader{inventory: newInventory()}
	if err := l.ini("f", []byte("lone\n[web]\nw[1:3]\n[b:children]\nweb")); err != nil {
		f.Fatal(err)
	}
	l.reconcile()
	f.Fuzz(func(t *testing.T, pattern string) {
		hosts, _, err := l.inventory.Match(pattern)
		if err == nil && len(hosts) == 0 {
			t.Errorf("%q: nothing, and no error", pattern)
		}
		if len(hosts) > 4 {
			t.Errorf("%q: a host comes twice", pattern)
		}
	})
}

func FuzzLiteral(f *testing.F) {
	for _, seed := range []string{"1", "0x1F", "-1_0.5e-3", "[1,(2,),{'a':'b'}]", `'\x41' "b"`, "'''", "((((", "1,", "r'\\'", "-9223372036854775808", "0o", ".", "{1:2}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if _, err := json.Marshal(parseLiteral(source)); err != nil {
			t.Errorf("%q: %v", source, err)
		}
	})
}
