package yaml

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/celeryresults/celeryresults/python"
)

// tagged decodes a node under an explicit tag.
func (d decoder) tagged(tag string, n *yaml.Node) (any, error) {
	switch tag {
	case "!!seq", "!!python/list":
		return asAny(d.list(n))
	case "!!map", "!!python/dict":
		return d.mapping(n)
	case "!!set":
		return d.set(n)
	case "!!omap", "!!pairs":
		return d.tuples(n)
	case "!!python/tuple":
		items, err := d.list(n)
		return asAny(python.Tuple(items), err)
	}
	if n.Kind == yaml.ScalarNode {
		if v, ok, err := d.taggedScalar(tag, n); ok || err != nil {
			return v, err
		}
	}
	if name, ok := strings.CutPrefix(tag, "!!python/"); ok {
		return d.pythonTag(name, n)
	}
	return d.unknown(tag, n)
}

// scalarTags are the tags whose value follows from the text alone, with the
// kind that their text has.
var scalarTags = map[string]kind{
	"!!str": text, "!!python/str": text, "!!python/unicode": text, "!!value": text, "!!merge": text,
	"!!null": null, "!!python/none": null,
	"!!bool": boolean, "!!python/bool": boolean,
	"!!int": integer, "!!python/int": integer, "!!python/long": integer,
	"!!float": float, "!!python/float": float,
	"!!timestamp": timestamp,
}

// taggedScalar decodes text under a tag that is known. Text that the tag does
// not allow is an error.
func (d decoder) taggedScalar(tag string, n *yaml.Node) (v any, known bool, err error) {
	k, ok := scalarTags[tag]
	switch {
	case ok:
		v, ok, err = scalar(k, n.Value)
	case tag == "!!binary" || tag == "!!python/bytes":
		v, ok = parseBinary(n.Value)
	case tag == "!!python/complex":
		v, ok = parseComplex(n.Value)
	default:
		return nil, false, nil
	}
	if !ok && err == nil {
		err = d.syntax(n, "text that does not fit its tag "+tag)
	}
	return v, true, err
}

func parseBinary(s string) (any, bool) {
	data, err := decodeBase64(s)
	return data, err == nil
}

func parseComplex(s string) (any, bool) {
	c, err := strconv.ParseComplex(strings.Replace(s, "j", "i", 1), 128)
	return c, err == nil
}

// set decodes the keys of a mapping.
func (d decoder) set(n *yaml.Node) (any, error) {
	if n.Kind != yaml.MappingNode {
		return nil, d.syntax(n, "a set is not a mapping")
	}
	pairs, err := d.pairs(n)
	if err != nil {
		return nil, err
	}
	dict, err := d.dict(pairs)
	if err != nil {
		return nil, err
	}
	set := &python.Set{Items: make([]any, len(dict))}
	for i, pair := range dict {
		set.Items[i] = pair.Key
	}
	return set, nil
}

// tuples decodes a sequence of mappings with one entry each.
func (d decoder) tuples(n *yaml.Node) (any, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, d.syntax(n, "an ordered map is not a sequence")
	}
	items := make([]any, len(n.Content))
	for i, child := range n.Content {
		child = target(child)
		if child.Kind != yaml.MappingNode || len(child.Content) != 2 {
			return nil, d.syntax(child, "an ordered map needs mappings of one entry")
		}
		pair, err := d.nodes(child.Content)
		if err != nil {
			return nil, err
		}
		items[i] = python.Tuple(pair)
	}
	return items, nil
}

// pythonTag decodes what PyYAML's unsafe loaders would import or call.
func (d decoder) pythonTag(name string, n *yaml.Node) (any, error) {
	what, path, _ := strings.Cut(name, ":")
	switch {
	case what == "name":
		return class(path), nil
	case what == "module":
		return python.Class{Module: path}, nil
	case what == "object" && n.Kind == yaml.MappingNode:
		state, err := d.mapping(n)
		return asAny(&python.Object{Class: class(path), State: state}, err)
	case (what == "object/new" || what == "object/apply") && n.Kind == yaml.SequenceNode:
		args, err := d.list(n)
		return asAny(&python.Object{Class: class(path), Args: args}, err)
	case (what == "object/new" || what == "object/apply") && n.Kind == yaml.MappingNode:
		return d.call(path, n)
	}
	return d.unknown("!!python/"+name, n)
}

// class splits a dotted path at its last dot. Names without a module are
// builtins, as in PyYAML.
func class(path string) python.Class {
	if at := strings.LastIndexByte(path, '.'); at >= 0 {
		return python.Class{Module: path[:at], Name: path[at+1:]}
	}
	return python.Class{Module: "builtins", Name: path}
}

// call decodes a call from a mapping of the parts that PyYAML's
// FullConstructor.construct_python_object_apply names.
func (d decoder) call(path string, n *yaml.Node) (any, error) {
	mapping, err := d.mapping(n)
	if err != nil {
		return nil, err
	}
	parts, _ := mapping.(map[string]any)
	pairs, _ := python.Pairs(parts["dictitems"])
	object := &python.Object{Class: class(path), State: parts["state"], Pairs: pairs}
	object.Args = itemsOf(parts["args"])
	object.Kwargs, _ = parts["kwds"].(map[string]any)
	object.Items = itemsOf(parts["listitems"])
	return object, nil
}

func itemsOf(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case python.Tuple:
		return v
	}
	return nil
}

// unknown decodes a value under a tag that nobody here knows.
func (d decoder) unknown(tag string, n *yaml.Node) (any, error) {
	v, err := d.content(n)
	return asAny(&python.Object{Class: python.Class{Name: tag}, Args: python.Tuple{v}}, err)
}

func (d decoder) content(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.SequenceNode:
		return asAny(d.list(n))
	case yaml.MappingNode:
		return d.mapping(n)
	}
	return n.Value, nil
}
