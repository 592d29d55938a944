// SPDX-License-Identifier: MPL-2.0

package yaml

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// resolver gives a plain scalar its type by the rules of YAML 1.1 as PyYAML, and so Ansible, reads them.
type resolver struct {
	integer, float, sexagesimal, timestamp *regexp.Regexp
}

func newResolver() *resolver {
	return &resolver{
		integer:     regexp.MustCompile(`^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$`),
		float:       regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`),
		sexagesimal: regexp.MustCompile(`^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`),
		timestamp:   regexp.MustCompile(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*)?$`),
	}
}

// value returns the typed value of a plain scalar. A number that does not fit stays text.
func (r *resolver) value(text string) any {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nil
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return true
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return false
	}
	if r.integer.MatchString(text) {
		if n, ok := integer(text); ok {
			return n
		}
		return text
	}
	if r.float.MatchString(text) {
		if f, ok := float(text); ok {
			return f
		}
	}
	return text
}

func integer(text string) (int64, bool) {
	digits := strings.ReplaceAll(text, "_", "")
	sign := ""
	if digits[0] == '-' || digits[0] == '+' {
		sign, digits = digits[:1], digits[1:]
	}
	base := 10
	switch {
	case strings.HasPrefix(digits, "0b"):
		base, digits = 2, digits[2:]
	case strings.HasPrefix(digits, "0x"):
		base, digits = 16, digits[2:]
	case len(digits) > 1 && digits[0] == '0':
		base, digits = 8, digits[1:]
	}
	n, err := strconv.ParseInt(sign+digits, base, 64)
	return n, err == nil
}

func float(text string) (float64, bool) {
	word := strings.ToLower(strings.ReplaceAll(text, "_", ""))
	switch strings.TrimLeft(word, "+-") {
	case ".inf":
		if word[0] == '-' {
			return math.Inf(-1), true
		}
		return math.Inf(1), true
	case ".nan":
		return math.NaN(), true
	}
	f, err := strconv.ParseFloat(word, 64)
	return f, err == nil
}

// versionLike are the endings of keys whose values are versions.
var versionLike = [...]string{"version", "release", "ver"}

// surprise says what is unexpected about a plain scalar, empty when nothing is.
func (r *resolver) surprise(key, text string, value any) string {
	switch v := value.(type) {
	case float64:
		name := strings.ToLower(key)
		for _, ending := range versionLike {
			if strings.HasSuffix(name, ending) {
				return "the version " + text + " is read as the number " + strconv.FormatFloat(v, 'f', -1, 64) + "; put it in quotes"
			}
		}
	case int64:
		if len(text) > 1 && text[0] == '0' && !strings.ContainsAny(text, "xb") {
			return text + " is octal and read as the number " + strconv.FormatInt(v, 10) + "; put it in quotes"
		}
		if strings.HasSuffix(key, "mode") {
			return "the mode " + text + " is a decimal number; put it in quotes with a leading 0"
		}
	case string:
		if r.sexagesimal.MatchString(text) {
			return text + " is kept as text, where YAML 1.1 reads a number of base 60; put it in quotes"
		}
	}
	return ""
}
