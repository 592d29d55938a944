// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// insertion adds an attribute that is not there to the last block that it belongs to, in the style of what stands there.
func (f *File) insertion(found found, path Path, v Value) (splice, error) {
	rest := path[found.depth:]
	if path.labelled() || path[:len(path)-1].labelled() {
		return splice{}, fmt.Errorf("%s names a block with a label, not an attribute", path)
	}
	if f.json {
		return f.insertJSON(found.block, rest, v), nil
	}
	if found.block == f.root {
		return f.appendHCL(path, v), nil
	}
	return f.insertHCL(found.block, path, found.depth, v), nil
}

// appendHCL adds to the end of the file.
func (f *File) appendHCL(path Path, v Value) splice {
	nl, before := f.newline(), ""
	if n := len(f.text); n > 0 {
		if f.text[n-1] != '\n' {
			before = nl
		}
		if len(path) > 1 && !f.blank(0, n) {
			before += nl
		}
	}
	lines := f.nested(path, 0, v, "", f.unit())
	return splice{len(f.text), len(f.text), before + strings.Join(lines, nl) + nl}
}

func (f *File) insertHCL(in *block, path Path, depth int, v Value) splice {
	nl := f.newline()
	brace := f.lineStart(in.close)
	if brace > in.open && f.blank(brace, in.close) {
		indent := f.indentation(in)
		lines := f.nested(path, depth, v, indent, f.unit())
		if len(path)-depth == 1 {
			lines[0] = indent + f.aligned(in, path[depth]) + v.hcl()
		}
		return splice{brace, brace, strings.Join(lines, nl) + nl}
	}
	// The brace stands behind something else: the block stays on its line.
	text := " " + f.inline(path, depth, v)
	start := in.close
	for start > in.open+1 && (f.text[start-1] == ' ' || f.text[start-1] == '\t') {
		start--
	}
	if n := len(in.items); n > 0 && f.commas(in) && f.blank(in.items[n-1].end, in.close) {
		text = "," + text
	}
	after := string(f.text[start:in.close])
	if after == "" && (len(in.items) == 0 || f.text[in.open+1] == ' ') {
		after = " "
	}
	return splice{start, in.close, text + after}
}

// commas tells whether the attributes of a block have commas between them.
func (f *File) commas(in *block) bool {
	for i := 1; i < len(in.items); i++ {
		if bytes.HasPrefix(bytes.TrimSpace(f.text[in.items[i-1].end:in.items[i].start]), []byte(",")) {
			return true
		}
	}
	return false
}

// nested writes an attribute with the blocks around it that are missing, as lines.
func (f *File) nested(path Path, depth int, v Value, indent, unit string) []string {
	if depth == len(path)-1 {
		return []string{indent + hclKey(path[depth]) + " = " + v.hcl()}
	}
	names := names(path, depth)
	lines := []string{indent + head(path, depth, names) + " {"}
	lines = append(lines, f.nested(path, depth+names, v, indent+unit, unit)...)
	return append(lines, indent+"}")
}

// inline writes the same on one line.
func (f *File) inline(path Path, depth int, v Value) string {
	if depth == len(path)-1 {
		return hclKey(path[depth]) + " = " + v.hcl()
	}
	names := names(path, depth)
	return head(path, depth, names) + " { " + f.inline(path, depth+names, v) + " }"
}

// names is how many segments stand before a block's brace: its name, and its label where it has one.
func names(path Path, depth int) int {
	if path[:depth+1].labelled() && depth+2 < len(path) {
		return 2
	}
	return 1
}

func head(path Path, depth, names int) string {
	text := hclKey(path[depth])
	if names == 2 {
		text += " " + escapeHCL(path[depth+1])
	}
	return text
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

func hclKey(name string) string {
	if identifier.MatchString(name) && name != "true" && name != "false" {
		return name
	}
	return quoteHCL(name)
}

// aligned writes the key and the equals sign, which stands below that of the line before where that one is padded.
func (f *File) aligned(in *block, name string) string {
	key := hclKey(name)
	width := len(key) + 1
	if n := len(in.items); n > 0 {
		last := in.items[n-1]
		between := string(f.text[last.keyEnd:last.value.start])
		spaces := strings.IndexByte(between, '=')
		if spaces > 1 && strings.TrimLeft(between[:spaces], " ") == "" && last.keyEnd-last.start+spaces >= width {
			width = last.keyEnd - last.start + spaces
		}
	}
	return fmt.Sprintf("%-*s= ", width, key)
}

// indentation is what stands before the attributes of a block: before the last that begins its line, else one unit more than
// before the block itself.
func (f *File) indentation(in *block) string {
	for i := len(in.items) - 1; i >= 0; i-- {
		start := in.items[i].start
		if line := f.lineStart(start); line > in.open && f.blank(line, start) {
			return string(f.text[line:start])
		}
	}
	line := f.lineStart(in.open)
	return string(f.text[line:f.skip(line, " \t")]) + f.unit()
}

// unit is how far the file indents: as far as the first line that it does indent.
func (f *File) unit() string {
	for _, it := range f.root.items {
		for _, inner := range it.value.inner() {
			for _, first := range inner.items {
				line := f.lineStart(first.start)
				if line > inner.open && line < first.start && f.blank(line, first.start) {
					return string(f.text[line:first.start])
				}
			}
		}
	}
	return "  "
}

// insertJSON adds a member to an object.
func (f *File) insertJSON(in *block, rest Path, v Value) splice {
	nl := f.newline()
	if n := len(in.items); n > 0 {
		last := in.items[n-1]
		line := f.lineStart(last.start)
		comma := ","
		if bytes.Contains(f.text[last.end:in.close], []byte(",")) {
			comma = ""
		}
		colon := string(f.text[last.keyEnd:last.value.start])
		if line > in.open && f.blank(line, last.start) {
			indent := string(f.text[line:last.start])
			at := last.end + len(f.text[last.end:in.close]) - len(bytes.TrimLeft(f.text[last.end:in.close], " \t,"))
			if comma != "" {
				at = last.end
			}
			return splice{at, at, comma + nl + indent + f.member(rest, v, colon, indent, true)}
		}
		if comma == "" {
			return splice{in.close, in.close, " " + f.member(rest, v, colon, "", false)}
		}
		space := " "
		if n > 1 && last.start > 0 && f.text[last.start-1] == ',' || n == 1 && colon == ":" {
			space = ""
		}
		return splice{last.end, last.end, comma + space + f.member(rest, v, colon, "", false)}
	}
	if !bytes.Contains(bytes.TrimSpace(f.text), []byte("\n")) {
		return splice{in.open + 1, in.close, f.member(rest, v, ": ", "", false)}
	}
	line := f.lineStart(in.open)
	outer := string(f.text[line:f.skip(line, " \t")])
	return splice{in.open + 1, in.close, nl + outer + f.unit() + f.member(rest, v, ": ", outer+f.unit(), true) + nl + outer}
}

// member writes a member with the objects around it that are missing. indent is that of the member itself.
func (f *File) member(rest Path, v Value, colon, indent string, lines bool) string {
	key := quoteJSON(rest[0]) + colon
	switch {
	case len(rest) == 1:
		return key + v.json()
	case !lines:
		return key + "{" + f.member(rest[1:], v, colon, "", false) + "}"
	}
	nl, inner := f.newline(), indent+f.unit()
	return key + "{" + nl + inner + f.member(rest[1:], v, colon, inner, true) + nl + indent + "}"
}
