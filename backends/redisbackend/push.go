package redisbackend

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/keys"
	"github.com/celeryresults/celeryresults/internal/redisclient"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/serialization"
)

// The life of the connection that messages come over.
const (
	linger       = time.Second // it stays when nobody waits any more
	channelsEach = 10_000      // how many channels one command has
	againAfter   = 50 * time.Millisecond
)

// When a connection is silent: variables for the tests alone.
var (
	pingAfter = 3 * time.Second
	lostAfter = 8 * time.Second // without an answer to the ping
)

// subscriber is the driver.Pusher: it tells of results that are published, over one
// connection for all who wait. It is subscribed to the channels of tasks that somebody
// waits for, and has goroutines only then and a moment longer.
type subscriber struct {
	on      server
	keys    keys.Keys
	retries retry.Policy
	sink    driver.Sink

	mu      sync.Mutex
	wanted  map[string]struct{} // tasks that are waited for; guarded by mu, as all that follows
	changed map[string]struct{} // tasks that came or went since Redis was last told
	running bool
	closed  bool

	wake   chan struct{} // something has changed
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newSubscriber(on server, keys keys.Keys, retries retry.Policy) *subscriber {
	ctx, cancel := context.WithCancel(context.Background())
	return &subscriber{
		on: on, keys: keys, retries: retries,
		wanted: map[string]struct{}{}, changed: map[string]struct{}{}, wake: make(chan struct{}, 1),
		ctx: ctx, cancel: cancel,
	}
}

// Listen implements driver.Pusher.
func (s *subscriber) Listen(to driver.Sink) { s.sink = to }

// Watch implements driver.Pusher.
func (s *subscriber) Watch(taskIDs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.on.subscriber == nil {
		return
	}
	for _, id := range taskIDs {
		s.wanted[id] = struct{}{}
		s.changed[id] = struct{}{}
	}
	if !s.running {
		s.running = true
		s.done.Add(1)
		go s.run()
	}
	s.signal()
}

// Unwatch implements driver.Pusher.
func (s *subscriber) Unwatch(taskIDs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return
	}
	for _, id := range taskIDs {
		delete(s.wanted, id)
		s.changed[id] = struct{}{}
	}
	s.signal()
}

func (s *subscriber) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close ends everything and waits for it.
func (s *subscriber) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.done.Wait()
}

// run keeps the connection, and tells Redis what is waited for, until nobody has
// waited for a moment.
func (s *subscriber) run() {
	defer s.done.Done()
	l := s.connect()
	defer func() { l.close() }()
	tick := time.NewTicker(pingAfter)
	defer tick.Stop()
	idle := time.NewTimer(linger)
	defer idle.Stop()
	for {
		coming, going, nobody := s.news()
		s.again(l.tell(coming, going))
		if !nobody {
			idle.Reset(linger)
		}
		select {
		case <-s.wake:
		case <-idle.C:
			if s.over() {
				return
			}
			idle.Reset(linger)
		case <-tick.C:
			if !l.healthy() {
				l = s.reconnect(l)
			}
		case <-s.ctx.Done():
			s.over()
			return
		}
	}
}

// news returns the channels to subscribe to and to leave.
func (s *subscriber) news() (coming, going []string, nobody bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.changed {
		key, err := s.keys.Task(id)
		if err != nil {
			continue
		}
		if _, ok := s.wanted[id]; ok {
			coming = append(coming, key)
		} else {
			going = append(going, key)
		}
	}
	if len(s.changed) > channelsEach {
		s.changed = map[string]struct{}{} // a map keeps its size
	}
	clear(s.changed)
	return coming, going, len(s.wanted) == 0
}

// again lets channels be subscribed to once more, a moment later.
func (s *subscriber) again(keys []string) {
	if len(keys) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		id, _ := s.keys.TaskID(key)
		if _, ok := s.wanted[id]; ok {
			s.changed[id] = struct{}{}
		}
	}
	time.AfterFunc(againAfter, s.signal)
}

// over reports whether nobody waits, in which case run must end.
func (s *subscriber) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil && len(s.wanted)+len(s.changed) > 0 {
		return false
	}
	s.running = false
	return true
}

// link is one PubSub, which connects anew by itself when its connection breaks.
type link struct {
	s      *subscriber
	pubsub *redis.PubSub
	heard  atomic.Int64 // when something was last received, in nanoseconds
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (s *subscriber) connect() *link {
	l := &link{s: s}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	l.pubsub = s.on.subscriber.Subscribe(l.ctx)
	l.heard.Store(time.Now().UnixNano())
	l.done.Add(1)
	go l.receive()
	return l
}

// reconnect gives a connection up that is silent.
func (s *subscriber) reconnect(old *link) *link {
	s.sink.Lost()
	old.close()
	l := s.connect()
	s.mu.Lock()
	wanted := slices.Collect(maps.Keys(s.wanted))
	s.mu.Unlock()
	keys, _ := s.keys.Tasks(wanted)
	s.again(l.tell(keys, nil))
	return l
}

// tell subscribes and leaves. It returns the channels whose command could not be
// sent: the PubSub connects anew without them.
func (l *link) tell(coming, going []string) (failed []string) {
	for part := range slices.Chunk(coming, channelsEach) {
		if err := l.pubsub.Subscribe(l.ctx, part...); err != nil {
			failed = append(failed, part...)
		}
	}
	for part := range slices.Chunk(going, channelsEach) {
		_ = l.pubsub.Unsubscribe(l.ctx, part...) // it is forgotten in any case
	}
	return failed
}

// healthy reports whether the connection has been heard lately, and pings it when
// it has been silent.
func (l *link) healthy() bool {
	silent := time.Since(time.Unix(0, l.heard.Load()))
	if silent < pingAfter {
		return true
	}
	ctx, cancel := context.WithTimeout(l.ctx, lostAfter-pingAfter)
	defer cancel()
	_ = l.pubsub.Ping(ctx) // who does not answer is not heard
	return silent < lostAfter
}

func (l *link) close() {
	l.cancel()
	_ = l.pubsub.Close()
	l.done.Wait()
}

// receive hands on what comes until the link is closed.
func (l *link) receive() {
	defer l.done.Done()
	pauses := l.s.retries.Pauses()
	for {
		message, err := l.pubsub.Receive(l.ctx)
		switch {
		case l.ctx.Err() != nil || errors.Is(err, redis.ErrClosed):
			return
		case err != nil && redisclient.Answered(err): // no permission for a channel: the Backend asks
		case err != nil:
			l.s.sink.Lost()
			l.s.on.lost()
			if !l.pause(pauses.Next()) {
				return
			}
		default:
			pauses.Reset()
			l.heard.Store(time.Now().UnixNano())
			l.s.take(message)
		}
	}
}

func (l *link) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// take tells of a message, or that messages will come.
func (s *subscriber) take(message any) {
	switch m := message.(type) {
	case *redis.Subscription:
		if id, ok := s.keys.TaskID(m.Channel); ok && m.Kind == "subscribe" {
			s.sink.Live(id)
		}
	case *redis.Message:
		if id, ok := s.keys.TaskID(m.Channel); ok {
			s.sink.Deliver(driver.Record{ID: id, Document: serialization.BytesOf(m.Payload)})
		}
	}
}
