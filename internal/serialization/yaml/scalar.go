package yaml

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

// kind is what a plain scalar means: the outcome of PyYAML's implicit
// resolvers (yaml/resolver.py), which decide when reading, and when writing
// whether text needs quotes.
type kind uint8

const (
	text kind = iota
	null
	boolean
	integer
	float
	timestamp
	merge // <<
	value // =
)

var words = map[string]kind{
	"": null, "~": null, "null": null, "Null": null, "NULL": null,
	"yes": boolean, "Yes": boolean, "YES": boolean, "no": boolean, "No": boolean, "NO": boolean,
	"true": boolean, "True": boolean, "TRUE": boolean, "false": boolean, "False": boolean, "FALSE": boolean,
	"on": boolean, "On": boolean, "ON": boolean, "off": boolean, "Off": boolean, "OFF": boolean,
	".nan": float, ".NaN": float, ".NAN": float,
	".inf": float, ".Inf": float, ".INF": float,
	"+.inf": float, "+.Inf": float, "+.INF": float,
	"-.inf": float, "-.Inf": float, "-.INF": float,
	"<<": merge, "=": value,
}

func resolve(s string) kind {
	if k, ok := words[s]; ok {
		return k
	}
	switch c := s[0]; {
	case c != '+' && c != '-' && c != '.' && !digit(c):
		return text
	case isFloat(s):
		return float
	case isInt(s):
		return integer
	case isTimestamp(s):
		return timestamp
	}
	return text
}

