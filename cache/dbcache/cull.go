package dbcache

import (
	"context"
	"fmt"
	"math"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// rowsPerCull is how many rows one statement drops, so that none takes long.
const rowsPerCull = 1000

// wrote accounts for rows just written and, when it is time, counts the rows
// of the table and culls it. One writer at a time does so; the others go on. A
// failure does not concern the write: the next one tries again.
func (s *Store) wrote(ctx context.Context, keys ...string) {
	if s.left.Add(-int64(len(keys))) > 0 || !s.culling.TryLock() {
		return
	}
	defer s.culling.Unlock()
	rows, err := s.cull(ctx, keys)
	if err != nil {
		return
	}
	free := s.options.MaxEntries - rows
	s.left.Store(int64(max(free/2, s.options.MaxEntries/100, 1)))
}

// DeleteExpired removes the expired rows, a thousand in a statement, and
// returns how many there were. Rows that are written meanwhile are spared.
func (s *Store) DeleteExpired(ctx context.Context) (int64, error) {
	n, err := s.drop(ctx, math.MaxInt, `expires < $1`, s.now())
	if err != nil {
		return int64(n), fmt.Errorf("dbcache: delete expired: %w", err)
	}
	return int64(n), nil
}

// cull brings the table down to MaxEntries by the rule that Options describes,
// sparing the rows under keep, and returns how many rows remain.
func (s *Store) cull(ctx context.Context, keep []string) (int, error) {
	rows, err := s.count(ctx)
	if err != nil || rows <= s.options.MaxEntries {
		return rows, err
	}
	if s.options.CullFrequency == cache.CullAll {
		return len(keep), s.dropAll(ctx, keep)
	}
	dropped, err := s.drop(ctx, rows, `expires < $1`, s.now())
	rows -= dropped
	if err != nil || rows <= s.options.MaxEntries {
		return rows, err
	}
	victims := max(rows/s.options.CullFrequency, rows-s.options.MaxEntries)
	dropped, err = s.drop(ctx, victims, notIn(1, len(keep)), anys(keep)...)
	return rows - dropped, err
}

func (s *Store) count(ctx context.Context) (int, error) {
	var rows int
	err := s.queryRow(ctx, s.queries.count, nil, &rows)
	return rows, err
}

func (s *Store) dropAll(ctx context.Context, keep []string) error {
	q := s.dialect.Rebind(`DELETE FROM ` + s.queries.table + ` WHERE ` + notIn(1, len(keep)))
	return s.exec(ctx, sqldialect.Repeatable, 0, q, anys(keep)...)
}

// drop deletes up to most rows that meet the condition, those that expire
// first, and returns how many. A row whose lifetime somebody renews meanwhile
// is spared: it is no longer the row that was chosen.
func (s *Store) drop(ctx context.Context, most int, condition string, args ...any) (int, error) {
	first := `WHERE ` + condition + fmt.Sprintf(` ORDER BY expires LIMIT $%d`, len(args)+1)
	statement := `DELETE FROM ` + s.queries.table + ` `
	if s.dialect == sqldialect.MySQL {
		statement += first
	} else {
		statement += `WHERE (cache_key, expires) IN (SELECT cache_key, expires FROM ` + s.queries.table + ` ` + first + `)`
	}
	q := s.dialect.Rebind(statement)
	for dropped := 0; ; {
		limit := min(rowsPerCull, most-dropped)
		n, err := s.affect(ctx, sqldialect.Repeatable, 0, q, append(args[:len(args):len(args)], limit)...)
		dropped += int(n)
		if err != nil || int(n) < limit || dropped >= most {
			return dropped, err
		}
	}
}

// notIn is the condition that a row's key is none of n parameters from the one
// numbered first on.
func notIn(first, n int) string { return `cache_key NOT IN (` + sqldialect.Parameters(first, n) + `)` }

func anys(keys []string) []any {
	args := make([]any, len(keys))
	for i, key := range keys {
		args[i] = key
	}
	return args
}
