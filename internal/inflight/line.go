package inflight

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// Line is what the client of a [Pool] dials through. One operation at a time
// uses it. When that operation's context ends, dialling stops, and reads and
// writes of the connection fail with a timeout.
type Line struct {
	mu   sync.Mutex
	ctx  context.Context // of the operation under way, else nil
	turn uint64          // counts beginnings and ends of operations
	cut  bool            // the operation under way is over for its caller
	conn net.Conn        // the last one dialled, nil before
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Dial connects as a net.Dialer does, until ctx or the context of the operation
// under way ends. It is safe for concurrent use.
func (l *Line) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.operation(), cancel)()
	plain, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return l.adopt(plain), nil
}

func (l *Line) operation() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		return context.Background()
	}
	return l.ctx
}

func (l *Line) adopt(plain net.Conn) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = plain
	if l.cut {
		_ = plain.SetDeadline(past)
	}
	return &conn{Conn: plain, line: l}
}

// begin starts an operation and returns its turn.
func (l *Line) begin(ctx context.Context) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	l.ctx = ctx
	return l.turn
}

// end finishes the operation under way and reports whether it was cut short.
func (l *Line) end() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	cut := l.cut
	l.turn++
	l.ctx, l.cut = nil, false
	return cut
}

// interrupt cuts the operation of a turn short, if it still is under way.
func (l *Line) interrupt(turn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn == turn {
		l.hangUp()
	}
}

// interruptAny cuts the operation under way short, if there is one.
func (l *Line) interruptAny() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx != nil {
		l.hangUp()
	}
}

// hangUp is called with the lock held.
func (l *Line) hangUp() {
	l.cut = true
	if l.conn != nil {
		_ = l.conn.SetDeadline(past)
	}
}

// deadline sets t, or a past one once the operation is cut short.
func (l *Line) deadline(t time.Time, set func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		t = past
	}
	return set(t)
}

// conn is a connection whose deadlines its line can overrule.
type conn struct {
	net.Conn
	line *Line
}

func (c *conn) SetDeadline(t time.Time) error     { return c.line.deadline(t, c.Conn.SetDeadline) }
func (c *conn) SetReadDeadline(t time.Time) error { return c.line.deadline(t, c.Conn.SetReadDeadline) }
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.line.deadline(t, c.Conn.SetWriteDeadline)
}

// SyscallConn lets clients look at the socket.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if file, ok := c.Conn.(syscall.Conn); ok {
		return file.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
