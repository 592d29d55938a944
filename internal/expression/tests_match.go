// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"regexp"
	"slices"
)

// matchTests are those about patterns, versions and sets.
func matchTests() []entry {
	return []entry{
		{name: "match", parameters: "pattern? ignorecase? multiline?", run: testMatch, doc: "an RE2 pattern matches at the beginning of the text"},
		{name: "search", parameters: "pattern? ignorecase? multiline?", run: testSearch, doc: "an RE2 pattern matches somewhere in the text"},
		{name: "regex", parameters: "pattern? ignorecase? multiline? match_type?", run: testRegex, doc: "an RE2 pattern matches, by match_type search, match or fullmatch"},
		{name: "version", parameters: "version operator? strict? version_type?", run: testVersion, doc: "the version compares so with another, as in version('1.10', '>='); version_type is loose, strict or semver"},
		{name: "version_compare", parameters: "version operator? strict? version_type?", run: testVersion, doc: "another name for version"},
		{name: "subset", parameters: "superset", run: testSubset, doc: "every item is in another list"},
		{name: "issubset", parameters: "superset", run: testSubset, doc: "every item is in another list"},
		{name: "superset", parameters: "subset", run: testSuperset, doc: "every item of another list is in this one"},
		{name: "issuperset", parameters: "subset", run: testSuperset, doc: "every item of another list is in this one"},
		{name: "contains", parameters: "value", run: testContains, doc: "a list, text or dictionary has the value in it"},
		{name: "any", run: testAny, doc: "at least one item counts as true"},
		{name: "all", run: testAll, doc: "every item counts as true"},
	}
}

func testMatch(c *invocation, value any) (any, error)  { return c.matches(value, "match") }
func testSearch(c *invocation, value any) (any, error) { return c.matches(value, "search") }

func testRegex(c *invocation, value any) (any, error) {
	kind, err := c.textArgument("match_type", "search")
	if err != nil {
		return nil, err
	}
	return c.matches(value, kind)
}

func (c *invocation) matches(value any, kind string) (any, error) {
	s, re, err := c.matchArguments(value, "pattern")
	if err != nil {
		return nil, err
	}
	switch kind {
	case "search":
		return re.MatchString(s), nil
	case "match":
		re, err = regexp.Compile(`\A(?:` + re.String() + `)`)
	case "fullmatch":
		re, err = regexp.Compile(`\A(?:` + re.String() + `)\z`)
	default:
		return nil, fmt.Errorf("regex knows the match types search, match and fullmatch, not %q", kind)
	}
	if err != nil {
		return nil, fmt.Errorf("invalid pattern: %w", err)
	}
	return re.MatchString(s), nil
}

func testSubset(c *invocation, value any) (any, error) {
	other, _ := c.argument("superset")
	return c.within(value, other)
}

func testSuperset(c *invocation, value any) (any, error) {
	other, _ := c.argument("subset")
	return c.within(other, value)
}

func (c *invocation) within(small, large any) (any, error) {
	inner, err := c.items(small)
	if err != nil {
		return nil, err
	}
	outer, err := c.items(large)
	if err != nil {
		return nil, err
	}
	for _, item := range inner {
		if i, err := c.indexOf(outer, item); err != nil || i < 0 {
			return false, err
		}
	}
	return true, nil
}

func testContains(c *invocation, value any) (any, error) {
	wanted, _ := c.argument("value")
	return contains(value, wanted)
}

func testAny(c *invocation, value any) (any, error) { return c.someTruth(value, true) }

func testAll(c *invocation, value any) (any, error) {
	some, err := c.someTruth(value, false)
	return !some, err
}

// someTruth reports whether an item has the wanted truth.
func (c *invocation) someTruth(value any, wanted bool) (bool, error) {
	items, err := c.items(value)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(items, func(item any) bool {
		yes, failure := truth(item)
		if failure != nil {
			err = failure
		}
		return failure == nil && yes == wanted
	}), err
}
