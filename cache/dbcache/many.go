package dbcache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

const (
	// keysPerStatement bounds the keys that are read or deleted at once.
	keysPerStatement = 512

	// rowsPerStatement and bytesPerStatement bound what is written at once.
	rowsPerStatement  = 200
	bytesPerStatement = smallPacket
)

// GetMany implements [cache.ManyGetter] with one statement for every 512 keys.
func (s *Store) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	if err := s.begin(ctx, keys); err != nil {
		return nil, fmt.Errorf("dbcache: get many: %w", err)
	}
	found := make(map[string]cache.Item, len(keys))
	for chunk := range slices.Chunk(keys, keysPerStatement) {
		if err := s.getChunk(ctx, chunk, found); err != nil {
			return nil, fmt.Errorf("dbcache: get many: %w", err)
		}
	}
	return found, nil
}

// begin checks what an operation on many keys needs before its first statement.
func (s *Store) begin(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	return s.ready(ctx)
}

// getChunk adds the entries under keys to found.
func (s *Store) getChunk(ctx context.Context, keys []string, found map[string]cache.Item) error {
	wanted := make(map[string]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
	}
	in, args := s.dialect.In("cache_key", 2, keys)
	q := s.dialect.Rebind(`SELECT cache_key, value FROM ` + s.queries.table + ` WHERE expires >= $1 AND ` + in)
	return s.run(ctx, sqldialect.Repeatable, func() error {
		rows, err := s.db.QueryContext(ctx, q.Text, q.Args(append([]any{s.now()}, args...)...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key, value string
			if err := rows.Scan(&key, &value); err != nil {
				return err
			}
			if !wanted[key] {
				continue // equal to a wanted key only by the collation
			}
			found[key] = decode(key, value)
		}
		return rows.Err()
	})
}

// row is an entry as it is written.
type row struct{ key, value string }

// SetMany implements [cache.ManySetter] with one statement for every 200
// entries or half a megabyte.
func (s *Store) SetMany(ctx context.Context, items map[string]cache.Item, ttl time.Duration) error {
	keys := slices.Sorted(maps.Keys(items)) // one order for all writers avoids deadlocks
	if err := s.begin(ctx, keys); err != nil {
		return fmt.Errorf("dbcache: set many: %w", err)
	}
	rows := make([]row, len(keys))
	for i, key := range keys {
		rows[i] = row{key, encode(items[key])}
	}
	for len(rows) > 0 {
		n, size := firstChunk(rows)
		if err := s.setChunk(ctx, rows[:n], size, ttl); err != nil {
			return fmt.Errorf("dbcache: set many: %w", err)
		}
		rows = rows[n:]
	}
	return nil
}

// firstChunk returns how many of the first rows go into one statement, and the
// bytes of their values. A row that is too long stands alone.
func firstChunk(rows []row) (n, size int) {
	for _, r := range rows[:min(len(rows), rowsPerStatement)] {
		if n > 0 && size+len(r.value) > bytesPerStatement {
			break
		}
		n++
		size += len(r.value)
	}
	return n, size
}

func (s *Store) setChunk(ctx context.Context, rows []row, size int, ttl time.Duration) error {
	keys := make([]string, len(rows))
	args := make([]any, 1, 1+2*len(rows))
	args[0] = s.expiry(ttl)
	tuples := make([]string, len(rows))
	for i, r := range rows {
		keys[i] = r.key
		args = append(args, r.key, r.value)
		tuples[i] = fmt.Sprintf("($%d, $%d, $1)", 2*i+2, 2*i+3)
	}
	q := s.dialect.Rebind(`INSERT INTO ` + s.queries.table + ` (cache_key, value, expires) VALUES ` +
		strings.Join(tuples, ", ") + ` ` + s.dialect.Upsert("cache_key", "value", "expires"))
	err := s.exec(ctx, sqldialect.Repeatable, size, q, args...)
	if errors.Is(err, cache.ErrTooLarge) {
		return errors.Join(err, s.DeleteMany(ctx, keys))
	}
	if err == nil {
		s.wrote(ctx, keys...)
	}
	return err
}

// DeleteMany implements [cache.ManyDeleter] with one statement for every 512
// keys.
func (s *Store) DeleteMany(ctx context.Context, keys []string) error {
	if err := s.begin(ctx, keys); err != nil {
		return fmt.Errorf("dbcache: delete many: %w", err)
	}
	for chunk := range slices.Chunk(keys, keysPerStatement) {
		condition, args := s.dialect.In("cache_key", 1, chunk)
		if s.dialect == sqldialect.MySQL { // spare what is equal only by the collation
			exact, _ := s.dialect.In("CAST(cache_key AS BINARY)", 1, chunk)
			condition += ` AND ` + exact
		}
		q := s.dialect.Rebind(`DELETE FROM ` + s.queries.table + ` WHERE ` + condition)
		if err := s.exec(ctx, sqldialect.Repeatable, 0, q, args...); err != nil {
			return fmt.Errorf("dbcache: delete many: %w", err)
		}
	}
	return nil
}
