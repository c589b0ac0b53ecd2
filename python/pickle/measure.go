package pickle

import "math"

// census counts the values that the tree of a node will have, each as often as
// it occurs, without making them. It visits a node once, but for those inside
// an object that contains itself: what they hold depends on how one got there.
type census struct {
	*graph

	counts []int32 // of the sequences, then of the objects
	depth  int
	visits int
}

// A count is unseen, or negative while the node is open: the depth at which it
// was met is then ^count.
const unseen int32 = 0

// nowhere is the depth of the outermost object that a part is cut at, if there
// is none.
const nowhere = math.MaxInt

// measure returns an error if v is recursive, too deep, or too large to
// convert. An object that contains itself is not recursive: see tree.object.
func (g *graph) measure(v value) error {
	c := census{graph: g, counts: make([]int32, len(g.seqs)+len(g.objects))}
	_, _, err := c.count(v)
	return err
}

// count returns how many values v is, itself included, and the depth of the
// outermost object that it is cut at.
func (c *census) count(v value) (n int32, cut int, err error) {
	if c.visits++; c.visits > MaxValues {
		return 0, nowhere, limitError("number of values")
	}
	if v.kind < kindList {
		return 1, nowhere, nil
	}
	seen := &c.counts[c.index(v)]
	switch {
	case *seen < 0 && v.kind == kindObject:
		return 1, int(^*seen), nil
	case *seen < 0:
		return 0, nowhere, unsupportedError("recursive value")
	case *seen != unseen:
		return *seen, nowhere, nil
	case c.depth >= MaxDepth:
		return 0, nowhere, limitError("depth")
	}
	*seen = ^int32(c.depth)
	c.depth++
	n, cut, err = c.below(v)
	c.depth--
	if cut < c.depth {
		*seen = unseen // elsewhere it may be more
		return n, cut, err
	}
	*seen = n
	return n, nowhere, err
}

func (c *census) index(v value) uint64 {
	if v.kind == kindObject {
		return uint64(len(c.seqs)) + v.x
	}
	return v.x
}

// below returns 1 more than all values that v holds.
func (c *census) below(v value) (n int32, cut int, err error) {
	if v.kind != kindObject {
		return c.sum(1, nowhere, c.seqs[v.x])
	}
	o := &c.objects[v.x]
	n, cut, err = c.sum(1, nowhere, []value{o.args, o.kwargs, o.state})
	if err == nil {
		n, cut, err = c.sum(n, cut, o.items)
	}
	if err == nil {
		n, cut, err = c.sum(n, cut, o.pairs)
	}
	return n, cut, err
}

func (c *census) sum(n int32, cut int, values []value) (int32, int, error) {
	for _, v := range values {
		more, at, err := c.count(v)
		if err != nil {
			return 0, nowhere, err
		}
		cut = min(cut, at)
		if n += more; n > MaxValues {
			return 0, nowhere, limitError("number of values")
		}
	}
	return n, cut, nil
}
