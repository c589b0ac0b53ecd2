package celeryresults

import (
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
)

// State is the state of a task: one of Celery's, or any name of the caller's
// own, such as PROGRESS.
type State = driver.State

// The states of celery.states.
const (
	Pending  = driver.Pending  // waiting, or unknown: no record stands
	Received = driver.Received // a worker has it
	Started  = driver.Started  // runs; only recorded with task_track_started
	Success  = driver.Success
	Failure  = driver.Failure
	Revoked  = driver.Revoked
	Rejected = driver.Rejected
	Retry    = driver.Retry // failed, and will run again
	Ignored  = driver.Ignored
)

// TaskMeta is what a backend keeps of one task: Celery's result metadata.
// Fields that the store does not have are zero. Treat a returned TaskMeta as
// read-only; it may be shared.
type TaskMeta struct {
	TaskID string
	State  State // never empty in what is read; required in what is stored

	// Unknown is set when no record stands: the State is then Pending, which
	// may also have been recorded (App.RecordPending).
	Unknown bool

	// Expired is set beside Unknown where the store knows of a record that it had:
	// it has expired, or was forgotten. Tables know until somebody cleans up, and all
	// stores for as long as Settings.ResultTombstones says.
	Expired bool

	// Result is the return value, the exception of an exception state (see
	// Err), or the meta of a custom state. It is decoded when asked.
	Result Value

	// Traceback is Python's text, empty when there is none.
	Traceback string

	// Children are the tasks that this one sent. Nil is Celery's null: the
	// writer did not know; none is an empty, non-nil slice.
	Children []ResultTuple

	// DateDone is when the task became ready, in UTC with microseconds. Zero
	// until then. Celery up to 5.2 wrote it without an offset: taken as UTC.
	DateDone time.Time

	// DateCreated and DateStarted are zero where the store does not keep them.
	DateCreated, DateStarted time.Time

	GroupID  string // of the group that the task belongs to
	ParentID string // of the task that sent it
	RootID   string // of the first task of the workflow; not stored by Celery

	// Extended is set when the fields of result_extended follow: Name, Args,
	// Kwargs, Worker, Retries and Queue.
	Extended     bool
	Name         string // of the task, such as billing.charge
	Args, Kwargs Value  // a list or tuple, and a dict
	Worker       string // Celery's hostname
	Retries      int    // how often the task ran before
	Queue        string // Celery's routing key

	PeriodicTaskName string // of celery beat's entry; stored by no cache of Celery's

	// Meta is the caller's own metadata: a mapping, or None.
	Meta Value

	// StampedHeaders names the stamps among Extra, in Celery's order.
	StampedHeaders []string

	// Extra is every other entry of the document in its order, each name once:
	// stamps, and what other writers or the caller added.
	Extra []Extra

	// Row is set in what was read from a table, of django-celery-results or Celery's
	// own, and says what only that has. When a meta is stored, Row.Args and Row.Kwargs are
	// what people are shown of the arguments; see Request.ArgsRepr.
	Row *Row
}

// Row is what a row of a table has beside a TaskMeta: all of it in
// django-celery-results' table, and Updated alone in Celery's own.
type Row struct {
	// ID is the row's primary key.
	ID int64

	// Updated is the column date_done: when the row was last written, in UTC. It
	// is TaskMeta.DateDone once the state is ready.
	Updated time.Time

	// Args and Kwargs are what Django's admin shows: Python's repr of the
	// arguments, at most about a kilobyte of it. Where nothing more was kept,
	// TaskMeta.Args and Kwargs are these texts.
	Args, Kwargs string

	// ArgsCut and KwargsCut are set when the arguments were over the limit
	// (DjangoDBSettings.ArgsLimit) and only the texts were kept.
	ArgsCut, KwargsCut *Cut
}

// Cut stands for a value that was too large to be kept.
type Cut struct {
	Size   int    // in bytes, as the serializer encoded it
	SHA256 string // of these bytes, in hexadecimal
}

// Extra is one named value of a TaskMeta beside Celery's own.
type Extra struct {
	Name  string
	Value Value
}

// Err returns the failure of an exception state as a *TaskError, whatever its
// stored form, and nil in all other states. A payload that can't be decoded
// still gives a *TaskError, which wraps the reason.
func (m *TaskMeta) Err() error {
	if !m.State.Exception() {
		return nil
	}
	return m.failure()
}

// ExtraValue returns the value stored under name beside Celery's own fields.
func (m *TaskMeta) ExtraValue(name string) (Value, bool) {
	for _, e := range m.Extra {
		if e.Name == name {
			return e.Value, true
		}
	}
	return Value{}, false
}

// ResultTuple names a result and, for a group, its members: the tuple of
// Celery's ResultBase.as_tuple, [[id, parent], children or null].
type ResultTuple struct {
	ID     string
	Parent *ResultTuple

	// Children are a group's members. Nil: a single task.
	Children []ResultTuple
}

// StoreOption changes how a result is stored.
type StoreOption int

// Override stores over whatever record stands, for a task that is run again
// by hand.
const Override StoreOption = 1

// Errors that callers act on. Test with errors.Is.
var (
	// ErrRefused is what every *RefusedError is.
	ErrRefused = errors.New("celeryresults: refused: a final result stands")

	// ErrNoTaskID is returned for an empty task or group id.
	ErrNoTaskID = errors.New("celeryresults: empty id")

	// ErrBadID is returned, before anything is sent, for an id that the store
	// can't hold as it is.
	ErrBadID = driver.ErrBadID

	// ErrTooLarge is the error of a result that the store can't hold.
	ErrTooLarge = driver.ErrTooLarge

	// ErrNoState is returned by StoreResult for a meta without a State.
	ErrNoState = errors.New("celeryresults: no state")

	// ErrUnknownGroup is returned by RestoreGroup.
	ErrUnknownGroup = errors.New("celeryresults: unknown group")

	// ErrUnknownChord is returned for a chord counter that is not there: it never
	// was, or its chord has been completed.
	ErrUnknownChord = errors.New("celeryresults: unknown chord counter")

	// ErrNoTable is returned by every operation of a backend in a database while its
	// tables are not there.
	ErrNoTable = errors.New("celeryresults: no table")

	// ErrUnknownBackend is returned for a backend name that is not configured.
	ErrUnknownBackend = errors.New("celeryresults: unknown backend")

	// ErrClosed is returned by operations on a closed backend, waits included.
	// It is the caches' error, too.
	ErrClosed = cache.ErrClosed
)

// RefusedError is returned by StoreResult when the record that stands must
// not be replaced. Nothing was changed.
type RefusedError struct {
	TaskID string
	Stands State // of the record in the store
	Stored State // of the record that was refused
}

// Error names the task and both states.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("celeryresults: store %s of task %q refused: %s stands", e.Stored, e.TaskID, e.Stands)
}

// Is reports whether target is ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// UnreadableError is a record in the store that is no result: it has no state
// that can be read.
type UnreadableError struct {
	ID  string // of the task or group
	Err error  // what is wrong with the record
}

// Error names the record and what is wrong with it.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("celeryresults: unreadable record of %q: %v", e.ID, e.Err)
}

// Unwrap returns what is wrong with the record.
func (e *UnreadableError) Unwrap() error { return e.Err }

// unknownMeta returns the meta of a task of which no record stands.
func unknownMeta(taskID string) *TaskMeta {
	return &TaskMeta{TaskID: taskID, State: Pending, Unknown: true}
}
