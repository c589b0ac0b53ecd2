package observe

import (
	"sync"

	"github.com/celeryresults/celeryresults"
)

// manyWait counts what a wait for many tasks sees, which several goroutines may tell it.
type manyWait struct {
	mu sync.Mutex // of operation
	*operation
	until func(*celeryresults.TaskMeta) bool
	ended bool
}

func (w *manyWait) see(meta *celeryresults.TaskMeta) bool {
	if !w.until(meta) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.became(meta)
		w.read(meta)
	}
	return true
}

func (w *manyWait) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.operation.end(err)
}
