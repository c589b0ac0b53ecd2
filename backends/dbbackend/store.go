package dbbackend

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// Put implements driver.Store. Results of tasks go together, with their labels in the
// same transaction, and groups one by one after them.
func (b *DatabaseBackend) Put(ctx context.Context, writes []*driver.Write) {
	b.stored.Add(int64(len(writes)))
	defer b.recent.addWrites(writes)
	l, err := b.tables(ctx)
	if err == nil {
		err = b.onConnection(ctx, l, func(timed context.Context, conn connection) {
			tasks := tasksAmong(writes)
			if len(tasks) > 0 {
				b.answer(ctx, tasks, b.putTasks(timed, conn, l, tasks))
			}
			if len(tasks) == len(writes) {
				return
			}
			for i, w := range writes {
				if w.Kind != driver.Task {
					b.answer(ctx, writes[i:i+1], b.putGroup(timed, conn, w))
				}
			}
		})
	}
	if err == nil {
		return
	}
	err = b.explain(ctx, err)
	for _, w := range writes { // nothing was sent
		w.Answer = driver.Answer{Outcome: driver.NotStored, Err: err}
	}
}

// tasksAmong returns the writes of tasks, nearly always all of them.
func tasksAmong(writes []*driver.Write) []*driver.Write {
	other := func(w *driver.Write) bool { return w.Kind != driver.Task }
	if !slices.ContainsFunc(writes, other) {
		return writes
	}
	return slices.DeleteFunc(slices.Clone(writes), other)
}

// answer answers the writes that have no answer yet and were sent in vain.
func (b *DatabaseBackend) answer(ctx context.Context, writes []*driver.Write, err error) {
	if err == nil {
		return
	}
	answer := driver.Answer{Outcome: driver.NotStored, Err: b.explain(ctx, err)}
	switch condition := sqldialect.Classify(err); {
	case condition == sqldialect.Disconnected,
		condition == sqldialect.Other && (errors.Is(err, context.DeadlineExceeded) || over(ctx) != nil):
		answer.Outcome = driver.Unknown
	}
	for _, w := range writes {
		if w.Answer == (driver.Answer{}) {
			w.Answer = answer
		}
	}
}

// connection is a database, or one connection of it.
type connection interface {
	session
	InTx(ctx context.Context, f func(*sqldialect.Tx) error) error
}

// onConnection runs f with a connection, so that what fails before, for want of
// one, is known to have changed nothing, and with a context that ends some time.
// SQLite's driver does not tell what became of a statement that its context ended:
// there they are short, and not ended.
func (b *DatabaseBackend) onConnection(ctx context.Context, l *layout, f func(context.Context, connection)) error {
	if _, ends := ctx.Deadline(); !ends {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, celeryresults.Patience)
		defer cancel()
	}
	if err := b.db.Prepare(ctx, l.put.kept()...); err != nil { // there may be but one connection
		return err
	}
	return b.db.OnConn(ctx, func(conn *sqldialect.Conn) error {
		if b.dialect == sqldialect.SQLite {
			ctx = context.WithoutCancel(ctx)
		}
		f(ctx, conn)
		return nil
	})
}

// putTasks stores what may be stored, and finds out why the rest was not. Beside an
// error, those have an answer that are stored for certain.
func (b *DatabaseBackend) putTasks(ctx context.Context, conn connection, l *layout, writes []*driver.Write) error {
	perhaps, err := b.putLabelled(ctx, conn, l, writes)
	if err != nil {
		return err
	}
	for i, w := range writes {
		if w.Answer.Outcome != driver.Stored {
			return b.refuse(ctx, conn, writes[i:], perhaps)
		}
	}
	return nil
}

// putLabelled stores results and their labels, in one transaction where there are any.
func (b *DatabaseBackend) putLabelled(ctx context.Context, conn connection, l *layout, writes []*driver.Write) (perhaps []*driver.Write, err error) {
	labelled := l.labels && slices.ContainsFunc(writes, func(w *driver.Write) bool { return len(entryOf(w).labels) > 0 })
	if b.dialect != sqldialect.SQLite && !labelled {
		return b.put(ctx, conn, l, writes)
	}
	err = conn.InTx(ctx, func(tx *sqldialect.Tx) error {
		if perhaps, err = b.put(ctx, tx, l, writes); err != nil || !labelled {
			return err
		}
		return b.putLabels(ctx, tx, writes, perhaps)
	})
	if err != nil {
		forgetAnswers(writes)
	}
	return perhaps, err
}

// refuse answers the writes that are not stored because other records stand. One that
// is repeated finds itself in the table if it had happened.
func (b *DatabaseBackend) refuse(ctx context.Context, conn session, writes, perhaps []*driver.Write) error {
	rest := slices.DeleteFunc(slices.Clone(writes), func(w *driver.Write) bool { return w.Answer.Outcome == driver.Stored })
	standing, err := b.standing(ctx, conn, rest)
	if err != nil {
		return err
	}
	for _, w := range rest {
		s, found := standing[w.ID]
		unsure := slices.Contains(perhaps, w)
		switch {
		case (w.Repeated || unsure) && s.is(entryOf(w)):
			w.Answer.Outcome = driver.Stored
		case found && !b.mayReplace(w, s):
			w.Answer = driver.Answer{Outcome: driver.Refused, Stands: s.state}
		case unsure:
			w.Answer.Err = &driver.Again{Err: errChanged, Conflict: true}
		default:
			w.Answer = driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: errChanged, Conflict: true}}
		}
	}
	return nil
}

// mayReplace is the condition of the statements, in Go.
func (b *DatabaseBackend) mayReplace(w *driver.Write, s standing) bool {
	return b.expiry.expired(s.state, s.written, b.now()) || w.Power.Over(s.state)
}

// standing is what counts of a record that stands.
type standing struct {
	id      int64
	state   celeryresults.State
	written time.Time
	result  string
}

// is reports whether the record is what was to be stored.
func (s standing) is(e *entry) bool {
	return s.state == e.state && s.result == e.result && s.written.Equal(e.done.Truncate(sqldialect.Precision))
}

func (b *DatabaseBackend) standing(ctx context.Context, s session, writes []*driver.Write) (map[string]standing, error) {
	ids := make([]string, len(writes))
	for i, w := range writes {
		ids[i] = w.ID
	}
	found := make(map[string]standing, len(ids))
	in, args := b.dialect.In("t.task_id", 1, ids)
	q := b.dialect.Rebind(`SELECT t.id, t.task_id, t.status, t.date_done, t.result FROM ` + taskTable + ` t WHERE ` + in)
	err := s.Rows(ctx, q, args, func(scan func(...any) error) error {
		var id string
		var s standing
		var result *string
		if err := scan(&s.id, &id, &s.state, b.scanTime(&s.written), &result); err != nil {
			return err
		}
		if result != nil {
			s.result = *result
		}
		found[id] = s
		return nil
	})
	return found, err
}
