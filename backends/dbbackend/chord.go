package dbbackend

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// membersPerStatement is how many members a statement inserts.
const membersPerStatement = 250

// StartChord implements celeryresults.Chorder.
func (b *DatabaseBackend) StartChord(ctx context.Context, chord celeryresults.Chord) error {
	if err := b.checkChord(ctx, chord.ID); err != nil {
		return err
	}
	if err := b.checkMembers(chord.Members); err != nil {
		return fmt.Errorf("dbbackend: start chord %q: %w", chord.ID, err)
	}
	codec := b.documents.Codec
	body, err := codec.Append(nil, keyvalue.Unboxed(chord.Body))
	if err != nil {
		return fmt.Errorf("dbbackend: start chord %q: body: %w", chord.ID, err)
	}
	insert := b.dialect.Rebind(b.insertNew(chordTable, `(group_id, missing, body, content_type, content_encoding, date_created)
		VALUES ($1, $2, $3, $4, $5, $6)`))
	args := []any{chord.ID, len(chord.Members), text(codec, body), codec.ContentType(), codec.ContentEncoding(), b.dialect.Time(b.now())}
	err = b.retry(ctx, func() error {
		return b.db.InTx(ctx, func(tx *sqldialect.Tx) error {
			n, err := tx.Affect(ctx, insert, args...)
			if err != nil || n == 0 {
				return err // it stands already
			}
			return b.insertMembers(ctx, tx, chord)
		})
	})
	if err != nil {
		return fmt.Errorf("dbbackend: start chord: %w", err)
	}
	return nil
}

// insertNew is an INSERT that leaves a row with the same key as it is.
func (b *DatabaseBackend) insertNew(table, rest string) string {
	if b.dialect == sqldialect.MySQL {
		return `INSERT IGNORE INTO ` + table + ` ` + rest
	}
	return `INSERT INTO ` + table + ` ` + rest + ` ON CONFLICT DO NOTHING`
}

