// Package cachetest is the suite that every cache.Store runs. Its cases are the
// rows of one table; a row says in words which rule it checks.
//
// A driver's test says how to open the store and what the suite cannot know:
//
//	func TestStore(t *testing.T) {
//		cachetest.Harness{Open: open, Owned: true}.Run(t)
//	}
//
// Every case opens a handle of its own and works under its own random key
// prefix, so cases can share a server. Nothing is cleared that the test does
// not own.
package cachetest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

// Harness says how to test one kind of store.
type Harness struct {
	// Open returns a new handle of the store, which the suite closes. The
	// handles of one test may share a server and its entries, and must hold
	// 2000 of them. Required.
	Open func(t *testing.T) cache.Store

	// Owned is set when the store holds nothing that the test did not create
	// and may be cleared. Default: the case that clears does not apply.
	Owned bool

	// Advance moves the clock of a fake server. Default: lifetimes are waited
	// for.
	Advance func(d time.Duration)

	// Stall returns a store whose server takes requests and does not answer
	// until release is called. The suite calls release before it closes the
	// store. Default: the cases of calls in flight do not apply.
	Stall func(t *testing.T) (store cache.Store, release func())

	// Unsigned is set when the store counts unsigned numbers and stops at zero,
	// as memcached does. Default: sums below zero are exact.
	Unsigned bool
}

// Run runs the suite on the store that open returns, with the defaults of a
// Harness.
func Run(t *testing.T, open func(t *testing.T) cache.Store) {
	t.Helper()
	Harness{Open: open}.Run(t)
}

// Run runs every case that applies to the store as a subtest, and logs how many
// passed and which ones do not apply.
func (h Harness) Run(t *testing.T) {
	t.Helper()
	probe := h.Open(t)
	defer probe.Close()

	var passed atomic.Int64
	var apart []string
	t.Run("cases", func(t *testing.T) {
		for _, r := range rows() {
			if lacks := r.lacks(h, probe); lacks != "" {
				apart = append(apart, fmt.Sprintf("%s (no %s)", r.name, lacks))
				continue
			}
			t.Run(r.name, func(t *testing.T) { h.runRow(t, r, &passed) })
		}
	})
	t.Logf("cachetest: %d cases", passed.Load())
	if len(apart) > 0 {
		t.Logf("cachetest: these do not apply to %s: %q", probe.Traits().Name, apart)
	}
}

func (h Harness) runRow(t *testing.T, r row, passed *atomic.Int64) {
	if r.waits && h.Advance == nil {
		t.Parallel()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the rule: %s", r.rule)
			return
		}
		passed.Add(1)
	})
	r.run(newEnv(t, h))
}

// row is one case.
type row struct {
	name  string
	rule  string
	needs need // nil: every store runs it
	waits bool // for a lifetime to end, so it runs beside others
	run   func(e *env)
}

func (r row) lacks(h Harness, s cache.Store) string {
	if r.needs == nil {
		return ""
	}
	return r.needs(h, s)
}

// need returns what a store or its harness lacks to run a row, or "".
type need func(h Harness, s cache.Store) string

func when(ok bool, what string) string {
	if ok {
		return ""
	}
	return what
}

func swapper(_ Harness, s cache.Store) string {
	_, ok := s.(cache.Swapper)
	return when(ok, "compare-and-swap")
}

func adder(_ Harness, s cache.Store) string {
	_, ok := s.(cache.ManyAdder)
	return when(ok, "adding many")
}

func counter(_ Harness, s cache.Store) string {
	_, ok := s.(cache.Counter)
	return when(ok, "counting in place")
}

// summer is a store in which Cache.Incr works one way or the other.
func summer(h Harness, s cache.Store) string {
	return when(swapper(h, s) == "" || counter(h, s) == "", "counting")
}

func keyLister(_ Harness, s cache.Store) string {
	_, ok := s.(cache.KeyLister)
	return when(ok, "view of its keys")
}

func notifier(_ Harness, s cache.Store) string {
	_, ok := s.(cache.Notifier)
	return when(ok, "telling of changes")
}

func owned(h Harness, s cache.Store) string {
	_, ok := s.(cache.Clearer)
	return when(ok && h.Owned, "store that may be cleared")
}

func formats(_ Harness, s cache.Store) string {
	return when(s.Traits().KeepsFormat, "record of formats")
}

func keyLimit(_ Harness, s cache.Store) string {
	return when(s.Traits().MaxKey > 0, "limit of key length")
}

func keyBytes(_ Harness, s cache.Store) string {
	return when(s.Traits().PrintableKeys, "bytes that keys may not have")
}

// testableSize is the largest MaxValue whose edge is tried.
const testableSize = 16 << 20

func valueLimit(_ Harness, s cache.Store) string {
	limit := s.Traits().MaxValue
	return when(limit > 0 && limit <= testableSize, "limit of value size worth trying")
}

func staller(h Harness, _ cache.Store) string {
	return when(h.Stall != nil, "server to wait for")
}

func rows() []row {
	return slices.Concat(
		entryRows(), notifyRows(), manyRows(), countRows(), swapRows(), updateRows(),
		expiryRows(), atOnceRows(), valueRows(), keyRows(), viewRows(),
		contextRows(), concurrencyRows(),
	)
}

// patience is how long a case may take before it fails rather than hangs.
const patience = 60 * time.Second

// env is what one case works with.
type env struct {
	*testing.T
	h      Harness
	store  cache.Store
	traits cache.Traits
	prefix string
	ctx    context.Context
}

func newEnv(t *testing.T, h Harness) *env {
	store := h.Open(t)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return &env{T: t, h: h, store: store, traits: store.Traits(), prefix: randomPrefix(), ctx: ctx}
}
