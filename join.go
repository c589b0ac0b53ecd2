package celeryresults

import "context"

// Join waits until all results are ready and returns their metas in the order
// of the handles, which may belong to different backends (Celery's
// ResultSet.join). It returns ctx's error when that ends first, and the first
// error of a backend. A task that failed is no error: see TaskMeta.Err.
func Join(ctx context.Context, results ...*AsyncResult) ([]*TaskMeta, error) {
	metas := make([]*TaskMeta, len(results))
	if err := joinReady(ctx, results, metas); err != nil {
		return nil, err
	}
	for i, r := range results {
		if metas[i] != nil {
			continue
		}
		meta, err := r.Wait(ctx)
		if err != nil {
			return nil, err
		}
		metas[i] = meta
	}
	return metas, nil
}

// joinReady fills in what is ready by now, with one read for each backend.
func joinReady(ctx context.Context, results []*AsyncResult, metas []*TaskMeta) error {
	byBackend := map[Backend][]int{}
	for i, r := range results {
		if meta := r.ready.Load(); meta != nil {
			metas[i] = meta
			continue
		}
		if err := r.usable(); err != nil {
			return err
		}
		if comparable := same(r.backend, r.backend); comparable {
			byBackend[r.backend] = append(byBackend[r.backend], i)
		}
	}
	for b, places := range byBackend {
		ids := make([]string, len(places))
		for i, place := range places {
			ids[i] = results[place].id
		}
		found, err := b.GetMany(ctx, ids)
		if err != nil {
			return err
		}
		for i, place := range places {
			if found[i].State.Ready() {
				metas[place] = results[place].keep(found[i])
			}
		}
	}
	return nil
}
