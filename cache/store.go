package cache

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors that callers act on. Test with errors.Is.
var (
	// ErrMiss is returned by Get when the key is absent or expired, and by
	// Incr and Decr, which do not create a key.
	ErrMiss = errors.New("cache: miss")

	// ErrBadKey is returned, before anything is sent, for a key that the store
	// cannot hold.
	ErrBadKey = errors.New("cache: bad key")

	// ErrTooLarge is returned for a value over the store's limit, before it is
	// sent. Set then leaves no stale value under the key; Add and Update leave
	// the entry that stands.
	ErrTooLarge = errors.New("cache: value too large")

	// ErrNotInteger is returned by Incr and Decr when the value is not an
	// integer, or when the sum does not fit an int64.
	ErrNotInteger = errors.New("cache: value is not an integer")

	// ErrClosed is returned by every operation on a closed store.
	ErrClosed = errors.New("closed")
)

// Never is the lifetime of an entry that does not expire: Django's None.
const Never time.Duration = -1

// Format says what the bytes of an Item are, for stores that record it.
type Format uint8

// The formats. Memcached keeps them as flags; the other stores answer
// Unspecified, and the codec tells integers from pickles as Django does.
const (
	Unspecified Format = iota // the store keeps no record
	Pickled                   // a Python pickle
	Integer                   // decimal text, which Incr can count
	Text                      // UTF-8
	Bytes                     // as they are
)

// Item is an encoded value.
type Item struct {
	Value  []byte // not to be changed once handed over, by either side
	Format Format

	// Token identifies this state of the entry to CompareAndSwap. It is set
	// by Get in stores that count revisions (memcached's cas unique) and zero
	// in those that compare values.
	Token uint64

	// Stored is what the store holds where that is not Value, such as its
	// compressed form. It is set by Get, for CompareAndSwap. Nil: Value.
	Stored []byte

	// Err is why the entry that stands can't be read. Get and GetMany of a store set it
	// instead of failing, so that it hides no other entry and can be replaced; those of a
	// Cache return it.
	Err error
}

// UnavailableError is the error of an operation that may succeed when it is repeated: the
// server could not be reached, the connection broke, or the server said that it can't answer
// now.
type UnavailableError struct {
	Err error

	// Sent is set when the operation may have happened.
	Sent bool
}

