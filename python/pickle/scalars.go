package pickle

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
)

func (m *machine) pushInt(i int64) { m.push(value{kind: kindInt, x: uint64(i)}) }

func (m *machine) uint8() error {
	n, err := m.number(1)
	m.pushInt(int64(n))
	return err
}

func (m *machine) uint16() error {
	n, err := m.number(2)
	m.pushInt(int64(n))
	return err
}

func (m *machine) int32() error {
	n, err := m.number(4)
	m.pushInt(int64(int32(n)))
	return err
}

func (m *machine) float64() error {
	b, err := m.take(8)
	if err != nil {
		return err
	}
	m.push(value{kind: kindFloat, x: binary.BigEndian.Uint64(b)})
	return nil
}

func (m *machine) floatLine() error {
	b, _, err := m.line()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return m.fail("bad float")
	}
	m.push(value{kind: kindFloat, x: math.Float64bits(f)})
	return nil
}

// long pushes a little-endian two's complement integer.
func (m *machine) long(b []byte, start int) error {
	if len(b) > 8 {
		m.push(refer(kindLong, b, start))
		return nil
	}
	var n uint64
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	shift := 64 - 8*len(b)
	m.pushInt(int64(n<<shift) >> shift)
	return nil
}

// intLine pushes a decimal integer, or one of the two that mean bool.
func (m *machine) intLine() error {
	b, start, err := m.line()
	if err != nil {
		return err
	}
	switch string(b) {
	case "00", "01":
		m.push(value{kind: kindBool, x: uint64(b[1] - '0')})
		return nil
	}
	return m.decimal(b, start)
}

func (m *machine) longLine() error {
	b, start, err := m.line()
	if err != nil {
		return err
	}
	return m.decimal(bytes.TrimSuffix(b, []byte("L")), start)
}

func (m *machine) decimal(b []byte, start int) error {
	if !isInteger(b) {
		return m.fail("bad integer")
	}
	if len(b) > 18 {
		m.push(refer(kindDigits, b, start))
		return nil
	}
	i, err := strconv.ParseInt(string(b), 10, 64)
	m.pushInt(i)
	return err
}

func isInteger(b []byte) bool {
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		b = b[1:]
	}
	return len(b) > 0 && countDigits(b) == len(b)
}

func countDigits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}

func (m *machine) raw(b []byte, start int) error {
	m.push(refer(kindBytes, b, start))
	return nil
}

// utf8 pushes a str. Python writes lone surrogates as if they were characters.
func (m *machine) utf8(b []byte, start int) error {
	if utf8.Valid(b) {
		m.push(refer(kindText, b, start))
		return nil
	}
	s, err := replaceSurrogates(b)
	if err != nil {
		return m.fail(err.Error())
	}
	m.push(m.keep(s))
	return nil
}

// byteString pushes a str of Python 2, which is text or bytes.
func (m *machine) byteString(b []byte, start int) error {
	k := kindText
	if !utf8.Valid(b) {
		k = kindBytes
	}
	m.push(refer(k, b, start))
	return nil
}

func (m *machine) unicodeLine() error {
	b, start, err := m.line()
	if err != nil {
		return err
	}
	if bytes.IndexByte(b, '\\') < 0 && isASCII(b) {
		m.push(refer(kindText, b, start))
		return nil
	}
	s, err := rawUnicodeEscape(b)
	if err != nil {
		return m.fail(err.Error())
	}
	m.push(m.keep(s))
	return nil
}

func (m *machine) stringLine() error {
	b, _, err := m.line()
	if err != nil {
		return err
	}
	b, err = stringEscape(bytes.TrimSpace(b))
	if err != nil {
		return m.fail(err.Error())
	}
	if utf8.Valid(b) {
		m.push(m.keep(string(b)))
	} else {
		m.push(m.keep(b))
	}
	return nil
}