func (b *DatabaseBackend) insertMembers(ctx context.Context, tx *sqldialect.Tx, chord celeryresults.Chord) error {
	position := 0
	for chunk := range slices.Chunk(chord.Members, membersPerStatement) {
		rows := make([]string, len(chunk))
		args := []any{chord.ID}
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

func (b *DatabaseBackend) checkMembers(members []string) error {
	if len(members) == 0 {
		return errors.New("a chord needs members")
	}
	seen := make(map[string]bool, len(members))
	for _, id := range members {
		if seen[id] {
			return fmt.Errorf("member %q is there twice", id)
		}
		seen[id] = true
	}
	return b.layout.Load().checkIDs(members)
}

func (b *DatabaseBackend) checkChord(ctx context.Context, chordID string) error {
	if err := b.checkGroup(ctx, chordID); err != nil {
		return err
	}
	if !b.layout.Load().chords {
		return fmt.Errorf("dbbackend: chords: there is no table %s; celery-results migrate makes it: %w", chordTable, errors.ErrUnsupported)
	}
	return nil
}

// ReportPart implements celeryresults.Chorder. The body is handed over under a
// claim (see Options.ChordLease), which is renewed while that takes longer.
func (b *DatabaseBackend) ReportPart(ctx context.Context, chordID, taskID string, body celeryresults.ChordBody) error {
	if err := b.checkChord(ctx, chordID); err != nil {
		return err
	}
	if err := b.layout.Load().checkID(taskID); err != nil {
		return err
	}
	token := rand.Text()
	claimed, err := b.report(ctx, chordID, taskID, token)
	if err != nil {
		return fmt.Errorf("dbbackend: report part: %w", err)
	}
	if !claimed {
		return nil
	}
	return b.handOver(ctx, chordID, token, body)
}

// report notes the member and, when none is missing, claims the chord, in one
// transaction. The claim's token stays the same if that is repeated, so that a
// claim whose confirmation was lost is found again.
func (b *DatabaseBackend) report(ctx context.Context, chordID, taskID, token string) (claimed bool, err error) {
	member := b.dialect.Rebind(`UPDATE ` + memberTable + ` SET date_reported = $1
		WHERE ` + b.dialect.SameKey("group_id", "$2") + ` AND ` + b.dialect.SameKey("task_id", "$3") + ` AND date_reported IS NULL`)
	now := b.now()
	err = b.retry(ctx, func() error {
		return b.db.InTx(ctx, func(tx *sqldialect.Tx) error {
			first, err := tx.Affect(ctx, member, b.dialect.Time(now), chordID, taskID)
			if err != nil {
				return err
			}
			claimed, err = b.claim(ctx, tx, chordID, token, first)
			return err
		})
	})
	return claimed, err
}

// claim counts members that were reported, and claims the chord if none is
// missing and nobody has claimed it.
func (b *DatabaseBackend) claim(ctx context.Context, s session, chordID, token string, reported int64) (bool, error) {
	now := b.now()
	free := `missing = $2 AND (claimed_until IS NULL OR claimed_until < $3 OR claimed_by = $4)`
	// MySQL's assignments see the ones before them: missing goes last.
	q := b.dialect.Rebind(`UPDATE ` + chordTable + ` SET
		claimed_by = CASE WHEN ` + free + ` THEN $4 ELSE claimed_by END,
		claimed_until = CASE WHEN ` + free + ` THEN $5 ELSE claimed_until END,
		missing = missing - $2
		WHERE ` + b.dialect.SameKey("group_id", "$1"))
	_, err := s.Affect(ctx, q, chordID, reported, b.dialect.Time(now), token, b.dialect.Time(now.Add(b.lease)))
	if err != nil {
		return false, err
	}
	holder := ""
	owner := b.dialect.Rebind(`SELECT COALESCE(claimed_by, '') FROM ` + chordTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1"))
	err = s.Rows(ctx, owner, []any{chordID}, func(scan func(...any) error) error { return scan(&holder) })
	return holder == token, err
}

// handOver calls body for a chord that is claimed, and removes the chord, or
// gives the claim back when that fails.
func (b *DatabaseBackend) handOver(ctx context.Context, chordID, token string, body celeryresults.ChordBody) error {
	err := b.callBody(ctx, chordID, token, body)
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		return errors.Join(err, b.release(ctx, chordID, token))
	}
	if err := b.dropChord(ctx, chordID, token); err != nil {
		return fmt.Errorf("dbbackend: confirm chord %q, whose body was handed over: %w", chordID, err)
	}
	return nil
}

func (b *DatabaseBackend) callBody(ctx context.Context, chordID, token string, body celeryresults.ChordBody) error {
	if body == nil {
		return errors.New("dbbackend: chord: no body to call")
	}
	stop := b.renew(ctx, chordID, token)
	defer stop() // also when body panics
	chord, err := b.readChord(ctx, chordID)
	if err != nil {
		return fmt.Errorf("dbbackend: chord: %w", err)
	}
	results, err := b.memberResults(ctx, chord.Members)
	if err != nil {
		return fmt.Errorf("dbbackend: chord: %w", err)
	}
	return body(ctx, chord, results)
}

// memberResults reads results where they were stored: a replica may not have
// those of the last members yet. A record that is no result is unknown.
func (b *DatabaseBackend) memberResults(ctx context.Context, members []string) ([]*celeryresults.TaskMeta, error) {
	results, err := b.find(ctx, b.db, members)
	if results == nil {
		return nil, err
	}
	fillUnknown(results, members, nil)
	return results, nil
}

// renew keeps a claim while its body is handed over, until stop is called.
func (b *DatabaseBackend) renew(ctx context.Context, chordID, token string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(b.lease / 4)
		defer tick.Stop()
		q := b.dialect.Rebind(`UPDATE ` + chordTable + ` SET claimed_until = $1 WHERE ` + b.dialect.SameKey("group_id", "$2") + ` AND claimed_by = $3`)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = b.change(ctx, q, b.dialect.Time(b.now().Add(b.lease)), chordID, token) // the next tick tries again
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (b *DatabaseBackend) release(ctx context.Context, chordID, token string) error {
	q := b.dialect.Rebind(`UPDATE ` + chordTable + ` SET claimed_by = NULL, claimed_until = NULL
		WHERE ` + b.dialect.SameKey("group_id", "$1") + ` AND claimed_by = $2`)
	return b.change(ctx, q, chordID, token)
}

func (b *DatabaseBackend) readChord(ctx context.Context, chordID string) (celeryresults.Chord, error) {
	chord := celeryresults.Chord{ID: chordID}
	var body []byte
	var contentType, contentEncoding string
	q := b.dialect.Rebind(`SELECT body, content_type, content_encoding FROM ` + chordTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1"))
	members := b.dialect.Rebind(`SELECT task_id FROM ` + memberTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1") + ` ORDER BY position`)
	err := b.retry(ctx, func() error {
		chord.Members = nil
		if err := b.db.Row(ctx, q, []any{chordID}, &body, &contentType, &contentEncoding); err != nil {
			return err
		}
		return b.db.Rows(ctx, members, []any{chordID}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			chord.Members = append(chord.Members, id)
			return err
		})
	})
	codec, broken := b.codecOf(contentType)
	d := decoder{codec: codec, err: broken, binary: contentEncoding == "binary"}
	chord.Body = d.value(body)
	return chord, err
}

// SweepChords implements celeryresults.Chorder. A body that fails is left for the
// next sweep, and its error joined to the others.
func (b *DatabaseBackend) SweepChords(ctx context.Context, body celeryresults.ChordBody) (int, error) {
	if err := b.checkChord(ctx, "sweep"); err != nil {
		return 0, err
	}
	q := b.dialect.Rebind(`SELECT group_id FROM ` + chordTable + ` WHERE missing = 0 AND (claimed_until IS NULL OR claimed_until < $1)`)
	var ids []string
	err := b.retry(ctx, func() error {
		ids = nil
		return b.db.Rows(ctx, q, []any{b.dialect.Time(b.now())}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("dbbackend: sweep chords: %w", err)
	}
	fired := 0
	var errs []error
	for _, id := range ids {
		done, err := b.sweepChord(ctx, id, body)
		if done {
			fired++
		}
		errs = append(errs, err)
	}
	return fired, errors.Join(errs...)
}

func (b *DatabaseBackend) sweepChord(ctx context.Context, chordID string, body celeryresults.ChordBody) (bool, error) {
	token := rand.Text()
	claimed := false
	err := b.retry(ctx, func() (err error) {
		claimed, err = b.claim(ctx, b.db, chordID, token, 0)
		return err
	})
	if err != nil || !claimed {
		return false, err
	}
	err = b.handOver(ctx, chordID, token, body)
	return err == nil, err
}

// DeleteChord implements celeryresults.Chorder.
func (b *DatabaseBackend) DeleteChord(ctx context.Context, chordID string) error {
	if err := b.checkChord(ctx, chordID); err != nil {
		return err
	}
	if err := b.dropChord(ctx, chordID, ""); err != nil {
		return fmt.Errorf("dbbackend: delete chord: %w", err)
	}
	return nil
}

// dropChord removes a chord, or with a token only one that it has claimed.
func (b *DatabaseBackend) dropChord(ctx context.Context, chordID, token string) error {
	chord := b.dialect.Rebind(`DELETE FROM ` + chordTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1") + ` AND ($2 = '' OR claimed_by = $2)`)
	members := b.dialect.Rebind(`DELETE FROM ` + memberTable + ` WHERE ` + b.dialect.SameKey("group_id", "$1"))
	return b.retry(ctx, func() error {
		return b.db.InTx(ctx, func(tx *sqldialect.Tx) error {
			n, err := tx.Affect(ctx, chord, chordID, token)
			if err != nil || n == 0 && token != "" {
				return err // somebody else has it now
			}
			_, err = tx.Affect(ctx, members, chordID)
			return err
		})
	})
}

// StartChordCounter makes the counter of a chord as django-celery-results does
// (DatabaseBackend.apply_chord), for members that run in Python or in Go. Its
// rule is Python's: every part that is reported counts, also a second time. A
// counter that stands is left as it is.
func (b *DatabaseBackend) StartChordCounter(ctx context.Context, group celeryresults.ResultTuple) error {
	if err := b.checkGroup(ctx, group.ID); err != nil {
		return err
	}
	if len(group.Children) == 0 {
		return fmt.Errorf("dbbackend: start chord counter %q: a chord needs members", group.ID)
	}
	members, err := keyvalue.JSON(group.Children)
	if err != nil {
		return fmt.Errorf("dbbackend: start chord counter %q: %w", group.ID, err)
	}
	q := b.dialect.Rebind(b.insertNew(counter, `(group_id, sub_tasks, count) VALUES ($1, $2, $3)`))
	if err := b.change(ctx, q, group.ID, string(members), len(group.Children)); err != nil {
		return fmt.Errorf("dbbackend: start chord counter: %w", err)
	}
	return nil
}

// CountChordPart counts one member of a chord that Python or StartChordCounter
// started (DatabaseBackend.on_chord_part_return): Python's workers and Go's can
// count the same chord. Whoever gets Left 0 runs the body. As in Python, a body is
// lost when the process dies between counting and running it. When the connection
// breaks during the commit it is not known whether the part counted, and nothing is
// repeated.
func (b *DatabaseBackend) CountChordPart(ctx context.Context, groupID string) (celeryresults.ChordCount, error) {
	if err := b.checkGroup(ctx, groupID); err != nil {
		return celeryresults.ChordCount{}, err
	}
	var count celeryresults.ChordCount
	err := b.retryOnce(ctx, func(tx *sqldialect.Tx) (err error) {
		count, err = b.countPart(ctx, tx, groupID)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return celeryresults.ChordCount{}, fmt.Errorf("%w %q", celeryresults.ErrUnknownChord, groupID)
	}
	if err != nil {
		return celeryresults.ChordCount{}, fmt.Errorf("dbbackend: count chord part: %w", err)
	}
	return count, nil
}

func (b *DatabaseBackend) countPart(ctx context.Context, tx *sqldialect.Tx, groupID string) (celeryresults.ChordCount, error) {
	same, lock := b.dialect.SameKey("group_id", "$1"), " FOR UPDATE"
	if b.dialect == sqldialect.SQLite { // the transaction has the whole file
		lock = ""
	}
	count, found := celeryresults.ChordCount{Group: celeryresults.ResultTuple{ID: groupID}}, false
	var members []byte
	err := tx.Rows(ctx, b.dialect.Rebind(`SELECT count, sub_tasks FROM `+counter+` WHERE `+same+lock), []any{groupID}, func(scan func(...any) error) error {
		found = true
		return scan(&count.Left, &members)
	})
	switch {
	case err != nil:
		return count, err
	case !found:
		return count, sql.ErrNoRows
	}
	count.Left--
	count.Group.Children = keyvalue.TuplesOf(members)
	q := b.dialect.Rebind(`UPDATE ` + counter + ` SET count = count - 1 WHERE ` + same)
	if count.Left <= 0 {
		q = b.dialect.Rebind(`DELETE FROM ` + counter + ` WHERE ` + same)
	}
	_, err = tx.Affect(ctx, q, groupID)
	return count, err
}
