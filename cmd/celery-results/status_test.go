package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
)

func TestEveryErrorHasItsStatus(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"no server":                   {refused, statusUnreachable},
		"no time left":                {context.DeadlineExceeded, statusUnreachable},
		"a full PostgreSQL":           {&pgconn.PgError{Code: "53300"}, statusUnreachable},
		"a password that is wrong":    {&mysql.MySQLError{Number: 1045, SQLState: [5]byte([]byte("28000"))}, statusUnreachable},
		"no tables":                   {fmt.Errorf("%w: make it: %w", celeryresults.ErrNoTable, errors.New("42P01")), statusUsage},
		"a value for PostgreSQL":      {&pgconn.PgError{Code: "22021"}, statusUsage},
		"a value for MySQL":           {&mysql.MySQLError{Number: 1406, SQLState: [5]byte([]byte("22001"))}, statusUsage},
		"a character set of MySQL's":  {&mysql.MySQLError{Number: 1366, SQLState: [5]byte([]byte("HY000"))}, statusUsage},
		"a value over the limit":      {fmt.Errorf("%w: %w", cache.ErrTooLarge, refused), statusUsage},
		"an id that can't be a key":   {fmt.Errorf("dbbackend: task id %w: %w", errors.New("is long"), celeryresults.ErrBadID), statusUsage},
		"a record that stands":        {&celeryresults.RefusedError{TaskID: "a"}, statusRefused},
		"a group that is not there":   {celeryresults.ErrUnknownGroup, statusUnknown},
		"a chord that is not there":   {fmt.Errorf("%w %q", celeryresults.ErrUnknownChord, "a"), statusUnknown},
		"a backend without groups":    {errors.ErrUnsupported, statusUsage},
		"a record that is none":       {&celeryresults.UnreadableError{ID: "a", Err: errors.New("status")}, statusFailed},
		"an interrupt by the program": {context.Canceled, statusFailed},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tc.want, statusOf(tc.err))
			for _, outcome := range []celeryresults.Outcome{celeryresults.OutcomeNotStored, celeryresults.OutcomeUnknown} {
				stored := fmt.Errorf("store: %w", &celeryresults.StoreError{TaskID: "a", Outcome: outcome, Err: tc.err})
				assert.Equal(t, tc.want, statusOf(stored), "what a store says")
			}
		})
	}
}

func TestOnlyJoinedErrorsAreReportedApart(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	assert.Equal(t, []error{one, two}, joined(errors.Join(one, two)))
	assert.Nil(t, joined(fmt.Errorf("%w: %w", one, two)))
	assert.Nil(t, joined(one))
}
