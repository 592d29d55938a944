// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
)

// Path is the versions at which an upgrade stops, its target last. missing says what it would take besides, where the versions at hand
// make no way of supported steps.
//
// given are the stops that the user named, in their order; agents that have passed one need it no more. Without them, and where the
// target is farther from the oldest agent than one step may span, stops are chosen from those at hand: the vendor's long-term minor
// versions (the even ones) where they are all there, else the farthest that can be reached each time, of each the newest patch that is
// not known to be bad.
func Path(oldest, target Version, given, atHand []Version, options VersionOptions) (path []Version, missing string) {
	if !oldest.Known() || !target.Known() {
		return []Version{target}, ""
	}
	if len(given) > 0 {
		for _, stop := range given {
			if stop.Compare(oldest) > 0 && stop.Compare(target) < 0 {
				path = append(path, stop)
			}
		}
		return append(path, target), ""
	}
	if !unsupportedSkip(oldest, target) || options.AllowUnsupportedSkip || target.invented() {
		return []Version{target}, ""
	}
	best := newestPatches(oldest, target, atHand)
	var lacking []string
	for _, minor := range evenStops(oldest, target) {
		stop, there := best[minor]
		if !there {
			lacking = append(lacking, minorName(minor))
			continue
		}
		path = append(path, stop)
	}
	if len(lacking) == 0 {
		return append(path, target), ""
	}
	if path = jumps(oldest, target, best); path != nil {
		return path, ""
	}
	return []Version{target}, strings.Join(lacking, ", ")
}

// jumps goes as far as one step may span each time; nil where there is a gap that no step may span.
func jumps(oldest, target Version, best map[int]Version) []Version {
	var path []Version
	for at := oldest.minor(); target.minor()-at > maximumSkip; {
		next := at
		for minor := at + 1; minor <= at+maximumSkip; minor++ {
			if _, there := best[minor]; there {
				next = minor
			}
		}
		if next == at {
			return nil
		}
		path = append(path, best[next])
		at = next
	}
	return append(path, target)
}

// newestPatches picks of each minor version between two the newest release of the target's edition that is not known to be bad; one
// that is only doubtful counts where there is no better.
func newestPatches(oldest, target Version, atHand []Version) map[int]Version {
	best := map[int]Version{}
	doubtful := func(v Version) bool { _, known := badReleases()[v.parsed.Core().String()]; return known }
	for _, v := range atHand {
		if !v.Known() || v.Edition() != target.Edition() || v.parsed.Prerelease() != "" || v.minor() <= oldest.minor() || v.minor() >= target.minor() {
			continue
		}
		if bad, known := badReleases()[v.parsed.Core().String()]; known && bad.refuse {
			continue
		}
		other, there := best[v.minor()]
		if !there || doubtful(other) && !doubtful(v) || doubtful(other) == doubtful(v) && v.Compare(other) > 0 {
			best[v.minor()] = v
		}
	}
	return best
}

// evenStops are the even minor versions between two that make a way of supported steps.
func evenStops(from, to Version) []int {
	var minors []int
	for at := from.minor(); to.minor()-at > maximumSkip; {
		at = max(0, at+maximumSkip-(at+maximumSkip)%2)
		minors = append(minors, at)
	}
	return minors
}

// minorName writes a minor version, and which patch of it is none to stop at.
func minorName(minor int) string {
	switch {
	case minor == 4:
		return "1.4 (not 1.4.0)"
	case minor < 12:
		return fmt.Sprintf("1.%d", minor)
	}
	return fmt.Sprintf("%d.%d", minor/12+1, minor%12)
}

// LastPatches are the last community releases of minor versions that get no more (Nomad's changelogs): where to stop over when nobody
// says which releases a mirror has.
func LastPatches() []Version {
	var all []Version
	for _, text := range []string{"1.4.14", "1.5.17", "1.6.10", "1.7.7", "1.8.4", "1.9.7", "1.10.5"} {
		if v, err := ParseVersion(text); err == nil {
			all = append(all, v)
		}
	}
	return all
}

// CheckStops refuses stops that do not go up to a target of the same edition.
func CheckStops(stops []Version, target Version) error {
	for i, stop := range stops {
		switch {
		case stop.Compare(target) >= 0:
			return fmt.Errorf("%s is no stop on the way to %s", stop, target)
		case i > 0 && stop.Compare(stops[i-1]) <= 0:
			return fmt.Errorf("%s comes after %s, and the stops have to go up", stop, stops[i-1])
		case stop.Edition() != target.Edition():
			return fmt.Errorf("%s is the %s and %s is the %s", stop, edition(stop), target, edition(target))
		}
	}
	return nil
}

// Oldest is the lowest version among the agents that an upgrade is to bring to a target; unknown where there is none.
func Oldest(regions []Survey, target Version, options Options) Version {
	var oldest Version
	for _, survey := range regions {
		oldest = older(oldest, options.oldest(survey, target))
	}
	return oldest
}

func (o *Options) oldest(survey Survey, target Version) Version {
	var oldest Version
	for _, facts := range survey.Hosts {
		version := facts.VersionRunning
		if !facts.Running {
			version = facts.VersionDisk
		}
		asked := facts.Role != "none" && !o.leavesOut(facts.Host) && (!o.Servers || facts.Server) && (!o.Clients || !facts.Server)
		if asked && version.Known() && version.Compare(target) < 0 {
			oldest = older(oldest, version)
		}
	}
	return oldest
}

// Architectures are the machine types of the hosts that a plan upgrades, by name.
func (p *Plan) Architectures(regions []Survey) []string {
	var machines []string
	for _, survey := range regions {
		for _, facts := range survey.Hosts {
			if slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Host == facts.Host && s.Action != ActionNone }) {
				machines = append(machines, facts.Architecture)
			}
		}
	}
	slices.Sort(machines)
	return slices.Compact(machines)
}

// RefuseLeg adds to a plan that a later leg cannot be begun.
func (p *Plan) RefuseLeg(remedy, format string, args ...any) {
	p.refuse("", remedy, format, args...)
}
