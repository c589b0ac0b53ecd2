package celeryresults

import (
	"context"
	"errors"
	"sync"
)

// Join waits until all results are ready and returns their metas in the order
// of the handles, which may belong to different backends (Celery's
// ResultSet.join). It returns ctx's error when that ends first, and the first
// error of a backend. A task that failed is no error: see TaskMeta.Err.
func Join(ctx context.Context, results ...*AsyncResult) ([]*TaskMeta, error) {
	return joined(ctx, results, func(*TaskMeta) error { return nil })
}

// joined waits until all results are ready and returns their metas in the order
// of the handles. It ends with the first error, also of each, which is called
// with every meta as it comes.
func joined(ctx context.Context, results []*AsyncResult, each func(*TaskMeta) error) ([]*TaskMeta, error) {
	metas := make([]*TaskMeta, len(results))
	var failed error
	err := arrive(ctx, results, func(place int, meta *TaskMeta, err error) bool {
		if failed = err; failed == nil {
			metas[place] = meta
			failed = each(meta)
		}
		return failed == nil
	})
	switch {
	case failed != nil:
		return nil, failed
	case err != nil:
		return nil, err
	}
	return metas, nil
}

// share is what one backend has of several results.
type share struct {
	backend *Backend
	results []*AsyncResult
	places  []int // of the results, among all
	bad     error // what records could not be read
}

// sharesOf sorts the results at the places by backend.
func sharesOf(results []*AsyncResult, places []int) ([]*share, error) {
	var shares []*share
	known := map[*Backend]*share{}
	for _, place := range places {
		r := results[place]
		if err := r.usable(); err != nil {
			return nil, err
		}
		s := known[r.backend]
		if s == nil {
			s = &share{backend: r.backend}
			shares = append(shares, s)
			known[r.backend] = s
		}
		s.results, s.places = append(s.results, r), append(s.places, place)
	}
	return shares, nil
}

