// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"fmt"
	"sort"
	"strings"

	"drover/internal/nearest"
	"drover/internal/words"
)

// CommonArgs are options for the SSH client as ansible_ssh_common_args gives them, already checked.
type CommonArgs struct {
	configFile string
	// options in the order given; keys as ssh_config(5) spells them, in lower case.
	options []option
}

type option struct{ key, value string }

// ParseCommonArgs reads command line options of OpenSSH's client: -J -i -p -l -F -o Key=Value. An option that drover does
// not act on is refused by name, since leaving out a wish about security silently would be wrong.
func ParseCommonArgs(text string) (CommonArgs, error) {
	parts, err := words.Split(text)
	if err != nil {
		return CommonArgs{}, fmt.Errorf("ssh arguments %q: %w", text, err)
	}
	var args CommonArgs
	for i := 0; i < len(parts); i++ {
		word := parts[i].Text
		if len(word) < 2 || word[0] != '-' {
			return CommonArgs{}, fmt.Errorf("ssh arguments: %q is not an option", word)
		}
		flag, value := word[:2], word[2:]
		if !strings.Contains("JipFlo", flag[1:]) {
			return CommonArgs{}, fmt.Errorf("ssh arguments: %s is not known here (known: -J -i -p -l -F -o Key=Value)", flag)
		}
		if value == "" {
			i++
			if i == len(parts) {
				return CommonArgs{}, fmt.Errorf("ssh arguments: %s needs a value", flag)
			}
			value = parts[i].Text
		}
		if err := args.add(flag, value); err != nil {
			return CommonArgs{}, fmt.Errorf("ssh arguments: %w", err)
		}
	}
	return args, nil
}

func (a *CommonArgs) add(flag, value string) error {
	switch flag {
	case "-F":
		a.configFile = value
	case "-J":
		a.options = append(a.options, option{"proxyjump", value})
	case "-i":
		a.options = append(a.options, option{"identityfile", value})
	case "-p":
		a.options = append(a.options, option{"port", value})
	case "-l":
		a.options = append(a.options, option{"user", value})
	case "-o":
		return a.addOption(value)
	}
	return nil
}

// optionKeys maps what -o may set to whether drover acts on it (false: it is accepted and has no effect on drover).
func optionKeys() map[string]bool {
	return map[string]bool{
		"proxyjump": true, "proxycommand": true, "stricthostkeychecking": true, "userknownhostsfile": true,
		"globalknownhostsfile": true, "connecttimeout": true,
		"identitiesonly": true, "identityfile": true, "identityagent": true, "certificatefile": true, "user": true, "port": true,
		"hostname": true, "hostkeyalias": true,
		// One connection per host is drover's own way of working, and these only tune OpenSSH's client.
		"controlmaster": false, "controlpath": false, "controlpersist": false, "loglevel": false, "compression": false,
		// The agent's session has keepalives of its own.
		"serveraliveinterval": false, "serveralivecountmax": false,
		"batchmode": false, "tcpkeepalive": false, "connectionattempts": false,
	}
}

func (a *CommonArgs) addOption(text string) error {
	at := strings.IndexAny(text, "= \t")
	if at <= 0 {
		return fmt.Errorf("-o %s: want Key=Value", text)
	}
	key := strings.ToLower(text[:at])
	value := strings.TrimSpace(strings.TrimLeft(text[at:], "= \t"))
	acts, known := optionKeys()[key]
	if !known {
		return fmt.Errorf("-o %s: option is not known here %s", text[:at], nearest.Hint(key, sortedOptionKeys()))
	}
	if value == "" {
		return fmt.Errorf("-o %s: value is empty", text[:at])
	}
	if acts {
		a.options = append(a.options, option{key, value})
	}
	return nil
}

func sortedOptionKeys() []string {
	keys := make([]string, 0, len(optionKeys()))
	for key := range optionKeys() {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
