// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"archive/zip"
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/printable"
)

// pins hold a go.mod and a go.sum per Nomad version. They have other names here, since a folder with a go.mod is a module
// of its own and would not be embedded.
//
//go:embed nomad/*/mod.txt nomad/*/sum.txt
var pins embed.FS

const (
	nomadModule = "github.com/hashicorp/nomad"
	// Official releases are built with both; without "release" the driver list has a mock driver.
	nomadTags = "hashicorpmetrics release"
)

// PinnedVersions lists the Nomad versions that can be built here, oldest first by name.
func PinnedVersions() []string {
	entries, err := pins.ReadDir("nomad")
	if err != nil {
		return nil
	}
	var versions []string
	for _, entry := range entries {
		versions = append(versions, entry.Name())
	}
	slices.Sort(versions)
	return versions
}

// Nomad returns the path of a Nomad binary: out of the directory `from` of release zips or binaries when that is not
// empty, else built from Nomad's Go module, which takes minutes the first time. Both are kept in the cache.
func Nomad(ctx context.Context, version, from, cache string, out io.Writer) (string, error) {
	return findNomad(ctx, strings.TrimPrefix(version, "v"), from, cache, newProgress(out))
}

func findNomad(ctx context.Context, version, from, cache string, p *progress) (string, error) {
	if !versionShape.MatchString(version) {
		return "", fmt.Errorf("Nomad version %q: want a form like 1.10.5", version)
	}
	var binary string
	var err error
	if from != "" {
		binary, err = givenNomad(ctx, version, from, cache, p)
	} else {
		binary, err = builtNomad(ctx, version, cache, p)
	}
	if err != nil {
		return "", err
	}
	return binary, checkNomad(ctx, binary, version)
}

// checkNomad asks the binary itself: a file's name proves nothing.
func checkNomad(ctx context.Context, binary, version string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "version")
	cmd.Env = cleanEnv()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run %s version: %w", binary, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	if fields := strings.Fields(first); len(fields) < 2 || fields[0] != "Nomad" || fields[1] != "v"+version {
		return fmt.Errorf("%s says %q, not version %s", binary, printable.Line(first), version)
	}
	return nil
}

// givenNomad looks for a version in a user's directory under the names that release zips and unpacked binaries have.
func givenNomad(ctx context.Context, version, from, cache string, p *progress) (string, error) {
	release := fmt.Sprintf("nomad_%s_linux_%s.zip", version, runtime.GOARCH)
	names := []string{"nomad-" + version, version + "/nomad", version + "/nomad-" + version, release}
	for _, name := range names {
		file := filepath.Join(from, name)
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		p.say("Nomad %s: %s", version, file)
		if strings.HasSuffix(name, ".zip") {
			return unzipNomad(ctx, file, version, cache, p)
		}
		return filepath.Abs(file)
	}
	return "", fmt.Errorf("Nomad %s is not in %s: looked for %s", version, from, strings.Join(names, ", "))
}

func unzipNomad(ctx context.Context, file, version, cache string, p *progress) (string, error) {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", file, err)
	}
	defer archive.Close()
	in, err := archive.Open("nomad")
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", file, err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", file, err)
	}
	// The checksum in the zip's directory tells two archives of one name apart.
	header, _ := info.Sys().(*zip.FileHeader)
	dir := filepath.Join(cache, "nomad", fmt.Sprintf("%s-%s-zip-%08x", version, runtime.GOARCH, header.CRC32))
	return once(ctx, dir, p, func(binary string) error {
		out, err := os.OpenFile(binary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			out.Close()
			return fmt.Errorf("unpack %s: %w", file, err)
		}
		return out.Close()
	})
}

func builtNomad(ctx context.Context, version, cache string, p *progress) (string, error) {
	mod, err := pins.ReadFile(path.Join("nomad", version, "mod.txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("Nomad %s is not pinned here (%s are): give a directory with its release zip, --nomad-dir",
			version, strings.Join(PinnedVersions(), ", "))
	}
	if err != nil {
		return "", fmt.Errorf("read the pins of Nomad %s: %w", version, err)
	}
	sum, err := pins.ReadFile(path.Join("nomad", version, "sum.txt"))
	if err != nil {
		return "", fmt.Errorf("read the pins of Nomad %s: %w", version, err)
	}
	id := sha256.Sum256(slices.Concat(mod, sum, []byte(nomadTags)))
	dir := filepath.Join(cache, "nomad", fmt.Sprintf("%s-%s-%s", version, runtime.GOARCH, hex.EncodeToString(id[:6])))
	return once(ctx, dir, p, func(binary string) error {
		return buildProgram(ctx, version, filepath.Dir(binary), mod, sum, nomadModule, p)
	})
}

// once returns dir/nomad, made by fill if it is not there yet. Of several processes one fills and the others wait.
func once(ctx context.Context, dir string, p *progress, fill func(binary string) error) (string, error) {
	unlock, err := lockCache(ctx, dir, p)
	if err != nil {
		return "", err
	}
	defer unlock()
	binary := filepath.Join(dir, "nomad")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("clear a half made Nomad: %w", err)
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	if err := fill(filepath.Join(partial, "nomad")); err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("keep Nomad: %w", err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return "", fmt.Errorf("keep Nomad: %w", err)
	}
	return binary, nil
}

// buildProgram builds a package, or a file in dir, as dir/nomad with the pinned modules of a Nomad version.
func buildProgram(ctx context.Context, version, dir string, mod, sum []byte, what string, p *progress) error {
	for _, tool := range []string{"go", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("build Nomad %s: %s is missing (Nomad's exec driver is partly C): install it or give --nomad-dir", version, tool)
		}
	}
	for name, text := range map[string][]byte{"go.mod": mod, "go.sum": sum} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("build Nomad %s: %w", version, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	p.say("Nomad %s: building it from its Go module (once, 1-5 minutes on two cores)", version)
	cmd := exec.CommandContext(ctx, "env", "GOWORK=off", "CGO_ENABLED=1",
		"go", "build", "-v", "-mod=readonly", "-trimpath", "-tags", nomadTags, "-o", "nomad", what)
	cmd.Dir = dir
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	if err := p.runBuild(cmd, version); err != nil {
		return fmt.Errorf("build Nomad %s: %w", version, err)
	}
	p.say("Nomad %s: built", version)
	return nil
}

// runBuild says how far `go build -v` is: it prints a line per download and per package it compiles.
func (p *progress) runBuild(cmd *exec.Cmd, version string) error {
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	count := &buildCount{p: p, version: version, said: time.Now()}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		count.line(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		return errors.Join(err, errors.New(strings.Join(count.last, "\n")))
	}
	return nil
}

// buildCount reads the lines of `go build -v`.
type buildCount struct {
	p                    *progress
	version              string
	downloaded, compiled int
	said                 time.Time
	last                 []string
}

// knownPackages is about how many packages Nomad consists of; it only serves to say how far a build is.
const knownPackages = 1600

func (b *buildCount) line(text string) {
	b.last = append(b.last, text)
	if len(b.last) > keptLines {
		b.last = b.last[1:]
	}
	if strings.HasPrefix(text, "go: downloading ") {
		b.downloaded++
	} else {
		b.compiled++
	}
	if time.Since(b.said) > 5*time.Second {
		b.said = time.Now()
		b.p.say("  Nomad %s: %d modules fetched, %d of about %d packages compiled", b.version, b.downloaded, b.compiled, knownPackages)
	}
}
