// Package cache is a Django-style cache of Python values. It finds and stores
// entries where Django's cache framework would, under the same keys and in the
// same bytes, so that Go and Python can share one memcached, redis or database.
// It knows nothing about Celery.
//
// A [Cache] is what programs hold. It has the methods of Django's BaseCache
// under their own names and works over a [Store], which is what a driver
// implements. The drivers are in the folders below, and package caches opens
// them from settings:
//
//	store, err := locmem.New("sessions", nil)
//	c, err := cache.New(store, cache.Settings{KeyPrefix: "shop", Timeout: time.Hour})
//	err = c.Set(ctx, "answer", 42, cache.DefaultTimeout)
//	v, err := c.Get(ctx, "answer") // int64(42)
//
// # Keys
//
// The key that a store sees is made of the cache's prefix, the version and the
// caller's key: "shop:1:answer". [Settings].KeyFunction replaces that rule, and
// [Cache.WithVersion] gives a view of another version, which is what Django's
// version argument is. A key that the store cannot hold, such as one of more
// than 250 bytes in memcached, is refused with [ErrBadKey] before anything is
// sent. Keys are never escaped or reshaped.
//
// # Timeouts
//
// A timeout says how long an entry lives:
//
//	Django                Go
//	no argument           DefaultTimeout, which is 0: Settings.Timeout, else 300 s
//	None                  Never
//	0 or negative         AtOnce, or any other negative Duration
//	seconds               a positive Duration
//
// Entries that would be over at once are not stored: Set removes the key, Add
// only reports whether it was absent, Touch removes the entry. A lifetime that
// is shorter than the step of the store ([Traits].Resolution) is rounded up.
//
// # Values
//
// Values are those of package python, and [python.Plain] says which Go values
// stand for them. They are pickled, except where Django's own client does
// something else: integers are decimal text in redis and memcached, so that
// Incr can count them in place, and memcached marks text and bytes by flags.
// [Cache.GetInto] decodes into Go types of the caller's. Reading a pickle
// executes nothing.
//
// For caches that only Go reads, the serializer json is an alternative; it
// cannot hold sets, and returns tuples as lists.
//
// Callers with an encoding of their own use [Item]s: GetItem, GetItems, SetItem
// and Update.
//
// # Several writers
//
// Add, Incr, GetOrSet and Update are atomic in every store that has the means.
// [Cache.Update] is the general one: it stores what a function returns for the
// entry that stands, and asks again when another writer was faster. Set, and
// IncrVersion like Django's, are not conditional.
//
// # Errors
//
// [ErrMiss], [ErrBadKey], [ErrTooLarge], [ErrNotInteger] and [ErrClosed] are
// for callers to act on, and errors.ErrUnsupported tells that a store lacks the
// means. Everything else comes from the store or the codec. A method whose
// context is over returns the context's error and has no effect.
package cache
