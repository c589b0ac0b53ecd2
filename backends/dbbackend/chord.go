package dbbackend

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// A chord is a row with the number of members that are missing, and a row for each
// member. A chord that was handed over has handedOver missing members, and its
// date_created says when: it stays as a mark for as long as results do.
//
// Whoever changes members has locked the chord's row first: two who report at once wait
// for one another in one order.

// handedOver is the number of missing members of a chord that was handed over.
const handedOver = -1

// membersPerStatement is how many members a statement inserts.
const membersPerStatement = 250

// chords returns the layout, or why there are no chords of the id.
func (b *DatabaseBackend) chords(ctx context.Context, chordIDs ...string) (*layout, error) {
	l, err := b.tables(ctx)
	if err == nil {
		err = l.checkChords(chordIDs...)
	}
	return l, err
}

func (l *layout) checkChords(chordIDs ...string) error {
	if !l.chords {
		return fmt.Errorf("dbbackend: chords: there is no table %s; celery-results migrate makes it: %w", chordTable, errors.ErrUnsupported)
	}
	for _, id := range chordIDs {
		if err := l.checkGroup(id); err != nil {
			return err
		}
	}
	return nil
}

// inTx runs f once in a transaction.
func (b *DatabaseBackend) inTx(ctx context.Context, f func(*sqldialect.Tx) error) error {
	return b.explain(ctx, b.db.InTx(ctx, f))
}

// StartChord implements driver.Claimer.
func (b *DatabaseBackend) StartChord(ctx context.Context, c driver.ChordRecord) error {
	l, err := b.chords(ctx, c.ID)
	if err == nil {
		err = l.checkIDs(c.Members)
	}
	if err != nil {
		return err
	}
	codec, err := b.codecOf(c.ContentType)
	if err != nil {
		return err
	}
	insert := b.dialect.Rebind(b.insertNew(chordTable, `(group_id, missing, body, content_type, content_encoding, date_created)
		VALUES ($1, $2, $3, $4, $5, $6)`))
	args := []any{c.ID, len(c.Members), text(codec, c.Body), c.ContentType, codec.ContentEncoding(), b.dialect.Time(b.now())}
	return b.inTx(ctx, func(tx *sqldialect.Tx) error {
		n, err := tx.Affect(ctx, insert, args...)
		if err == nil && n == 0 {
			n, err = b.insertOverMark(ctx, tx, insert, args)
		}
		if err != nil || n == 0 {
			return err // it stands already
		}
		return b.insertMembers(ctx, tx, c)
	})
}

