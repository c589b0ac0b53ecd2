// Package python holds Go's side of the Python values that have no Go type of
// their own: tuples, sets, dicts with keys that are not text, naive times,
// exact decimals, and the inert remains of classes and calls.
//
// A decoded value is a tree of these Go types, whatever serializer wrote it:
//
//	None             nil
//	bool             bool
//	int              int64, or *big.Int where it does not fit
//	float            float64, NaN and infinities included
//	str              string (see below)
//	bytes            []byte (bytearray too)
//	list             []any
//	tuple            Tuple
//	dict             map[string]any, or Dict when a key is not a str
//	set, frozenset   *Set
//	datetime         time.Time when aware, DateTime when naive
//	date, time       Date, Time
//	timedelta        Timedelta
//	Decimal          Decimal
//	UUID             UUID
//	complex          complex128
//	any other class  Class; an instance or a call: *Object
//	kombu envelopes of an unknown type: Envelope
//
// The same types are accepted when encoding, and beside them every Go type
// that has an obvious meaning; [Plain] says which.
//
// A str that holds lone surrogates has no UTF-8 form. Each such surrogate is
// decoded as U+FFFD.
//
// [Plain] brings Go values into this form, [Assign] puts them into Go
// variables, and [JSON] shows them to people and other programs. All functions
// are safe for concurrent use, as long as nobody changes the values meanwhile.
package python

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"time"
)

// Tuple is a Python tuple. In json, yaml and msgpack it is written as a list.
// A nil Tuple is an empty one.
type Tuple []any

// Set is a Python set, or a frozenset when Frozen is set. Items are in the
// order in which the writer listed them. Pickle holds both, yaml only what is not frozen.
type Set struct {
	Items  []any
	Frozen bool
}

// Pair is one entry of a Dict.
type Pair struct {
	Key, Value any
}

// Dict is a Python dict in its own order, for keys that a Go map[string]any
// cannot hold and for writers that need to keep an order. It is used by value.
// A key that occurs twice counts with its last value. A nil Dict is an empty
// one.
type Dict []Pair

// Get returns the value stored under the text key, and whether there is one.
func (d Dict) Get(key string) (any, bool) {
	for i := len(d) - 1; i >= 0; i-- {
		if k, ok := d[i].Key.(string); ok && k == key {
			return d[i].Value, true
		}
	}
	return nil, false
}

// DateTime is a naive datetime.datetime: a wall clock with no time zone. The
// embedded Time carries that wall clock in UTC, which is what Celery and
// Django mean by a naive time. Precision is a microsecond. An aware datetime
// is a plain time.Time.
type DateTime struct {
	time.Time
}

// String returns Python's isoformat: 2026-11-21T08:30:15.123456, without a
// fraction when there are no microseconds.
func (d DateTime) String() string { return string(d.AppendISO(nil)) }

// AppendISO appends what String returns.
func (d DateTime) AppendISO(dst []byte) []byte { return appendDateTime(dst, d.Time) }

// Date is a datetime.date: a day of the Gregorian calendar in the years 1 to
// 9999. Nothing checks the fields.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// String returns the date as 2026-02-28.
func (d Date) String() string { return string(d.AppendISO(nil)) }

// AppendISO appends what String returns.
func (d Date) AppendISO(dst []byte) []byte {
	return appendDate(dst, d.Year, d.Month, d.Day)
}

// In returns midnight of the date in loc.
func (d Date) In(loc *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, loc)
}

// Time is a datetime.time: a time of day. Offset is its distance from UTC
// when Aware is set; whole seconds are kept, as Python prints them.
type Time struct {
	Hour, Minute, Second, Microsecond int
	Aware                             bool
	Offset                            time.Duration
}

// String returns Python's isoformat: 23:59:59.000005, with +02:00 when aware.
func (t Time) String() string { return string(t.AppendISO(nil)) }

