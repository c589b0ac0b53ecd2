package inflight_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/inflight"
)

// client is the simplest that a pool can hold: it sends a byte and waits for
// it to come back.
type client struct {
	line   *inflight.Line
	addr   string
	conn   net.Conn
	closed atomic.Bool
}

func (c *client) echo(b byte) (byte, error) {
	if err := c.connect(); err != nil {
		return 0, err
	}
	reply := []byte{b}
	err := c.conn.SetDeadline(time.Now().Add(time.Minute))
	if err == nil {
		_, err = c.conn.Write(reply)
	}
	if err == nil {
		_, err = io.ReadFull(c.conn, reply)
	}
	if err != nil {
		c.conn.Close()
		c.conn = nil
	}
	return reply[0], err
}

func (c *client) connect() (err error) {
	if c.conn == nil {
		c.conn, err = c.line.Dial(context.Background(), "tcp", c.addr)
	}
	return err
}

// server listens, and answers if it echoes.
func server(t *testing.T, echoes bool) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			if echoes {
				go func() { _, _ = io.Copy(conn, conn) }()
			}
		}
	}()
	return listener.Addr().String()
}

// pool returns a pool of clients of the server, and the clients as they are
// opened.
func pool(t *testing.T, addr string, size int) (*inflight.Pool[*client], *[]*client) {
	var opened []*client
	p := inflight.Open(size, func(line *inflight.Line) *client {
		opened = append(opened, &client{line: line, addr: addr})
		return opened[len(opened)-1]
	}, func(c *client) error {
		c.closed.Store(true)
		if c.conn == nil {
			return nil
		}
		return c.conn.Close()
	})
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	return p, &opened
}

func echo(ctx context.Context, p *inflight.Pool[*client], b byte) (byte, error) {
	return inflight.Run(ctx, p, func(c *client) (byte, error) { return c.echo(b) })
}

func TestRunReturnsWhatTheOperationReturns(t *testing.T) {
	own, opened := pool(t, server(t, true), 4)
	borrowed := inflight.Borrow((*client)(nil), 0)
	for name, ctx := range contexts(t) {
		for range 3 {
			got, err := echo(ctx, own, 'x')
			require.NoError(t, err, name)
			require.EqualValues(t, 'x', got, name)
		}
		for _, p := range []*inflight.Pool[*client]{own, borrowed} {
			got, err := inflight.Run(ctx, p, func(*client) (int, error) { return 7, errOwn })
			require.Equal(t, errOwn, err, name)
			require.Equal(t, 7, got, name)
		}
	}
	require.Len(t, *opened, 1, "one operation at a time needs one client")
}

func TestRunReturnsAtOnceWhenTheContextEnds(t *testing.T) {
	p, _ := pool(t, server(t, false), 4)
	for name, begin := range map[string]func() (context.Context, context.CancelFunc){
		"cancelled": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			return ctx, cancel
		},
		"at its deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 10*time.Millisecond)
		},
		"before it began": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := begin()
			defer cancel()
			started := time.Now()
			_, err := echo(ctx, p, 'x')
			require.Equal(t, ctx.Err(), err)
			require.Error(t, err)
			require.Less(t, time.Since(started), 10*time.Second)
		})
	}
}

func TestDialStopsWhenTheOperationsContextEnds(t *testing.T) {
	p, _ := pool(t, server(t, true), 1)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := inflight.Run(ctx, p, func(c *client) (byte, error) {
		cancel()
		_, err := c.line.Dial(context.Background(), "tcp", c.addr)
		assert.ErrorIs(t, err, context.Canceled)
		return 0, err
	})
	require.Equal(t, context.Canceled, err)
	got, err := echo(t.Context(), p, 'y')
	require.NoError(t, err)
	require.EqualValues(t, 'y', got)
}

func TestALateCancelDoesNotReachTheNextOperation(t *testing.T) {
	p, _ := pool(t, server(t, true), 1)
	for i := range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i)*500*time.Nanosecond, cancel)
		_, err := echo(ctx, p, 'x')
		if err != nil {
			require.Equal(t, context.Canceled, err)
		}
		cancel()
		got, err := echo(context.Background(), p, byte(i))
		require.NoError(t, err)
		require.Equal(t, byte(i), got, "the reply of another operation")
	}
}

func TestOperationsAreBounded(t *testing.T) {
	own, opened := pool(t, server(t, true), 3)
	for name, p := range map[string]*inflight.Pool[*client]{"own": own, "borrowed": inflight.Borrow((*client)(nil), 3)} {
		require.Equal(t, 3, p.Size())
		var running, most atomic.Int32
		var all sync.WaitGroup
		for range 60 {
			all.Go(func() {
				_, err := inflight.Run(t.Context(), p, func(*client) (int, error) {
					now := running.Add(1)
					defer running.Add(-1)
					if now > most.Load() {
						most.Store(now)
					}
					time.Sleep(time.Millisecond)
					return 0, nil
				})
				assert.NoError(t, err)
			})
		}
		all.Wait()
		require.LessOrEqual(t, most.Load(), int32(3), name)
	}
	require.LessOrEqual(t, len(*opened), 3)
}

func TestWaitingForAClientEndsWithTheContext(t *testing.T) {
	own, _ := pool(t, server(t, true), 1)
	for name, p := range map[string]*inflight.Pool[*client]{"own": own, "borrowed": inflight.Borrow((*client)(nil), 1)} {
		busy, release := make(chan struct{}), make(chan struct{})
		go func() {
			_, _ = inflight.Run(context.Background(), p, func(*client) (int, error) { close(busy); <-release; return 0, nil })
		}()
		<-busy
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := inflight.Run(ctx, p, func(*client) (int, error) { return 0, nil })
		cancel()
		close(release)
		require.Equal(t, context.DeadlineExceeded, err, name)
	}
}

func TestCloseEndsOperationsAndClients(t *testing.T) {
	p, opened := pool(t, server(t, false), 8)
	var started, all sync.WaitGroup
	for range 20 { // 8 run, 12 wait
		started.Add(1)
		all.Go(func() {
			started.Done()
			_, err := echo(context.Background(), p, 'x')
			assert.Equal(t, inflight.ErrClosed, err)
		})
	}
	started.Wait()
	require.Eventually(t, func() bool { return p.Close() == nil }, time.Second, time.Millisecond)
	all.Wait()
	require.NoError(t, p.Close(), "a second time")
	for _, c := range *opened {
		require.True(t, c.closed.Load())
	}
	_, err := echo(t.Context(), p, 'x')
	require.Equal(t, inflight.ErrClosed, err)
}

func TestCloseWaitsForOperationsOnABorrowedClient(t *testing.T) {
	p := inflight.Borrow((*client)(nil), 0)
	begun, release := make(chan struct{}), make(chan struct{})
	var done atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = inflight.Run(ctx, p, func(*client) (int, error) {
			close(begun)
			<-release
			done.Store(true)
			return 0, nil
		})
	}()
	<-begun
	cancel()
	time.AfterFunc(10*time.Millisecond, func() { close(release) })
	require.NoError(t, p.Close())
	require.True(t, done.Load(), "the abandoned operation")
}