// insertOverMark inserts a chord where the mark of one has expired that has nobody
// cleaned up.
func (b *DatabaseBackend) insertOverMark(ctx context.Context, tx *sqldialect.Tx, insert sqldialect.Query, args []any) (int64, error) {
	expires := b.expiry.of(celeryresults.Success)
	if expires == celeryresults.Never {
		return 0, nil
	}
	mark := b.dialect.Rebind(`DELETE FROM ` + chordTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1") + ` AND missing = $2 AND date_created < $3`)
	n, err := tx.Affect(ctx, mark, args[0], handedOver, b.dialect.Time(b.now().Add(-expires)))
	if err != nil || n == 0 {
		return 0, err
	}
	return tx.Affect(ctx, insert, args...)
}

// insertNew is an INSERT that leaves a row with the same key as it is.
func (b *DatabaseBackend) insertNew(table, rest string) string {
	if b.dialect == sqldialect.MySQL {
		return `INSERT IGNORE INTO ` + table + ` ` + rest
	}
	return `INSERT INTO ` + table + ` ` + rest + ` ON CONFLICT DO NOTHING`
}

func (b *DatabaseBackend) insertMembers(ctx context.Context, tx *sqldialect.Tx, c driver.ChordRecord) error {
	position := 0
	for chunk := range slices.Chunk(c.Members, membersPerStatement) {
		rows := make([]string, len(chunk))
		args := []any{c.ID}
		for i, member := range chunk {
			rows[i] = fmt.Sprintf("($1, $%d, %d)", len(args)+1, position)
			args = append(args, member)
			position++
		}
		q := b.dialect.Rebind(`INSERT INTO ` + memberTable + ` (group_id, task_id, position) VALUES ` + strings.Join(rows, ", "))
		if _, err := tx.Affect(ctx, q, args...); err != nil {
			return err
		}
	}
	return nil
}

// ReadChord implements driver.Claimer.
func (b *DatabaseBackend) ReadChord(ctx context.Context, id string) (driver.ChordRecord, error) {
	c := driver.ChordRecord{ID: id}
	if _, err := b.chords(ctx, id); err != nil {
		return c, err
	}
	var contentEncoding string
	q := b.dialect.Rebind(`SELECT body, content_type, content_encoding FROM ` + chordTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1") + ` AND missing >= 0`)
	err := b.db.Row(ctx, q, []any{id}, &c.Body, &c.ContentType, &contentEncoding)
	if err == nil {
		c.Members, err = b.texts(ctx, b.db, `SELECT task_id FROM `+memberTable+` WHERE `+b.dialect.SameKey("group_id", "$1")+` ORDER BY position`, id)
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return c, driver.ErrNoChord
	case err == nil && contentEncoding == "binary":
		c.Body, err = base64.StdEncoding.AppendDecode(nil, c.Body)
	}
	return c, b.explain(ctx, err)
}

// texts returns the only column of what a statement selects.
func (b *DatabaseBackend) texts(ctx context.Context, s session, statement string, args ...any) (texts []string, err error) {
	err = s.Rows(ctx, b.dialect.Rebind(statement), args, func(scan func(...any) error) error {
		var text string
		err := scan(&text)
		texts = append(texts, text)
		return err
	})
	return texts, err
}

// chordState is what counts of a chord's row.
type chordState struct {
	missing int
	holder  string    // of the claim
	until   time.Time // it holds
}

// lockChord returns a chord's row, which nobody else changes while the transaction
// lasts; one that is not there counts as handed over.
func (b *DatabaseBackend) lockChord(ctx context.Context, tx *sqldialect.Tx, id string) (chordState, error) {
	c := chordState{missing: handedOver}
	q := b.dialect.Rebind(`SELECT missing, COALESCE(claimed_by, ''), claimed_until FROM ` + chordTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1") + b.forUpdate())
	err := tx.Rows(ctx, q, []any{id}, func(scan func(...any) error) error { return scan(&c.missing, &c.holder, b.scanTime(&c.until)) })
	return c, err
}

// forUpdate locks the rows that are selected. On SQLite a transaction has the whole file.
func (b *DatabaseBackend) forUpdate() string {
	if b.dialect == sqldialect.SQLite {
		return ""
	}
	return " FOR UPDATE"
}

// Claim implements driver.Claimer, in one transaction. The clocks of the processes that
// claim must differ by less than the lease.
func (b *DatabaseBackend) Claim(ctx context.Context, id, member, token string, lease time.Duration) (claimed bool, err error) {
	l, err := b.chords(ctx, id)
	if err == nil {
		err = l.checkID(member)
	}
	if err != nil {
		return false, err
	}
	now := b.now()
	err = b.inTx(ctx, func(tx *sqldialect.Tx) error {
		claimed = false
		c, err := b.lockChord(ctx, tx, id)
		if err != nil || c.missing == handedOver {
			return err
		}
		ended := int64(0)
		if member != "" {
			var known bool
			if ended, known, err = b.endMember(ctx, tx, id, member, now); err != nil || !known {
				return err
			}
		}
		claimed = c.missing == int(ended) && (c.holder == "" || c.until.Before(now) || c.holder == token)
		if claimed {
			return b.claim(ctx, tx, id, token, now.Add(lease))
		}
		if ended == 0 {
			return nil
		}
		q := b.dialect.Rebind(`UPDATE ` + chordTable + ` SET missing = missing - 1 WHERE ` + b.dialect.SameKey("group_id", "$1"))
		_, err = tx.Affect(ctx, q, id)
		return err
	})
	return claimed && err == nil, err
}

// claim claims a chord of which nobody is missing any more.
func (b *DatabaseBackend) claim(ctx context.Context, tx *sqldialect.Tx, id, token string, until time.Time) error {
	q := b.dialect.Rebind(`UPDATE ` + chordTable + ` SET missing = 0, claimed_by = $2, claimed_until = $3 WHERE ` + b.dialect.SameKey("group_id", "$1"))
	_, err := tx.Affect(ctx, q, id, token, b.dialect.Time(until))
	return err
}

// endMember notes that a member has ended, and reports whether that is new and whether
// there is such a member.
func (b *DatabaseBackend) endMember(ctx context.Context, tx *sqldialect.Tx, id, member string, now time.Time) (ended int64, known bool, err error) {
	same := b.dialect.SameKey("group_id", "$1") + ` AND ` + b.dialect.SameKey("task_id", "$2")
	q := b.dialect.Rebind(`UPDATE ` + memberTable + ` SET date_reported = $3 WHERE ` + same + ` AND date_reported IS NULL`)
	ended, err = tx.Affect(ctx, q, id, member, b.dialect.Time(now))
	if err != nil || ended > 0 {
		return ended, true, err
	}
	members, err := b.texts(ctx, tx, `SELECT task_id FROM `+memberTable+` WHERE `+same, id, member)
	return 0, len(members) > 0, err
}

// Release implements driver.Claimer.
func (b *DatabaseBackend) Release(ctx context.Context, id, token string, done bool) error {
	if _, err := b.chords(ctx, id); err != nil {
		return err
	}
	same := b.dialect.SameKey("group_id", "$1") + ` AND claimed_by = $2`
	if !done {
		q := b.dialect.Rebind(`UPDATE ` + chordTable + ` SET claimed_by = NULL, claimed_until = NULL WHERE ` + same)
		_, err := b.db.Affect(ctx, q, id, token)
		return b.explain(ctx, err)
	}
	mark := b.dialect.Rebind(`UPDATE ` + chordTable + ` SET missing = $3, body = NULL, claimed_by = NULL, claimed_until = NULL, date_created = $4 WHERE ` + same)
	return b.inTx(ctx, func(tx *sqldialect.Tx) error {
		n, err := tx.Affect(ctx, mark, id, token, handedOver, b.dialect.Time(b.now()))
		if err != nil || n == 0 {
			return err // somebody else has it now
		}
		return b.deleteMembers(ctx, tx, id)
	})
}

// DueChords implements driver.Claimer.
func (b *DatabaseBackend) DueChords(ctx context.Context, most int) ([]string, error) {
	if _, err := b.chords(ctx); err != nil {
		return nil, err
	}
	ids, err := b.texts(ctx, b.db, `SELECT group_id FROM `+chordTable+` WHERE missing = 0 AND (claimed_until IS NULL OR claimed_until < $1) LIMIT $2`,
		b.dialect.Time(b.now()), most)
	return ids, b.explain(ctx, err)
}

// deleteChords removes chords and marks.
func (b *DatabaseBackend) deleteChords(ctx context.Context, l *layout, ids []string) error {
	if err := l.checkChords(); err != nil {
		return err
	}
	q := b.dialect.Rebind(`DELETE FROM ` + chordTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1"))
	for _, id := range ids {
		err := b.db.InTx(ctx, func(tx *sqldialect.Tx) error {
			if _, err := tx.Affect(ctx, q, id); err != nil {
				return err
			}
			return b.deleteMembers(ctx, tx, id)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *DatabaseBackend) deleteMembers(ctx context.Context, tx *sqldialect.Tx, id string) error {
	_, err := tx.Affect(ctx, b.dialect.Rebind(`DELETE FROM `+memberTable+` WHERE `+b.dialect.SameKey("group_id", "$1")), id)
	return err
}

// StartCount makes the counter of a chord as django-celery-results does
// (DatabaseBackend.apply_chord), for members that run in Python or in Go. Its
// rule is Python's: every part that is reported counts, also a second time. A
// counter that stands is left as it is.
func (b *DatabaseBackend) StartCount(ctx context.Context, group celeryresults.ResultTuple, _ int) error {
	if len(group.Children) == 0 {
		return errors.New("a chord needs members")
	}
	members, err := document.JSON(group.Children)
	if err != nil {
		return err
	}
	q := b.dialect.Rebind(b.insertNew(counter, `(group_id, sub_tasks, count) VALUES ($1, $2, $3)`))
	return b.retry(ctx, func() error { // it may be applied twice
		if err := b.checkGroup(ctx, group.ID); err != nil {
			return err
		}
		_, err := b.db.Affect(ctx, q, group.ID, string(members), len(group.Children))
		return err
	})
}

func (b *DatabaseBackend) checkGroup(ctx context.Context, id string) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	return l.checkGroup(id)
}

// AddToCount is errors.ErrUnsupported: django-celery-results has no such thing.
func (b *DatabaseBackend) AddToCount(context.Context, string) error { return errors.ErrUnsupported }

// CountPart counts one member of a chord that Python or StartCount started
// (DatabaseBackend.on_chord_part_return), and returns the group when it was the last.
// As in Python, a body is lost when the process dies between counting and running it.
// When the connection breaks during the commit it is not known whether the part counted,
// and nothing is repeated.
func (b *DatabaseBackend) CountPart(ctx context.Context, groupID string, _ celeryresults.ChordPart) (*celeryresults.ChordParts, error) {
	var parts *celeryresults.ChordParts
	committing := false
	once := func(err error) bool { return !committing || sqldialect.Classify(err) != sqldialect.Disconnected }
	err := b.retryWhile(ctx, once, func() error {
		committing = false
		if err := b.checkGroup(ctx, groupID); err != nil {
			return err
		}
		return b.db.InTx(ctx, func(tx *sqldialect.Tx) (err error) {
			parts, err = b.countPart(ctx, tx, groupID)
			committing = err == nil
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return parts, nil
}

func (b *DatabaseBackend) countPart(ctx context.Context, tx *sqldialect.Tx, groupID string) (*celeryresults.ChordParts, error) {
	same := b.dialect.SameKey("group_id", "$1")
	left, found := 0, false
	var members []byte
	q := b.dialect.Rebind(`SELECT count, sub_tasks FROM ` + counter + ` WHERE ` + same + b.forUpdate())
	err := tx.Rows(ctx, q, []any{groupID}, func(scan func(...any) error) error {
		found = true
		return scan(&left, &members)
	})
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fmt.Errorf("%w %q", celeryresults.ErrUnknownChord, groupID)
	case left > 1:
		_, err = tx.Affect(ctx, b.dialect.Rebind(`UPDATE `+counter+` SET count = count - 1 WHERE `+same), groupID)
		return nil, err
	}
	_, err = tx.Affect(ctx, b.dialect.Rebind(`DELETE FROM `+counter+` WHERE `+same), groupID)
	return &celeryresults.ChordParts{Group: &celeryresults.ResultTuple{ID: groupID, Children: document.TuplesOf(members)}}, err
}
