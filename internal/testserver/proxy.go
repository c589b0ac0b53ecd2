package testserver

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy forwards TCP connections to a server and fails on demand. Its methods
// are safe for concurrent use; each counts for what comes after it.
type Proxy struct {
	target   string
	listener net.Listener
	ctx      context.Context // ends with the proxy
	end      context.CancelFunc
	running  sync.WaitGroup // every goroutine

	mu       sync.Mutex
	links    map[*link]bool // the connections of now
	refusing bool
	flowing  chan struct{} // closed while bytes are forwarded
	requests int           // chunks until the cut, 0 for none

	dropping atomic.Bool
	dropped  atomic.Int64
}

// StartProxy starts a proxy for this test alone, on a free port of the
// loopback interface, and stops it when the test ends. The target is a host and
// port or the path of a unix socket.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testserver: %v", err)
	}
	p := &Proxy{target: target, listener: listener, links: make(map[*link]bool), flowing: make(chan struct{})}
	close(p.flowing)
	p.ctx, p.end = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

// Addr returns the host and port that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut resets all connections of this moment, on both sides. A client that is
// connecting meanwhile may get through. What was hanging is lost.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Refuse says whether new connections are reset as soon as they are made, as
// a server does that has no room; connecting itself may fail or not. Those
// that exist stay.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = refuse
}

// Hang says whether bytes are held back, in both directions and on new
// connections too, which are accepted. The connections stay open; what was
// held back is forwarded when the proxy no longer hangs.
func (p *Proxy) Hang(hang bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case hang && p.isFlowing():
		p.flowing = make(chan struct{})
	case !hang && !p.isFlowing():
		close(p.flowing)
	}
}

func (p *Proxy) isFlowing() bool {
	select {
	case <-p.flowing:
		return true
	default:
		return false
	}
}

// CutAfterRequest lets n more chunks of bytes from clients through, counted
// over all connections, and resets the client of the last one when the server
// answers it, before any of the answer is forwarded: the server did what it was
// asked, and the client never hears of it. A chunk is what arrives at once,
// for short requests one request. It happens once; 0 calls it off.
//
// The other connections stay. The server sees an orderly end after all that
// was sent to it.
func (p *Proxy) CutAfterRequest(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = max(n, 0)
}

// DropMessages says whether messages of Redis' pub/sub are lost on their way to
// clients. Everything else is forwarded, such as answers and the confirmations
// of SUBSCRIBE, so that a client believes itself well subscribed. An array of
// an answer in RESP2 that looks like a message is taken for one.
//
// It counts for messages that begin to arrive later, also on the connections
// that exist. Connections that do not speak RESP are left alone.
func (p *Proxy) DropMessages(drop bool) { p.dropping.Store(drop) }

// DroppedMessages returns how many messages DropMessages has cost so far,
// counted per connection.
func (p *Proxy) DroppedMessages() int { return int(p.dropped.Load()) }

func (p *Proxy) stop() {
	p.end()
	_ = p.listener.Close()
	p.Cut()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if p.ctx.Err() != nil {
			if err == nil {
				reset(conn)
			}
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // out of files, perhaps
			continue
		}
		if l := p.admit(conn); l != nil {
			p.running.Go(func() { p.serve(l) })
		}
	}
}

// admit makes a link of a new client's connection, or resets it.
func (p *Proxy) admit(client net.Conn) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing || p.ctx.Err() != nil {
		reset(client)
		return nil
	}
	l := &link{client: client, messages: messageFilter{dropping: &p.dropping, dropped: &p.dropped}}
	l.ctx, l.end = context.WithCancel(p.ctx)
	p.links[l] = true
	return l
}

func (p *Proxy) serve(l *link) {
	defer p.forget(l)
	dialer := net.Dialer{Timeout: 10 * time.Second}
	server, err := dialer.DialContext(l.ctx, network(p.target), p.target)
	if err != nil || !l.connected(server) {
		return
	}
	var answers sync.WaitGroup
	answers.Go(func() { p.pump(l, l.client, server, p.answer) })
	p.pump(l, server, l.client, p.request)
	answers.Wait()
}

func (p *Proxy) forget(l *link) {
	l.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// pump forwards what pass makes of the chunks that arrive, which may be
// nothing, until their end, which it forwards too.
func (p *Proxy) pump(l *link, to, from net.Conn, pass func(*link, []byte) []byte) {
	chunk := make([]byte, 32<<10)
	for {
		n, err := from.Read(chunk)
		if !p.awaitFlow(l) {
			return
		}
		if n > 0 && !forward(to, pass(l, chunk[:n])) {
			l.reset()
			return
		}
		if err != nil {
			l.ended(to, err)
			return
		}
	}
}

// forward reports whether it could write. It leaves a closed connection alone
// when there is nothing to write.
func forward(to net.Conn, chunk []byte) bool {
	if len(chunk) == 0 {
		return true
	}
	_, err := to.Write(chunk)
	return err == nil
}

// awaitFlow waits while the proxy hangs, and reports false when the link is
// reset.
func (p *Proxy) awaitFlow(l *link) bool {
	p.mu.Lock()
	flowing := p.flowing
	p.mu.Unlock()
	select {
	case <-flowing:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// request mutes the link that sends the last chunk before the cut.
func (p *Proxy) request(l *link, chunk []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requests > 0 {
		if p.requests--; p.requests == 0 {
			l.muted.Store(true)
		}
	}
	return chunk
}

// answer resets the client of a muted link instead.
func (p *Proxy) answer(l *link, chunk []byte) []byte {
	if l.muted.Load() {
		reset(l.client)
		return nil
	}
	return l.messages.pass(chunk)
}

// link is one client's connection and the one to the server.
type link struct {
	ctx    context.Context // ends with a reset
	end    context.CancelFunc
	client net.Conn
	muted  atomic.Bool // the client gets no more answers, but a reset

	messages messageFilter // used by the goroutine that forwards answers

	mu     sync.Mutex
	server net.Conn // nil before there is one
}

// connected adds the server's side, unless the link has been reset.
func (l *link) connected(server net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		reset(server)
		return false
	}
	l.server = server
	return true
}

func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
	reset(l.client)
	if l.server != nil {
		reset(l.server)
	}
}

// ended passes the end of one side on. A muted client is reset whatever the
// server does, which may finish what it was sent.
func (l *link) ended(to net.Conn, err error) {
	switch {
	case l.muted.Load() && to == l.client:
		reset(to)
	case l.muted.Load() || errors.Is(err, io.EOF):
		closeWrite(to)
	default:
		l.reset()
	}
}

// reset closes a connection so that the peer sees an error, not an end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
