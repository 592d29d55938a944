// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

func facts(context.Context, *call, wire.Facts) (wire.FactsResult, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return wire.FactsResult{}, failure(wire.KindFailed, "ask the kernel for its name: %v", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return wire.FactsResult{}, failure(wire.KindFailed, "ask the kernel for memory and uptime: %v", err)
	}
	_, err := os.Stat("/run/systemd/system") // as sd_booted(3) decides it
	return wire.FactsResult{
		Hostname:      unix.ByteSliceToString(name.Nodename[:]),
		Arch:          unix.ByteSliceToString(name.Machine[:]),
		Kernel:        unix.ByteSliceToString(name.Release[:]),
		OSRelease:     osRelease(),
		Systemd:       err == nil,
		UnixNano:      time.Now().UnixNano(),
		UptimeSeconds: uptime().Seconds(),
		MemoryBytes:   int64(info.Totalram) * int64(info.Unit),
		Processors:    runtime.NumCPU(),
	}, nil
}

// osRelease reads os-release(5), whose lines are shell assignments, from the first of its two places.
func osRelease() map[string]string {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if text, err := os.ReadFile(path); err == nil {
			return parseEnvironment(string(text))
		}
	}
	return map[string]string{}
}

// uptime is the time since boot, sleep included. It cannot jump like the wall clock does.
func uptime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// parseEnvironment reads KEY=VALUE lines as systemd's EnvironmentFile= does: comments begin with # or ;, values may be
// quoted, a backslash escapes the next character and continues a line.
func parseEnvironment(text string) map[string]string {
	values := map[string]string{}
	text = strings.ReplaceAll(text, "\\\n", "")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !found || key == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		values[key] = unquote(strings.TrimSpace(value))
	}
	return values
}

// unquote removes one level of shell quoting.
func unquote(value string) string {
	var out strings.Builder
	var quote rune
	escaped := false
	for _, r := range value {
		switch {
		case escaped:
			escaped = false
			out.WriteRune(r)
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
