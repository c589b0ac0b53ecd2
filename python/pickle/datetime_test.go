package pickle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

// inZone is a datetime of November 2026 in the zone that the opcodes make.
func inZone(zone string) []byte {
	return []byte("\x80\x03cdatetime\ndatetime\nC\n\x07\xea\x0b\x15\x08\x1e\x0f\x00\x00\x00" + zone + "\x86R.")
}

func delta(days, seconds string) string {
	return "cdatetime\ntimedelta\n(I" + days + "\nI" + seconds + "\nI0\ntR"
}

func TestZonesAreUnderstood(t *testing.T) {
	for _, c := range []struct{ name, zone, want string }{
		{"timezone", "cdatetime\ntimezone\n" + delta("0", "3600") + "\x85R", "2026-11-21T08:30:15+01:00"},
		{"negative timezone", "cdatetime\ntimezone\n" + delta("-1", "82800") + "\x85R", "2026-11-21T08:30:15-01:00"},
		{"ZoneInfo by getattr", "cbuiltins\ngetattr\nczoneinfo\nZoneInfo\nV_unpickle\n\x86R(VEurope/Paris\nI01\ntR", "2026-11-21T08:30:15+01:00"},
		{"ZoneInfo", "czoneinfo\nZoneInfo._unpickle\n(VAsia/Tokyo\nI01\ntR", "2026-11-21T08:30:15+09:00"},
		{"backport of ZoneInfo", "cbackports.zoneinfo\nZoneInfo._unpickle\n(VAsia/Tokyo\nI01\ntR", "2026-11-21T08:30:15+09:00"},
		{"pytz's UTC", "cpytz\n_UTC\n)R", "2026-11-21T08:30:15+00:00"},
		{"pytz's static zone", "cpytz\n_p\n(VAsia/Tokyo\ntR", "2026-11-21T08:30:15+09:00"},
		{"pytz's zone in summer", "cpytz\n_p\n(VEurope/Paris\nI7200\nI3600\nVCEST\ntR", "2026-11-21T08:30:15+02:00"},
		{"pytz's offset", "cpytz\nFixedOffset\nI-90\n\x85R", "2026-11-21T08:30:15-01:30"},
		{"Django's UTC", "cdjango.utils.timezone\nUTC\n)R", "2026-11-21T08:30:15+00:00"},
		{"Django's offset", "cdjango.utils.timezone\nFixedOffset\n)R}V_FixedOffset__offset\n" + delta("0", "7200") + "sb", "2026-11-21T08:30:15+02:00"},
		{"dateutil's UTC", "cdateutil.tz.tz\ntzutc\n)R", "2026-11-21T08:30:15+00:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := pickle.Unmarshal(inZone(c.zone))
			require.NoError(t, err)
			require.IsType(t, time.Time{}, got)
			assert.Equal(t, c.want, string(python.AppendISO(nil, got.(time.Time))))
		})
	}
}

func TestADatetimeInAnUnknownZoneStaysAnObject(t *testing.T) {
	for name, zone := range map[string]string{
		"unknown class":       "cacme\nZone\n)R",
		"unknown name":        "cpytz\n_p\n(VMars/Olympus\ntR",
		"no name":             "cpytz\n_p\n(V\ntR",
		"this machine's":      "cpytz\n_p\n(VLocal\ntR",
		"offset of a day":     "cdatetime\ntimezone\n" + delta("1", "0") + "\x85R",
		"offset that is text": "cdatetime\ntimezone\nV+1\n\x85R",
		"minutes of a day":    "cpytz\nFixedOffset\nI1440\n\x85R",
		"an int":              "I5\n",
		"no arguments":        "cdatetime\ntimezone\n)R",
		"Django without one":  "cdjango.utils.timezone\nFixedOffset\n)R",
	} {
		got, err := pickle.Unmarshal(inZone(zone))
		require.NoError(t, err, name)
		require.IsType(t, &python.Object{}, got, name)
		assert.Equal(t, "datetime.datetime", got.(*python.Object).Class.String(), name)
	}
}

func TestMalformedStatesStayObjects(t *testing.T) {
	for name, data := range map[string]string{
		"datetime of 9 bytes":    "cdatetime\ndatetime\nC\t123456789\x85R.",
		"datetime of no kind":    "cdatetime\ndatetime\n)R.",
		"month 13":               "cdatetime\ndatetime\nC\n\x07\xea\x0d\x15\x08\x1e\x0f\x00\x00\x00\x85R.",
		"hour 24":                "cdatetime\ndatetime\nC\n\x07\xea\x0b\x15\x18\x1e\x0f\x00\x00\x00\x85R.",
		"year 0":                 "cdatetime\ndate\nC\x04\x00\x00\x01\x01\x85R.",
		"time of 61 seconds":     "cdatetime\ntime\nC\x06\x01\x01\x3d\x00\x00\x00\x85R.",
		"time in a named zone":   "cdatetime\ntime\nC\x06\x01\x01\x01\x00\x00\x00czoneinfo\nZoneInfo._unpickle\n(VAsia/Tokyo\nI01\ntR\x86R.",
		"timedelta of 2 parts":   "cdatetime\ntimedelta\nI1\nI2\n\x86R.",
		"timedelta of text":      "cdatetime\ntimedelta\nVa\nVb\nVc\n\x87R.",
		"timedelta out of order": "cdatetime\ntimedelta\nI0\nI-1\nI0\n\x87R.",
		"decimal of words":       "cdecimal\nDecimal\nVhello\n\x85R.",
		"UUID beyond 128 bits":   "cuuid\nUUID\n)\x81}Vint\n\x8a\x12" + string(make([]byte, 17)) + "\x01sb.",
		"negative UUID":          "cuuid\nUUID\n)\x81}Vint\nI-1\nsb.",
		"UUID of text":           "cuuid\nUUID\n)\x81}Vint\nVx\nsb.",
		"UUID without a state":   "cuuid\nUUID\n)\x81.",
		"bytes beyond Latin-1":   "c_codecs\nencode\n(V\\u2603\nVlatin1\ntR.",
		"bytes in UTF-16":        "c_codecs\nencode\n(Va\nVutf-16\ntR.",
		"set of an int":          "cbuiltins\nset\nI5\n\x85R.",
		"set of two arguments":   "cbuiltins\nset\n]]\x86R.",
		"bytes of an int":        "cbuiltins\nbytes\nI1000000000\n\x85R.",
		"complex of text":        "cbuiltins\ncomplex\nVa\nVb\n\x86R.",
		"OrderedDict of an int":  "ccollections\nOrderedDict\nI5\n\x85R.",
		"OrderedDict of ints":    "ccollections\nOrderedDict\n](I5\ne\x85R.",
	} {
		got, err := pickle.Unmarshal([]byte(data))
		require.NoError(t, err, name)
		assert.IsType(t, &python.Object{}, got, name)
	}
}
