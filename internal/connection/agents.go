// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"drover/internal/wire"
)

const maxAgentBytes = 32 << 20

// agentFiles holds what `go run ./tools/agents` built; on a fresh clone there is only a README.
//
//go:embed all:agents
var agentFiles embed.FS

func embeddedAgents() fs.FS {
	sub, err := fs.Sub(agentFiles, "agents")
	if err != nil {
		return agentFiles
	}
	return sub
}

// manifest is manifest.json: which agents were built, and from which source.
type manifest struct {
	Source string               `json:"source"`
	Agents map[string]agentFile `json:"agents"` // by linux-GOARCH
}

type agentFile struct {
	SHA256 string `json:"sha256"` // of the program, lower-case hex
	Size   int64  `json:"size"`   // of the program, bytes
}

// name is what the program is called on a host.
func (a agentFile) name() string { return "drover-agent-" + a.SHA256[:32] }

// agents gives out the agent programs, each unpacked once, when it must be sent.
type agents struct {
	files fs.FS

	once     sync.Once
	manifest manifest
	err      error

	mu       sync.Mutex
	programs map[string][]byte
}

func (a *agents) load() (manifest, error) {
	a.once.Do(func() { a.manifest, a.err = readManifest(a.files) })
	return a.manifest, a.err
}

func readManifest(files fs.FS) (manifest, error) {
	var m manifest
	text, err := fs.ReadFile(files, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return m, errors.New("this drover was built without agents: run make build")
	}
	if err != nil {
		return m, fmt.Errorf("embedded agents: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("embedded agents: manifest.json: %w", err)
	}
	if m.Source != wire.Source {
		return m, fmt.Errorf("the embedded agents were built from source %s and drover from %s: run make build", excerpt(m.Source), wire.Source)
	}
	for name, file := range m.Agents {
		if len(machines()[strings.TrimPrefix(name, "linux-")]) == 0 {
			return m, fmt.Errorf("embedded agents: manifest.json: platform %q is not known", excerpt(name))
		}
		if raw, err := hex.DecodeString(file.SHA256); err != nil || len(raw) != sha256.Size || file.SHA256 != strings.ToLower(file.SHA256) {
			return m, fmt.Errorf("embedded agents: manifest.json: %s has no SHA-256", name)
		}
		if file.Size <= 0 || file.Size > maxAgentBytes {
			return m, fmt.Errorf("embedded agents: manifest.json: size %d of %s is out of range", file.Size, name)
		}
	}
	return m, nil
}

// program returns an agent's bytes, checked.
func (a *agents) program(platform string) ([]byte, error) {
	m, err := a.load()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if program := a.programs[platform]; program != nil {
		return program, nil
	}
	packed, err := fs.ReadFile(a.files, platform+".zst")
	if err != nil {
		return nil, fmt.Errorf("embedded agents: %w: run make build", err)
	}
	want := m.Agents[platform]
	reader, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxAgentBytes))
	if err != nil {
		return nil, fmt.Errorf("embedded agents: %s: %w", platform, err)
	}
	defer reader.Close()
	program, err := io.ReadAll(io.LimitReader(reader, want.Size+1))
	if err != nil {
		return nil, fmt.Errorf("embedded agents: unpack %s: %w", platform, err)
	}
	if sum := sha256.Sum256(program); hex.EncodeToString(sum[:]) != want.SHA256 {
		return nil, fmt.Errorf("embedded agents: %s does not have the hash of manifest.json: run make build", platform)
	}
	if a.programs == nil {
		a.programs = map[string][]byte{}
	}
	a.programs[platform] = program
	return program, nil
}
