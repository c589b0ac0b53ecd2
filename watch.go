package celeryresults

import (
	"bytes"
	"context"
	"iter"
	"sync"

	"github.com/celeryresults/celeryresults/python"
)

// Watch returns the task's record as it is now, and again whenever it changes,
// until it is ready: for meta, err := range r.Watch(ctx). Stores that push bring
// every change; of others, changes that follow each other quickly may be left
// out, but never the last one. An error, such as ctx's, is the last value.
func (r *AsyncResult) Watch(ctx context.Context) iter.Seq2[*TaskMeta, error] {
	return func(yield func(*TaskMeta, error) bool) {
		if meta := r.ready.Load(); meta != nil {
			yield(meta, nil)
			return
		}
		if err := r.usable(); err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		w := &watch{news: make(chan struct{}, 1), ended: make(chan error, 1)}
		go func() {
			_, err := r.backend.Await(ctx, r.id, w.see)
			w.ended <- err
		}()
		defer func() {
			cancel()
			w.wait()
		}()
		for {
			metas, err, ended := w.next()
			for _, meta := range metas {
				if !yield(r.keep(meta), nil) {
					return
				}
			}
			if ended && err != nil {
				yield(nil, err)
			}
			if ended {
				return
			}
		}
	}
}

// watch collects the changes of a record for one who looks at them.
type watch struct {
	mu   sync.Mutex
	last *TaskMeta   // guarded by mu
	seen []*TaskMeta // not yet looked at; guarded by mu

	news  chan struct{}
	ended chan error
	over  bool // ended was received
}

// see notes a meta unless it is the last one again, and reports whether it is the
// end.
func (w *watch) see(meta *TaskMeta) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !sameRecord(w.last, meta) {
		w.last = meta
		w.seen = append(w.seen, meta)
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
	return meta.State.Ready()
}

// next waits for changes, and reports whether they are the last ones.
func (w *watch) next() (metas []*TaskMeta, err error, ended bool) { //nolint:revive,staticcheck // the error belongs to ended
	select {
	case <-w.news:
	case err = <-w.ended:
		w.over = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	metas, w.seen = w.seen, nil
	return metas, err, w.over
}

// wait waits until nobody waits for the record any more.
func (w *watch) wait() {
	if !w.over {
		<-w.ended
	}
}

// sameRecord reports whether a record has not changed, as far as people see.
func sameRecord(x, y *TaskMeta) bool {
	if x == nil || y == nil {
		return x == y
	}
	return x.State == y.State && x.Unknown == y.Unknown && x.DateDone.Equal(y.DateDone) && x.Retries == y.Retries &&
		x.Traceback == y.Traceback && sameValue(x.Result, y.Result)
}

func sameValue(x, y Value) bool {
	if x.v.Data != nil && y.v.Data != nil {
		return bytes.Equal(x.v.Data, y.v.Data)
	}
	a, err1 := x.Any()
	b, err2 := y.Any()
	if err1 != nil || err2 != nil {
		return err1 != nil && err2 != nil
	}
	return bytes.Equal(python.JSON(nil, a), python.JSON(nil, b))
}
