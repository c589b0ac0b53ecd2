package pickle

import "github.com/celeryresults/celeryresults/internal/serialization"

// census counts the values that stand below a node, each as often as it
// occurs, without making them. It visits each node once.
type census struct {
	*graph

	counts []int32 // of the sequences, then of the objects
	depth  int
}

const (
	unseen int32 = 0
	open   int32 = -1 // being counted: to meet it again is recursion
)

// measure returns an error if v is recursive, too deep, or too large to
// convert.
func (g *graph) measure(v value) error {
	c := census{graph: g, counts: make([]int32, len(g.seqs)+len(g.objects))}
	_, err := c.count(v)
	return err
}

// count returns how many values v is, itself included.
func (c *census) count(v value) (int32, error) {
	if v.kind < kindList {
		return 1, nil
	}
	seen := &c.counts[c.index(v)]
	switch {
	case *seen == open:
		return 0, unsupportedError("recursive value")
	case *seen != unseen:
		return *seen, nil
	case c.depth >= serialization.MaxDepth:
		return 0, limitError("depth")
	}
	*seen = open
	c.depth++
	n, err := c.below(v)
	c.depth--
	*seen = n
	return n, err
}

func (c *census) index(v value) uint64 {
	if v.kind == kindObject {
		return uint64(len(c.seqs)) + v.x
	}
	return v.x
}

// below returns 1 more than all values that v holds.
func (c *census) below(v value) (int32, error) {
	if v.kind != kindObject {
		return c.sum(1, c.seqs[v.x])
	}
	o := &c.objects[v.x]
	n, err := c.sum(1, []value{o.args, o.kwargs, o.state})
	if err == nil {
		n, err = c.sum(n, o.items)
	}
	if err == nil {
		n, err = c.sum(n, o.pairs)
	}
	return n, err
}

func (c *census) sum(n int32, values []value) (int32, error) {
	for _, v := range values {
		more, err := c.count(v)
		if err != nil {
			return 0, err
		}
		if n += more; n > serialization.MaxNodes {
			return 0, limitError("number of values")
		}
	}
	return n, nil
}
