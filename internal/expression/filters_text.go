// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"fmt"
	"strings"
	"unicode"
)

// textFilters are those about text; a value that is not text is first written as text.
func textFilters() []entry {
	return []entry{
		{name: "lower", run: onText(strings.ToLower), doc: "text in lower case"},
		{name: "upper", run: onText(strings.ToUpper), doc: "text in upper case"},
		{name: "capitalize", run: onText(capitalize), doc: "text with its first letter large and the others small"},
		{name: "title", run: onText(title), doc: "text with the first letter of each word large"},
		{name: "trim", parameters: "chars?", run: filterTrim, doc: "text without white space, or the given characters, at both ends"},
		{name: "split", parameters: "sep? maxsplit?", run: filterSplit, doc: "the parts of a text between separators, by default white space"},
		{name: "splitlines", run: filterSplitLines, doc: "the lines of a text"},
		{name: "replace", parameters: "old new count?", run: filterReplace, doc: "text with another text put in place of a part"},
		{name: "indent", parameters: "width? first? blank?", run: filterIndent, doc: "text with its lines, except the first and blank ones, moved to the right"},
		{name: "format", parameters: "*values **", run: filterFormat, doc: "text with its %s and %d filled in"},
		{name: "quote", run: filterQuote, doc: "text quoted for a POSIX shell"},
		{name: "comment", parameters: "style?", run: filterComment, doc: "text as a block of # comments"},
		{name: "basename", run: onText(basename), doc: "the last part of a path"},
		{name: "dirname", run: onText(dirname), doc: "the path without its last part"},
		{name: "splitext", run: filterSplitExt, doc: "a path in two, before its extension"},
		{name: "regex_search", parameters: "regex *groups multiline? ignorecase?", run: filterRegexSearch, doc: "the first match of an RE2 pattern, or None; with '\\1' the list of those groups"},
		{name: "regex_findall", parameters: "regex multiline? ignorecase?", run: filterRegexFindAll, doc: "every match of an RE2 pattern"},
		{name: "regex_replace", parameters: "pattern? replacement? ignorecase? multiline?", run: filterRegexReplace, doc: "text with every match of an RE2 pattern replaced; \\1 stands for the first group"},
		{name: "regex_escape", run: onText(regexEscape), doc: "text with the special characters of patterns escaped"},
	}
}

// onText makes a filter of a function on text.
func onText(change func(string) string) func(*invocation, any) (any, error) {
	return func(c *invocation, value any) (any, error) {
		s, err := text(value)
		if err != nil {
			return nil, err
		}
		changed := change(s)
		return changed, c.charge(len(changed))
	}
}

func capitalize(s string) string {
	runes := []rune(strings.ToLower(s))
	if len(runes) > 0 {
		runes[0] = unicode.ToTitle(runes[0])
	}
	return string(runes)
}

// title makes the first letter large behind white space and opening signs, as Jinja2 does.
func title(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		first := start
		start = unicode.IsSpace(r) || strings.ContainsRune("-([{<", r)
		if first {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func filterTrim(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	if chars, ok := c.argument("chars"); !ok || chars == nil {
		return strings.TrimSpace(s), nil
	}
	chars, err := c.textArgument("chars", "")
	return strings.Trim(s, chars), err
}

func filterSplit(c *invocation, value any) (any, error) {
	s, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("split needs text, not %s", typeName(value))
	}
	limit, err := c.integerArgument("maxsplit", -1)
	if err != nil {
		return nil, err
	}
	separator, given := c.argument("sep")
	if !given || separator == nil {
		return c.fields(s, limit)
	}
	sep, err := c.textArgument("sep", "")
	if err != nil {
		return nil, err
	}
	return c.split(s, sep, limit)
}

func filterSplitLines(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	return c.lines(s)
}

func filterReplace(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	before, _ := c.argument("old")
	after, _ := c.argument("new")
	from, err := text(before)
	if err != nil {
		return nil, err
	}
	to, err := text(after)
	if err != nil {
		return nil, err
	}
	limit := int64(-1)
	if count, ok := c.argument("count"); ok && count != nil {
		if limit, err = c.integerArgument("count", -1); err != nil {
			return nil, err
		}
	}
	return c.replace(s, from, to, limit)
}

// replace charges for the longest result before it is made.
func (ev *evaluation) replace(s, from, to string, limit int64) (any, error) {
	places := int64(strings.Count(s, from))
	if limit >= 0 {
		places = min(places, limit)
	}
	if err := ev.charge(len(s)); err != nil {
		return nil, err
	}
	if err := ev.chargeProduct(int64(len(to)), places); err != nil {
		return nil, err
	}
	return strings.Replace(s, from, to, int(places)), nil
}

func filterIndent(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	prefix, err := c.indentation()
	if err != nil {
		return nil, err
	}
	first, err := c.boolArgument("first", false)
	if err != nil {
		return nil, err
	}
	blank, err := c.boolArgument("blank", false)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(s, "\n")
	if err := c.chargeProduct(int64(len(prefix)), int64(len(lines))); err != nil {
		return nil, err
	}
	for i, line := range lines {
		if i == 0 && !first || i > 0 && line == "" && !blank {
			continue
		}
		lines[i] = prefix + line
	}
	return strings.Join(lines, "\n"), c.charge(len(s))
}

// indentation is a number of spaces or a text.
func (c *invocation) indentation() (string, error) {
	if width, ok := c.argument("width"); ok {
		if s, isText := width.(string); isText {
			return s, nil
		}
	}
	n, err := c.integerArgument("width", 4)
	if err != nil {
		return "", err
	}
	if n > 1000 {
		return "", fmt.Errorf("indent: a width of %d is too large", n)
	}
	return strings.Repeat(" ", int(max(n, 0))), nil
}

func filterFormat(c *invocation, value any) (any, error) {
	s, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("format needs text, not %s", typeName(value))
	}
	return c.format(s, c.positional, c.named)
}

// filterQuote quotes as Python's shlex.quote does.
func filterQuote(c *invocation, value any) (any, error) {
	if value == nil {
		return "''", nil
	}
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	unsafe := strings.IndexFunc(s, func(r rune) bool {
		return !(r == '_' || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("@%+=:,./-", r))
	})
	if unsafe < 0 && s != "" {
		return s, nil
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'", c.charge(len(s))
}

func filterComment(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	style, err := c.textArgument("style", "plain")
	if err != nil {
		return nil, err
	}
	if style != "plain" {
		return nil, fmt.Errorf("comment knows the style plain only, not %q", style)
	}
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight("# "+line, " ")
	}
	result := "#\n" + strings.Join(lines, "\n") + "\n#"
	return result, c.charge(len(result))
}

// basename is Python's: empty for a path that ends in a slash.
func basename(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

// dirname is Python's: everything before the last slash, without the slashes at its end.
func dirname(s string) string {
	head := s[:strings.LastIndexByte(s, '/')+1]
	if strings.Trim(head, "/") == "" {
		return head
	}
	return strings.TrimRight(head, "/")
}

func filterSplitExt(_ *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	// Dots at the beginning of a name do not begin an extension.
	name := strings.TrimLeft(basename(s), ".")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return []any{s, ""}, nil
	}
	return []any{strings.TrimSuffix(s, name[dot:]), name[dot:]}, nil
}
