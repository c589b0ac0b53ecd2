package settings

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
)

// expiry reads result_expires, where None and 0 mean for ever. Celery counts
// whole seconds, so that less than one would be for ever, too.
func expiry(v any) (time.Duration, error) {
	if isNever(v) {
		return celeryresults.Never, nil
	}
	d, err := span(v)
	switch {
	case err != nil:
		return 0, err
	case d == 0:
		return celeryresults.Never, nil
	case d < time.Second:
		return 0, errors.New("is less than a second; write null, or never, for results that stay")
	}
	return d, nil
}

// timeout reads TIMEOUT of an entry of CACHES, where None is for ever and what
// isn't positive in whole seconds is at once.
func timeout(v any) (time.Duration, error) {
	if isNever(v) {
		return cache.Never, nil
	}
	d, err := signedSpan(v)
	if err == nil && d < time.Second {
		d = cache.AtOnce
	}
	return d, err
}

// limit reads how long to wait, where None and 0 mean without a limit.
func limit(v any) (time.Duration, error) {
	if isNever(v) {
		return celeryresults.Never, nil
	}
	d, err := span(v)
	if err == nil && d == 0 {
		d = celeryresults.Never
	}
	return d, err
}

// interval reads a time between tries.
func interval(v any) (time.Duration, error) {
	d, err := span(v)
	if err == nil && d == 0 {
		return 0, errors.New("must be more than 0")
	}
	return d, err
}

func milliseconds(v any) (time.Duration, error) {
	n, err := positive(v)
	if err != nil {
		return 0, err
	}
	if int64(n) > math.MaxInt64/int64(time.Millisecond) {
		return 0, errTooLong
	}
	return time.Duration(n) * time.Millisecond, nil
}

// isNever reports whether v is None, or the word for it.
func isNever(v any) bool {
	switch n := v.(type) {
	case nil:
		return true
	case time.Duration:
		return n == celeryresults.Never
	case string:
		word := strings.ToLower(strings.TrimSpace(n))
		return word == "never" || word == "none" || word == "null"
	}
	return false
}

var errTooLong = errors.New("is longer than 292 years; write null, or never, for no end")

// span reads a duration that is not negative.
func span(v any) (time.Duration, error) {
	d, err := signedSpan(v)
	if err == nil && d < 0 {
		return 0, fmt.Errorf("is negative (%v)", d)
	}
	return d, err
}

// signedSpan reads seconds, or text that parseSpan understands.
func signedSpan(v any) (time.Duration, error) {
	if d, ok := v.(time.Duration); ok {
		return d, nil
	}
	s, ok := numeral(v)
	if !ok {
		return 0, mismatch("a duration: seconds, or text such as 36h", v)
	}
	return parseSpan(s)
}

// ParseDuration reads a duration as it may stand in a settings file: seconds,
// 36h, 30d, 2w, P1DT12H or "1 day, 12:00:00".
func ParseDuration(s string) (time.Duration, error) { return parseSpan(s) }

// parseSpan reads seconds, a duration as Go writes it, also with weeks and days
// (2w, 30d12h), and Python's timedelta as DjangoJSONEncoder (P1DT12H) and str (1 day, 12:00:00) write it.
func parseSpan(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) {
		return fromSeconds(f)
	}
	if d, err := time.ParseDuration(s); err == nil {
		return d, nil
	}
	for _, form := range timedeltas {
		if parts := form.FindStringSubmatch(s); parts != nil {
			return fromParts(form, parts)
		}
	}
	return 0, fmt.Errorf("must be a duration, not %s; write seconds, or text such as 36h, 30d, P1DT12H or \"1 day, 12:00:00\"", quoted(s))
}

// timedeltas are the two ways in which Python writes a timedelta, and Go's with
// weeks and days in front. Their groups are named for what a unit counts. In the
// second the sign is for the days alone, in the others for everything.
var timedeltas = []*regexp.Regexp{
	regexp.MustCompile(`^(?P<sign>-?)P(?:(?P<week>\d+)W)?(?:(?P<day>\d+)D)?(?:T(?:(?P<hour>\d+)H)?(?:(?P<minute>\d+)M)?(?:(?P<second>\d+(?:\.\d+)?)S)?)?$`),
	regexp.MustCompile(`^(?:(?P<day>-?\d+) days?, )?(?P<hour>\d+):(?P<minute>\d\d):(?P<second>\d\d(?:\.\d+)?)$`),
	regexp.MustCompile(`^(?P<sign>-?)(?:(?P<week>\d+(?:\.\d+)?)w)?(?:(?P<day>\d+(?:\.\d+)?)d)?(?:(?P<hour>\d+(?:\.\d+)?)h)?(?:(?P<minute>\d+(?:\.\d+)?)m)?(?:(?P<second>\d+(?:\.\d+)?)s)?$`),
}

var secondsIn = map[string]float64{
	"week": 7 * 86400, "day": 86400, "hour": 3600, "minute": 60, "second": 1,
}

func fromParts(form *regexp.Regexp, parts []string) (time.Duration, error) {
	sum, found, sign := 0.0, false, 1.0
	for i, unit := range form.SubexpNames() {
		if parts[i] == "-" {
			sign = -1
		} else if n, err := strconv.ParseFloat(parts[i], 64); unit != "" && err == nil {
			sum, found = sum+n*secondsIn[unit], true
		}
	}
	if !found {
		return 0, errors.New("must be a duration, not text without a number")
	}
	return fromSeconds(sign * sum)
}

func fromSeconds(seconds float64) (time.Duration, error) {
	nanoseconds := math.Round(seconds * float64(time.Second))
	if math.Abs(nanoseconds) >= math.MaxInt64 {
		return 0, errTooLong
	}
	return time.Duration(nanoseconds), nil
}
