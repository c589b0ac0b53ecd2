package yaml

import (
	"encoding/base64"
	"math/big"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/celeryresults/celeryresults/python"
)

const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// decoder turns nodes that were measured into values. It only reads the nodes,
// so that several decoders may share them.
type decoder struct {
	data []byte // what the nodes were parsed from, for offsets
}

// syntax returns a SyntaxError at n, or at the start when there is no node.
func (d decoder) syntax(n *yaml.Node, reason string) error {
	if n == nil {
		return syntaxError(0, reason)
	}
	return syntaxError(offset(d.data, n.Line, n.Column), reason)
}

func (d decoder) value(n *yaml.Node) (any, error) {
	n = target(n)
	if tag := explicitTag(n); tag != "" {
		return d.tagged(tag, n)
	}
	switch n.Kind {
	case yaml.SequenceNode:
		return asAny(d.list(n))
	case yaml.MappingNode:
		return d.mapping(n)
	}
	return d.untagged(n)
}

// target returns the node that an alias stands for, or n itself.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// asAny drops the type of a result, so that a failure is a nil any.
func asAny[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// explicitTag returns the tag that the document writes, in its short form, or
// "" when there is none and the value decides. The tag ! is none either.
func explicitTag(n *yaml.Node) string {
	if n.Style&yaml.TaggedStyle == 0 || n.Tag == "!" {
		return ""
	}
	return n.Tag
}

// isPlain reports whether the text of n decides its type.
func isPlain(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Style&(quoted|yaml.TaggedStyle) == 0 || n.Tag == "!")
}

func (d decoder) untagged(n *yaml.Node) (any, error) {
	if !isPlain(n) {
		return n.Value, nil
	}
	k := resolve(n.Value)
	if k == text {
		return n.Value, nil
	}
	v, ok, err := scalar(k, n.Value)
	if !ok {
		return n.Value, err
	}
	return v, nil
}

func (d decoder) list(n *yaml.Node) ([]any, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, d.syntax(n, "not a sequence")
	}
	return d.nodes(n.Content)
}

func (d decoder) nodes(nodes []*yaml.Node) ([]any, error) {
	values := make([]any, len(nodes))
	for i, n := range nodes {
		v, err := d.value(n)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// mapping returns a map[string]any, or a python.Dict when a key is not text.
func (d decoder) mapping(n *yaml.Node) (any, error) {
	if n.Kind != yaml.MappingNode {
		return nil, d.syntax(n, "not a mapping")
	}
	pairs, err := d.pairs(n)
	if err != nil {
		return nil, err
	}
	if !allText(pairs) {
		return asAny(d.dict(pairs))
	}
	entries := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		key, _ := textKey(pairs[i])
		if entries[key], err = d.value(pairs[i+1]); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// allText reports whether every key of pairs is a str.
func allText(pairs []*yaml.Node) bool {
	for i := 0; i < len(pairs); i += 2 {
		if _, ok := textKey(pairs[i]); !ok {
			return false
		}
	}
	return true
}

// dict decodes pairs as Python's dict keeps them: a key that occurs twice has
// its first position and its last value.
func (d decoder) dict(pairs []*yaml.Node) (python.Dict, error) {
	dict := make(python.Dict, 0, len(pairs)/2)
	index := make(map[any]int, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		key, err := d.key(pairs[i])
		if err != nil {
			return nil, err
		}
		value, err := d.value(pairs[i+1])
		if err != nil {
			return nil, err
		}
		id, ok := identity(key)
		if !ok {
			return nil, d.syntax(pairs[i], "a key that cannot be hashed")
		}
		if at, seen := index[id]; seen {
			dict[at].Value = value
			continue
		}
		index[id] = len(dict)
		dict = append(dict, python.Pair{Key: key, Value: value})
	}
	return dict, nil
}

func (d decoder) key(n *yaml.Node) (any, error) {
	if key, ok := textKey(n); ok {
		return key, nil
	}
	return d.value(n)
}

// textKey returns the text of a key that is a str. A plain = counts as text
// among keys.
func textKey(n *yaml.Node) (string, bool) {
	n = target(n)
	if n.Kind != yaml.ScalarNode {
		return "", false
	}
	if tag := explicitTag(n); tag != "" {
		return n.Value, tag == "!!str"
	}
	if !isPlain(n) {
		return n.Value, true
	}
	k := resolve(n.Value)
	return n.Value, k == text || k == value
}

// pairs returns the keys and values of a mapping, one after the other, with
// its merge keys replaced by what they merge. As in PyYAML's flatten_mapping
// merged entries come first, so that the mapping's own ones win.
func (d decoder) pairs(n *yaml.Node) ([]*yaml.Node, error) {
	if !hasMerge(n) {
		return n.Content, nil
	}
	var merged, own []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		if !isMerge(n.Content[i]) {
			own = append(own, n.Content[i:i+2]...)
			continue
		}
		pairs, err := d.merge(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		merged = append(merged, pairs...)
	}
	return append(merged, own...), nil
}

func hasMerge(n *yaml.Node) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			return true
		}
	}
	return false
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && explicitTag(key) == "!!merge" || isPlain(key) && key.Value == "<<"
}

// merge returns the pairs of a merge key's value: a mapping, or a sequence of
// mappings of which earlier ones win.
func (d decoder) merge(n *yaml.Node) ([]*yaml.Node, error) {
	n = target(n)
	if n.Kind == yaml.MappingNode {
		return d.pairs(n)
	}
	if n.Kind != yaml.SequenceNode {
		return nil, d.syntax(n, "a merge key needs a mapping or a list of mappings")
	}
	var merged []*yaml.Node
	for i := len(n.Content) - 1; i >= 0; i-- {
		child := target(n.Content[i])
		if child.Kind != yaml.MappingNode {
			return nil, d.syntax(child, "a merge key needs mappings")
		}
		pairs, err := d.pairs(child)
		if err != nil {
			return nil, err
		}
		merged = append(merged, pairs...)
	}
	return merged, nil
}

// decodeBase64 decodes as Python's base64.decodebytes does, which skips all
// characters that are not of the alphabet.
func decodeBase64(s string) ([]byte, error) {
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && isBase64(byte(r)) {
			return r
		}
		return -1
	}, s)
	return base64.StdEncoding.DecodeString(clean)
}

func isBase64(c byte) bool {
	return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '+' || c == '/' || c == '='
}

// identity returns what tells a dict's keys apart: equal numbers are one key
// whatever their type, and so are equal bytes. Tuples and objects are told
// apart even when they are equal. It reports false for what Python cannot hash.
func identity(key any) (any, bool) {
	switch key := key.(type) {
	case nil, string, int64, python.Date, python.DateTime, python.Class, complex128:
		return key, true
	case bool:
		if key {
			return int64(1), true
		}
		return int64(0), true
	case float64:
		if whole := int64(key); float64(whole) == key {
			return whole, true
		}
		return key, true
	case []byte:
		return bytesKey(key), true
	case time.Time:
		return instant(key.UnixMicro()), true
	case python.Tuple, *python.Object:
		return new(byte), true
	case *big.Int:
		return bigKey(key.Text(16)), true
	}
	return nil, false
}

type (
	bytesKey string
	bigKey   string
	instant  int64
)
