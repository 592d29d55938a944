// SPDX-License-Identifier: MPL-2.0

package expression

// node is one part of an expression; offset is its place in the source.
type node interface{ start() int }

type at int

func (a at) start() int { return int(a) }

type (
	constant struct {
		at
		value any
	}
	name struct {
		at
		name string
	}
	list struct {
		at
		items []node
	}
	dict struct {
		at
		keys, values []node
	}
	// unary is `-x`, `+x` or `not x`.
	unary struct {
		at
		op      string
		operand node
	}
	// binary is arithmetic, `and` or `or`.
	binary struct {
		at
		op          string
		left, right node
	}
	// concat is `a ~ b ~ c`.
	concat struct {
		at
		parts []node
	}
	// comparison is `a < b <= c`: ops[i] stands between operands i and i+1.
	comparison struct {
		at
		operands []node
		ops      []string
	}
	// conditional is `yes if condition else no`; no is nil where there is no else.
	conditional struct {
		at
		condition, yes, no node
	}
	// attribute is `x.name`.
	attribute struct {
		at
		of   node
		name string
	}
	// index is `x[key]`, and `x.0`.
	index struct {
		at
		of, key node
	}
	// slice is `x[low:high:step]`; each part may be nil.
	slice struct {
		at
		of, low, high, step node
	}
	// call is a function or a method with arguments.
	call struct {
		at
		callee node
		arguments
	}
	// filterCall is `x | name(args)`.
	filterCall struct {
		at
		operand node
		filter  *entry
		arguments
	}
	// testCall is `x is name(args)`.
	testCall struct {
		at
		operand node
		test    *entry
		arguments
	}
)

type arguments struct {
	positional []node
	names      []string // the keyword of each of named
	named      []node
}

// children returns the direct parts of a node in source order.
func children(n node) []node {
	switch n := n.(type) {
	case *list:
		return n.items
	case *dict:
		var all []node
		for i := range n.keys {
			all = append(all, n.keys[i], n.values[i])
		}
		return all
	case *unary:
		return []node{n.operand}
	case *binary:
		return []node{n.left, n.right}
	case *concat:
		return n.parts
	case *comparison:
		return n.operands
	case *conditional:
		if n.no == nil {
			return []node{n.yes, n.condition}
		}
		return []node{n.yes, n.condition, n.no}
	case *attribute:
		return []node{n.of}
	case *index:
		return []node{n.of, n.key}
	case *slice:
		all := []node{n.of}
		for _, part := range []node{n.low, n.high, n.step} {
			if part != nil {
				all = append(all, part)
			}
		}
		return all
	case *call:
		return n.all(n.callee)
	case *filterCall:
		return n.all(n.operand)
	case *testCall:
		return n.all(n.operand)
	}
	return nil
}

func (a arguments) all(first node) []node {
	return append(append([]node{first}, a.positional...), a.named...)
}
