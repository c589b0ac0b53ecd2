package pickle

import (
	"math/big"
	"time"

	"github.com/celeryresults/celeryresults/python"
)

// global writes a class or function by its name.
func (e *encoder) global(module, name string) {
	e.constant(module)
	e.constant(name)
	e.op(opStackGlobal, opMemoize)
}

// reduce ends a call with the top n values as arguments.
func (e *encoder) reduce(n int) {
	e.packTuple(n)
	e.op(opReduce, opMemoize)
}

// time writes an aware datetime.
func (e *encoder) time(t time.Time) error {
	_, offset := t.Zone()
	if offset <= -86400 || offset >= 86400 {
		return unsupportedError("datetime with an offset of a day or more")
	}
	if err := e.startDateTime(t); err != nil {
		return err
	}
	e.zone(offset)
	e.reduce(2)
	return nil
}

func (e *encoder) dateTime(d python.DateTime) error {
	if err := e.startDateTime(d.Time); err != nil {
		return err
	}
	e.reduce(1)
	return nil
}

func (e *encoder) startDateTime(t time.Time) error {
	year, month, day := t.Date()
	if year < 1 || year > 9999 {
		return unsupportedError("datetime outside the years 1 to 9999")
	}
	us := t.Nanosecond() / 1000
	e.global("datetime", "datetime")
	e.binary([]byte{
		byte(year >> 8), byte(year), byte(month), byte(day),
		byte(t.Hour()), byte(t.Minute()), byte(t.Second()), byte(us >> 16), byte(us >> 8), byte(us),
	})
	return nil
}

// zone writes datetime.timezone at so many seconds from UTC.
func (e *encoder) zone(seconds int) {
	e.global("datetime", "timezone")
	e.delta(python.TimedeltaOf(time.Duration(seconds) * time.Second))
	e.reduce(1)
}

func (e *encoder) delta(d python.Timedelta) {
	e.global("datetime", "timedelta")
	e.int(d.Days)
	e.int(d.Seconds)
	e.int(d.Microseconds)
	e.reduce(3)
}

func (e *encoder) timedelta(d python.Timedelta) error {
	if !validTimedelta(d) {
		return unsupportedError("timedelta out of range")
	}
	e.delta(d)
	return nil
}

func (e *encoder) date(d python.Date) error {
	if !validDate(d) {
		return unsupportedError("date out of range")
	}
	e.global("datetime", "date")
	e.binary([]byte{byte(d.Year >> 8), byte(d.Year), byte(d.Month), byte(d.Day)})
	e.reduce(1)
	return nil
}

func (e *encoder) clock(t python.Time) error {
	const day = 24 * time.Hour
	if !validTime(t) || t.Offset <= -day || t.Offset >= day {
		return unsupportedError("time out of range")
	}
	e.global("datetime", "time")
	us := t.Microsecond
	e.binary([]byte{byte(t.Hour), byte(t.Minute), byte(t.Second), byte(us >> 16), byte(us >> 8), byte(us)})
	if !t.Aware {
		e.reduce(1)
		return nil
	}
	e.zone(int(t.Offset / time.Second))
	e.reduce(2)
	return nil
}

func (e *encoder) decimal(d python.Decimal) error {
	if !isDecimal(string(d)) {
		return unsupportedError("malformed Decimal")
	}
	e.global("decimal", "Decimal")
	e.constant(string(d))
	e.reduce(1)
	return nil
}

func (e *encoder) complex(c complex128) {
	e.global("builtins", "complex")
	e.float(real(c))
	e.float(imag(c))
	e.reduce(2)
}

// uuid writes a UUID as copyreg does: an empty one, then its state.
func (e *encoder) uuid(u python.UUID) {
	e.global("uuid", "UUID")
	e.op(opEmptyTuple, opNewObj, opMemoize, opEmptyDict, opMemoize)
	e.constant("int")
	n := new(big.Int).SetBytes(u[:])
	if n.IsInt64() {
		e.int(n.Int64())
	} else {
		e.longBytes(twosComplement(n))
	}
	e.op(opSetItem, opBuild)
}
