package pickle

import (
	"math/big"

	"github.com/celeryresults/celeryresults/python"
)

var uuidClass = python.Class{Module: "uuid", Name: "UUID"}

// object converts an object to what is known of it, or to its inert parts.
// Inside itself, as Django's ValidationError has itself in a list, it is its
// class alone.
func (t *tree) object(i uint64) (any, error) {
	o := &t.objects[i]
	cls := t.classes[o.class.x].name
	if t.open != nil {
		if t.open[i] {
			return cls, nil
		}
		t.open[i] = true
		defer func() { t.open[i] = false }()
	}
	if cls == uuidClass {
		if u, ok := t.uuid(o); ok {
			return u, nil
		}
	}
	out := &python.Object{Class: cls}
	err := t.fill(out, o)
	return out, err
}

func (t *tree) fill(out *python.Object, o *object) error {
	args, err := t.items(t.seqs[o.args.x])
	if err != nil {
		return err
	}
	out.Args = args
	if o.kwargs.kind == kindDict {
		if out.Kwargs, err = t.mapping(t.seqs[o.kwargs.x]); err != nil {
			return err
		}
	}
	if out.State, err = t.value(o.state); err != nil {
		return err
	}
	if len(o.items) > 0 {
		if out.Items, err = t.items(o.items); err != nil {
			return err
		}
	}
	if len(o.pairs) > 0 {
		out.Pairs, err = t.pairs(o.pairs)
	}
	return err
}

// uuid returns the UUID whose state o has: {"int": a number of 128 bits}.
func (t *tree) uuid(o *object) (u python.UUID, ok bool) {
	v, ok := t.lookup(o.state, "int")
	if !ok || v.kind != kindInt && v.kind != kindLong && v.kind != kindDigits {
		return u, false
	}
	n, err := t.value(v)
	if err != nil {
		return u, false
	}
	b, ok := n.(*big.Int)
	if !ok {
		b = big.NewInt(n.(int64))
	}
	if b.Sign() < 0 || b.BitLen() > 128 {
		return u, false
	}
	b.FillBytes(u[:])
	return u, true
}
