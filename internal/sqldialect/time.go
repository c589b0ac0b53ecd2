package sqldialect

import (
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// Precision is the step of times that all three databases keep. Times are cut
// to it when they are bound.
const Precision = time.Microsecond

// djangoTime is how Django writes a time as text, which is how Python prints it:
// a fraction has six digits, and is left out when it is zero. One spelling for
// each time lets SQLite compare and sort them.
const djangoTime = "2006-01-02 15:04:05.000000"

// Time returns a time as a parameter for Django's columns: for timestamptz in
// PostgreSQL the time in UTC, for datetime(6) in MySQL and SQLite's text its
// UTC text. The text does not depend on the driver's time zone, and SQLite
// compares it as Django's.
func (d *Dialect) Time(t time.Time) any {
	t = t.UTC().Truncate(Precision)
	if d == PostgreSQL {
		return t
	}
	if t.Nanosecond() == 0 {
		return t.Format(time.DateTime)
	}
	return t.Format(djangoTime)
}

// ScanTime returns a destination for Scan that stores a time column in dst, in
// UTC. NULL becomes the zero time.
func (d *Dialect) ScanTime(dst *time.Time) sql.Scanner {
	return timeScanner{dst: dst, naive: d == MySQL}
}

type timeScanner struct {
	dst   *time.Time
	naive bool // the driver made up the time zone
}

// Scan implements sql.Scanner.
func (s timeScanner) Scan(value any) error {
	var err error
	switch v := value.(type) {
	case nil:
		*s.dst = time.Time{}
	case time.Time:
		*s.dst = s.utc(v)
	case string:
		*s.dst, err = ParseTime(v)
	case []byte:
		*s.dst, err = ParseTime(string(v))
	default:
		err = fmt.Errorf("sqldialect: a time column holds %T", value)
	}
	return err
}

// utc takes a naive time's clock for UTC, as Django does, and converts others.
func (s timeScanner) utc(t time.Time) time.Time {
	if !s.naive {
		return t.UTC()
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// ParseTime reads a time as Django and SQLAlchemy write it to text columns:
// "2026-11-21 09:49:41.123456", the fraction and an offset being optional and a
// T allowed between date and time. Without an offset it is UTC.
func ParseTime(text string) (time.Time, error) {
	normal := strings.Replace(text, "T", " ", 1)
	for _, layout := range []string{time.DateTime, time.DateTime + "Z07:00", time.DateTime + "-07", time.DateOnly} {
		if t, err := time.Parse(layout, normal); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("sqldialect: %.40q is not a time", text)
}
