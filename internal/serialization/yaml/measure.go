package yaml

import (
	"go.yaml.in/yaml/v4"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

// extent is how large a node becomes once its aliases are expanded.
type extent struct {
	size   int // values, and a share for long ones that are converted
	height int // levels of nesting
	open   bool
}

// meter measures a tree before it is decoded, in one walk however often parts
// of it are shared. It is what keeps decoding finite: a few hundred bytes of
// aliases can stand for billions of values, or contain themselves.
type meter struct {
	data    []byte
	anchors map[*yaml.Node]extent
}

// check returns an error unless root can be decoded within the limits.
func check(data []byte, root *yaml.Node) error {
	m := meter{data: data, anchors: make(map[*yaml.Node]extent)}
	_, err := m.measure(root, 0)
	return err
}

func (m *meter) measure(n *yaml.Node, depth int) (extent, error) {
	if n.Kind == yaml.AliasNode {
		return m.alias(n, depth)
	}
	if n.Anchor != "" {
		m.anchors[n] = extent{open: true}
	}
	total := extent{size: 1 + len(n.Value)/32}
	for _, child := range n.Content {
		part, err := m.measure(child, depth+1)
		if err != nil {
			return total, err
		}
		total.size += part.size
		total.height = max(total.height, part.height+1)
		if total.size > serialization.MaxNodes || depth+total.height > serialization.MaxDepth {
			return total, limitError("a document that is too large or nested too deeply")
		}
	}
	if n.Anchor != "" {
		m.anchors[n] = total
	}
	return total, nil
}

// alias returns the extent of a node that stands earlier in the document, and
// is therefore known, unless the alias is a part of it.
func (m *meter) alias(n *yaml.Node, depth int) (extent, error) {
	total, ok := m.anchors[n.Alias]
	switch {
	case !ok || total.open:
		return total, syntaxError(offset(m.data, n.Line, n.Column), "an alias to a value that contains it")
	case depth+total.height > serialization.MaxDepth:
		return total, limitError("a document that is nested too deeply")
	}
	return total, nil
}
