// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"drover/internal/wire"
)

// startTicks is field 22 of /proc/PID/stat: with the number it names a process for good. 0: there is no such process,
// or it has ended and only waits to be collected.
func startTicks(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the program's name in parentheses, which may itself hold any character.
	_, rest, found := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[19], 10, 64)
	return ticks
}

// fileID names a file for good on one host, whatever its path becomes.
type fileID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

func idOf(path string) (fileID, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileID{}, err
	}
	raw := info.Sys().(*syscall.Stat_t)
	return fileID{Device: uint64(raw.Dev), Inode: raw.Ino}, nil
}

// runningFile is the file that a process executes, also when its name is gone or means another file now.
func runningFile(pid int) (fileID, error) { return idOf(fmt.Sprintf("/proc/%d/exe", pid)) }

func cmdline(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return splitNull(text)
}

func splitNull(text []byte) []string {
	trimmed := strings.TrimRight(string(text), "\x00")
	if trimmed == "" {
		return nil
	}
	return strings.Split(trimmed, "\x00")
}

// listening lists the TCP sockets that one process listens on, sorted. The sockets are matched by inode, so those of
// other processes in the same network namespace do not show.
func listening(pid int) ([]netip.AddrPort, error) {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:[") {
			own[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	var found []netip.AddrPort
	for _, table := range []string{"tcp", "tcp6"} {
		addresses, err := listeners(fmt.Sprintf("/proc/%d/net/%s", pid, table), own)
		if err != nil && table == "tcp" {
			return nil, failure(wire.KindNotFound, "list the sockets of process %d: %v", pid, err)
		}
		found = append(found, addresses...)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Compare(found[j]) < 0 })
	return found, nil
}

// listeners reads a /proc/PID/net/tcp table: local address in field 1, state in field 3, inode in field 9.
func listeners(path string, own map[string]bool) ([]netip.AddrPort, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const listen = "0A"
	var found []netip.AddrPort
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != listen || !own[fields[9]] {
			continue
		}
		if address, ok := parseSocket(fields[1]); ok {
			found = append(found, address)
		}
	}
	return found, lines.Err()
}

// parseSocket reads ADDRESS:PORT in hex; the address is in words of four bytes in the order of the host, little endian
// on every architecture that drover supports.
func parseSocket(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, errPort := strconv.ParseUint(port, 16, 16)
	if err != nil || errPort != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	address, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(address.Unmap(), uint16(number)), ok
}
