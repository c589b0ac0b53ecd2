package dbbackend

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// groupRow is a row of the group table.
type groupRow struct {
	result                       []byte
	contentType, contentEncoding string
	done                         time.Time
}

// EncodeGroup implements celeryresults.Encoding: the row is a *groupRow.
func (b *DatabaseBackend) EncodeGroup(ctx context.Context, group celeryresults.ResultTuple, w *driver.Write) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	if err := l.checkGroup(group.ID); err != nil {
		return err
	}
	encoded, err := b.documents.AppendTuple(nil, group)
	if err != nil {
		return err
	}
	codec := b.documents.Codec
	row := &groupRow{[]byte(text(codec, encoded)), codec.ContentType(), codec.ContentEncoding(), b.now()}
	w.Row, w.Size = row, len(row.result)
	return nil
}

// DecodeGroup implements celeryresults.Encoding.
func (b *DatabaseBackend) DecodeGroup(r *driver.Record) (celeryresults.ResultTuple, error) {
	row := r.Row.(*groupRow)
	codec, err := b.codecOf(row.contentType)
	d := decoder{codec: codec, err: err, binary: row.contentEncoding == "binary"}
	data, err := d.bytes(row.result)
	if err != nil {
		return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: r.ID, Err: err}
	}
	documents := b.documents.Documents
	documents.Codec = codec
	return documents.ReadTuple(r.ID, data)
}

// putGroup stores a group (GroupResultManager.store_group_result). An insert that comes
// too late is an update next time.
func (b *DatabaseBackend) putGroup(ctx context.Context, s session, w *driver.Write) error {
	row, ok := w.Row.(*groupRow)
	if !ok {
		return errors.ErrUnsupported
	}
	args := []any{w.ID, string(row.result), row.contentType, row.contentEncoding, b.dialect.Time(row.done)}
	n, err := s.Affect(ctx, b.dialect.Rebind(`UPDATE `+groupTable+` SET result = $2, content_type = $3, content_encoding = $4, date_done = $5 WHERE `+
		b.dialect.SameKey("group_id", "$1")), args...)
	if err == nil && n == 0 {
		_, err = s.Affect(ctx, b.dialect.Rebind(`INSERT INTO `+groupTable+` (group_id, result, content_type, content_encoding, date_done, date_created)
			VALUES ($1, $2, $3, $4, $5, $5)`), args...)
	}
	if sqldialect.Classify(err) == sqldialect.Conflict {
		err = b.groupConflict(ctx, s, w, err)
	}
	if err == nil {
		w.Answer.Outcome = driver.Stored
	}
	return err
}

// groupConflict returns why a group could not be inserted that no update changed: another
// writer was quicker, or the table takes its id for that of another group. It is no error
// if the very group stands, whose update MySQL may not count.
func (b *DatabaseBackend) groupConflict(ctx context.Context, s session, w *driver.Write, conflict error) error {
	q := b.dialect.Rebind(`SELECT group_id, result FROM ` + groupTable + ` WHERE group_id = $1`)
	err := s.Rows(ctx, q, []any{w.ID}, func(scan func(...any) error) error {
		var id string
		var result []byte
		err := scan(&id, &result)
		switch {
		case err != nil:
		case id != w.ID:
			conflict = fmt.Errorf("dbbackend: the table takes group id %.60q for that of another group: %w", w.ID, driver.ErrBadID)
		case bytes.Equal(result, w.Row.(*groupRow).result):
			conflict = nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return conflict
}

// getGroups reads groups. One expires as a SUCCESS does, after it was last saved.
func (b *DatabaseBackend) getGroups(ctx context.Context, db *sqldialect.DB, wanted wanted) error {
	in, args := b.dialect.In("group_id", 1, wanted.ids)
	q := b.dialect.Rebind(`SELECT group_id, result, content_type, content_encoding, date_done FROM ` + groupTable + ` WHERE ` + in)
	var id sql.RawBytes
	return db.Rows(ctx, q, args, func(scan func(...any) error) error {
		row := &groupRow{}
		if err := scan(&id, &row.result, &row.contentType, &row.contentEncoding, b.scanTime(&row.done)); err != nil {
			return err
		}
		if r := wanted.record(id); r == nil { // equal by the collation only
		} else if r.Expired = b.expiry.expired(celeryresults.Success, row.done, b.now()); !r.Expired {
			r.Row = row
		}
		return nil
	})
}
