package pickle

import (
	"sync"
	"time"

	"github.com/celeryresults/celeryresults/python"
)

// packed returns the first argument, the state of a date or time in so many
// bytes, and the second, its time zone.
func (m *machine) packed(args []value, size int) (state []byte, zone value, ok bool) {
	if len(args) < 1 || len(args) > 2 {
		return nil, zone, false
	}
	if len(args) == 2 {
		zone = args[1]
	}
	state, ok = m.binary(args[0])
	return state, zone, ok && len(state) == size
}

func makeDate(m *machine, args []value) (value, bool) {
	s, _, ok := m.packed(args, 4)
	if !ok || len(args) != 1 {
		return value{}, false
	}
	d := python.Date{Year: int(s[0])<<8 | int(s[1]), Month: time.Month(s[2]), Day: int(s[3])}
	return m.keep(d), validDate(d)
}

// validDate reports whether Python can hold d.
func validDate(d python.Date) bool {
	t := d.In(time.UTC)
	return d.Year >= 1 && d.Year <= 9999 && t.Year() == d.Year && t.Month() == d.Month && t.Day() == d.Day
}

// clock decodes hour, minute, second and microseconds.
func clock(s []byte) (python.Time, bool) {
	t := python.Time{
		Hour: int(s[0]), Minute: int(s[1]), Second: int(s[2]),
		Microsecond: int(s[3])<<16 | int(s[4])<<8 | int(s[5]),
	}
	return t, validTime(t)
}

func validTime(t python.Time) bool {
	return t.Hour >= 0 && t.Hour < 24 && t.Minute >= 0 && t.Minute < 60 &&
		t.Second >= 0 && t.Second < 60 && t.Microsecond >= 0 && t.Microsecond < 1_000_000
}

// makeDateTime understands datetime. The top bit of the month is its fold.
func makeDateTime(m *machine, args []value) (value, bool) {
	s, zone, ok := m.packed(args, 10)
	if !ok {
		return value{}, false
	}
	d := python.Date{Year: int(s[0])<<8 | int(s[1]), Month: time.Month(s[2] & 0x7f), Day: int(s[3])}
	c, ok := clock(s[4:])
	if !ok || !validDate(d) {
		return value{}, false
	}
	if zone.kind == kindNone {
		return m.keep(python.DateTime{Time: wall(d, c, time.UTC)}), true
	}
	loc, ok := m.location(zone)
	if !ok {
		return value{}, false
	}
	return m.keep(folded(wall(d, c, loc), s[2] > 0x7f)), true
}

func wall(d python.Date, c python.Time, loc *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, c.Hour, c.Minute, c.Second, c.Microsecond*1000, loc)
}

// folded returns the earlier of the two times that t's wall clock shows when
// clocks are set back, or the later one.
func folded(t time.Time, later bool) time.Time {
	const day = 24 * time.Hour
	_, before := t.Add(-day).Zone()
	_, after := t.Add(day).Zone()
	_, now := t.Zone()
	switch {
	case before <= after:
		return t
	case later && now == before:
		return sameClock(t, t.Add(time.Duration(before-after)*time.Second))
	case !later && now == after:
		return sameClock(t, t.Add(time.Duration(after-before)*time.Second))
	}
	return t
}

// sameClock returns other if it shows the wall clock of t, else t.
func sameClock(t, other time.Time) time.Time {
	if t.Format(time.DateTime) == other.Format(time.DateTime) {
		return other
	}
	return t
}

// makeTime understands time. The top bit of the hour is its fold.
func makeTime(m *machine, args []value) (value, bool) {
	s, zone, ok := m.packed(args, 6)
	if !ok {
		return value{}, false
	}
	t, ok := clock([]byte{s[0] & 0x7f, s[1], s[2], s[3], s[4], s[5]})
	if !ok {
		return value{}, false
	}
	if zone.kind != kindNone {
		t.Aware = true
		t.Offset, ok = m.fixedOffset(zone)
	}
	return m.keep(t), ok
}

func makeTimedelta(m *machine, args []value) (value, bool) {
	if len(args) != 3 {
		return value{}, false
	}
	for _, a := range args {
		if a.kind != kindInt {
			return value{}, false
		}
	}
	d := python.Timedelta{Days: int64(args[0].x), Seconds: int64(args[1].x), Microseconds: int64(args[2].x)}
	return m.keep(d), validTimedelta(d)
}

func validTimedelta(d python.Timedelta) bool {
	const most = 999_999_999
	return d.Days >= -most && d.Days <= most && d.Seconds >= 0 && d.Seconds < 86400 &&
		d.Microseconds >= 0 && d.Microseconds < 1_000_000
}

