// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Dirs are the two places where labs keep things outside the repository.
type Dirs struct {
	// State holds one folder per standing lab; `down` removes it.
	State string
	// Cache holds the Debian root and the Nomad binaries, shared by all labs and kept.
	Cache string
}

// FindDirs derives the directories from an environment: DROVER_LAB_DIR, XDG_CACHE_HOME and HOME.
func FindDirs(getenv func(string) string) Dirs {
	dirs := Dirs{State: "/var/lib/drover-lab", Cache: "/var/cache/drover"}
	if dir := getenv("DROVER_LAB_DIR"); dir != "" {
		dirs.State = dir
	}
	switch {
	case getenv("XDG_CACHE_HOME") != "":
		dirs.Cache = filepath.Join(getenv("XDG_CACHE_HOME"), "drover")
	case getenv("HOME") != "":
		dirs.Cache = filepath.Join(getenv("HOME"), ".cache", "drover")
	}
	return dirs
}

// Options say what a lab consists of. The zero value of a field means its default, named in each comment.
type Options struct {
	Name string // "lab"; lower case letters, digits and dashes
	Dirs Dirs   // /var/lib/drover-lab and /var/cache/drover

	Servers  int  // Nomad servers s1..sN
	Combined bool // the servers are clients too
	Clients  int  // Nomad clients c1..cN
	Plain    int  // hosts without Nomad, h1..hN
	Jump     bool

	// Regions are federated with each other; servers and clients are dealt out to them in turn. The first is authoritative.
	Regions []string // {"global"}

	Version  string // Nomad's, such as "1.10.5" (the default)
	NomadDir string // release zips or binaries to take Nomad from, instead of building it
	Rootfs   string // a Debian root to use as it is, instead of making one
	Disk     bool   // writable layers on the disk instead of a tmpfs: real fsync

	RaftProtocol     int // 0 leaves it to Nomad
	ACL              bool
	MTLS             bool
	LeaveOnTerminate bool
	LeaveOnInterrupt bool
	DrainOnShutdown  bool

	KillSignal string // unit setting, "SIGINT"
	KillMode   string // unit setting, "process"
	UnitType   string // unit setting, "simple"

	Job  bool // run a long-lived job with raw_exec and exec allocations
	Keep bool // leave what stands when Up fails, to look at it
}

const (
	defaultName    = "lab"
	defaultVersion = "1.10.5"
	// A host holds about four inotify instances and the kernel's default limit per user is 128.
	maxHosts = 32
)

var (
	nameShape    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,23}$`)
	versionShape = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`)
)

func (o Options) withDefaults() Options {
	for _, field := range []struct {
		value    *string
		fallback string
	}{
		{&o.Name, defaultName},
		{&o.Version, defaultVersion},
		{&o.KillSignal, "SIGINT"},
		{&o.KillMode, "process"},
		{&o.UnitType, "simple"},
		{&o.Dirs.State, "/var/lib/drover-lab"},
		{&o.Dirs.Cache, "/var/cache/drover"},
	} {
		if *field.value == "" {
			*field.value = field.fallback
		}
	}
	o.Version = strings.TrimPrefix(o.Version, "v")
	if len(o.Regions) == 0 {
		o.Regions = []string{region}
	}
	return o
}

// check refuses what could not come up, before anything is made.
func (o Options) check() error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	if !versionShape.MatchString(o.Version) {
		return fmt.Errorf("Nomad version %q: want a form like 1.10.5", o.Version)
	}
	for flag, n := range map[string]int{"servers": o.Servers, "clients": o.Clients, "plain hosts": o.Plain} {
		if n < 0 {
			return fmt.Errorf("%d %s: a number of hosts cannot be negative", n, flag)
		}
	}
	hosts := o.Servers + o.Clients + o.Plain
	switch {
	case hosts == 0:
		return fmt.Errorf("a lab needs at least one host")
	case hosts > maxHosts:
		return fmt.Errorf("%d hosts: at most %d fit into the kernel's default limit of inotify instances", hosts, maxHosts)
	case o.Clients > 0 && o.Servers == 0:
		return fmt.Errorf("%d clients without a server: add --servers", o.Clients)
	case o.Job && o.nodes() == 0:
		return fmt.Errorf("a job needs at least one client")
	case len(o.Regions) > max(1, o.Servers):
		return fmt.Errorf("%d regions and %d servers: each region needs one of its own", len(o.Regions), o.Servers)
	case len(o.Regions) > 1 && (o.MTLS || o.ACL):
		return fmt.Errorf("several regions with ACL or mTLS: the lab's token and certificates are for one region")
	case o.RaftProtocol < 0 || o.RaftProtocol > 3:
		return fmt.Errorf("raft protocol %d: want 2 or 3, or 0 for Nomad's default", o.RaftProtocol)
	}
	for _, name := range o.Regions {
		if !nameShape.MatchString(name) {
			return fmt.Errorf("region %q: want lower case letters, digits and dashes", name)
		}
	}
	if strings.ContainsAny(o.Rootfs+o.Dirs.State+o.Dirs.Cache, ":,\\\n") {
		return fmt.Errorf("the lab's directories may not contain ':', ',' or '\\': overlayfs reads them as separators")
	}
	return o.checkUnit()
}

// nodes is how many agents run tasks.
func (o Options) nodes() int {
	if o.Combined {
		return o.Clients + o.Servers
	}
	return o.Clients
}

func (o Options) checkUnit() error {
	for _, setting := range []struct {
		name, value string
		known       []string
	}{
		{"KillMode", o.KillMode, []string{"process", "control-group", "mixed", "none"}},
		{"Type", o.UnitType, []string{"simple", "exec", "notify"}},
		{"KillSignal", o.KillSignal, []string{"SIGINT", "SIGTERM", "SIGKILL", "SIGHUP", "SIGQUIT"}},
	} {
		if !slices.Contains(setting.known, setting.value) {
			return fmt.Errorf("%s=%q: want one of %s", setting.name, setting.value, strings.Join(setting.known, ", "))
		}
	}
	return nil
}

func checkName(name string) error {
	if !nameShape.MatchString(name) {
		return fmt.Errorf("lab name %q: want up to 24 lower case letters, digits and dashes, the first not a dash", name)
	}
	return nil
}
