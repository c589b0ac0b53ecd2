package celeryresults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/driver/drivertest"
)

// fakeStore is a store in memory that counts what is asked of it, and fails when it is told
// to. Time may be synctest's.
type fakeStore struct {
	drivertest.Memory

	mu        sync.Mutex
	reads     int             // Gets of tasks; guarded by mu, as all that follows
	asked     int             // ids in them
	told      int             // ids of which no more than the state was asked for
	deletes   int             // Deletes of tasks
	closes    int             // Close
	err       error           // of Get
	bad       map[string]bool // records that can't be read
	meanwhile func()          // called once, between the next Get and its answer
}

func newStore() *fakeStore { return &fakeStore{bad: map[string]bool{}} }

func (s *fakeStore) set(change func(s *fakeStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// asks returns what was asked since the last time.
func (s *fakeStore) asks() (reads, ids int) {
	s.set(func(s *fakeStore) {
		reads, ids = s.reads, s.asked
		s.reads, s.asked, s.told = 0, 0, 0
	})
	return reads, ids
}

func (s *fakeStore) Get(ctx context.Context, kind driver.Kind, records []driver.Record, how driver.How) error {
	if kind != driver.Task {
		return s.Memory.Get(ctx, kind, records, how)
	}
	var err error
	s.set(func(s *fakeStore) {
		s.reads, s.asked = s.reads+1, s.asked+len(records)
		if how&driver.States != 0 {
			s.told += len(records)
		}
		err = s.err
	})
	if err == nil {
		err = s.Memory.Get(ctx, kind, records, how)
	}
	var meanwhile func()
	s.set(func(s *fakeStore) {
		for i := range records {
			if s.bad[records[i].ID] {
				records[i].Err = errors.New("garbage")
			}
		}
		meanwhile, s.meanwhile = s.meanwhile, nil
	})
	if meanwhile != nil {
		meanwhile()
	}
	return err
}

func (s *fakeStore) Delete(ctx context.Context, kind driver.Kind, ids []string) error {
	if kind == driver.Task {
		s.set(func(s *fakeStore) { s.deletes++ })
	}
	return s.Memory.Delete(ctx, kind, ids)
}

func (s *fakeStore) Close() error {
	s.set(func(s *fakeStore) { s.closes++ })
	return s.Memory.Close()
}

// put stores a record as another process does: nobody here is told.
func (s *fakeStore) put(id string, state celeryresults.State) {
	document := fmt.Appendf(nil, `{"task_id": %q, "status": %q, "result": null, "traceback": null, "children": []}`, id, state)
	s.SetDocument(driver.Task, id, document, driver.Never)
}

func (s *fakeStore) done(i int) { s.put(strconv.Itoa(i), celeryresults.Success) }

// backendOver returns a backend over a store in memory, which the test closes.
func backendOver(t testing.TB, store driver.Store, s celeryresults.Settings) *celeryresults.Backend {
	t.Helper()
	b := drivertest.OpenStore(t, store, s)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// pushStore is a fakeStore that tells of changes when it is told to.
type pushStore struct {
	*fakeStore
	driver.Sink

	mu      sync.Mutex
	watched map[string]int // guarded by mu
	watches int            // calls of Watch; guarded by mu
}

func newPushStore() *pushStore { return &pushStore{fakeStore: newStore(), watched: map[string]int{}} }

func (s *pushStore) Listen(to driver.Sink) { s.Sink = to }

func (s *pushStore) Watch(ids []string) { s.count(ids, 1) }

func (s *pushStore) Unwatch(ids []string) { s.count(ids, -1) }

func (s *pushStore) count(ids []string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by > 0 {
		s.watches++
	}
	for _, id := range ids {
		if s.watched[id] += by; s.watched[id] == 0 {
			delete(s.watched, id)
		}
	}
}

func (s *pushStore) all() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.watched)
}

// record returns a record as the store has it.
func (s *pushStore) record(id string) driver.Record {
	return driver.Record{ID: id, Document: s.Document(driver.Task, id)}
}
