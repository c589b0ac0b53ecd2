package dbcache

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

var _ cache.KeyLister = (*Store)(nil)

// keysPerPage is how many keys Keys reads at a time.
const keysPerPage = 1000

// likeText is a text in a pattern of LIKE with ! as its escape.
var likeText = strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`)

// Keys implements cache.KeyLister, in the order of the table's primary key.
func (s *Store) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		q := s.dialect.Rebind(`SELECT cache_key FROM ` + s.queries.table + ` WHERE expires >= $1 AND cache_key > $2 AND cache_key LIKE $3 ESCAPE '!' ORDER BY cache_key LIMIT ` + strconv.Itoa(keysPerPage))
		for after := ""; ; {
			var keys []string
			err := s.run(ctx, sqldialect.Repeatable, func() error {
				keys = keys[:0]
				return s.db.Rows(ctx, q, []any{s.now(), after, likeText.Replace(prefix) + "%"}, func(scan func(...any) error) error {
					var key string
					if err := scan(&key); err != nil {
						return err
					}
					keys = append(keys, key)
					return nil
				})
			})
			if err != nil {
				yield("", fmt.Errorf("dbcache: keys: %w", err))
				return
			}
			for _, key := range keys {
				if strings.HasPrefix(key, prefix) && !yield(key, nil) { // or equal by the collation only
					return
				}
			}
			if len(keys) < keysPerPage {
				return
			}
			after = keys[len(keys)-1]
		}
	}
}
