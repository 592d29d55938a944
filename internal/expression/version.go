// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-version"
)

// comparisons are the spellings of the operators that the version test takes.
var comparisons = [...]struct {
	name, symbol string
	holds        func(order int) bool
}{
	{"eq", "== =", func(o int) bool { return o == 0 }},
	{"ne", "!= <>", func(o int) bool { return o != 0 }},
	{"lt", "<", func(o int) bool { return o < 0 }},
	{"le", "<=", func(o int) bool { return o <= 0 }},
	{"gt", ">", func(o int) bool { return o > 0 }},
	{"ge", ">=", func(o int) bool { return o >= 0 }},
}

func testVersion(c *invocation, value any) (any, error) {
	other, _ := c.argument("version")
	left, err := text(value)
	if err != nil {
		return nil, err
	}
	right, err := text(other)
	if err != nil {
		return nil, err
	}
	operator, err := c.textArgument("operator", "eq")
	if err != nil {
		return nil, err
	}
	kind, err := c.versionKind()
	if err != nil {
		return nil, err
	}
	if value == nil || left == "" || other == nil || right == "" {
		return nil, errors.New("version: a version to compare is empty")
	}
	for _, comparison := range comparisons {
		for symbol := range strings.FieldsSeq(comparison.name + " " + comparison.symbol) {
			if symbol == operator {
				order, err := compareVersions(kind, left, right)
				return comparison.holds(order), err
			}
		}
	}
	return nil, fmt.Errorf("version: unknown operator %q, use one of == != < <= > >=", operator)
}

// versionKind reads the arguments strict and version_type.
func (c *invocation) versionKind() (string, error) {
	kind := "loose"
	if given, ok := c.argument("version_type"); ok && given != nil {
		var err error
		if kind, err = c.textArgument("version_type", kind); err != nil {
			return "", err
		}
	}
	if strict, ok := c.argument("strict"); ok && strict != nil {
		yes, err := truth(strict)
		if err != nil {
			return "", err
		}
		if yes {
			kind = "strict"
		}
	}
	return kind, nil
}

func compareVersions(kind, left, right string) (int, error) {
	switch kind {
	case "loose":
		return compareLoose(left, right)
	case "semver", "semantic", "strict":
		a, err := version.NewSemver(left)
		if err != nil {
			return 0, fmt.Errorf("version: %q is not a semantic version", left)
		}
		b, err := version.NewSemver(right)
		if err != nil {
			return 0, fmt.Errorf("version: %q is not a semantic version", right)
		}
		return a.Compare(b), nil
	}
	return 0, fmt.Errorf("version: unknown version_type %q, use loose, strict or semver", kind)
}

var component = regexp.MustCompile(`\d+|[a-z]+|\.`)

// looseParts cuts a version as Python's LooseVersion does: numbers, lower case words, and whatever is between.
func looseParts(s string) []string {
	var parts []string
	last := 0
	for _, place := range component.FindAllStringIndex(s, -1) {
		if place[0] > last {
			parts = append(parts, s[last:place[0]])
		}
		if part := s[place[0]:place[1]]; part != "." {
			parts = append(parts, part)
		}
		last = place[1]
	}
	if last < len(s) {
		parts = append(parts, s[last:])
	}
	return parts
}

func compareLoose(left, right string) (int, error) {
	a, b := looseParts(left), looseParts(right)
	for i := range min(len(a), len(b)) {
		x, xErr := strconv.ParseUint(a[i], 10, 64)
		y, yErr := strconv.ParseUint(b[i], 10, 64)
		switch {
		case xErr == nil && yErr == nil:
			if order := cmp.Compare(x, y); order != 0 {
				return order, nil
			}
		case xErr != nil && yErr != nil:
			if order := strings.Compare(a[i], b[i]); order != 0 {
				return order, nil
			}
		default:
			return 0, fmt.Errorf("version: %q and %q cannot be compared: %q stands against %q; try version_type='semver'", left, right, a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b)), nil
}
