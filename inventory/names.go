// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// address splits "host:port". The port is only taken where the rest is a host name or address (or a range of them);
// ok is false when the text is neither, and then it may still be a name that somebody chose.
func address(text string) (host string, port int, ok bool) {
	host = text
	if i := strings.LastIndexByte(text, ':'); i > 0 {
		rest := text[:i]
		bracketed := strings.HasPrefix(rest, "[") && strings.HasSuffix(rest, "]") && len(rest) > 2
		if n, err := strconv.ParseUint(text[i+1:], 10, 16); err == nil && (bracketed || !strings.Contains(withoutRanges(rest), ":")) {
			host, port = rest, int(n)
			if bracketed && net6(rest[1:len(rest)-1]) {
				host = rest[1 : len(rest)-1]
			}
		}
	}
	if net6(host) || hostname.MatchString(host) {
		return host, port, true
	}
	return text, 0, false
}

// net6 tells whether text is an IPv6 address, ranges counted as their first number.
func net6(text string) bool {
	ip, err := netip.ParseAddr(anyRange.ReplaceAllString(text, "$1"))
	return err == nil && ip.Is6()
}

func withoutRanges(text string) string { return anyRange.ReplaceAllString(text, "0") }

const (
	spanPattern  = `\[(?:[a-zA-Z]:[a-zA-Z]|[0-9]*:[0-9]+)(?::[0-9]+)?\]`
	labelPattern = `(?:[\pL\pN_]|` + spanPattern + `)(?:(?:[\pL\pN_-]|` + spanPattern + `)*(?:[\pL\pN]|` + spanPattern + `))?`
)

var (
	anyRange = regexp.MustCompile(`\[([^\[\]:]*):[^\[\]]*\]`)
	// hostname matches labels of letters, digits, underscores and inner dashes, in which ranges may stand.
	hostname = regexp.MustCompile(`^` + labelPattern + `(?:\.` + labelPattern + `)*$`)
)

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// expand writes out every range of a host name: web[01:03:2] is web01 and web03, db-[a:c] is db-a, db-b and db-c. Both
// ends are included. It refuses more than limit names before it makes them.
func expand(name string, limit int) ([]string, error) {
	names := []string{""}
	for rest := name; rest != ""; {
		open := strings.IndexByte(rest, '[')
		if open < 0 {
			return appendAll(names, []string{rest}), nil
		}
		end := strings.IndexByte(rest, ']')
		if end < open {
			return nil, fmt.Errorf("the range in %q has no closing bracket", name)
		}
		steps, err := rangeItems(rest[open+1:end], limit)
		if err != nil {
			return nil, fmt.Errorf("range %q: %w", rest[open:end+1], err)
		}
		if len(names)*len(steps) > limit {
			return nil, tooMany(limit)
		}
		names = appendAll(appendAll(names, []string{rest[:open]}), steps)
		rest = rest[end+1:]
	}
	return names, nil
}

func tooMany(limit int) error {
	return fmt.Errorf("that would be more than %d hosts", limit)
}

func appendAll(heads, tails []string) []string {
	joined := make([]string, 0, len(heads)*len(tails))
	for _, head := range heads {
		for _, tail := range tails {
			joined = append(joined, head+tail)
		}
	}
	return joined
}

func rangeItems(text string, limit int) ([]string, error) {
	bounds := strings.Split(text, ":")
	if len(bounds) != 2 && len(bounds) != 3 {
		return nil, errors.New("write it as [begin:end] or [begin:end:step]")
	}
	step := 1
	if len(bounds) == 3 {
		n, err := strconv.Atoi(bounds[2])
		if err != nil || n < 1 {
			return nil, errors.New("the step is a number of at least 1")
		}
		step = n
	}
	begin, end := bounds[0], bounds[1]
	if begin == "" {
		begin = "0"
	}
	if len(begin) == 1 && len(end) == 1 && strings.Contains(letters, begin) && strings.Contains(letters, end) {
		return letterItems(strings.Index(letters, begin), strings.Index(letters, end), step)
	}
	return numberItems(begin, end, step, limit)
}

func letterItems(first, last, step int) ([]string, error) {
	if first > last {
		return nil, errors.New("it ends before it begins")
	}
	var items []string
	for i := first; i <= last; i += step {
		items = append(items, letters[i:i+1])
	}
	return items, nil
}

func numberItems(begin, end string, step, limit int) ([]string, error) {
	first, err := strconv.ParseUint(begin, 10, 62)
	if err != nil {
		return nil, errors.New("both ends are numbers, or both are single letters")
	}
	last, err := strconv.ParseUint(end, 10, 62)
	if err != nil {
		return nil, errors.New("both ends are numbers, or both are single letters")
	}
	width := 0
	if begin[0] == '0' && len(begin) > 1 {
		if len(begin) != len(end) {
			return nil, errors.New("with a leading zero both ends need the same number of digits")
		}
		width = len(begin)
	}
	if first > last {
		return nil, errors.New("it ends before it begins")
	}
	if (last-first)/uint64(step) >= uint64(limit) {
		return nil, tooMany(limit)
	}
	var items []string
	for i := first; i <= last; i += uint64(step) {
		items = append(items, fmt.Sprintf("%0*d", width, i))
	}
	return items, nil
}