func digit(c byte) bool       { return '0' <= c && c <= '9' }
func digitOrBar(c byte) bool  { return digit(c) || c == '_' }
func octalOrBar(c byte) bool  { return '0' <= c && c <= '7' || c == '_' }
func binaryOrBar(c byte) bool { return c == '0' || c == '1' || c == '_' }
func hexOrBar(c byte) bool    { return digitOrBar(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
func blank(c byte) bool       { return c == ' ' || c == '\t' }

// skip returns s without its leading bytes of a class.
func skip(s string, class func(byte) bool) string {
	for s != "" && class(s[0]) {
		s = s[1:]
	}
	return s
}

// all reports whether s is not empty and all of one class.
func all(s string, class func(byte) bool) bool {
	return s != "" && skip(s, class) == ""
}

func unsigned(s string) string {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[1:]
	}
	return s
}

func isInt(s string) bool {
	s = unsigned(s)
	switch {
	case s == "":
		return false
	case strings.HasPrefix(s, "0b"):
		return all(s[2:], binaryOrBar)
	case strings.HasPrefix(s, "0x"):
		return all(s[2:], hexOrBar)
	case s[0] == '0':
		return all(s, octalOrBar)
	case digit(s[0]):
		return skipSixties(skip(s, digitOrBar)) == ""
	}
	return false
}

// skipSixties skips the base 60 digits of 190:20:30 after the first one.
func skipSixties(s string) string {
	for {
		rest, ok := skipSixty(s)
		if !ok {
			return s
		}
		s = rest
	}
}

// skipSixty skips a colon and 0 to 59 in one or two digits.
func skipSixty(s string) (string, bool) {
	if len(s) < 2 || s[0] != ':' || !digit(s[1]) {
		return s, false
	}
	if len(s) > 2 && digit(s[2]) && s[1] <= '5' {
		return s[3:], true
	}
	return s[2:], true
}

func isFloat(s string) bool {
	if len(s) > 1 && s[0] == '.' && digit(s[1]) {
		return exponentOrEnd(skip(s[1:], digitOrBar))
	}
	s = unsigned(s)
	if s == "" || !digit(s[0]) {
		return false
	}
	s = skip(s, digitOrBar)
	rest := skipSixties(s)
	if rest == "" || rest[0] != '.' {
		return false
	}
	rest, sixties := skip(rest[1:], digitOrBar), len(rest) < len(s)
	if sixties {
		return rest == ""
	}
	return exponentOrEnd(rest)
}

// exponentOrEnd reports whether s is empty or an exponent, whose sign YAML 1.1
// requires.
func exponentOrEnd(s string) bool {
	if s == "" {
		return true
	}
	return len(s) > 2 && s[0]|0x20 == 'e' && (s[1] == '+' || s[1] == '-') && all(s[2:], digit)
}

// scalar returns the value of text s as k. It reports false when PyYAML would
// fail to convert it.
func scalar(k kind, s string) (any, bool, error) {
	switch k {
	case null:
		return nil, true, nil
	case boolean:
		return truth(s)
	case integer:
		return parseInt(s)
	case float:
		f, ok := parseFloat(s)
		return f, ok, nil
	case timestamp:
		t, ok := parseTimestamp(s)
		return t, ok, nil
	}
	return s, true, nil
}

func truth(s string) (any, bool, error) {
	switch strings.ToLower(s) {
	case "yes", "true", "on":
		return true, true, nil
	case "no", "false", "off":
		return false, true, nil
	}
	return nil, false, nil
}

// parseInt follows SafeConstructor.construct_yaml_int.
func parseInt(s string) (any, bool, error) {
	if len(s) > serialization.MaxDigits+1 {
		return nil, false, limitError("an integer of " + strconv.Itoa(len(s)) + " characters")
	}
	if !isInt(s) {
		return nil, false, nil
	}
	digits := strings.ReplaceAll(unsigned(s), "_", "")
	n, ok := parseUnsigned(digits)
	if !ok {
		return nil, false, nil
	}
	if s[0] == '-' {
		n.Neg(n)
	}
	if n.IsInt64() {
		return n.Int64(), true, nil
	}
	return n, true, nil
}

func parseUnsigned(s string) (*big.Int, bool) {
	n := new(big.Int)
	switch {
	case strings.HasPrefix(s, "0b"):
		return n.SetString(s[2:], 2)
	case strings.HasPrefix(s, "0x"):
		return n.SetString(s[2:], 16)
	case s[0] == '0':
		return n.SetString(s, 8)
	case strings.Contains(s, ":"):
		return parseSixties(s), true
	}
	return n.SetString(s, 10)
}

func parseSixties(s string) *big.Int {
	sum, sixty := new(big.Int), big.NewInt(60)
	for part := range strings.SplitSeq(s, ":") {
		n, _ := new(big.Int).SetString(part, 10)
		sum.Mul(sum, sixty).Add(sum, n)
	}
	return sum
}

// parseFloat follows SafeConstructor.construct_yaml_float. Beyond a double's
// range the result is an infinity, as in Python.
func parseFloat(s string) (float64, bool) {
	sign := 1.0
	if strings.HasPrefix(s, "-") {
		sign = -1
	}
	s = strings.ToLower(strings.ReplaceAll(unsigned(s), "_", ""))
	switch {
	case s == ".inf":
		return math.Inf(int(sign)), true
	case s == ".nan":
		return math.NaN(), true
	case strings.Contains(s, ":"):
		f, ok := floatSixties(s)
		return sign * f, ok
	}
	f, ok := decimalFloat(s)
	return sign * f, ok
}

func floatSixties(s string) (float64, bool) {
	parts := strings.Split(s, ":")
	sum, base := 0.0, 1.0
	for i := len(parts) - 1; i >= 0; i-- {
		f, ok := decimalFloat(parts[i])
		if !ok {
			return 0, false
		}
		sum += f * base
		base *= 60
	}
	return sum, true
}

func decimalFloat(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || math.IsInf(f, 0)
}

// stamp is a timestamp in parts, as PyYAML's timestamp_regexp names them.
type stamp struct {
	year, month, day     int
	hour, minute, second int
	micro                int
	clock                bool // there is a time of day
	zoned                bool // there is an offset
	offset               int  // in seconds
	short                bool // the month or the day has one digit
}

func isTimestamp(s string) bool {
	t, ok := scanTimestamp(s)
	return ok && (t.clock || !t.short)
}

func parseTimestamp(s string) (any, bool) {
	t, ok := scanTimestamp(s)
	if !ok || !t.valid() {
		return nil, false
	}
	if !t.clock {
		return python.Date{Year: t.year, Month: time.Month(t.month), Day: t.day}, true
	}
	if !t.zoned {
		return python.DateTime{Time: t.in(time.UTC)}, true
	}
	if t.offset == 0 {
		return t.in(time.UTC), true
	}
	return t.in(time.FixedZone("", t.offset)), true
}

func (t stamp) in(zone *time.Location) time.Time {
	return time.Date(t.year, time.Month(t.month), t.day, t.hour, t.minute, t.second, t.micro*1000, zone)
}

// valid reports whether Python's datetime would take the parts.
func (t stamp) valid() bool {
	midnight := time.Date(t.year, time.Month(t.month), t.day, 0, 0, 0, 0, time.UTC)
	return t.year >= 1 && midnight.Month() == time.Month(t.month) && midnight.Day() == t.day &&
		t.hour < 24 && t.minute < 60 && t.second < 60 && -86400 < t.offset && t.offset < 86400
}

func scanTimestamp(s string) (stamp, bool) {
	c := cursor{rest: s, ok: true}
	var t stamp
	t.year = c.number(4, 4)
	c.byte('-')
	t.month = c.number(1, 2)
	c.byte('-')
	t.day = c.number(1, 2)
	t.short = len(s)-len(c.rest) < len("2006-01-02")
	if !c.ok || c.rest == "" {
		return t, c.ok
	}
	t.clock = true
	c.separator()
	t.hour = c.number(1, 2)
	c.byte(':')
	t.minute = c.number(2, 2)
	c.byte(':')
	t.second = c.number(2, 2)
	t.micro = c.fraction()
	t.offset, t.zoned = c.zone()
	return t, c.ok && c.rest == ""
}

// cursor reads a timestamp from left to right. After a failure ok is false.
type cursor struct {
	rest string
	ok   bool
}

func (c *cursor) number(least, most int) int {
	n, count := 0, 0
	for count < most && count < len(c.rest) && digit(c.rest[count]) {
		n = n*10 + int(c.rest[count]-'0')
		count++
	}
	c.ok = c.ok && count >= least
	c.rest = c.rest[count:]
	return n
}

func (c *cursor) take(b byte) bool {
	if c.rest == "" || c.rest[0] != b {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *cursor) byte(b byte) {
	c.ok = c.take(b) && c.ok
}

// separator reads what stands between the date and the time: a T, or blanks.
func (c *cursor) separator() {
	if c.take('T') || c.take('t') {
		return
	}
	before := len(c.rest)
	c.rest = skip(c.rest, blank)
	c.ok = c.ok && len(c.rest) < before
}

// fraction reads a dot and any number of digits, six of which count.
func (c *cursor) fraction() int {
	if !c.take('.') {
		return 0
	}
	rest := skip(c.rest, digit)
	digits := c.rest[:len(c.rest)-len(rest)]
	c.rest = rest
	micro, _ := strconv.Atoi((digits + "000000")[:6])
	return micro
}

// zone reads an offset of hours and perhaps minutes, or Z.
func (c *cursor) zone() (seconds int, ok bool) {
	if c.rest == "" {
		return 0, false
	}
	c.rest = skip(c.rest, blank)
	if c.take('Z') {
		return 0, true
	}
	sign := 1
	if c.take('-') {
		sign = -1
	} else {
		c.byte('+')
	}
	seconds = c.number(1, 2) * 3600
	if c.take(':') {
		seconds += c.number(2, 2) * 60
	}
	return sign * seconds, true
}
