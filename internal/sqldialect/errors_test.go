package sqldialect_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// code is an error as SQLite's driver makes them.
type code int

func (c code) Error() string { return fmt.Sprint("sqlite: ", int(c)) }
func (c code) Code() int     { return int(c) }

func TestErrorsAreClassified(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want sqldialect.Condition
	}{
		{nil, sqldialect.Other},
		{errors.New("something else"), sqldialect.Other},
		{context.Canceled, sqldialect.Other},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), sqldialect.Other},
		{driver.ErrBadConn, sqldialect.Transient},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, sqldialect.Transient},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, sqldialect.Disconnected},
		{fmt.Errorf("query: %w", io.ErrUnexpectedEOF), sqldialect.Disconnected},

		{&pgconn.PgError{Code: "23505"}, sqldialect.Conflict},
		{&pgconn.PgError{Code: "42P07"}, sqldialect.Conflict},
		{&pgconn.PgError{Code: "40001"}, sqldialect.Transient},
		{&pgconn.PgError{Code: "40P01"}, sqldialect.Transient},
		{&pgconn.PgError{Code: "57P01"}, sqldialect.Transient},
		{&pgconn.PgError{Code: "57P02"}, sqldialect.Disconnected},
		{&pgconn.PgError{Code: "08006"}, sqldialect.Disconnected},
		{&pgconn.PgError{Code: "54000"}, sqldialect.TooLarge},
		{&pgconn.PgError{Code: "42601"}, sqldialect.Other},
		{&pgconn.PgError{Code: ""}, sqldialect.Other},
		{pgconn.ErrConnClosed, sqldialect.Disconnected},

		{&mysql.MySQLError{Number: 1062, SQLState: [5]byte([]byte("23000"))}, sqldialect.Conflict},
		{fmt.Errorf("exec: %w", &mysql.MySQLError{Number: 1213, Message: "Deadlock"}), sqldialect.Transient},
		{&mysql.MySQLError{Number: 1205}, sqldialect.Transient},
		{&mysql.MySQLError{Number: 1153}, sqldialect.TooLarge},
		{&mysql.MySQLError{Number: 1064, Message: "database is locked"}, sqldialect.Other},
		{&mysql.MySQLError{Number: 1105, Message: "Parameter of prepared statement which is set through mysql_send_long_data() is longer than 'max_allowed_packet' bytes"}, sqldialect.TooLarge},
		{&mysql.MySQLError{Number: 1105, Message: "something else"}, sqldialect.Other},
		{mysql.ErrInvalidConn, sqldialect.Disconnected},
		{mysql.ErrPktTooLarge, sqldialect.TooLarge},

		{code(5), sqldialect.Locked},
		{code(5 | 2<<8), sqldialect.Locked},
		{code(6), sqldialect.Locked},
		{code(2067), sqldialect.Conflict},
		{code(1555), sqldialect.Conflict},
		{code(18), sqldialect.TooLarge},
		{code(1), sqldialect.Other},
		{errors.New("UNIQUE constraint failed: t.k"), sqldialect.Conflict},
		{errors.New("database is locked"), sqldialect.Locked},
	} {
		assert.Equal(t, tc.want, sqldialect.Classify(tc.err), "%T: %v", tc.err, tc.err)
	}
}

func FuzzClassifyTakesAnyText(f *testing.F) {
	for _, seed := range []string{"Error 1062 (23000): x", "Error 1213: x", "Error ", "Error 99999999999999999999: x", "Error -1: "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := sqldialect.Classify(fmt.Errorf("wrapped: %w", errors.New(text)))
		if got < sqldialect.Other || got > sqldialect.TooLarge {
			t.Errorf("%q is %v", text, got)
		}
	})
}

func TestRetryRepeatsWhatIsWorthwhile(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		mode sqldialect.Mode
		want int
	}{
		"success":                       {nil, sqldialect.Once, 1},
		"an ordinary failure":           {errors.New("syntax"), sqldialect.Repeatable, 1},
		"a deadlock":                    {&mysql.MySQLError{Number: 1213}, sqldialect.Once, 8},
		"a broken connection, once":     {io.ErrUnexpectedEOF, sqldialect.Once, 1},
		"a broken connection, repeated": {io.ErrUnexpectedEOF, sqldialect.Repeatable, 8},
	} {
		runs := 0
		err := sqldialect.Retry(t.Context(), tc.mode, func() error { runs++; return tc.err })
		assert.Equal(t, tc.want, runs, name)
		assert.Equal(t, tc.err, err, name)
	}
}

func TestRetryWaitsForALockUntilItIsFree(t *testing.T) {
	runs := 0
	require.NoError(t, sqldialect.Retry(t.Context(), sqldialect.Once, func() error {
		if runs++; runs < 12 {
			return code(5)
		}
		return nil
	}))
	assert.Equal(t, 12, runs)
}

func TestRetryEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := sqldialect.Retry(ctx, sqldialect.Once, func() error { return code(5) })
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}
