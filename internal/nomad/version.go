// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"regexp"
	"strings"

	goversion "github.com/hashicorp/go-version"
)

// Version is a Nomad version. The zero value is "unknown".
type Version struct {
	parsed *goversion.Version
}

var versionLine = regexp.MustCompile(`^Nomad v(\S+)`)

// ParseVersion reads a version such as 1.11.0, v1.11.0-rc.1 or 1.11.0+ent.
func ParseVersion(text string) (Version, error) {
	parsed, err := goversion.NewSemver(strings.TrimSpace(text))
	if err != nil || len(parsed.Segments()) != 3 {
		return Version{}, fmt.Errorf("%q is not a Nomad version such as 1.11.0", text)
	}
	return Version{parsed}, nil
}

// ParseVersionOutput reads the first line of `nomad version`: "Nomad vX.Y.Z[-pre][+meta]".
func ParseVersionOutput(text string) (Version, error) {
	match := versionLine.FindStringSubmatch(strings.TrimSpace(text))
	if match == nil {
		return Version{}, fmt.Errorf("%q is not the output of `nomad version`", firstLine(text))
	}
	return ParseVersion(match[1])
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// Known tells whether this is a version at all.
func (v Version) Known() bool { return v.parsed != nil }

// String is the version as Nomad writes it, without the v: 1.11.0-rc.1+ent.
func (v Version) String() string {
	if v.parsed == nil {
		return ""
	}
	return v.parsed.String()
}

// MarshalText writes String.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote; empty text is unknown.
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = Version{}
		return nil
	}
	parsed, err := ParseVersion(string(text))
	if err == nil {
		*v = parsed
	}
	return err
}

// Edition is the build metadata: "" for the community edition, else ent, ent.hsm, ent.fips1402, ...
func (v Version) Edition() string {
	if v.parsed == nil {
		return ""
	}
	return v.parsed.Metadata()
}

// Compare orders versions, the edition left out of account. An unknown version sorts first.
func (v Version) Compare(other Version) int {
	switch {
	case v.parsed == nil && other.parsed == nil:
		return 0
	case v.parsed == nil:
		return -1
	case other.parsed == nil:
		return 1
	}
	return v.parsed.Compare(other.parsed)
}

// Same tells whether both are the same version of the same edition.
func (v Version) Same(other Version) bool {
	return v.Known() && other.Known() && v.Compare(other) == 0 && v.Edition() == other.Edition()
}

// behind tells whether an agent of this version has yet to be brought to a target: an older one, or one of another edition.
func (v Version) behind(target Version) bool {
	order := v.Compare(target)
	return order < 0 || order == 0 && v.Edition() != target.Edition()
}

// AtLeast compares with a release such as 1.7.0; a pre-release of it counts as it, since it has its features.
func (v Version) AtLeast(release string) bool {
	minimum, err := goversion.NewSemver(release)
	return err == nil && v.parsed != nil && v.parsed.Core().Compare(minimum) >= 0
}

// minor counts minor versions in the order of release: 1.11 was followed by 2.0 (there is no 1.12), 0.12 by 1.0.
func (v Version) minor() int {
	segments := v.parsed.Segments()
	switch major := segments[0]; major {
	case 0:
		return segments[1] - 13
	case 1:
		return segments[1]
	default:
		return 12*(major-1) + segments[1]
	}
}

// invented tells a version whose minor version was never released, or is so far away that no way to it can be named: 1.11 was the last
// of 1, and nothing is known of 3.
func (v Version) invented() bool {
	segments := v.parsed.Segments()
	return segments[0] > 2 || segments[0] > 0 && segments[1] > 11
}

// maximumSkip is how many minor versions the vendor's upgrade documentation lets one step span (Nomad 1.11
// documentation; it was one for releases before 1.5).
const maximumSkip = 2

// VersionOptions are the accepted risks that version rules know.
type VersionOptions struct {
	AllowUnsupportedSkip bool
	// ToEnterprise lets an agent take an Enterprise edition other than its own.
	ToEnterprise bool
}

// canTransferLeadership tells whether leadership can be moved on request: from Nomad 1.7.0, with raft protocol 3 on
// every server. why is empty when it can.
func canTransferLeadership(leader Version, lowestProtocol int) (why string) {
	switch {
	case !leader.AtLeast("1.7.0"):
		return fmt.Sprintf("the leader runs %s, and leadership can be moved on request from 1.7.0 on", leader)
	case lowestProtocol < 3:
		return fmt.Sprintf("a server uses raft protocol %d, and moving leadership needs protocol 3 on all", lowestProtocol)
	}
	return ""
}
