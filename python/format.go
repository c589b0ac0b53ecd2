package python

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"time"
)

// AppendFloat appends f as Python's repr writes it: the shortest digits that
// read back as f, such as 1.0, 0.1, 1e-07 or 1e+16, and nan, inf or -inf.
func AppendFloat(dst []byte, f float64) []byte {
	start := len(dst)
	dst = appendShortest(dst, f)
	if f-f != 0 || bytes.ContainsAny(dst[start:], ".e") {
		return dst
	}
	return append(dst, ".0"...)
}

// appendShortest leaves out the .0 of a whole number, as complex does.
func appendShortest(dst []byte, f float64) []byte {
	abs := math.Abs(f)
	switch {
	case f != f:
		return append(dst, "nan"...)
	case f > math.MaxFloat64:
		return append(dst, "inf"...)
	case f < -math.MaxFloat64:
		return append(dst, "-inf"...)
	case abs != 0 && abs < 1e-4 || abs >= 1e16:
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendComplex appends c as Python's repr writes it: (1+2j), or 2j alone.
func appendComplex(dst []byte, c complex128) []byte {
	re, im := real(c), imag(c)
	if re == 0 && !math.Signbit(re) {
		return append(appendShortest(dst, im), 'j')
	}
	dst = appendShortest(append(dst, '('), re)
	if im != im || !math.Signbit(im) {
		dst = append(dst, '+')
	}
	return append(appendShortest(dst, im), "j)"...)
}

// AppendISO appends t as Python's datetime.isoformat() writes an aware time:
// 2026-11-21T08:30:15.123456+00:00, without a fraction when there are no
// whole microseconds.
func AppendISO(dst []byte, t time.Time) []byte {
	dst = appendDateTime(dst, t)
	_, offset := t.Zone()
	return appendOffset(dst, offset)
}

func appendDateTime(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = append(appendDate(dst, year, month, day), 'T')
	return appendClock(dst, hour, minute, second, t.Nanosecond()/1000)
}

func appendDate(dst []byte, year int, month time.Month, day int) []byte {
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, int(month), 2), '-')
	return appendDigits(dst, day, 2)
}

func appendClock(dst []byte, hour, minute, second, microsecond int) []byte {
	dst = append(appendDigits(dst, hour, 2), ':')
	dst = append(appendDigits(dst, minute, 2), ':')
	dst = appendDigits(dst, second, 2)
	if microsecond != 0 {
		dst = appendDigits(append(dst, '.'), microsecond, 6)
	}
	return dst
}

func appendOffset(dst []byte, seconds int) []byte {
	sign := byte('+')
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	dst = append(appendDigits(append(dst, sign), seconds/3600, 2), ':')
	dst = appendDigits(dst, seconds/60%60, 2)
	if seconds %= 60; seconds != 0 {
		dst = appendDigits(append(dst, ':'), seconds, 2)
	}
	return dst
}

// appendDigits appends n with leading zeros up to width, which is at most six.
func appendDigits(dst []byte, n, width int) []byte {
	powers := [...]int{1, 10, 100, 1000, 10_000, 100_000, 1_000_000}
	if n < 0 || n >= powers[width] {
		return strconv.AppendInt(dst, int64(n), 10)
	}
	for _, power := range slices.Backward(powers[:width]) {
		dst = append(dst, byte('0'+n/power%10))
	}
	return dst
}