// Error returns the text of Err.
func (e *UnavailableError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Traits says what a store can hold. They never change during its life.
type Traits struct {
	// Name is the engine's short name: locmem, memcached, redis, db.
	Name string

	// MaxKey is the longest key in bytes. Zero: no limit.
	MaxKey int

	// PrintableKeys is set when bytes 0x00–0x20 and 0x7f are refused in keys.
	PrintableKeys bool

	// TextKeys is set when keys must be UTF-8 without NUL.
	TextKeys bool

	// MaxValue is the longest value in bytes, which Cache checks. Zero: no limit.
	MaxValue int

	// KeepsFormat is set when Get returns the Format that was stored.
	KeepsFormat bool

	// InProcess is set when operations need no round trip, so that sending
	// several together gains nothing.
	InProcess bool

	// Resolution is the step of lifetimes, to which the driver rounds up.
	Resolution time.Duration
}

// Store is what a driver implements: a map from text keys to bytes that expire.
// Keys arrive whole (prefix and version included) and validated against the
// Traits. A ttl is positive or [Never].
//
// All methods are safe for concurrent use. A cancelled or expired context
// returns its error at once, also while a reply is awaited; an operation that
// was under way may then still take effect.
//
// A Store may offer more than this: [Swapper], [ManyGetter], [ManySetter],
// [ManyDeleter], [ManyAdder], [Counter], [Notifier], [Clearer], [Expirer], [KeyLister] and [Sampler] are found by
// type assertion. Cache falls back to single operations where it can. Stores that talk
// to a server wrap errors after which the same call may succeed in *[UnavailableError].
type Store interface {
	// Traits describes the store.
	Traits() Traits

	// Get returns the entry, or ErrMiss.
	Get(ctx context.Context, key string) (Item, error)

	// Set stores the item, whatever was there.
	Set(ctx context.Context, key string, item Item, ttl time.Duration) error

	// Add stores the item if the key is absent, atomically, and reports
	// whether it did.
	Add(ctx context.Context, key string, item Item, ttl time.Duration) (bool, error)

	// Touch gives the entry a new lifetime and reports whether it was there.
	Touch(ctx context.Context, key string, ttl time.Duration) (bool, error)

	// Delete removes the entry and reports whether it was there.
	Delete(ctx context.Context, key string) (bool, error)

	// Close releases what the store opened itself, stops its goroutines and
	// waits for them. A client that was handed in stays open. Closing twice is
	// not an error.
	Close() error
}

// Swapper is a Store with compare-and-swap. Cache.Update needs it.
type Swapper interface {
	// CompareAndSwap stores item with ttl if the entry still is old, as Get
	// returned it (by Token where the store sets one, else by Value), and
	// reports whether it did. An entry that is gone is false, too.
	CompareAndSwap(ctx context.Context, key string, old, item Item, ttl time.Duration) (bool, error)
}

// ManyGetter is a Store that reads many keys in few round trips.
type ManyGetter interface {
	// GetMany returns the entries that exist.
	GetMany(ctx context.Context, keys []string) (map[string]Item, error)
}

// ManySetter is a Store that writes many keys in few round trips.
type ManySetter interface {
	// SetMany stores all items with one lifetime. On error some may be stored.
	SetMany(ctx context.Context, items map[string]Item, ttl time.Duration) error
}

// ManyDeleter is a Store that deletes many keys in few round trips.
type ManyDeleter interface {
	// DeleteMany removes the keys. Absent ones are not an error.
	DeleteMany(ctx context.Context, keys []string) error
}

// ManyAdder is a Store that adds many keys in one round trip. Cache.Update then
// sends the first stores of concurrent callers together.
type ManyAdder interface {
	// AddMany adds each entry whose key is absent, atomically each by itself,
	// and reports in their order which it added. No key occurs twice. On error
	// some may be added.
	AddMany(ctx context.Context, entries []Entry) ([]bool, error)
}

// Entry is an item to store.
type Entry struct {
	Key  string
	Item Item
	TTL  time.Duration // as in Store
}

// Counter is a Store that holds Integer items as decimal text and counts them
// in place, as Python's clients of the same store do. In other stores integers
// are encoded like any value, and Cache counts by compare-and-swap.
type Counter interface {
	// Incr adds delta, which may be negative, keeps the entry's lifetime and
	// returns the sum. It returns ErrMiss or ErrNotInteger.
	Incr(ctx context.Context, key string, delta int64) (int64, error)
}

// Notifier is a Store that tells of changes in the process that holds it.
type Notifier interface {
	// Notify calls f with the key of each entry that is stored or deleted from now
	// on, by anybody, until stop is called; once more may be under way then. The
	// entry is locked meanwhile: f must not block, nor use the store. Entries that
	// expire or are dropped for others are not told.
	Notify(f func(key string)) (stop func())
}

// Clearer is a Store that can drop everything it holds.
type Clearer interface {
	// Clear removes all entries, also those of other prefixes and versions, as
	// Django's clear does.
	Clear(ctx context.Context) error
}

// Expirer is a Store that keeps expired entries, unseen, until they are culled
// or deleted here.
type Expirer interface {
	// DeleteExpired removes the expired entries and returns how many.
	DeleteExpired(ctx context.Context) (int64, error)
}

// KeyLister is a Store that shows the keys of its entries.
type KeyLister interface {
	// Keys yields the whole keys that begin with the text, in any order; one may be there
	// twice, and one that comes or goes meanwhile may or may not be among them. An error
	// is the last value.
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Sampler is a Store that shows some of what lies in it, for people who want to know
// why others find nothing.
type Sampler interface {
	// Sample returns up to n entries whose whole keys hold the text, whatever their
	// prefixes and versions. It looks at a bounded number of keys. Only if there are
	// none, entries may come from elsewhere on the same server.
	Sample(ctx context.Context, text string, n int) ([]Sample, error)
}

// Sample is an entry that a Sampler shows.
type Sample struct {
	Key       string
	Item      Item
	TTL       time.Duration // what is left of its lifetime, or Never
	Elsewhere string        // such as "database 1", where the store itself does not look; empty: where it does
}
