package dbbackend

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/driver"
)

// cursor is a place in a list: behind the row that was sorted by at and id.
type cursor struct {
	query uint32 // checksum of the query it belongs to
	at    int64  // microseconds since 1970
	id    int64
}

// cursorVersion is the first byte of a cursor.
const cursorVersion = 1

const cursorSize = 1 + 4 + 8 + 8

// String returns the cursor as text for URLs.
func (c cursor) String() string {
	raw := make([]byte, 0, cursorSize)
	raw = append(raw, cursorVersion)
	raw = binary.BigEndian.AppendUint32(raw, c.query)
	raw = binary.BigEndian.AppendUint64(raw, uint64(c.at))
	raw = binary.BigEndian.AppendUint64(raw, uint64(c.id))
	return base64.RawURLEncoding.EncodeToString(raw)
}

// The times that databases hold.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC).UnixMicro()
)

// parseCursor reads what String wrote, for the query with the checksum. Anything
// else is driver.ErrCursor.
func parseCursor(text string, query uint32) (cursor, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != cursorSize || raw[0] != cursorVersion || strings.ContainsAny(text, "\r\n") {
		return cursor{}, fmt.Errorf("dbbackend: %w", driver.ErrCursor)
	}
	c := cursor{
		query: binary.BigEndian.Uint32(raw[1:]), at: int64(binary.BigEndian.Uint64(raw[5:])), id: int64(binary.BigEndian.Uint64(raw[13:])),
	}
	if c.at < earliest || c.at > latest || c.id < 0 {
		return cursor{}, fmt.Errorf("dbbackend: %w", driver.ErrCursor)
	}
	if c.query != query {
		return cursor{}, fmt.Errorf("dbbackend: it belongs to another list: %w", driver.ErrCursor)
	}
	return c, nil
}

func (c cursor) time() time.Time { return time.UnixMicro(c.at).UTC() }

// checksum tells lists apart: all that a query says, but the page.
func checksum(q driver.Query) uint32 {
	q.Limit, q.Cursor = 0, ""
	h := fnv.New32a()
	fmt.Fprintf(h, "%q %q %q %q %q %d", q.States, q.Task, q.Worker, q.PeriodicTask, q.GroupID, q.Order)
	for _, name := range sortedKeys(q.Labels) {
		fmt.Fprintf(h, " %q=%q", name, q.Labels[name])
	}
	for _, t := range []time.Time{q.CreatedFrom, q.CreatedBefore, q.DoneFrom, q.DoneBefore} {
		fmt.Fprintf(h, " %d", t.UnixMicro())
	}
	return h.Sum32()
}
