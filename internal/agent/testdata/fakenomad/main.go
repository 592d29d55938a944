// SPDX-License-Identifier: MPL-2.0

// The fake Nomad behaves like one towards systemd, takes in and removes server/raft/peers.json, and misbehaves as the file BEHAVIOUR-VERSION in its configuration's
// directory tells it: crash, crash-early (before it wrote anything), crash-raft (after it wrote to raft's files), slow. Its state database holds the version
// that wrote it last, and an older version refuses it.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var version = "0.0.0"

const dataDir = "/opt/nomad"

func main() {
	args := strings.Join(os.Args[1:], " ")
	switch {
	case args == "version":
		fmt.Println("Nomad v" + version)
		fmt.Println("BuildDate 2026-01-01T00:00:00Z")
	case strings.HasPrefix(args, "config validate "):
		if behaviour(os.Args[3]) == "reject" {
			fmt.Fprintln(os.Stderr, "Error: no such key: token = \"11111111-2222-3333-4444-555555555555\"")
			os.Exit(1)
		}
	case strings.HasPrefix(args, "agent -config "):
		agent(os.Args[3])
	case strings.HasPrefix(args, "kill-at "):
		killAt(os.Args[2])
	default:
		fmt.Fprintln(os.Stderr, "Usage: nomad [-version] [-help] <command> [args]")
		os.Exit(127)
	}
}

func behaviour(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "BEHAVIOUR-"+version))
	return strings.TrimSpace(string(text))
}

func agent(dir string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	state := filepath.Join(dataDir, "client", "state.db")
	if behaviour(dir) == "crash-early" {
		os.Exit(1)
	}
	peers := filepath.Join(dataDir, "server", "raft", "peers.json")
	if text, err := os.ReadFile(peers); err == nil {
		must(os.WriteFile(filepath.Join(dataDir, "server", "raft", "raft.db"), text, 0o600))
		must(os.Remove(peers))
	}
	if text, _ := os.ReadFile(state); string(text) > version {
		fmt.Println("the state was written by", string(text))
		os.Exit(1)
	}
	must(os.WriteFile(state, []byte(version), 0o600))
	fmt.Println("agent starts, version", version, "token=hvs.aaaaaaaaaaaaaaaa")
	switch behaviour(dir) {
	case "crash":
		fmt.Println("agent crashes as told")
		os.Exit(1)
	case "crash-raft":
		must(os.WriteFile(filepath.Join(dataDir, "server", "raft", "raft.db"), []byte(version), 0o600))
		os.Exit(1)
	case "slow":
		time.Sleep(3 * time.Second)
	}
	for _, port := range []string{"4646", "4647"} {
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		must(err)
		defer listener.Close()
	}
	stamp("up")
	got := <-signals
	must(os.WriteFile(filepath.Join(dataDir, "signal"), []byte(got.String()), 0o600))
	stamp("down")
	os.Exit(1) // as Nomad does after a correct stop
}

// stamp notes a moment, so that a test can tell how long no agent was up.
func stamp(what string) {
	text := strconv.FormatInt(time.Now().UnixNano(), 10)
	must(os.WriteFile(filepath.Join(dataDir, what), []byte(text), 0o600))
}

// killAt kills the process that swaps as soon as its record holds the given number of steps, and says what it hit.
func killAt(steps string) {
	want, err := strconv.Atoi(steps)
	must(err)
	fmt.Println("watching")
	pid := 0
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		ended, count := newest()
		switch {
		case ended:
			fmt.Println("missed")
			return
		case pid == 0:
			// Found early, so that the kill follows its step at once.
			pid = swapper()
		case count >= want:
			if len(os.Args) > 3 {
				killAgents()
			}
			must(syscall.Kill(pid, syscall.SIGKILL))
			fmt.Println("killed", pid)
			return
		}
	}
	fmt.Println("too late")
}

// newest looks at the record made last.
func newest() (ended bool, steps int) {
	dirs, _ := filepath.Glob("/var/lib/drover/swap/nomad.service/*")
	if len(dirs) == 0 {
		return false, 0
	}
	dir := dirs[len(dirs)-1]
	if _, err := os.Stat(filepath.Join(dir, "settled")); err == nil {
		return false, 0
	}
	_, err := os.Stat(filepath.Join(dir, "outcome.json"))
	text, _ := os.ReadFile(filepath.Join(dir, "steps.jsonl"))
	return err == nil, strings.Count(string(text), `"name"`)
}

func swapper() int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "drover-agent\x00swap\x00") {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			return pid
		}
	}
	return 0
}

// killAgents waits for the exchange of the binary and kills the agent that runs.
func killAgents() {
	for {
		if _, err := os.Stat("/usr/local/bin/nomad.drover-previous"); err == nil {
			break
		}
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err == nil && strings.HasPrefix(string(text), "/usr/local/bin/nomad\x00agent") {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			must(syscall.Kill(pid, syscall.SIGKILL))
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
