package memcached

import (
	"context"
	"errors"
	"net"
	"syscall"

	"github.com/celeryresults/celeryresults/internal/inflight"
)

// errHungUp is returned by a connection that was found closed before anything
// of a request was written to it, so that any request may be sent again.
var errHungUp = errors.New("memcached: the server closed the idle connection")

// conn looks before it begins a request whether the server has hung up while
// the connection idled.
type conn struct {
	net.Conn
	raw    syscall.RawConn
	idle   bool // an answer was read since the last write
	closed bool // what the last look saw
	look   func(fd uintptr) bool
}

func dialer(line *inflight.Line) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		plain, err := line.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return watched(plain), nil
	}
}

// watched returns c as it is where it cannot be watched.
func watched(plain net.Conn) net.Conn {
	file, ok := plain.(syscall.Conn)
	if !ok {
		return plain
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return plain
	}
	c := &conn{Conn: plain, raw: raw}
	c.look = func(fd uintptr) bool {
		c.closed = hungUp(fd)
		return true
	}
	return c
}

func (c *conn) Read(p []byte) (int, error) {
	c.idle = true
	return c.Conn.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	if c.idle {
		c.idle = false
		if err := c.raw.Read(c.look); err != nil || c.closed {
			return 0, errHungUp
		}
	}
	return c.Conn.Write(p)
}
