// Package driver is the contract between celeryresults.Backend and a store of
// results. A store keeps records under ids, decides atomically who may replace whom,
// and says what became of each write. It tries once: merging of concurrent callers,
// retries, waiting and all that stores have in common are the Backend's.
//
// [Store] has five methods and is all that a store must have. What only some stores
// can do is in three more interfaces: a [Pusher] tells of changes, a [Lister] looks
// at everything that it holds, and a [Claimer] keeps chords. Package drivertest is
// the suite that every store passes, and examples/ownstore a complete store.
package driver

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"
)

// Store is what every driver implements. Its methods are safe for concurrent use,
// return soon after ctx ends, and then touch none of their arguments any more.
// Documents may be kept, and nobody changes them. An error after which the same call
// may succeed is wrapped in *[Again]. What a store can't do is errors.ErrUnsupported.
type Store interface {
	// Traits describes the store. It needs no connection, and the answer never
	// changes.
	Traits() Traits

	// Put stores each write by its Power, atomically each by itself, and sets its
	// Answer; a zero Answer means Unknown. There is at least one, no record is there
	// twice, and they are sorted by id. One that can't be stored (ErrBadID,
	// ErrTooLarge) does not spoil the others.
	Put(ctx context.Context, writes []*Write)

	// Get fills in the records, whose IDs are set and differ. One that does not stand
	// stays as it is. One that can't be read, or whose id the store can't hold
	// (ErrBadID), gets an Err and does not spoil the others. An error says that
	// nothing is known of any.
	Get(ctx context.Context, kind Kind, records []Record, how How) error

	// Delete removes records, whose ids differ. Absent ones are no error.
	Delete(ctx context.Context, kind Kind, ids []string) error

	// Close releases what the store opened and waits for its goroutines. Closing
	// twice is no error. No method is called after it.
	Close() error
}

// Kind is what a record is. Its text is Celery's key prefix: a store of documents
// keeps one under string(kind)+id.
type Kind string

// The kinds of records.
const (
	Task   Kind = "celery-task-meta-"
	Group  Kind = "celery-taskset-meta-"
	Marker Kind = "celery-task-gone-" // says for a while that there was a record of a task
	Chord  Kind = "celery-chord-"     // of chords that Go started
)

// Write is one record to store. A store changes nothing of it but the Answer.
type Write struct {
	Kind     Kind
	ID       string
	State    State  // of a task
	Power    Power  // what it may replace
	Old      []byte // for Exact: the document that must stand; nil: none may
	Document []byte // encoded once, so that a retry has the same bytes; or
	Row      any    // what the store's own celeryresults.Encoding made
	Size     int    // about how many bytes

	TTL      time.Duration // the lifetime from now on: positive, to be rounded up to what the store keeps to, or Never
	Group    string        // of a task: the group that it is a member of, for counts
	Done     time.Time     // of a task: when it became ready, or the zero time
	Repeated bool          // an earlier attempt may have stored it: if the same record stands, it is Stored

	// StateOf reads the state in a document, whatever its serializer; empty where it
	// can't be read. It is set wherever Document is.
	StateOf func(document []byte) State

	Answer Answer
}

// Allows decides whether the write may replace the document that stands, nil for
// none. If not, it sets the Answer: Refused, or Stored where the same document stands
// and the write is Repeated. Expired documents don't stand.
func (w *Write) Allows(stands []byte) bool {
	if w.Repeated && stands != nil && bytes.Equal(stands, w.Document) {
		w.Answer = Answer{Outcome: Stored}
		return false
	}
	if w.Power == Exact {
		if (stands == nil) == (w.Old == nil) && bytes.Equal(stands, w.Old) {
			return true
		}
		w.Answer = Answer{Outcome: Refused}
		return false
	}
	if stands == nil || w.Power == Anything {
		return true
	}
	state := w.StateOf(stands)
	if w.Power.Over(state) {
		return true
	}
	w.Answer = Answer{Outcome: Refused, Stands: state}
	return false
}

// Answer is what became of a write: Unknown, Stored, Refused or NotStored. Stands is
// the state of the record that refused it, empty where that can't be read. Err is why
// it is Unknown or NotStored; beside Stored it is why those who wait could not be
// told.
type Answer struct {
	Outcome Outcome
	Stands  State
	Err     error
}

// Record is what Get found: nothing, where all but ID is zero.
type Record struct {
	ID       string
	State    State  // set by stores with rows, and by others where that is cheaper than the Document
	Document []byte // not nil where the record stands; or
	Row      any    // what the store's own celeryresults.Encoding reads
	Expired  bool   // the store only knows that there was a record
	Err      error  // why the record that stands can't be read
}

