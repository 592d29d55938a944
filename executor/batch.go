// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

const leaderLast = "leader_last"

// arrange puts hosts, given in inventory order, into a play's order. leader_last keeps the inventory's order here; the
// leader is moved before each batch.
func arrange(hosts []string, order string, seed uint64) []string {
	arranged := slices.Clone(hosts)
	switch order {
	case "reverse_inventory":
		slices.Reverse(arranged)
	case "sorted":
		slices.Sort(arranged)
	case "reverse_sorted":
		slices.Sort(arranged)
		slices.Reverse(arranged)
	case "shuffle":
		random := rand.New(rand.NewPCG(seed, uint64(len(hosts))))
		random.Shuffle(len(arranged), func(i, j int) { arranged[i], arranged[j] = arranged[j], arranged[i] })
	}
	return arranged
}

// moveLast puts the hosts for which last is true behind the others and changes no other order.
func moveLast(hosts []string, last func(host string) bool) []string {
	var first, behind []string
	for _, host := range hosts {
		if last(host) {
			behind = append(behind, host)
		} else {
			first = append(first, host)
		}
	}
	return append(first, behind...)
}

// batchSizes turns the rendered values of serial (integers, or texts such as "3" and "30%") into the sizes of the batches of
// a play with total hosts. As in Ansible a percentage is of all hosts, rounded down but never below 1, the last value
// is used again until no host is left, and no value, or 0, means all that are left.
func batchSizes(serial []any, total int) ([]int, error) {
	if len(serial) == 0 {
		serial = []any{int64(0)}
	}
	var sizes []int
	for left, i := total, 0; left > 0; i++ {
		size, err := batchSize(serial[min(i, len(serial)-1)], total)
		if err != nil {
			return nil, err
		}
		if size == 0 || size > left {
			size = left
		}
		sizes = append(sizes, size)
		left -= size
	}
	return sizes, nil
}

func batchSize(value any, total int) (int, error) {
	bad := fmt.Errorf("serial: %v is neither a number of hosts nor a percentage such as 30%%", value)
	switch v := value.(type) {
	case int64:
		if v < 0 {
			return 0, bad
		}
		return int(min(v, int64(total))), nil
	case string:
		text := strings.TrimSpace(v)
		number, isPercent := strings.CutSuffix(text, "%")
		if !isPercent {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return 0, bad
			}
			return n, nil
		}
		percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return 0, bad
		}
		return max(int(percent*float64(total)/100), 1), nil
	}
	return 0, bad
}
