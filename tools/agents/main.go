// SPDX-License-Identifier: MPL-2.0

// The agents tool builds drover-agent for every architecture that drover serves and compresses it to where package
// connection embeds it. It does nothing when what is there was built from the same source.
//
//	go run ./tools/agents          build what is missing
//	go run ./tools/agents -print   print the hash of the source
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Manifest is manifest.json beside the compressed agents.
type Manifest struct {
	Source string           `json:"source"`
	Agents map[string]Agent `json:"agents"` // by GOOS-GOARCH
}

// Agent describes an agent before it was compressed.
type Agent struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

const out = "internal/connection/agents"

func main() {
	only := flag.Bool("print", false, "print the hash of the source and build nothing")
	flag.Parse()
	if err := run(*only, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "agents:", err)
		os.Exit(1)
	}
}

func run(only bool, w io.Writer) error {
	source, err := sourceHash()
	if err != nil {
		return fmt.Errorf("hash the agent's source: %w", err)
	}
	if only {
		_, err := fmt.Fprintln(w, source)
		return err
	}
	if current(source) {
		return nil
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	manifest := Manifest{Source: source, Agents: map[string]Agent{}}
	for _, arch := range []string{"amd64", "arm64"} {
		name := "linux-" + arch
		binary, err := build(arch, source)
		if err != nil {
			return fmt.Errorf("build the agent for %s: %w", name, err)
		}
		sum := sha256.Sum256(binary)
		manifest.Agents[name] = Agent{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(binary))}
		size, err := compress(binary, filepath.Join(out, name+".zst"))
		if err != nil {
			return fmt.Errorf("compress the agent for %s: %w", name, err)
		}
		fmt.Fprintf(w, "agent %s: %.2f MiB, compressed %.2f MiB\n", name, mebibytes(len(binary)), mebibytes(size))
	}
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	// The manifest comes last: it says that the rest is whole.
	return place(filepath.Join(out, "manifest.json"), append(text, '\n'))
}

func mebibytes(n int) float64 { return float64(n) / (1 << 20) }

// sourceHash covers the Go files that the agent consists of, by name and content, and the versions of all modules.
func sourceHash() (string, error) {
	files := []string{"go.sum"}
	for _, dir := range []string{"cmd/drover-agent", "internal/agent", "internal/wire"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return "", fmt.Errorf("%w (the tool runs in the root of the module)", err)
		}
	}
	sort.Strings(files)
	sum := sha256.New()
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s\n", filepath.ToSlash(path), len(text), text)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// current tells whether the agents there were built from this source and are all present.
func current(source string) bool {
	text, err := os.ReadFile(filepath.Join(out, "manifest.json"))
	var manifest Manifest
	if err != nil || json.Unmarshal(text, &manifest) != nil || manifest.Source != source {
		return false
	}
	for name := range manifest.Agents {
		if _, err := os.Stat(filepath.Join(out, name+".zst")); err != nil {
			return false
		}
	}
	return len(manifest.Agents) > 0
}

func build(arch, source string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "drover-agents-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "drover-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path,
		"-ldflags", "-s -w -X drover/internal/wire.Source="+source, "./cmd/drover-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return os.ReadFile(path)
}

func compress(binary []byte, path string) (int, error) {
	var packed bytes.Buffer
	encoder, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return 0, err
	}
	if _, err := encoder.Write(binary); err != nil {
		return 0, err
	}
	if err := encoder.Close(); err != nil {
		return 0, err
	}
	return packed.Len(), place(path, packed.Bytes())
}

// place writes a file so that a build that reads it at the same time sees the old one or the new one.
func place(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
