package sqlalchemybackend

import (
	"context"
	"iter"
	"strconv"

	"github.com/celeryresults/celeryresults"
)

var _ celeryresults.Walker = (*DatabaseBackend)(nil)

// Walk implements celeryresults.Walker, in the order of the primary keys.
func (b *DatabaseBackend) Walk(ctx context.Context) iter.Seq2[*celeryresults.TaskMeta, error] {
	return func(yield func(*celeryresults.TaskMeta, error) bool) {
		if _, err := b.check(ctx); err != nil {
			yield(nil, err)
			return
		}
		q := b.dialect.Rebind(`SELECT id, task_id FROM ` + b.names.task + ` WHERE id > $1 ORDER BY id LIMIT ` + strconv.Itoa(idsPerStatement))
		for last := int64(0); ; {
			var ids []string
			next := last
			err := b.do(ctx, "walk", func() error {
				ids = nil // a statement that is repeated begins again
				return b.db.Rows(ctx, q, []any{last}, func(scan func(...any) error) error {
					var id string
					if err := scan(&next, &id); err != nil {
						return err
					}
					ids = append(ids, id)
					return nil
				})
			})
			if err != nil {
				yield(nil, err)
				return
			}
			if last = next; len(ids) == 0 {
				return
			}
			rows, err := b.rows(false)(ctx, ids)
			if err != nil {
				yield(nil, err)
				return
			}
			for i, r := range rows {
				meta, err := b.meta(ids[i], r)
				if meta != nil && meta.Unknown {
					continue // it has expired, or gone meanwhile
				}
				if !yield(meta, err) {
					return
				}
			}
		}
	}
}
