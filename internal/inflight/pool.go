package inflight

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrClosed is returned for operations on a closed pool.
var ErrClosed = errors.New("inflight: closed")

// Pool runs operations on clients of type C. It is safe for concurrent use.
type Pool[C any] struct {
	gate  gate
	slots chan struct{} // a token for every operation under way; nil: no bound

	borrowed C // the client when open is nil
	open     func(*Line) C
	close    func(C) error

	mu   sync.Mutex
	all  []*member[C] // every one that was opened
	idle []*member[C] // those not in use, the last used one last
}

// member is a client that serves one operation at a time.
type member[C any] struct {
	client C
	line   Line
}

// Borrow returns a pool over one client that belongs to somebody else and does
// not dial through a Line: operations run as [Do] has it. At most size run at a
// time; zero or less means any number.
func Borrow[C any](client C, size int) *Pool[C] {
	p := &Pool[C]{borrowed: client}
	if size > 0 {
		p.slots = make(chan struct{}, size)
	}
	return p
}

// Open returns a pool of at most size clients, each made by open when it is
// needed, used by one operation at a time, and closed by close. A client must
// dial through its Line, keep one connection, and set a deadline on it for
// every operation.
func Open[C any](size int, open func(*Line) C, close func(C) error) *Pool[C] {
	return &Pool[C]{slots: make(chan struct{}, size), open: open, close: close}
}

// Size returns the most operations that run at a time, or 0 for any number.
func (p *Pool[C]) Size() int { return cap(p.slots) }

// Run runs f on a client of the pool, for which it waits, and returns what f
// returns. When ctx ends first, Run returns its error at once; f may then still
// take effect. After Close it returns ErrClosed.
func Run[C, T any](ctx context.Context, p *Pool[C], f func(C) (T, error)) (T, error) {
	if p.open == nil {
		return Do(ctx, func() (T, error) { return onBorrowed(ctx, p, f) })
	}
	return onOwn(ctx, p, f)
}

func onBorrowed[C, T any](ctx context.Context, p *Pool[C], f func(C) (T, error)) (T, error) {
	if err := p.enter(ctx); err != nil {
		var zero T
		return zero, err
	}
	defer p.leave()
	return f(p.borrowed)
}

func onOwn[C, T any](ctx context.Context, p *Pool[C], f func(C) (T, error)) (T, error) {
	if err := p.enter(ctx); err != nil {
		var zero T
		return zero, err
	}
	defer p.leave()
	m := p.take()
	turn := m.line.begin(ctx)
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { m.line.interrupt(turn) })()
	}
	value, err := f(m.client)
	if cut := m.line.end(); cut && err != nil && ctx.Err() == nil {
		err = ErrClosed
	}
	if err != nil && broken(err) {
		p.drop(m)
	} else {
		p.put(m)
	}
	return value, ended(ctx, err)
}

// enter waits until the operation may run.
func (p *Pool[C]) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !p.gate.enter() {
		return ErrClosed
	}
	if p.slots == nil {
		return nil
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		p.gate.leave()
		return ctx.Err()
	}
	if p.gate.closed.Load() {
		p.leave()
		return ErrClosed
	}
	return nil
}

func (p *Pool[C]) leave() {
	if p.slots != nil {
		<-p.slots
	}
	p.gate.leave()
}

func (p *Pool[C]) take() *member[C] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 {
		m := p.idle[last]
		p.idle = p.idle[:last]
		return m
	}
	m := &member[C]{}
	m.client = p.open(&m.line)
	p.all = append(p.all, m)
	return m
}

// drop closes a client whose connection failed: it may remember the failure
// when the server is back.
func (p *Pool[C]) drop(m *member[C]) {
	p.mu.Lock()
	p.all = slices.DeleteFunc(p.all, func(x *member[C]) bool { return x == m })
	p.mu.Unlock()
	_ = p.close(m.client)
}

func (p *Pool[C]) put(m *member[C]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, m)
}

// Close ends the operations under way, with ErrClosed where clients are the
// pool's own, waits for them and closes the clients that were opened. Closing
// twice does nothing.
func (p *Pool[C]) Close() error {
	if !p.gate.shut() {
		return nil
	}
	p.mu.Lock()
	for _, m := range p.all {
		m.line.interruptAny()
	}
	p.mu.Unlock()
	p.gate.wait()
	var errs []error
	for _, m := range p.all {
		errs = append(errs, p.close(m.client))
	}
	return errors.Join(errs...)
}
