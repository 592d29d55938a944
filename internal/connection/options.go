// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"io/fs"
	"time"

	"drover/internal/secret"
)

// Options hold for all hosts of a run. The zero value of each field has the meaning given beside it.
type Options struct {
	Forks   int // simultaneous dials; 0: 32
	PerJump int // simultaneous dials through one jump host, whose sshd drops bursts (MaxStartups 10:30:100); 0: 8

	Home        string   // the local user's home directory, for ~ and ~/.ssh
	User        string   // the local user's name, the login name where nothing else is said
	ConfigFiles []string // SSH client configuration, the first value wins; nil: Home/.ssh/config and /etc/ssh/ssh_config
	KnownHosts  []string // known_hosts files in place of those that the configuration names
	AcceptNew   bool     // store the key of a host that no file knows, instead of refusing it
	AgentSocket string   // of ssh-agent: SSH_AUTH_SOCK
	Environ     []string // for ProxyCommand and ssh -G

	// Passphrase asks for the passphrase of a private key file, at most once per file; nil: encrypted keys are passed over.
	Passphrase func(file string) (secret.Text, error)
	// Warn is told what a person should know of a host and cannot be an error; nil: nothing is told.
	Warn func(host, text string)

	Run    string // the run's id, for Hello
	Holder string // who runs it, for Hello
	Lock   bool   // agents that are root take the lock on the target's unit
	Free   bool   // agents that are root refuse a unit whose lock another run holds, and take none

	Interval time.Duration // between keepalives; 0: 15 s
	Misses   int           // keepalives without an answer until the peer counts as dead; 0: 3
	Redial   time.Duration // least time between a failed dial of a host and the next; 0: 1 s
	Start    time.Duration // bounds finding or sending the agent, and starting it; 0: 3 min

	// Agents holds manifest.json and the compressed agents; nil: those that the build embedded.
	Agents fs.FS
}

func (o Options) withDefaults() Options {
	o.Forks = orInt(o.Forks, 32)
	o.PerJump = orInt(o.PerJump, 8)
	o.Misses = orInt(o.Misses, 3)
	o.Interval = orDuration(o.Interval, 15*time.Second)
	o.Redial = orDuration(o.Redial, time.Second)
	o.Start = orDuration(o.Start, 3*time.Minute)
	if o.ConfigFiles == nil {
		o.ConfigFiles = []string{o.Home + "/.ssh/config", "/etc/ssh/ssh_config"}
	}
	if o.Warn == nil {
		o.Warn = func(string, string) {}
	}
	if o.Agents == nil {
		o.Agents = embeddedAgents()
	}
	return o
}

func orInt(value, otherwise int) int {
	if value > 0 {
		return value
	}
	return otherwise
}

func orDuration(value, otherwise time.Duration) time.Duration {
	if value > 0 {
		return value
	}
	return otherwise
}

// withTimeout is context.WithTimeoutCause with a cause that names what was waited for.
func withTimeout(ctx context.Context, limit time.Duration, waiting string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, &timeoutError{waiting: waiting, limit: limit})
}

type timeoutError struct {
	waiting string
	limit   time.Duration
}

func (t *timeoutError) Error() string {
	return "gave up after " + t.limit.String() + " waiting for " + t.waiting
}

func (*timeoutError) Unwrap() error { return context.DeadlineExceeded }
