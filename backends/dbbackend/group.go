package dbbackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// SaveGroup implements celeryresults.Grouper (GroupResultManager.store_group_result).
func (b *DatabaseBackend) SaveGroup(ctx context.Context, group celeryresults.ResultTuple) error {
	if err := b.checkGroup(ctx, group.ID); err != nil {
		return err
	}
	codec := b.documents.Codec
	encoded, err := b.documents.AppendTuple(nil, group)
	if err != nil {
		return err
	}
	same := b.dialect.SameKey("group_id", "$1")
	update := b.dialect.Rebind(`UPDATE ` + groupTable + ` SET result = $2, content_type = $3, content_encoding = $4, date_done = $5 WHERE ` + same)
	insert := b.dialect.Rebind(`INSERT INTO ` + groupTable + ` (group_id, result, content_type, content_encoding, date_done, date_created)
		VALUES ($1, $2, $3, $4, $5, $5)`)
	args := []any{group.ID, text(codec, encoded), codec.ContentType(), codec.ContentEncoding(), b.dialect.Time(b.now())}
	defer b.recent.add(group.ID)
	conflicts := 0
	err = b.retry(ctx, func() error { // an insert that comes too late is an update next time
		n, err := b.db.Affect(ctx, update, args...)
		if err != nil || n > 0 {
			return err
		}
		_, err = b.db.Affect(ctx, insert, args...)
		if sqldialect.Classify(err) == sqldialect.Conflict {
			if conflicts++; conflicts > mostConflicts {
				return fmt.Errorf("the table takes group id %.60q for that of another group: %w", group.ID, celeryresults.ErrBadID)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("dbbackend: save group: %w", err)
	}
	return nil
}

func (b *DatabaseBackend) checkGroup(ctx context.Context, groupID string) error {
	if groupID == "" {
		return celeryresults.ErrNoTaskID
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	return l.checkGroup(groupID)
}

// RestoreGroup implements celeryresults.Grouper. A group expires as a SUCCESS
// does, after it was last saved.
func (b *DatabaseBackend) RestoreGroup(ctx context.Context, groupID string) (celeryresults.ResultTuple, error) {
	if err := b.checkGroup(ctx, groupID); err != nil {
		return celeryresults.ResultTuple{}, err
	}
	q := b.dialect.Rebind(`SELECT result, content_type, content_encoding, date_done FROM ` + groupTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1"))
	var result []byte
	var contentType, contentEncoding string
	var done time.Time
	err := b.retry(ctx, func() error {
		return b.from(groupID).Row(ctx, q, []any{groupID}, &result, &contentType, &contentEncoding, b.scanTime(&done))
	})
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && b.expiry.expired(celeryresults.Success, done, b.now()):
		return celeryresults.ResultTuple{}, fmt.Errorf("%w %q", celeryresults.ErrUnknownGroup, groupID)
	case err != nil:
		return celeryresults.ResultTuple{}, fmt.Errorf("dbbackend: restore group: %w", err)
	}
	return b.readGroup(groupID, result, contentType, contentEncoding)
}

func (b *DatabaseBackend) readGroup(groupID string, result []byte, contentType, contentEncoding string) (celeryresults.ResultTuple, error) {
	codec, err := b.codecOf(contentType)
	d := decoder{codec: codec, err: err, binary: contentEncoding == "binary"}
	data, err := d.bytes(result)
	if err != nil {
		return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: groupID, Err: err}
	}
	documents := b.documents
	documents.Codec = codec
	return documents.ReadTuple(groupID, data)
}

// Tally implements celeryresults.Tallier, by the column group_id. Tables without it
// are errors.ErrUnsupported; see MissingColumns.
func (b *DatabaseBackend) Tally(ctx context.Context, groupID string) (celeryresults.Progress, error) {
	if err := b.checkGroup(ctx, groupID); err != nil {
		return celeryresults.Progress{}, err
	}
	if _, there := b.layout.Load().width["group_id"]; !there {
		return celeryresults.Progress{}, fmt.Errorf("dbbackend: tally: table %s has no column group_id, which celery-results migrate --alter adds: %w", taskTable, errors.ErrUnsupported)
	}
	args := append([]any{groupID}, b.expiry.args(b.now(), b.dialect.Time)...)
	q := b.dialect.Rebind(`SELECT t.status, CASE WHEN ` + b.expiry.condition("t.", 2) + ` THEN 1 ELSE 0 END AS expired, COUNT(*) FROM ` + taskTable +
		` t WHERE ` + b.dialect.SameKey("t.group_id", "$1") + ` GROUP BY 1, 2`)
	var p celeryresults.Progress
	err := b.retry(ctx, func() error {
		p = celeryresults.Progress{}
		return b.from(groupID).Rows(ctx, q, args, func(scan func(...any) error) error {
			var status celeryresults.Status
			var n int
			if err := scan(&status.State, &status.Expired, &n); err != nil {
				return err
			}
			if status.Expired {
				status.State = celeryresults.Pending
			}
			p.Total += n
			p.Add(status, n)
			return nil
		})
	})
	if err != nil {
		return celeryresults.Progress{}, fmt.Errorf("dbbackend: tally: %w", err)
	}
	return p, nil
}

// DeleteGroup implements celeryresults.Grouper.
func (b *DatabaseBackend) DeleteGroup(ctx context.Context, groupID string) error {
	if err := b.checkGroup(ctx, groupID); err != nil {
		return err
	}
	defer b.recent.add(groupID)
	q := b.dialect.Rebind(`DELETE FROM ` + groupTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1"))
	if err := b.change(ctx, q, groupID); err != nil {
		return fmt.Errorf("dbbackend: delete group: %w", err)
	}
	return nil
}

// change runs a statement that can be applied twice.
func (b *DatabaseBackend) change(ctx context.Context, q sqldialect.Query, args ...any) error {
	return b.retry(ctx, func() error {
		_, err := b.db.Affect(ctx, q, args...)
		return err
	})
}
