package sqldialect

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// Condition is what an error of a database means to its caller.
type Condition int

// The conditions.
const (
	// Other is everything else, nil and errors of a context included.
	Other Condition = iota

	// Conflict is a violated unique constraint, or an object that somebody
	// else created first.
	Conflict

	// Locked is a SQLite file that another connection has locked. Nothing
	// happened: the statement can be repeated.
	Locked

	// Transient is a deadlock, a serialization failure, a lock waited for too
	// long, a server that is starting, or a connection that turned out dead before
	// anything was sent. Nothing happened: the statement can be repeated.
	Transient

	// Disconnected is a connection that broke under way. A statement that can
	// be applied twice can be repeated; others may have happened.
	Disconnected

	// TooLarge is a value or statement over the server's or driver's limit.
	TooLarge

	// NoTable is a table that is not there.
	NoTable
)

// Classify returns the condition that an error, or one that it wraps, reports.
// It knows the errors of pgx and lib/pq by their SQLState method, those of
// go-sql-driver/mysql by the number in front of their text, and those of
// SQLite's drivers by their Code method or SQLite's own messages.
func Classify(err error) Condition {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Other
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, syscall.ECONNREFUSED):
		return Transient
	}
	if e, ok := errors.AsType[*UnsentError](err); ok {
		if condition := Classify(e.Err); condition != Disconnected {
			return condition
		}
		return Transient
	}
	if e, ok := errors.AsType[stateError](err); ok {
		return ofState(e.SQLState())
	}
	if e, ok := errors.AsType[codeError](err); ok && e.Code() != sqliteGeneric {
		return ofSQLiteCode(e.Code())
	}
	if number := mysqlNumber(err); number != 0 && number != mysqlGeneric {
		return mysqlConditions[number]
	}
	if broken(err) {
		return Disconnected
	}
	return ofMessage(err.Error())
}

// stateError is an error of a PostgreSQL driver, codeError one of SQLite's.
type (
	stateError interface {
		error
		SQLState() string
	}
	codeError interface {
		error
		Code() int
	}
)

// states maps PostgreSQL's SQLSTATE codes, and classes of two characters.
var states = map[string]Condition{
	"23505": Conflict,     // unique_violation
	"42P07": Conflict,     // duplicate_table
	"42710": Conflict,     // duplicate_object
	"40001": Transient,    // serialization_failure
	"40P01": Transient,    // deadlock_detected
	"55P03": Transient,    // lock_not_available
	"53300": Transient,    // too_many_connections
	"57P03": Transient,    // cannot_connect_now
	"57P01": Transient,    // admin_shutdown: it ends what is not committed, or an idle connection
	"57P02": Disconnected, // crash_shutdown
	"25006": Transient,    // read_only_sql_transaction: the server has been demoted
	"57P05": Transient,    // idle_session_timeout: it ends an idle connection
	"08":    Disconnected, // connection exceptions
	"54000": TooLarge,     // program_limit_exceeded
	"42P01": NoTable,      // undefined_table
}

func ofState(state string) Condition {
	if condition, ok := states[state]; ok {
		return condition
	}
	return states[state[:min(2, len(state))]]
}

// mysqlConditions maps the error numbers of MySQL and MariaDB.
var mysqlConditions = map[int]Condition{
	1022: Conflict,     // ER_DUP_KEY
	1050: Conflict,     // ER_TABLE_EXISTS_ERROR
	1062: Conflict,     // ER_DUP_ENTRY
	1020: Transient,    // ER_CHECKREAD, MariaDB's snapshot isolation
	1040: Transient,    // ER_CON_COUNT_ERROR
	1047: Transient,    // ER_UNKNOWN_COM_ERROR: Galera's "not yet prepared"
	1290: Transient,    // ER_OPTION_PREVENTS_STATEMENT: read_only, after a failover
	1836: Transient,    // ER_READ_ONLY_MODE
	1205: Transient,    // ER_LOCK_WAIT_TIMEOUT
	1213: Transient,    // ER_LOCK_DEADLOCK
	1053: Disconnected, // ER_SERVER_SHUTDOWN
	1927: Disconnected, // ER_CONNECTION_KILLED
	1153: TooLarge,     // ER_NET_PACKET_TOO_LARGE
	1301: TooLarge,     // ER_WARN_ALLOWED_PACKET_OVERFLOWED
	1146: NoTable,      // ER_NO_SUCH_TABLE
}

// mysqlGeneric is ER_UNKNOWN_ERROR: only the message says more.
const mysqlGeneric = 1105

// mysqlNumber returns the number of a go-sql-driver/mysql error, which begins
// "Error 1062 (23000): " or "Error 1062: ", and 0 for other errors.
func mysqlNumber(err error) int {
	for ; err != nil; err = errors.Unwrap(err) {
		rest, found := strings.CutPrefix(err.Error(), "Error ")
		digits := strings.IndexAny(rest, " :")
		if !found || digits < 0 {
			continue
		}
		if number, err := strconv.Atoi(rest[:digits]); err == nil {
			return number
		}
	}
	return 0
}

// SQLite's primary result codes are the low byte of the extended ones.
const (
	sqliteBusy, sqliteLocked, sqliteTooBig = 5, 6, 18
	sqliteUnique, sqlitePrimaryKey         = 2067, 1555
	sqliteGeneric                          = 1 // only the message says more
)

func ofSQLiteCode(code int) Condition {
	switch {
	case code == sqliteUnique, code == sqlitePrimaryKey:
		return Conflict
	case code&0xff == sqliteBusy, code&0xff == sqliteLocked:
		return Locked
	case code&0xff == sqliteTooBig:
		return TooLarge
	}
	return Other
}

// broken reports whether a connection ended under a statement.
func broken(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, sql.ErrConnDone)
}

// messages maps the texts of errors that have nothing else to know them by.
var messages = map[string]Condition{
	"invalid connection":            Disconnected, // mysql.ErrInvalidConn
	"bad connection":                Transient,    // mysql's for a connection that was found dead
	"packet for query is too large": TooLarge,     // mysql.ErrPktTooLarge
	"mysql_send_long_data()":        TooLarge,     // MySQL's, of a parameter over max_allowed_packet
	"conn closed":                   Disconnected, // pgconn.ErrConnClosed, also of an answer that was lost
	"UNIQUE constraint failed":      Conflict,     // SQLite, as the next four
	"database is locked":            Locked,
	"database table is locked":      Locked,
	"string or blob too big":        TooLarge,
	"no such table":                 NoTable,
}

func ofMessage(text string) Condition {
	for part, condition := range messages {
		if strings.Contains(text, part) {
			return condition
		}
	}
	return Other
}
