// SPDX-License-Identifier: MPL-2.0

package wire

// Hello is the first call of a connection: it takes the lock on a unit for the run.
type Hello struct {
	Run    string `json:"run"`    // the run's id
	Holder string `json:"holder"` // who, in words: user@bastion, since when
	Lock   bool   `json:"lock"`   // take the exclusive lock; a run that only looks does not
	Free   bool   `json:"free"`   // refuse a unit whose lock another agent holds, without taking it
	Unit   string `json:"unit"`   // what the lock is for: a host may have several agents; "": nomad.service
}

// Op names the operation.
func (Hello) Op() string { return "hello" }

// HelloResult says what the agent is and what it found on its host.
type HelloResult struct {
	Source string `json:"source"`
	PID    int    `json:"pid"`
	UID    int    `json:"uid"`
	User   string `json:"user"`
	Arch   string `json:"arch"` // as GOARCH
	// Outcomes of transactions that ended, or still run, since the last connection.
	Outcomes []SwapOutcome `json:"outcomes,omitempty"`
}

// Ping is answered at once; both sides use it to see that the other lives.
type Ping struct{}

// Op names the operation.
func (Ping) Op() string { return "ping" }

// Facts asks what the host is.
type Facts struct{}

// Op names the operation.
func (Facts) Op() string { return "facts" }

// FactsResult describes the host.
type FactsResult struct {
	Hostname      string            `json:"hostname"`
	Arch          string            `json:"arch"`   // as uname -m: x86_64, aarch64
	Kernel        string            `json:"kernel"` // as uname -r
	OSRelease     map[string]string `json:"os_release"`
	Systemd       bool              `json:"systemd"` // PID 1 is systemd
	UnixNano      int64             `json:"unix_nano"`
	UptimeSeconds float64           `json:"uptime_seconds"`
	MemoryBytes   int64             `json:"memory_bytes"`
	Processors    int               `json:"processors"`
}

// Stat asks about a path; a missing one is not an error.
type Stat struct {
	Path   string `json:"path"`
	Follow bool   `json:"follow"`
	Hash   bool   `json:"hash"` // also the SHA-256 of a regular file
}

// Op names the operation.
func (Stat) Op() string { return "stat" }

// StatResult describes a path. Mode holds the permission bits and setuid, setgid and sticky as in stat(2).
type StatResult struct {
	Exists     bool   `json:"exists"`
	Type       string `json:"type,omitempty"` // file, directory, link, other
	Size       int64  `json:"size"`
	Mode       uint32 `json:"mode"`
	UID        int    `json:"uid"`
	GID        int    `json:"gid"`
	User       string `json:"user,omitempty"`
	Group      string `json:"group,omitempty"`
	ModTime    int64  `json:"mod_time"` // Unix nanoseconds
	Inode      uint64 `json:"inode"`
	Device     uint64 `json:"device"`
	LinkTarget string `json:"link_target,omitempty"`
	SHA256     string `json:"sha256,omitempty"` // lower-case hex
}

// Read asks for a file's bytes, which come as the reply's body.
type Read struct {
	Path string `json:"path"`
	Max  int64  `json:"max"` // refuse a larger file; 0: 16 MiB
}

// Op names the operation.
func (Read) Op() string { return "read" }

// ReadResult describes the bytes that follow.
type ReadResult struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
}

// Write replaces a file whole: temporary file in the same directory, hash, fsync, rename, fsync of the directory. The content is the call's body.
// An existing file's owner, mode and extended attributes are kept where the request leaves them empty.
type Write struct {
	Path      string  `json:"path"`
	Size      int64   `json:"size"`               // of the content, uncompressed
	SHA256    string  `json:"sha256"`             // of the content, lower-case hex
	Encoding  string  `json:"encoding,omitempty"` // "" or "zstd"
	Mode      *uint32 `json:"mode,omitempty"`
	Owner     string  `json:"owner,omitempty"` // name or number
	Group     string  `json:"group,omitempty"`
	Backup    bool    `json:"backup,omitempty"`
	NoClobber bool    `json:"no_clobber,omitempty"` // leave an existing file alone (copy with force: false)
	// Replaces is the SHA-256 that the present content must have, lower-case hex; otherwise nothing is written (KindStale).
	Replaces string `json:"replaces,omitempty"`
}

// Op names the operation.
func (Write) Op() string { return "write" }

// WriteResult says what was done.
type WriteResult struct {
	Changed bool   `json:"changed"`
	Backup  string `json:"backup,omitempty"` // where the previous content is kept
}

// File brings a path into a state without content of its own: Ansible's file module.
type File struct {
	Path    string  `json:"path"`
	State   string  `json:"state"`            // directory, absent, touch, file, link, hard
	Source  string  `json:"source,omitempty"` // for link and hard
	Mode    *uint32 `json:"mode,omitempty"`
	Owner   string  `json:"owner,omitempty"`
	Group   string  `json:"group,omitempty"`
	Recurse bool    `json:"recurse,omitempty"`
	Force   bool    `json:"force,omitempty"`
	Check   bool    `json:"check,omitempty"` // say what would change, change nothing
}

// Op names the operation.
func (File) Op() string { return "file" }

// FileResult says what was, or would be, done.
type FileResult struct {
	Changed bool       `json:"changed"`
	Before  StatResult `json:"before"`
	After   StatResult `json:"after"`
}

// Run executes a program directly, never through a shell; a module that wants one says so in Argv.
type Run struct {
	Argv     []string          `json:"argv"`
	Env      map[string]string `json:"env,omitempty"` // added to the agent's clean environment
	Dir      string            `json:"dir,omitempty"`
	User     string            `json:"user,omitempty"`  // switch to this user (agent must be root)
	Group    string            `json:"group,omitempty"` // default: the user's own
	Stdin    string            `json:"stdin,omitempty"`
	Creates  string            `json:"creates,omitempty"`   // skip when the path exists
	Removes  string            `json:"removes,omitempty"`   // skip when the path does not exist
	MaxBytes int               `json:"max_bytes,omitempty"` // of stdout and of stderr each; 0: 1 MiB
}

// Op names the operation.
func (Run) Op() string { return "run" }

// RunResult is how the program ended. A program that could not be started is an Error instead.
type RunResult struct {
	RC        int    `json:"rc"` // 128+signal when killed by one
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	Truncated bool   `json:"truncated,omitempty"` // output went over MaxBytes; the first and last parts are kept
	Skipped   string `json:"skipped,omitempty"`   // why nothing was run (creates, removes)
	Start     int64  `json:"start"`               // Unix nanoseconds
	End       int64  `json:"end"`
}

// Hash asks for a regular file's SHA-256. The agent caches it by device, inode, size and times.
type Hash struct {
	Path string `json:"path"`
}

// Op names the operation.
func (Hash) Op() string { return "hash" }

// HashResult is lower-case hex.
type HashResult struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Tunnel connects the stream to an address that the host can reach; raw bytes follow the reply.
type Tunnel struct {
	Network string `json:"network"` // tcp or unix
	Address string `json:"address"`
}

// Op names the operation.
func (Tunnel) Op() string { return "tunnel" }
