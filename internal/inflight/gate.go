package inflight

import (
	"sync"
	"sync/atomic"
)

// gate admits operations until it is shut and then waits for those inside. The
// zero value is open.
type gate struct {
	closed atomic.Bool
	inside sync.RWMutex // held for reading by every operation inside
}

// enter reports whether the operation may begin. If so, it must call leave.
func (g *gate) enter() bool {
	if g.closed.Load() {
		return false
	}
	g.inside.RLock()
	if g.closed.Load() {
		g.inside.RUnlock()
		return false
	}
	return true
}

func (g *gate) leave() { g.inside.RUnlock() }

// shut admits no more operations and reports whether the gate was open.
func (g *gate) shut() bool { return !g.closed.Swap(true) }

// wait returns when no operation is inside. The gate must have been shut.
func (g *gate) wait() {
	g.inside.Lock()
	defer g.inside.Unlock()
}
