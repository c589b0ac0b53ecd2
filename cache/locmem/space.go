package locmem

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	gocache "github.com/patrickmn/go-cache"

	"github.com/celeryresults/celeryresults/cache"
)

// sweepInterval is how often expired entries are removed that nobody replaced.
const sweepInterval = time.Minute

// spaces holds the open locations of this process.
var spaces = struct {
	mu         sync.Mutex
	byLocation map[string]*space // guarded by mu, and so is space.handles
}{byLocation: map[string]*space{}}

// space is what the stores of one location share.
type space struct {
	location string
	handles  int

	// entries holds an *entry under every key. Its own lock keeps readers
	// safe; who writes also holds mu, from its look at an entry to the write.
	entries *gocache.Cache
	mu      sync.Mutex

	listeners map[*func(key string)]struct{} // guarded by mu

	// clock counts uses and revisions: it orders entries by their last use and
	// gives every state its Token.
	clock atomic.Int64

	stop    chan struct{}
	stopped sync.WaitGroup
}

// entry is a value with the time of its last use, by the space's clock.
type entry struct {
	item atomic.Pointer[cache.Item] // replaced while mu is held
	used atomic.Int64
}

// open returns the location's space with one more handle on it.
func open(location string) *space {
	spaces.mu.Lock()
	defer spaces.mu.Unlock()
	s := spaces.byLocation[location]
	if s == nil {
		s = newSpace(location)
		spaces.byLocation[location] = s
	}
	s.handles++
	return s
}

func newSpace(location string) *space {
	s := &space{
		location: location,
		entries:  gocache.New(gocache.NoExpiration, 0),
		stop:     make(chan struct{}),

		listeners: map[*func(key string)]struct{}{},
	}
	s.stopped.Go(s.sweep)
	return s
}

// release takes one handle off. The last one ends the space.
func (s *space) release() {
	spaces.mu.Lock()
	s.handles--
	last := s.handles == 0
	if last {
		delete(spaces.byLocation, s.location)
	}
	spaces.mu.Unlock()
	if last {
		close(s.stop)
		s.stopped.Wait()
	}
}

// sweep removes expired entries now and then, until the space ends.
func (s *space) sweep() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.entries.DeleteExpired()
		}
	}
}

// find returns the live entry under key, or nil.
func (s *space) find(key string) *entry {
	if e, ok := s.entries.Get(key); ok {
		return e.(*entry)
	}
	return nil
}

// use makes e the most recently used entry and returns its item.
func (s *space) use(e *entry) cache.Item {
	e.used.Store(s.clock.Add(1))
	return *e.item.Load()
}

// put stores an item under key, whatever was there.
func (s *space) put(key string, item cache.Item, ttl time.Duration) {
	e := &entry{}
	s.replace(e, item)
	s.entries.Set(key, e, ttl)
	s.tell(key)
}

// delete removes what is under key.
func (s *space) delete(key string) {
	s.entries.Delete(key)
	s.tell(key)
}

// tell tells the listeners of a change. It is called with the lock held.
func (s *space) tell(key string) {
	for f := range s.listeners {
		(*f)(key)
	}
}

// replace gives e a new item, which is a use.
func (s *space) replace(e *entry, item cache.Item) {
	now := s.clock.Add(1)
	item.Token = uint64(now)
	e.item.Store(&item)
	e.used.Store(now)
}

// drop removes n entries: expired ones, then the least recently used. It is one
// pass over all entries, which n writes share.
func (s *space) drop(n int) {
	before := s.entries.ItemCount()
	s.entries.DeleteExpired()
	n -= before - s.entries.ItemCount()
	if n <= 0 {
		return
	}
	entries := s.entries.Items()
	if n >= len(entries) {
		s.entries.Flush()
		return
	}
	used := make([]int64, 0, len(entries))
	for _, item := range entries {
		used = append(used, item.Object.(*entry).used.Load())
	}
	slices.Sort(used)
	s.dropUnused(entries, used[n-1])
}

// dropUnused removes the entries that were not used since the clock showed
// last.
func (s *space) dropUnused(entries map[string]gocache.Item, last int64) {
	for key, item := range entries {
		if item.Object.(*entry).used.Load() <= last {
			s.entries.Delete(key)
		}
	}
}
