package python

import (
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

var (
	errNotISO     = errors.New("python: not an ISO 8601 time")
	errNotUUID    = errors.New("python: not a UUID")
	errNotDecimal = errors.New("python: not a decimal number")
)

// ParseISO reads a date and time as Python's datetime.fromisoformat does:
// 2026-11-21T08:30:15.123456+02:00, with any one character in place of the T, Z
// for +00:00, and without seconds, offset or time of day if need be. Further
// digits of a fraction are cut off. Aware is false when there is no offset; the
// result is then that wall clock in UTC. Week dates, dates without hyphens and
// fractions of a minute are not read.
func ParseISO(s string) (t time.Time, aware bool, err error) {
	day, ok := parseDate(s)
	if !ok {
		return time.Time{}, false, errNotISO
	}
	if len(s) == dateLength {
		return day.In(time.UTC), false, nil
	}
	clock, ok := parseClock(s[dateLength+1:])
	if !ok {
		return time.Time{}, false, errNotISO
	}
	return time.Date(day.Year, day.Month, day.Day, clock.Hour, clock.Minute, clock.Second,
		clock.Microsecond*1000, zone(clock.Offset)), clock.Aware, nil
}

func zone(offset time.Duration) *time.Location {
	if offset == 0 {
		return time.UTC
	}
	return time.FixedZone("", int(offset/time.Second))
}

// ParseDate reads a date such as 2026-02-28. A time of day after it is
// ignored, as kombu does.
func ParseDate(s string) (Date, error) {
	t, _, err := ParseISO(s)
	if err != nil {
		return Date{}, err
	}
	year, month, day := t.Date()
	return Date{year, month, day}, nil
}

// ParseTime reads a time of day as Python's time.fromisoformat does, such as
// 23:59:59.000005 or 23:59+02:00.
func ParseTime(s string) (Time, error) {
	t, ok := parseClock(strings.TrimPrefix(s, "T"))
	if !ok {
		return Time{}, errNotISO
	}
	return t, nil
}

// ParseUUID reads 32 hexadecimal digits as Python's uuid.UUID does: with or
// without hyphens, braces and the prefix urn:uuid:.
func ParseUUID(s string) (UUID, error) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "urn:"), "uuid:")
	s = strings.ReplaceAll(strings.Trim(s, "{}"), "-", "")
	var id UUID
	if len(s) != hex.EncodedLen(len(id)) {
		return UUID{}, errNotUUID
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return UUID{}, errNotUUID
	}
	return id, nil
}

const dateLength = len("2006-01-02")

// parseDate reads the date that s begins with.
func parseDate(s string) (Date, bool) {
	if len(s) < dateLength || s[4] != '-' || s[7] != '-' || len(s) == dateLength+1 {
		return Date{}, false
	}
	year, ok1 := digits(s[:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:10])
	d := Date{year, time.Month(month), day}
	ok := ok1 && ok2 && ok3 && year > 0 && 1 <= month && month <= 12 &&
		1 <= day && day <= d.monthLength()
	return d, ok
}

func (d Date) monthLength() int {
	return time.Date(d.Year, d.Month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// parseClock reads a time of day and the offset that may follow it.
func parseClock(s string) (Time, bool) {
	t, rest, ok := cutClock(s)
	if !ok || rest == "" {
		return t, ok
	}
	t.Aware = true
	t.Offset, ok = parseOffset(rest)
	return t, ok
}

// cutClock reads HH[:MM[:SS[.fraction]]] and returns what follows.
func cutClock(s string) (t Time, rest string, ok bool) {
	for i, part := range []*int{&t.Hour, &t.Minute, &t.Second} {
		if i > 0 && (s == "" || s[0] != ':') {
			return t, s, t.Hour < 24
		}
		s = s[min(i, 1):]
		if len(s) < 2 {
			return t, s, false
		}
		if *part, ok = digits(s[:2]); !ok || *part > 59 {
			return t, s, false
		}
		s = s[2:]
	}
	t.Microsecond, rest, ok = cutFraction(s)
	return t, rest, ok && t.Hour < 24
}

// cutFraction reads a fraction of a second, if there is one, in microseconds.
func cutFraction(s string) (microseconds int, rest string, ok bool) {
	if s == "" || s[0] != '.' && s[0] != ',' {
		return 0, s, true
	}
	rest = strings.TrimLeft(s[1:], "0123456789")
	n := len(s) - len(rest) - 1
	microseconds, _ = digits((s[1:1+n] + "000000")[:6])
	return microseconds, rest, n > 0
}

// parseOffset reads Z, or a sign and HH[:MM[:SS]] or HHMM.
func parseOffset(s string) (time.Duration, bool) {
	if s == "Z" {
		return 0, true
	}
	if s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	if len(s) == len("+0000") {
		s = s[:3] + ":" + s[3:]
	}
	t, rest, ok := cutClock(s[1:])
	offset := time.Duration(t.Hour*3600+t.Minute*60+t.Second) * time.Second
	if s[0] == '-' {
		offset = -offset
	}
	return offset, ok && rest == "" && t.Microsecond == 0
}

// digits reads ASCII digits and nothing else.
func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, true
}

// ParseDecimal checks that s is a number that Python's Decimal reads, such as
// 1.50, -1E+3, NaN or Infinity, and keeps it as it is.
func ParseDecimal(s string) (Decimal, error) {
	unsigned := strings.ToLower(trimSign(s))
	switch unsigned {
	case "inf", "infinity":
		return Decimal(s), nil
	}
	switch strings.TrimRight(unsigned, "0123456789") { // a NaN may carry digits
	case "nan", "snan":
		return Decimal(s), nil
	}
	mantissa, exponent, hasExponent := strings.Cut(unsigned, "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if !isDigits(whole+fraction) || hasExponent && !isDigits(trimSign(exponent)) {
		return "", errNotDecimal
	}
	return Decimal(s), nil
}

// trimSign removes one sign.
func trimSign(s string) string {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[1:]
	}
	return s
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
