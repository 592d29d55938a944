// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"time"
)

// packageTimeout bounds how long a package manager may take to say who owns a file; its database may be locked.
const packageTimeout = 5 * time.Second

// noPackage stands in the cache for a file that no package owns.
const noPackage = "-"

// packageOf names the package that owns one of the paths of a unit's program, as "nomad (dpkg)"; "" where none does, or
// the package manager does not answer.
func (a *Agent) packageOf(ctx context.Context, t target) string {
	info, err := os.Stat(t.file)
	if err != nil {
		return ""
	}
	key := identity(info)
	if known := a.cache.get(key).Package; known != "" {
		return strings.TrimPrefix(known, noPackage)
	}
	owner, known := askPackages(ctx, packagePaths(t))
	if known {
		a.cache.update(key, func(e *cacheEntry) { e.Package = cmp.Or(owner, noPackage) })
	}
	return owner
}

// packagePaths are the names under which a package manager may know the program: dpkg knows a file only by the path that the
// package has, which for a file in /usr/bin may be in /bin, or the other way round.
func packagePaths(t target) []string {
	var paths []string
	for _, path := range []string{t.path, t.file, t.link} {
		other := "/usr" + path
		if strings.HasPrefix(path, "/usr/") {
			other = strings.TrimPrefix(path, "/usr")
		}
		for _, name := range []string{path, other} {
			if path != "" && !slices.Contains(paths, name) {
				paths = append(paths, name)
			}
		}
	}
	return paths
}

// askPackages asks whichever package manager the host has; known is false where one did not answer.
func askPackages(ctx context.Context, paths []string) (owner string, known bool) {
	known = true
	for _, manager := range []struct {
		name string
		argv []string
		read func(string) string
	}{
		{"dpkg", []string{"dpkg-query", "--search"}, dpkgOwner},
		{"rpm", []string{"rpm", "--query", "--file", "--queryformat", `%{NAME}\n`}, rpmOwner},
	} {
		if _, err := findProgram(manager.argv[0]); err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, packageTimeout)
		// Both end with an error code where they do not know one of the paths.
		got, err := command{argv: append(manager.argv, paths...), env: map[string]string{"LC_ALL": "C"}, limit: 64 << 10}.execute(ctx)
		cancel()
		if err != nil {
			known = false
			continue
		}
		if name := manager.read(got.stdout); name != "" {
			return name + " (" + manager.name + ")", true
		}
	}
	return "", known
}

// dpkgOwner reads lines as "nomad: /usr/bin/nomad" or "a, b:amd64: /path"; a diversion is none of a package's files.
func dpkgOwner(text string) string {
	for line := range strings.Lines(text) {
		names, _, found := strings.Cut(strings.TrimSpace(line), ": /")
		if found && names != "" && !strings.HasPrefix(line, "diversion by ") {
			return names
		}
	}
	return ""
}

// rpmOwner reads lines that are a package's name each; what rpm complains about holds spaces.
func rpmOwner(text string) string {
	for line := range strings.Lines(text) {
		if name := strings.TrimSpace(line); name != "" && !strings.Contains(name, " ") {
			return name
		}
	}
	return ""
}
