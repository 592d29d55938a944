// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"

	"drover/internal/wire"
)

// account is what a process or file needs to know of a user.
type account struct {
	uid, gid int
	name     string
	home     string
	groups   []uint32
}

// The agent is built without cgo, so os/user reads the local files only; users of a directory service are asked of
// getent(1) and id(1).
const lookupTimeout = 10 * time.Second

// lookupUser finds a user by name or number.
func lookupUser(ctx context.Context, name string) (account, error) {
	found, err := user.Lookup(name)
	if err != nil {
		if _, notNumber := strconv.Atoi(name); notNumber == nil {
			found, err = user.LookupId(name)
		}
	}
	if err != nil {
		if found, err = getentUser(ctx, name); err != nil {
			return account{}, failure(wire.KindNotFound, "there is no user %q on this host", name)
		}
	}
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return account{}, failure(wire.KindFailed, "user %q has the odd number %q", name, found.Uid)
	}
	gid, err := strconv.Atoi(found.Gid)
	if err != nil {
		return account{}, failure(wire.KindFailed, "user %q has the odd group number %q", name, found.Gid)
	}
	return account{uid: uid, gid: gid, name: found.Username, home: found.HomeDir, groups: userGroups(ctx, found, gid)}, nil
}

func getentUser(ctx context.Context, name string) (*user.User, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	line, err := exec.CommandContext(ctx, "getent", "passwd", "--", name).Output()
	fields := strings.Split(strings.TrimSpace(string(line)), ":")
	if err != nil || len(fields) < 7 {
		return nil, user.UnknownUserError(name)
	}
	return &user.User{Username: fields[0], Uid: fields[2], Gid: fields[3], HomeDir: fields[5]}, nil
}

// userGroups lists the numbers of all groups of a user, the primary one first.
func userGroups(ctx context.Context, who *user.User, gid int) []uint32 {
	groups := []uint32{uint32(gid)}
	ids, err := who.GroupIds()
	if err != nil || len(ids) <= 1 {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		if text, err := exec.CommandContext(ctx, "id", "-G", "--", who.Username).Output(); err == nil {
			ids = strings.Fields(string(text))
		}
	}
	for _, id := range ids {
		if number, err := strconv.ParseUint(id, 10, 32); err == nil && int(number) != gid {
			groups = append(groups, uint32(number))
		}
	}
	return groups
}

// lookupGroup finds a group's number by name or number.
func lookupGroup(ctx context.Context, name string) (int, error) {
	if found, err := user.LookupGroup(name); err == nil {
		return strconv.Atoi(found.Gid)
	}
	if number, err := strconv.Atoi(name); err == nil {
		return number, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	line, err := exec.CommandContext(ctx, "getent", "group", "--", name).Output()
	if fields := strings.Split(strings.TrimSpace(string(line)), ":"); err == nil && len(fields) >= 3 {
		return strconv.Atoi(fields[2])
	}
	return 0, failure(wire.KindNotFound, "there is no group %q on this host", name)
}

func userName(uid int) string {
	if found, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return found.Username
	}
	return ""
}

func groupName(gid int) string {
	if found, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
		return found.Name
	}
	return ""
}

// ownership resolves an owner and a group as a request names them; -1 where it names none. A bare number is an owner
// even when no such user exists, as for chown(1).
func ownership(ctx context.Context, owner, group string) (uid, gid int, err error) {
	uid, gid = -1, -1
	if owner != "" {
		if number, err := strconv.Atoi(owner); err == nil {
			uid = number
		} else {
			who, err := lookupUser(ctx, owner)
			if err != nil {
				return -1, -1, err
			}
			uid = who.uid
		}
	}
	if group != "" {
		if gid, err = lookupGroup(ctx, group); err != nil {
			return -1, -1, err
		}
	}
	return uid, gid, nil
}
