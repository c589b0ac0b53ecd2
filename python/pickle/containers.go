package pickle

// collect pushes a node of the items, which are not kept.
func (m *machine) collect(k kind, items []value) error {
	if k == kindTuple && len(items) == 0 {
		m.push(emptyTuple)
		return nil
	}
	v := m.sequence(k, m.copyOf(items))
	return m.pushAbove(v, items...)
}

// pushAbove pushes a value that was made of others.
func (m *machine) pushAbove(v value, parts ...value) error {
	for _, p := range parts {
		v.height = max(v.height, p.height+1)
	}
	if v.height > maxOpen {
		return limitError("nesting")
	}
	m.push(v)
	return nil
}

func (m *machine) collectMark(k kind) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.collect(k, items)
}

func (m *machine) tupleOfMark() error  { return m.collectMark(kindTuple) }
func (m *machine) listOfMark() error   { return m.collectMark(kindList) }
func (m *machine) frozenOfMark() error { return m.collectMark(kindFrozen) }

func (m *machine) dictOfMark() error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	if len(items)%2 != 0 {
		return m.fail(oddItems)
	}
	return m.collect(kindDict, items)
}

func (m *machine) appendOne() error {
	items, err := m.pop(1)
	if err != nil {
		return err
	}
	return m.appendTo(kindList, items)
}

func (m *machine) appendMark() error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.appendTo(kindList, items)
}

// appendTo adds items to the collection, or object, on top of the stack.
func (m *machine) appendTo(k kind, items []value) error {
	v, err := m.top()
	switch {
	case err != nil:
		return err
	case v.kind == k:
		m.seqs[v.x] = m.extend(m.seqs[v.x], items)
	case v.kind == kindObject:
		o := &m.objects[v.x]
		o.items = m.extend(o.items, items)
	default:
		return m.fail("items for what is no collection")
	}
	return nil
}

func (m *machine) addMark() error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.appendTo(kindSet, items)
}

func (m *machine) setOne() error {
	items, err := m.pop(2)
	if err != nil {
		return err
	}
	return m.setIn(items)
}

func (m *machine) setMark() error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.setIn(items)
}

func (m *machine) setIn(items []value) error {
	v, err := m.top()
	switch {
	case err != nil:
		return err
	case len(items)%2 != 0:
		return m.fail(oddItems)
	case v.kind == kindDict:
		m.seqs[v.x] = m.extend(m.seqs[v.x], items)
	case v.kind == kindObject:
		o := &m.objects[v.x]
		o.pairs = m.extend(o.pairs, items)
	default:
		return m.fail("item assignment to what is no dict")
	}
	return nil
}
