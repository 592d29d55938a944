// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"crypto/md5"  //nolint:gosec // a checksum that playbooks ask for by name, not a protection
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"unicode/utf8"
)

// convertFilters are those between values and their encodings.
func convertFilters() []entry {
	return []entry{
		{name: "to_json", parameters: "indent? sort_keys? ensure_ascii?", run: filterToJSON, doc: "the value as JSON on one line"},
		{name: "tojson", parameters: "indent?", run: filterToJSON, doc: "the value as JSON on one line"},
		{name: "to_nice_json", parameters: "indent? sort_keys? ensure_ascii?", run: filterToNiceJSON, doc: "the value as JSON on many lines, with sorted keys"},
		{name: "from_json", run: filterFromJSON, doc: "the value that a JSON text stands for"},
		{name: "to_yaml", run: filterByCaller, doc: "the value as YAML, with sorted keys"},
		{name: "to_nice_yaml", run: filterByCaller, doc: "the value as YAML, with sorted keys"},
		{name: "from_yaml", run: filterByCaller, doc: "the value that a YAML text stands for"},
		{name: "b64encode", run: filterB64Encode, doc: "text in base64"},
		{name: "b64decode", run: filterB64Decode, doc: "the text that was encoded in base64"},
		{name: "hash", parameters: "hashtype?", run: filterHash, doc: "the hexadecimal checksum of a text: sha1 (default), md5, sha224, sha256, sha384 or sha512"},
		{name: "checksum", run: filterHash, doc: "the hexadecimal sha1 checksum of a text"},
	}
}

func filterToJSON(c *invocation, value any) (any, error) {
	return c.json(value, jsonStyle{separator: ", ", colon: ": "})
}

func filterToNiceJSON(c *invocation, value any) (any, error) {
	return c.json(value, jsonStyle{separator: ", ", colon: ": ", indent: 4, sorted: true})
}

func (c *invocation) json(value any, style jsonStyle) (any, error) {
	indent, err := c.integerArgument("indent", int64(style.indent))
	if err != nil {
		return nil, err
	}
	if indent < 0 || indent > 64 {
		return nil, fmt.Errorf("%s: an indent of %d is out of range", c.entry.name, indent)
	}
	sorted, err := c.boolArgument("sort_keys", style.sorted)
	if err != nil {
		return nil, err
	}
	ascii, err := c.boolArgument("ensure_ascii", true)
	if err != nil {
		return nil, err
	}
	style.indent, style.sorted, style.keepUnicode = int(indent), sorted, !ascii
	if style.indent > 0 {
		style.separator = ","
	}
	var b strings.Builder
	if err := writeJSON(&b, value, style, 0, c.budget.Bytes); err != nil {
		return nil, err
	}
	return b.String(), c.charge(b.Len())
}

func filterFromJSON(c *invocation, value any) (any, error) {
	s, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("from_json needs text, not %s", typeName(value))
	}
	if err := c.charge(len(s)); err != nil {
		return nil, err
	}
	return DecodeJSON([]byte(s))
}

// filterByCaller leaves a filter to the Scope: YAML is read and written by a package that builds on this one.
func filterByCaller(c *invocation, value any) (any, error) {
	if err := complete(value); err != nil {
		return nil, err
	}
	caller, ok := c.scope.(Caller)
	if !ok {
		return nil, fmt.Errorf("the filter %q is not available here", c.entry.name)
	}
	result, err := caller.Call(c.ctx, c.entry.name, []any{value}, c.named)
	if s, isText := result.(string); isText && err == nil {
		err = c.charge(len(s))
	}
	return result, err
}

func filterB64Encode(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.EncodeToString([]byte(s)), c.charge(2 * len(s))
}

func filterB64Decode(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("b64decode: %w", err)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("b64decode: the decoded bytes are not UTF-8 text")
	}
	return string(data), c.charge(len(data))
}

func filterHash(c *invocation, value any) (any, error) {
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	kind, err := c.textArgument("hashtype", "sha1")
	if err != nil {
		return nil, err
	}
	makers := map[string]func() hash.Hash{
		"md5": md5.New, "sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New,
		"sha384": sha512.New384, "sha512": sha512.New,
	}
	maker, ok := makers[kind]
	if !ok {
		return nil, fmt.Errorf("hash knows md5, sha1, sha224, sha256, sha384 and sha512, not %q", kind)
	}
	sum := maker()
	sum.Write([]byte(s))
	return hex.EncodeToString(sum.Sum(nil)), nil
}
