package web

import (
	"strings"

	"github.com/celeryresults/celeryresults/python"
)

// The layout of values: what fits in a line of wide characters stands in one, and what is
// nested deeper than deepest, too.
const (
	wide    = 80
	deepest = 20
	indent  = "    "
)

// pretty is the repr of a value in lines that people can read, at most about mostShown bytes
// of it.
func pretty(tree any) string {
	p := &prettier{}
	p.write(tree, 0)
	return p.b.String()
}

type prettier struct {
	b    strings.Builder
	full bool
}

func (p *prettier) write(tree any, depth int) {
	line := python.Repr(tree, mostShown)
	if p.full = p.full || p.b.Len() > mostShown; p.full {
		p.b.WriteString("…")
		return
	}
	if len(line)+depth*len(indent) <= wide || depth >= deepest {
		p.b.WriteString(line)
		return
	}
	switch t := tree.(type) {
	case []any:
		p.items("[", "]", len(t), depth, func(i int) { p.write(t[i], depth+1) })
	case python.Tuple:
		p.items("(", ")", len(t), depth, func(i int) { p.write(t[i], depth+1) })
	case *python.Set:
		if t.Frozen {
			p.b.WriteString(line)
			return
		}
		p.items("{", "}", len(t.Items), depth, func(i int) { p.write(t.Items[i], depth+1) })
	case python.Dict, map[string]any:
		pairs, _ := python.Pairs(t)
		p.items("{", "}", len(pairs), depth, func(i int) {
			p.b.WriteString(python.Repr(pairs[i].Key, mostShown) + ": ")
			p.write(pairs[i].Value, depth+1)
		})
	default:
		p.b.WriteString(line)
	}
}

func (p *prettier) items(open, end string, n, depth int, item func(int)) {
	p.b.WriteString(open + "\n")
	for i := 0; i < n && !p.full; i++ {
		p.b.WriteString(strings.Repeat(indent, depth+1))
		item(i)
		p.b.WriteString(",\n")
	}
	p.b.WriteString(strings.Repeat(indent, depth) + end)
}
