package dbbackend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// channel is the PostgreSQL channel on which stores tell the id of their task.
const channel = "celeryresults"

// linger is how long a connection goes on listening when nobody waits any more.
const linger = 5 * time.Second

// The pauses before a connection that broke is replaced.
const (
	firstRelisten = 50 * time.Millisecond
	lastRelisten  = 2 * time.Second
)

// listener is the driver.Pusher of a PostgreSQL database: one connection listens for all
// who wait. It has a goroutine only while somebody waits, and shortly after.
type listener struct {
	b  *DatabaseBackend
	to driver.Sink

	mu      sync.Mutex
	ids     map[string]bool // that are waited for; guarded by mu, as all that follows
	live    bool            // the connection listens
	cancel  context.CancelFunc
	running bool
	closed  bool
	useless bool // the driver can't listen
	done    sync.WaitGroup
}

// Listen implements driver.Pusher.
func (l *listener) Listen(to driver.Sink) { l.to = to }

// Watch implements driver.Pusher.
func (l *listener) Watch(ids []string) {
	l.mu.Lock()
	for _, id := range ids {
		l.ids[id] = true
	}
	live := l.live
	if l.b.db.Stats().MaxOpenConnections == 1 {
		l.useless = true // it would keep everybody else waiting
	}
	if !l.running && !l.closed && !l.useless {
		var ctx context.Context
		ctx, l.cancel = context.WithCancel(context.Background())
		l.running = true
		l.done.Add(1)
		go l.run(ctx)
	}
	l.mu.Unlock()
	if live {
		l.to.Live(ids...)
	}
}

// Unwatch implements driver.Pusher.
func (l *listener) Unwatch(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		delete(l.ids, id)
	}
	if len(l.ids) == 0 && l.running {
		time.AfterFunc(linger, l.stopIfIdle)
	}
}

func (l *listener) stopIfIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ids) == 0 && l.running {
		l.cancel()
	}
}

// run listens until it is stopped.
func (l *listener) run(ctx context.Context) {
	defer l.done.Done()
	pause := firstRelisten
	for {
		err := sqldialect.Listen(ctx, l.b.db.DB, channel, func() {
			pause = firstRelisten
			l.to.Live(l.listens()...)
		}, func(id string) {
			l.b.recent.add(id) // a replica may not have it yet
			l.to.Changed(id)
		})
		if l.ended(ctx, err) {
			return
		}
		l.to.Lost()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, lastRelisten)
	}
}

// listens notes that the connection listens and returns who waits.
func (l *listener) listens() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = true
	return slices.Collect(maps.Keys(l.ids))
}

// ended notes that the connection does not listen, and reports whether that is to
// stay so.
func (l *listener) ended(ctx context.Context, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = false
	l.useless = l.useless || errors.Is(err, errors.ErrUnsupported)
	if ctx.Err() != nil && len(l.ids) > 0 && !l.closed { // somebody came while it was stopped
		ctx, l.cancel = context.WithCancel(context.Background())
		l.done.Add(1)
		go l.run(ctx)
		return true
	}
	l.running = ctx.Err() == nil && !l.useless
	return !l.running
}

// close ends listening, and waits for that.
func (l *listener) close() {
	l.mu.Lock()
	l.closed = true
	if l.running {
		l.cancel()
	}
	l.mu.Unlock()
	l.done.Wait()
}

// trigger makes whoever writes a row tell so, Python included.
var trigger = []string{
	`CREATE OR REPLACE FUNCTION celeryresults_notify() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_notify(''` + channel + `'', NEW.task_id); RETURN NULL; END'`,
	`DROP TRIGGER IF EXISTS celeryresults_notify ON ` + taskTable,
	`CREATE TRIGGER celeryresults_notify AFTER INSERT OR UPDATE ON ` + taskTable + ` FOR EACH ROW EXECUTE FUNCTION celeryresults_notify()`,
}

// makeTrigger makes the trigger, in one transaction.
func makeTrigger(ctx context.Context, db *sqldialect.DB) error {
	if db.Dialect != sqldialect.PostgreSQL {
		return fmt.Errorf("a notify trigger is for postgresql, not for %s: %w", db.Dialect.Name(), errors.ErrUnsupported)
	}
	return sqldialect.Retry(ctx, sqldialect.Repeatable, func() error {
		return db.InTx(ctx, func(tx *sqldialect.Tx) error {
			for _, statement := range trigger {
				if _, err := tx.Affect(ctx, sqldialect.Query{Text: statement}); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