// How are the flags of Get.
type How uint8

// The flags.
const (
	States  How = 1 << iota // no more than the states is asked for
	Primary                 // no replica may answer
)

// Traits say what a store is like. The zero Traits are those of a plain store of
// documents, which is called without merging.
type Traits struct {
	Name         string // for messages, such as redis
	Serializer   string // of documents, where the layout fixes it. Empty: result_serializer
	MaxDocument  int    // in bytes; 0: no limit
	PutMost      int    // writes of several callers in one Put; 0: each caller calls Put by itself
	GetMost      int    // records in one Get; 0: 1000
	InFlight     int    // calls under way before callers queue; 0: two
	GetAlone     bool   // concurrent reads are not merged
	KeepsExpired bool   // Get sets Expired by itself, and needs no Markers
	Exact        bool   // Put takes Exact
	ReadOnly     bool   // Put is never called
}

// Pusher is a Store that tells of changes. Listen is called once, before the first
// Watch. No method blocks.
type Pusher interface {
	Listen(to Sink)
	// Watch asks to be told of changes of the tasks. Sink.Live follows for each once changes
	// are told for certain; until then, and if that never happens, the Backend asks.
	Watch(ids []string)
	Unwatch(ids []string) // takes that back, for every task that was watched
}

// Sink is the Backend's side of a Pusher. No method blocks.
type Sink interface {
	Live(ids ...string)    // their changes are told from now on
	Lost(ids ...string)    // no longer; without ids: of no record
	Changed(ids ...string) // they are to be read
	Deliver(r Record)      // it has changed, and this is it
}

// Lister is a Store that can look at all that it holds. Embed [Unlisted] for the
// methods that it does not have.
type Lister interface {
	// List returns a page of results, newest first, and the cursor of the next one, empty at
	// the end.
	List(ctx context.Context, q Query) (page []Record, next string, err error)
	// Walk yields every result that stands all the while, in any order; one may be there
	// twice. An error is the last value.
	Walk(ctx context.Context) iter.Seq2[Record, error]
	// Count counts tasks of which a record stands by their states, in one round trip.
	Count(ctx context.Context, of Members) (map[State]int, error)
	// Stats counts the tasks that became ready in a span of time.
	Stats(ctx context.Context, q StatsQuery) (*Stats, error)
	// Cleanup removes expired results and returns how many, also beside an error.
	Cleanup(ctx context.Context) (int64, error)
}

// Unlisted has the methods of a Lister, all of which are errors.ErrUnsupported. Stores
// embed it for those that they do not have.
type Unlisted struct{}

// List implements Lister.
func (Unlisted) List(context.Context, Query) ([]Record, string, error) {
	return nil, "", errors.ErrUnsupported
}

// Walk implements Lister.
func (Unlisted) Walk(context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) { yield(Record{}, errors.ErrUnsupported) }
}

// Count implements Lister.
func (Unlisted) Count(context.Context, Members) (map[State]int, error) {
	return nil, errors.ErrUnsupported
}

// Stats implements Lister.
func (Unlisted) Stats(context.Context, StatsQuery) (*Stats, error) { return nil, errors.ErrUnsupported }

// Cleanup implements Lister.
func (Unlisted) Cleanup(context.Context) (int64, error) { return 0, errors.ErrUnsupported }

// Claimer is a Store that keeps chords that Go started, with one round trip a step.
// All steps may be repeated with the same token. Delete with the kind Chord removes a
// chord whatever its state.
type Claimer interface {
	// StartChord keeps a chord. One that stands, or has been handed over, is left as it is.
	StartChord(ctx context.Context, c ChordRecord) error
	// ReadChord returns a chord, or ErrNoChord.
	ReadChord(ctx context.Context, id string) (ChordRecord, error)
	// Claim notes that a member has ended, if one is named, and claims the chord for a
	// while when all have ended and nobody else has claimed it; without a member it
	// claims or renews. A chord that is unknown or was handed over, and a task that is
	// no member, are no claim and no error.
	Claim(ctx context.Context, id, member, token string, lease time.Duration) (bool, error)
	// Release ends a claim: done when the body was handed over, which the store
	// remembers for as long as results live; else the next one may claim it.
	Release(ctx context.Context, id, token string, done bool) error
	// DueChords returns ids of chords that are complete, not handed over and claimed by
	// nobody, at most so many.
	DueChords(ctx context.Context, most int) ([]string, error)
}

// ChordRecord is a chord as a Claimer keeps it.
type ChordRecord struct {
	ID          string
	Members     []string // ids of tasks, all different, in their order
	Body        []byte   // encoded
	ContentType string   // of Body
	TTL         time.Duration
}
