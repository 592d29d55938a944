// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// maxPattern bounds a regular expression, in bytes.
const maxPattern = 64 << 10

// compilePattern compiles a Python pattern with RE2, whose time is linear in the text; what RE2 lacks is refused. Two
// things differ quietly: `$` does not match before a newline at the end, and \w and \b know ASCII letters only.
func compilePattern(pattern string, ignoreCase, multiLine bool) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", maxPattern)
	}
	for _, unsupported := range []struct{ mark, what string }{
		{"(?=", "lookahead"},
		{"(?!", "negative lookahead"},
		{"(?<=", "lookbehind"},
		{"(?<!", "negative lookbehind"},
		{"(?P=", "a back-reference"},
		{"(?(", "a condition"},
	} {
		if strings.Contains(pattern, unsupported.mark) {
			return nil, fmt.Errorf("the pattern %q uses %s %q, which RE2 patterns do not have", pattern, unsupported.what, unsupported.mark)
		}
	}
	translated, err := translatePattern(pattern)
	if err != nil {
		return nil, err
	}
	flags := ""
	if ignoreCase {
		flags += "i"
	}
	if multiLine {
		flags += "m"
	}
	if flags != "" {
		translated = "(?" + flags + ")" + translated
	}
	compiled, err := regexp.Compile(translated)
	if err != nil {
		return nil, fmt.Errorf("invalid pattern %q: %s", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return compiled, nil
}

// translatePattern turns Python's escapes that RE2 spells differently, and refuses back-references.
func translatePattern(pattern string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '\\' || i+1 == len(pattern) {
			b.WriteByte(pattern[i])
			continue
		}
		i++
		switch c := pattern[i]; {
		case c == 'Z':
			b.WriteString(`\z`)
		case c >= '1' && c <= '9':
			return "", fmt.Errorf(`the pattern %q uses the back-reference \%c, which RE2 patterns do not have`, pattern, c)
		case strings.IndexByte("\"'/-_ #@:,=&~<>%!;`", c) >= 0:
			// Python lets any sign be escaped, RE2 only those that mean something.
			b.WriteString(regexp.QuoteMeta(string(c)))
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// pattern compiles the pattern of a call with its flags.
func (c *invocation) pattern(pattern string) (*regexp.Regexp, error) {
	ignoreCase, err := c.boolArgument("ignorecase", false)
	if err != nil {
		return nil, err
	}
	multiLine, err := c.boolArgument("multiline", false)
	if err != nil {
		return nil, err
	}
	return compilePattern(pattern, ignoreCase, multiLine)
}

// matchArguments returns the text and the compiled pattern of a regex filter or test.
func (c *invocation) matchArguments(value any, parameter string) (string, *regexp.Regexp, error) {
	s, err := text(value)
	if err != nil {
		return "", nil, err
	}
	source, err := c.textArgument(parameter, "")
	if err != nil {
		return "", nil, err
	}
	re, err := c.pattern(source)
	if err != nil {
		return "", nil, err
	}
	return s, re, c.step(1 + len(s)/64)
}

func filterRegexSearch(c *invocation, value any) (any, error) {
	// The groups are positional and the flags keywords, so the flags are not looked for by position.
	c = &invocation{c.evaluation, &entry{name: c.entry.name, kind: c.entry.kind, known: []string{"regex"}}, c.positional, c.named}
	s, re, err := c.matchArguments(value, "regex")
	if err != nil {
		return nil, err
	}
	places := re.FindStringSubmatchIndex(s)
	if places == nil {
		return nil, nil
	}
	if len(c.positional) < 2 {
		return s[places[0]:places[1]], nil
	}
	result := []any{}
	for _, group := range c.positional[1:] {
		i, err := groupIndex(re, group)
		if err != nil {
			return nil, err
		}
		result = append(result, submatch(s, places, i))
	}
	return result, nil
}

// submatch returns a group's text, None where it took no part in the match.
func submatch(s string, places []int, i int) any {
	if places[2*i] < 0 {
		return nil
	}
	return s[places[2*i]:places[2*i+1]]
}

// groupIndex understands `\1` and `\g<name>`.
func groupIndex(re *regexp.Regexp, group any) (int, error) {
	reference, _ := group.(string)
	word, ok := strings.CutPrefix(reference, `\`)
	if inner, named := strings.CutPrefix(word, "g<"); named {
		word, ok = strings.CutSuffix(inner, ">")
	}
	i, err := strconv.Atoi(word)
	if err != nil {
		i = re.SubexpIndex(word)
	}
	if !ok || i < 0 || i > re.NumSubexp() {
		return 0, fmt.Errorf(`the pattern has no group %q; groups are written as \1 or \g<name>`, reference)
	}
	return i, nil
}

func filterRegexFindAll(c *invocation, value any) (any, error) {
	s, re, err := c.matchArguments(value, "regex")
	if err != nil {
		return nil, err
	}
	result := []any{}
	for _, match := range re.FindAllStringSubmatch(s, -1) {
		if err := errors.Join(c.step(1), c.charge(len(match)*itemSize)); err != nil {
			return nil, err
		}
		switch len(match) {
		case 1, 2:
			result = append(result, match[len(match)-1])
		default:
			groups := make([]any, len(match)-1)
			for i, group := range match[1:] {
				groups[i] = group
			}
			result = append(result, groups)
		}
	}
	return result, nil
}

func filterRegexReplace(c *invocation, value any) (any, error) {
	s, re, err := c.matchArguments(value, "pattern")
	if err != nil {
		return nil, err
	}
	replacement, err := c.textArgument("replacement", "")
	if err != nil {
		return nil, err
	}
	template, err := replacementTemplate(re, replacement)
	if err != nil {
		return nil, err
	}
	var result []byte
	last := 0
	for _, places := range re.FindAllStringSubmatchIndex(s, -1) {
		before := len(result)
		result = append(result, s[last:places[0]]...)
		result = re.ExpandString(result, template, s, places)
		last = places[1]
		if err := errors.Join(c.step(1), c.charge(len(result)-before)); err != nil {
			return nil, err
		}
	}
	return string(result) + s[last:], c.charge(len(s))
}

// replacementTemplate turns Python's `\1` and `\g<name>` into Go's `${1}`.
func replacementTemplate(re *regexp.Regexp, replacement string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(replacement); i++ {
		c := replacement[i]
		switch {
		case c == '$':
			b.WriteString("$$")
		case c != '\\' || i+1 == len(replacement):
			b.WriteByte(c)
		default:
			length, written, err := replacementEscape(re, replacement[i+1:])
			if err != nil {
				return "", err
			}
			b.WriteString(written)
			i += length
		}
	}
	return b.String(), nil
}

// replacementEscape translates what follows a backslash; it returns the length that it took.
func replacementEscape(re *regexp.Regexp, rest string) (int, string, error) {
	length := 0
	for length < 2 && length < len(rest) && rest[length] >= '0' && rest[length] <= '9' {
		length++
	}
	if length == 0 && strings.HasPrefix(rest, "g<") {
		length = strings.IndexByte(rest, '>') + 1
	}
	if length > 0 {
		i, err := groupIndex(re, `\`+rest[:length])
		return length, fmt.Sprintf("${%d}", i), err
	}
	switch rest[0] {
	case 'n':
		return 1, "\n", nil
	case 't':
		return 1, "\t", nil
	case 'r':
		return 1, "\r", nil
	case '\\':
		return 1, `\`, nil
	}
	if c := rest[0]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
		return 0, "", fmt.Errorf(`the replacement has an unknown escape \%c`, c)
	}
	return 0, `\`, nil
}

// regexEscape escapes what Python's re.escape does.
func regexEscape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("()[]{}?*+-|^$\\.&~# \t\n\r\v\f", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