// zones are the tzinfo classes that the machine understands.
var zones = map[python.Class]func(m *machine, o object) (*time.Location, bool){
	{Module: "datetime", Name: "timezone"}:                     fixedZone,
	{Module: "zoneinfo", Name: "ZoneInfo._unpickle"}:           namedZone,
	{Module: "backports.zoneinfo", Name: "ZoneInfo._unpickle"}: namedZone,
	{Module: "pytz", Name: "_p"}:                               pytzZone,
	{Module: "pytz", Name: "_UTC"}:                             utc,
	{Module: "pytz", Name: "UTC"}:                              utc,
	{Module: "pytz", Name: "FixedOffset"}:                      minutesZone,
	{Module: "django.utils.timezone", Name: "UTC"}:             utc,
	{Module: "django.utils.timezone", Name: "FixedOffset"}:     djangoZone,
	{Module: "dateutil.tz.tz", Name: "tzutc"}:                  utc,
}

// location returns the time zone that v, a tzinfo object, describes.
func (m *machine) location(v value) (*time.Location, bool) {
	if v.kind != kindObject {
		return nil, false
	}
	o := m.objects[v.x]
	zone, ok := zones[m.classes[o.class.x].name]
	if !ok {
		return nil, false
	}
	return zone(m, o)
}

// fixedOffset returns the offset of a zone that has always the same one.
func (m *machine) fixedOffset(v value) (time.Duration, bool) {
	loc, ok := m.location(v)
	if !ok || m.classes[m.objects[v.x].class.x].name.Name == "ZoneInfo._unpickle" {
		return 0, false
	}
	_, offset := time.Unix(0, 0).In(loc).Zone()
	return time.Duration(offset) * time.Second, true
}

func utc(*machine, object) (*time.Location, bool) { return time.UTC, true }

// fixedZone understands timezone(timedelta) and timezone(timedelta, name).
func fixedZone(m *machine, o object) (*time.Location, bool) {
	args := m.seqs[o.args.x]
	if len(args) == 0 || len(args) > 2 {
		return nil, false
	}
	name := ""
	if len(args) == 2 {
		name, _ = m.zoneName(args[1])
	}
	return m.offsetZone(args[0], name)
}

// djangoZone understands the FixedOffset of Django before 5.0, which has its
// offset in its state.
func djangoZone(m *machine, o object) (*time.Location, bool) {
	offset, ok := m.lookup(o.state, "_FixedOffset__offset")
	if !ok {
		return nil, false
	}
	return m.offsetZone(offset, "")
}

func (m *machine) offsetZone(v value, name string) (*time.Location, bool) {
	if v.kind != kindMade {
		return nil, false
	}
	delta, ok := m.made[v.x].(python.Timedelta)
	if !ok || delta.Microseconds != 0 {
		return nil, false
	}
	return secondsZone(delta.Days*86400+delta.Seconds, name)
}

// secondsZone returns UTC for a nameless zero.
func secondsZone(seconds int64, name string) (*time.Location, bool) {
	switch {
	case seconds <= -86400 || seconds >= 86400:
		return nil, false
	case seconds == 0 && (name == "" || name == "UTC"):
		return time.UTC, true
	}
	return time.FixedZone(name, int(seconds)), true
}

// minutesZone understands pytz.FixedOffset(minutes).
func minutesZone(m *machine, o object) (*time.Location, bool) {
	args := m.seqs[o.args.x]
	if len(args) != 1 || args[0].kind != kindInt {
		return nil, false
	}
	minutes := int64(args[0].x)
	if minutes <= -1440 || minutes >= 1440 {
		return nil, false
	}
	return secondsZone(minutes*60, "")
}

// pytzZone understands pytz._p(zone) and pytz._p(zone, offset, dst, name),
// which is a zone at a fixed offset.
func pytzZone(m *machine, o object) (*time.Location, bool) {
	args := m.seqs[o.args.x]
	if len(args) != 4 {
		return namedZone(m, o)
	}
	name, ok := m.zoneName(args[3])
	if !ok || args[1].kind != kindInt {
		return nil, false
	}
	return secondsZone(int64(args[1].x), name)
}

// namedZone understands calls whose first argument is the name of a zone.
func namedZone(m *machine, o object) (*time.Location, bool) {
	args := m.seqs[o.args.x]
	if len(args) == 0 {
		return nil, false
	}
	name, ok := m.zoneName(args[0])
	if !ok || name == "" || name == "Local" {
		return nil, false
	}
	return m.loadZone(name)
}

// zoneName returns a text that may be the name of a zone.
func (m *machine) zoneName(v value) (string, bool) {
	if v.n > 64 {
		return "", false
	}
	return m.text(v)
}

// loaded are the zones found so far: as many as the zone database has, at most.
var loaded sync.Map // string to *time.Location

// loadZone reads a zone from the database, but not for ever: names that do not
// exist are looked for on disk.
func (m *machine) loadZone(name string) (*time.Location, bool) {
	if loc, ok := loaded.Load(name); ok {
		return loc.(*time.Location), true
	}
	if m.loads--; m.loads < 0 {
		return nil, false
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, false
	}
	loaded.Store(name, loc)
	return loc, true
}