// AppendISO appends what String returns.
func (t Time) AppendISO(dst []byte) []byte {
	dst = appendClock(dst, t.Hour, t.Minute, t.Second, t.Microsecond)
	if t.Aware {
		dst = appendOffset(dst, int(t.Offset/time.Second))
	}
	return dst
}

// Timedelta is a datetime.timedelta, normalized as Python keeps it: 0 ≤
// Seconds < 86400, 0 ≤ Microseconds < 1000000, and Days carries the sign.
type Timedelta struct {
	Days, Seconds, Microseconds int64
}

// TimedeltaOf returns d as a timedelta, cut to whole microseconds.
func TimedeltaOf(d time.Duration) Timedelta {
	us := d.Microseconds()
	const day = 86400 * 1_000_000
	days, rest := us/day, us%day
	if rest < 0 {
		days, rest = days-1, rest+day
	}
	return Timedelta{Days: days, Seconds: rest / 1_000_000, Microseconds: rest % 1_000_000}
}

// Duration returns the timedelta as a time.Duration, and false when it is
// beyond the 292 years that a Duration can hold.
func (t Timedelta) Duration() (time.Duration, bool) {
	const maxDays, maxMicroseconds = 106752, math.MaxInt64 / 1000
	if t.Days > maxDays || t.Days < -maxDays {
		return 0, false
	}
	us := (t.Days*86400+t.Seconds)*1_000_000 + t.Microseconds
	if us > maxMicroseconds || us < -maxMicroseconds {
		return 0, false
	}
	return time.Duration(us) * time.Microsecond, true
}

// TotalSeconds returns Python's timedelta.total_seconds(): the nearest float64.
func (t Timedelta) TotalSeconds() float64 {
	us := big.NewInt(t.Days)
	us.Mul(us, big.NewInt(86400)).Add(us, big.NewInt(t.Seconds))
	us.Mul(us, big.NewInt(1_000_000)).Add(us, big.NewInt(t.Microseconds))
	f, _ := new(big.Rat).SetFrac(us, big.NewInt(1_000_000)).Float64()
	return f
}

// Decimal is the text of a decimal.Decimal, exactly as Python prints it:
// "1.50", "1E+3", "NaN", "-Infinity". Any type with an UnmarshalText method
// can be decoded from one.
type Decimal string

// UUID is a uuid.UUID.
type UUID [16]byte

// String returns the canonical form, 12345678-1234-5678-1234-567812345678.
func (u UUID) String() string { return string(u.appendText(nil)) }

// MarshalText implements encoding.TextMarshaler with the canonical form.
func (u UUID) MarshalText() ([]byte, error) { return u.appendText(nil), nil }

func (u UUID) appendText(dst []byte) []byte {
	for i, group := range [...][]byte{u[0:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, group)
	}
	return dst
}

// Class names a Python class or function. Nothing is imported or called.
type Class struct {
	Module, Name string
}

// String returns the dotted name, such as builtins.ValueError.
func (c Class) String() string {
	if c.Module == "" {
		return c.Name
	}
	return c.Module + "." + c.Name
}

// Object is what is left of an instance of a class that this library does not
// interpret, or of a call to a function: inert data, in the order in which
// Python's pickle would have used it. Nothing is ever executed.
type Object struct {
	Class  Class
	Args   Tuple          // the arguments of the class or function
	Kwargs map[string]any // keyword arguments, nil when there are none
	State  any            // what __setstate__ or __dict__ would get, nil when absent
	Items  []any          // what append or extend would add
	Pairs  []Pair         // what item assignment would add
}

// String returns the class and the number of arguments. It never prints the
// contents: they may be hostile, secret or endless.
func (o *Object) String() string {
	return fmt.Sprintf("<%s with %d arguments>", o.Class, len(o.Args))
}

// Envelope is a kombu {"__type__": Type, "__value__": Value} object of a type
// that this library does not know. It is written back as it was read.
type Envelope struct {
	Type  string
	Value any
}