// inEach runs f for all shares at the same time and joins the errors.
func inEach(shares []*share, f func(*share) error) error {
	if len(shares) == 1 {
		return f(shares[0])
	}
	errs := make([]error, len(shares))
	var group sync.WaitGroup
	for i, s := range shares {
		group.Go(func() { errs[i] = f(s) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// readAll returns the metas of the results in their order: what the handles keep,
// and the others with one GetMany for each backend. Of records that can't be read
// there is no meta, and an *UnreadableError beside the others. With any other
// error there are no metas.
func readAll(ctx context.Context, results []*AsyncResult) ([]*TaskMeta, error) {
	metas := make([]*TaskMeta, len(results))
	var places []int
	for i, r := range results {
		if metas[i] = r.ready.Load(); metas[i] == nil {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return metas, nil
	}
	shares, err := sharesOf(results, places)
	if err != nil {
		return nil, err
	}
	if err := inEach(shares, func(s *share) error { return s.read(ctx, metas) }); err != nil {
		return nil, err
	}
	for _, s := range shares {
		err = errors.Join(err, s.bad)
	}
	return metas, err
}

// readStatuses returns the statuses of the results in their order, as readAll
// does with metas.
func readStatuses(ctx context.Context, results []*AsyncResult) ([]Status, error) {
	statuses := make([]Status, len(results))
	var places []int
	for i, r := range results {
		var known bool
		if statuses[i], known = r.known(); !known {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return statuses, nil
	}
	shares, err := sharesOf(results, places)
	if err != nil {
		return nil, err
	}
	if err := inEach(shares, func(s *share) error { return s.readStatuses(ctx, statuses) }); err != nil {
		return nil, err
	}
	for _, s := range shares {
		err = errors.Join(err, s.bad)
	}
	return statuses, err
}

// readStatuses fills in statuses, as read does with metas.
func (s *share) readStatuses(ctx context.Context, statuses []Status) error {
	found, err := s.backend.GetStatuses(ctx, s.ids())
	if found == nil {
		return err
	}
	s.bad = err
	for i, r := range s.results {
		statuses[s.places[i]] = found[i]
		if ended := endings[found[i]]; ended != nil {
			r.ended.Store(ended)
		}
	}
	return nil
}

// endings are the statuses of tasks that have ended.
var endings = map[Status]*Status{
	{State: Success}: {State: Success}, {State: Failure}: {State: Failure}, {State: Revoked}: {State: Revoked},
}

// read fills in metas, each in its place. Records that can't be read are no error
// here: they are in bad.
func (s *share) read(ctx context.Context, metas []*TaskMeta) error {
	return s.readMany(ctx, func(i int, meta *TaskMeta) { metas[s.places[i]] = s.results[i].keep(meta) })
}

// readMany calls each with the meta of each result that can be read.
func (s *share) readMany(ctx context.Context, each func(i int, meta *TaskMeta)) error {
	found, err := s.backend.GetMany(ctx, s.ids())
	if found == nil {
		return err
	}
	s.bad = err
	for i, meta := range found {
		if meta != nil {
			each(i, meta)
		}
	}
	return nil
}

func (s *share) ids() []string {
	ids := make([]string, len(s.results))
	for i, r := range s.results {
		ids[i] = r.id
	}
	return ids
}

// arrive calls each with every result as it becomes ready: first with those that
// are ready by now, in their order, and then with the others as they come. A
// record that can't be read is an error of its own. Where each returns false,
// arrive ends. Any other error ends it, too, and is returned.
//
// It has a goroutine for each backend while it waits.
func arrive(ctx context.Context, results []*AsyncResult, each func(place int, meta *TaskMeta, err error) bool) error {
	metas, err := readAll(ctx, results)
	if metas == nil {
		return err
	}
	var waiting []int
	for i, meta := range metas {
		on := true
		kept := results[i].ready.Load() // of an eager result, in any state, or by somebody who was quicker
		switch {
		case kept != nil:
			on = each(i, kept, nil)
		case meta == nil:
			on = each(i, nil, unreadableOf(err, results[i].id))
		case meta.State.Ready():
			on = each(i, meta, nil)
		default:
			waiting = append(waiting, i)
		}
		if !on {
			return nil
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	shares, err := sharesOf(results, waiting)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &arrivals{news: make(chan struct{}, 1), ended: make(chan ending, len(shares))}
	var group sync.WaitGroup
	for _, s := range shares {
		w := &wait{share: s, arrivals: a}
		group.Go(func() { a.ended <- ending{w, w.run(ctx)} })
	}
	defer group.Wait()
	defer cancel()
	return a.pass(len(shares), each)
}

// unreadableOf returns the error of one record among those of GetMany.
func unreadableOf(err error, id string) error {
	for _, u := range unreadable(err) {
		if u.ID == id {
			return u
		}
	}
	if err == nil {
		return &UnreadableError{ID: id, Err: errors.New("the backend returned nothing for it")}
	}
	return err
}

// unreadable returns the *UnreadableErrors that GetMany joined.
func unreadable(err error) []*UnreadableError {
	switch e := err.(type) { //nolint:errorlint // it walks the tree that errors.Join made
	case *UnreadableError:
		return []*UnreadableError{e}
	case interface{ Unwrap() []error }:
		var list []*UnreadableError
		for _, err := range e.Unwrap() {
			list = append(list, unreadable(err)...)
		}
		return list
	}
	return nil
}

// arrivals collects results as they become ready, for one who takes them.
type arrivals struct {
	mu   sync.Mutex
	list []arrival // not yet taken; guarded by mu

	news  chan struct{}
	ended chan ending
}

type arrival struct {
	wait *wait
	meta *TaskMeta
}

// ending is the end of waiting for a share.
type ending struct {
	wait *wait
	err  error
}

// pass passes on what arrives, until as many waits have ended.
func (a *arrivals) pass(waits int, each func(place int, meta *TaskMeta, err error) bool) error {
	for waits > 0 {
		var end ending
		select {
		case <-a.news:
		case end = <-a.ended:
			waits--
		}
		for _, arrived := range a.take() {
			if !arrived.wait.pass(arrived.meta.TaskID, arrived.meta, nil, each) {
				return nil
			}
		}
		bad := unreadable(end.err)
		if end.err != nil && len(bad) == 0 {
			return end.err
		}
		for _, u := range bad {
			if !end.wait.pass(u.ID, nil, u, each) {
				return nil
			}
		}
	}
	return nil
}

func (a *arrivals) take() []arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// wait waits for the results of a share.
type wait struct {
	*share
	arrivals *arrivals
	byID     map[string][]int // indexes of results; several handles may have one id
}

// run returns once all are ready and were noted as arrivals.
func (w *wait) run(ctx context.Context) error {
	w.byID = make(map[string][]int, len(w.results))
	ids := make([]string, 0, len(w.results))
	for i, r := range w.results {
		if w.byID[r.id] == nil {
			ids = append(ids, r.id)
		}
		w.byID[r.id] = append(w.byID[r.id], i)
	}
	return w.backend.AwaitMany(ctx, ids, w.see)
}

// see notes a meta that is ready, and reports whether it is.
func (w *wait) see(meta *TaskMeta) bool {
	if !meta.State.Ready() {
		return false
	}
	a := w.arrivals
	a.mu.Lock()
	a.list = append(a.list, arrival{w, meta})
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
	return true
}

// pass passes on what became of an id, for all its handles.
func (w *wait) pass(id string, meta *TaskMeta, err error, each func(place int, meta *TaskMeta, err error) bool) bool {
	for _, i := range w.byID[id] {
		if meta != nil {
			w.results[i].keep(meta)
		}
		if !each(w.places[i], meta, err) {
			return false
		}
	}
	return true
}
