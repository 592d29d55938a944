// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Describe returns a module's documentation for a terminal of the given width.
func Describe(m *Module, width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s\n", m.Name, m.Short)
	if len(m.Aliases) > 0 {
		fmt.Fprintf(&b, "Also called: %s\n", strings.Join(m.Aliases, ", "))
	}
	for _, paragraph := range strings.Split(strings.TrimSpace(m.Doc), "\n\n") {
		b.WriteString("\n" + wrap(paragraph, "  ", width))
	}
	b.WriteString("\nARGUMENTS (! is required)\n")
	if len(m.Args) == 0 && !m.Open {
		b.WriteString("\n  none\n")
	}
	for i := range m.Args {
		b.WriteString("\n" + describeArg(&m.Args[i], m.FreeForm, width))
	}
	if m.Open {
		b.WriteString("\n  NAME: any\n" + wrap("Any other name is that of a variable.", "      ", width))
	}
	b.WriteString("\nIN CHECK MODE\n\n" + wrap(checkText(m.Check), "  ", width))
	if m.Diff {
		b.WriteString(wrap("With --diff it shows what changes.", "  ", width))
	}
	if len(m.Returns) > 0 {
		b.WriteString("\nRETURNS\n")
		for i := range m.Returns {
			b.WriteString("\n" + describeArg(&m.Returns[i], "", width))
		}
	}
	b.WriteString("\nEXAMPLE\n\n")
	for line := range strings.Lines(strings.TrimSpace(m.Example) + "\n") {
		b.WriteString("  " + line)
	}
	return b.String()
}

func describeArg(a *Arg, freeForm string, width int) string {
	mark := " "
	if a.Required {
		mark = "!"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", mark, a.Name, a.Kind)
	b.WriteString(wrap(a.Doc, "      ", width))
	for _, line := range []struct {
		name, text string
	}{
		{"default", defaultText(a.Default)},
		{"choices", strings.Join(a.Choices, ", ")},
		{"aliases", strings.Join(a.Aliases, ", ")},
	} {
		if line.text != "" {
			b.WriteString(wrap(line.name+": "+line.text, "      ", width))
		}
	}
	if freeForm == a.Name {
		b.WriteString(wrap("may stand right behind the module's name", "      ", width))
	}
	return b.String()
}

func defaultText(value any) string {
	if value == nil {
		return ""
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return strings.Trim(string(text), `"`)
}

func checkText(mode CheckMode) string {
	switch mode {
	case CheckFull:
		return "It says what it would change and changes nothing."
	case CheckReads:
		return "It only ever reads, so it runs as always."
	case CheckSkipped:
		return "It cannot know what it would change, so it is skipped."
	default:
		return string(mode)
	}
}

// wrap breaks a text into lines of at most width characters, each indented.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		length := len([]rune(word))
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+length > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	if column > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// Snippet returns a task to start from: every argument with its default, required ones marked.
func Snippet(m *Module) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- name: %s\n  %s:", m.Short, m.Name)
	if len(m.Args) == 0 {
		b.WriteString("\n")
		return b.String()
	}
	b.WriteString("\n")
	for i := range m.Args {
		a := &m.Args[i]
		comment := string(a.Kind)
		if a.Required {
			comment = "required, " + comment
		}
		if len(a.Choices) > 0 {
			comment += ": " + strings.Join(a.Choices, ", ")
		}
		value := defaultText(a.Default)
		if value != "" {
			value = " " + value
		}
		fmt.Fprintf(&b, "    %s:%s # %s\n", a.Name, value, comment)
	}
	return b.String()
}

// argDoc is an Arg as JSON has it.
type argDoc struct {
	Name     string   `json:"name"`
	Kind     Kind     `json:"type"`
	Required bool     `json:"required,omitempty"`
	Default  any      `json:"default,omitempty"`
	Choices  []string `json:"choices,omitempty"`
	Aliases  []string `json:"aliases,omitempty"`
	Secret   bool     `json:"secret,omitempty"`
	Doc      string   `json:"description"`
}

// DescribeJSON returns a module's documentation as JSON.
func DescribeJSON(m *Module) ([]byte, error) {
	type document struct {
		Name     string    `json:"name"`
		Aliases  []string  `json:"aliases,omitempty"`
		Short    string    `json:"short_description"`
		Doc      string    `json:"description"`
		Args     []argDoc  `json:"options"`
		FreeForm string    `json:"free_form,omitempty"`
		Check    CheckMode `json:"check_mode"`
		Diff     bool      `json:"diff"`
		Returns  []argDoc  `json:"returns,omitempty"`
		Example  string    `json:"example"`
	}
	return json.MarshalIndent(document{
		Name: m.Name, Aliases: m.Aliases, Short: m.Short, Doc: strings.TrimSpace(m.Doc), Args: argDocs(m.Args),
		FreeForm: m.FreeForm, Check: m.Check, Diff: m.Diff, Returns: argDocs(m.Returns), Example: strings.TrimSpace(m.Example),
	}, "", "  ")
}

func argDocs(args []Arg) []argDoc {
	docs := make([]argDoc, len(args))
	for i, a := range args {
		docs[i] = argDoc(a)
	}
	return docs
}
