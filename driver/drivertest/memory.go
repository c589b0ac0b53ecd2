package drivertest

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/celeryresults/celeryresults/driver"
)

// Memory is a store of documents in this process, for tests that need no server. It has
// what every store must have, walks, and takes Exact. The zero Memory is empty and ready to
// use; it must not be copied. It is safe for concurrent use.
type Memory struct {
	driver.Unlisted

	mu      sync.Mutex
	records map[memoryKey]memoryRecord // guarded by mu
}

type memoryKey struct {
	kind driver.Kind
	id   string
}

type memoryRecord struct {
	document []byte
	until    time.Time // zero: for ever
}

// longestID is the longest id in a Memory, in bytes.
const longestID = 4096

// Traits implements driver.Store.
func (m *Memory) Traits() driver.Traits {
	return driver.Traits{Name: "memory", PutMost: 256, Exact: true}
}

// Put implements driver.Store.
func (m *Memory) Put(ctx context.Context, writes []*driver.Write) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range writes {
		key := memoryKey{w.Kind, w.ID}
		switch {
		case ctx.Err() != nil:
			w.Answer = driver.Answer{Outcome: driver.NotStored, Err: ctx.Err()}
		case len(w.ID) > longestID:
			w.Answer = driver.Answer{Outcome: driver.NotStored, Err: driver.ErrBadID}
		case w.Allows(m.find(key)):
			m.keep(key, w.Document, w.TTL)
			w.Answer = driver.Answer{Outcome: driver.Stored}
		}
	}
}

// find returns the document that stands, nil for none. The caller holds mu.
func (m *Memory) find(key memoryKey) []byte {
	r, ok := m.records[key]
	if !ok || !r.until.IsZero() && !time.Now().Before(r.until) {
		delete(m.records, key)
		return nil
	}
	return r.document
}

// keep keeps a document. The caller holds mu.
func (m *Memory) keep(key memoryKey, document []byte, ttl time.Duration) {
	if m.records == nil {
		m.records = map[memoryKey]memoryRecord{}
	}
	r := memoryRecord{document: document}
	if ttl != driver.Never {
		r.until = time.Now().Add(ttl)
	}
	m.records[key] = r
}

// Get implements driver.Store.
func (m *Memory) Get(ctx context.Context, kind driver.Kind, records []driver.Record, _ driver.How) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range records {
		if r := &records[i]; len(r.ID) > longestID {
			r.Err = driver.ErrBadID
		} else {
			r.Document = m.find(memoryKey{kind, r.ID})
		}
	}
	return ctx.Err()
}

// Delete implements driver.Store.
func (m *Memory) Delete(ctx context.Context, kind driver.Kind, ids []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil {
		for _, id := range ids {
			delete(m.records, memoryKey{kind, id})
		}
	}
	return ctx.Err()
}

// Close implements driver.Store. The records stay.
func (m *Memory) Close() error { return nil }

// Walk implements driver.Lister.
func (m *Memory) Walk(ctx context.Context) iter.Seq2[driver.Record, error] {
	return func(yield func(driver.Record, error) bool) {
		m.mu.Lock()
		keys := slices.Collect(maps.Keys(m.records))
		m.mu.Unlock()
		for _, key := range keys {
			if err := ctx.Err(); err != nil {
				yield(driver.Record{}, err)
				return
			}
			document := m.Document(key.kind, key.id)
			if key.kind == driver.Task && document != nil && !yield(driver.Record{ID: key.id, Document: document}, nil) {
				return
			}
		}
	}
}

// Cleanup implements driver.Lister.
func (m *Memory) Cleanup(ctx context.Context) (removed int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.records)
	for key := range m.records {
		m.find(key)
	}
	return int64(before - len(m.records)), ctx.Err()
}

// Document returns the document of a record as it lies in the store, nil where none
// stands.
func (m *Memory) Document(kind driver.Kind, id string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.find(memoryKey{kind, id}))
}

// SetDocument lets a document stand, whatever stood before and whether it can be read or
// not.
func (m *Memory) SetDocument(kind driver.Kind, id string, document []byte, ttl time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(memoryKey{kind, id}, bytes.Clone(document), ttl)
}
