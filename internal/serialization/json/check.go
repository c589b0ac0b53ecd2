package json

import "bytes"

// check is decode without a result: it returns the same errors.
func (r *reader) check(depth int) error {
	if err := r.checkValue(depth); err != nil {
		return err
	}
	return r.end()
}

func (r *reader) checkValue(depth int) error {
	if r.left--; r.left < 0 {
		return errTooMany
	}
	switch r.peek() {
	case '"':
		return r.checkText()
	case '{':
		return r.checkContainer(depth, '}')
	case '[':
		return r.checkContainer(depth, ']')
	case 'n':
		return r.word("null")
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'N':
		return r.word("NaN")
	case 'I':
		return r.word("Infinity")
	}
	return r.checkNumber()
}

func (r *reader) checkText() error {
	raw, simple, err := r.span()
	for !simple && err == nil {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return nil
		}
		_, n := escaped(raw[i:])
		if n == 0 {
			return r.fail(errEscape.Error())
		}
		raw = raw[i+n:]
	}
	return err
}

func (r *reader) checkNumber() error {
	if r.has("-Infinity") {
		return r.word("-Infinity")
	}
	start := r.pos
	isFloat, err := r.skipNumber()
	if err != nil || isFloat {
		return err
	}
	return checkDigits(r.data[start:r.pos])
}

func (r *reader) checkContainer(depth int, closing byte) error {
	empty, err := r.enter(depth, closing)
	for more := !empty; more && err == nil; {
		if closing == '}' {
			if err := r.checkKey(); err != nil {
				return err
			}
		}
		if err := r.checkValue(depth + 1); err != nil {
			return err
		}
		more, err = r.more(closing)
	}
	return err
}

func (r *reader) checkKey() error {
	if r.peek() != '"' {
		return r.fail("expected a key in double quotes")
	}
	if err := r.checkText(); err != nil {
		return err
	}
	return r.colon()
}
