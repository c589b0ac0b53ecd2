package pickle

import (
	"unicode/utf8"

	"github.com/celeryresults/celeryresults/python"
)

func (m *machine) globalLines() error {
	v, err := m.readGlobal()
	if err == nil {
		m.push(v)
	}
	return err
}

func (m *machine) readGlobal() (value, error) {
	module, _, err := m.line()
	if err != nil {
		return value{}, err
	}
	name, _, err := m.line()
	if err != nil {
		return value{}, err
	}
	return m.global(module, name)
}

func (m *machine) stackGlobal() error {
	top, err := m.pop(2)
	if err != nil {
		return err
	}
	if top[0].kind != kindText || top[1].kind != kindText {
		return m.fail("class name is not text")
	}
	v, err := m.global(m.bytes(top[0]), m.bytes(top[1]))
	if err == nil {
		m.push(v)
	}
	return err
}

// global returns the class or function of that name.
func (m *machine) global(module, name []byte) (value, error) {
	if !m.spend(len(module) + len(name)) {
		return value{}, limitError("class names")
	}
	if !utf8.Valid(module) || !utf8.Valid(name) {
		return value{}, m.fail("class name is not text")
	}
	m.classes = append(m.classes, findGlobal(module, name, m.proto))
	return value{kind: kindClass, x: uint64(len(m.classes) - 1)}, nil
}

// spend takes n bytes from what constructors may make or search. A text that
// is fetched from the memo again and again would cost without end otherwise.
func (m *machine) spend(n int) bool {
	m.spare -= n
	return m.spare >= 0
}

func (m *machine) inst() error {
	cls, err := m.readGlobal()
	if err != nil {
		return err
	}
	args, err := m.popMark()
	if err != nil {
		return err
	}
	return m.instantiate(cls, args)
}

func (m *machine) obj() error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return m.fail(underflow)
	}
	return m.instantiate(items[0], items[1:])
}

func (m *machine) instantiate(cls value, args []value) error {
	if err := m.collect(kindTuple, args); err != nil {
		return err
	}
	packed := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return m.call(cls, packed)
}

func (m *machine) reduce() error {
	top, err := m.pop(2)
	if err != nil {
		return err
	}
	return m.call(top[0], top[1])
}

// call pushes what calling fn would return: a value if the function is known
// and its arguments make sense, else an object that names them.
func (m *machine) call(fn, args value) error {
	if args.kind != kindTuple {
		return m.fail("arguments are no tuple")
	}
	switch fn.kind {
	case kindClass:
		if known := m.classes[fn.x].call; known != nil {
			if v, ok := known(m, m.seqs[args.x]); ok {
				return m.pushAbove(v, args)
			}
		}
		return m.pushObject(object{class: fn, args: args})
	case kindObject:
		return m.callObject(fn, args)
	}
	return m.fail("call of what cannot be called")
}

// callObject calls the result of another call. In Python that is
// operator.call(fn, *args).
func (m *machine) callObject(fn, args value) error {
	if !m.spend(len(m.seqs[args.x])) {
		return limitError("arguments")
	}
	m.classes = append(m.classes, global{name: python.Class{Module: "operator", Name: "call"}})
	packed := m.sequence(kindTuple, append([]value{fn}, m.seqs[args.x]...))
	packed.height = max(fn.height, args.height) + 1
	return m.pushObject(object{class: value{kind: kindClass, x: uint64(len(m.classes) - 1)}, args: packed})
}

// instance returns a new object.
func (m *machine) instance(o object) value {
	m.objects = append(m.objects, o)
	return value{kind: kindObject, x: uint64(len(m.objects) - 1)}
}

func (m *machine) pushObject(o object) error {
	return m.pushAbove(m.instance(o), o.args, o.kwargs)
}

func (m *machine) newObjEx() error {
	top, err := m.pop(3)
	if err != nil {
		return err
	}
	cls, args, kwargs := top[0], top[1], top[2]
	switch {
	case cls.kind != kindClass || args.kind != kindTuple || kwargs.kind != kindDict:
		return m.fail("bad operands of NEWOBJ_EX")
	case len(m.seqs[kwargs.x]) == 0:
		return m.call(cls, args)
	}
	return m.pushObject(object{class: cls, args: args, kwargs: kwargs})
}

// build gives an object its state. Known types need none: what a subclass or
// a writer adds to them is dropped.
func (m *machine) build() error {
	top, err := m.pop(1)
	if err != nil {
		return err
	}
	state := top[0]
	v, err := m.top()
	if err != nil {
		return err
	}
	switch v.kind {
	case kindObject:
		m.objects[v.x].state = state
	case kindMade, kindDict, kindSet, kindFrozen, kindBytes:
	default:
		return m.fail("state for what cannot have one")
	}
	return nil
}
