package dbcache

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// Get implements [cache.Store].
func (s *Store) Get(ctx context.Context, key string) (cache.Item, error) {
	if err := checkKey(key); err != nil {
		return cache.Item{}, fmt.Errorf("dbcache: get: %w", err)
	}
	var found, value string
	err := s.queryRow(ctx, s.queries.get, []any{key, s.now()}, &found, &value)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && found != key) {
		return cache.Item{}, cache.ErrMiss
	}
	if err != nil {
		return cache.Item{}, failed("get", key, err)
	}
	return decode(key, value), nil
}

// Set implements [cache.Store].
func (s *Store) Set(ctx context.Context, key string, item cache.Item, ttl time.Duration) error {
	if err := checkKey(key); err != nil {
		return fmt.Errorf("dbcache: set: %w", err)
	}
	value := encode(item)
	err := s.exec(ctx, sqldialect.Repeatable, len(value), s.queries.set, key, value, s.expiry(ttl))
	if errors.Is(err, cache.ErrTooLarge) {
		_, gone := s.Delete(ctx, key)
		err = errors.Join(err, gone)
	}
	if err != nil {
		return failed("set", key, err)
	}
	s.wrote(ctx, key)
	return nil
}

// Add implements [cache.Store]. It is one statement, and replaces an entry that
// has expired.
func (s *Store) Add(ctx context.Context, key string, item cache.Item, ttl time.Duration) (bool, error) {
	if err := checkKey(key); err != nil {
		return false, fmt.Errorf("dbcache: add: %w", err)
	}
	value := encode(item)
	result, err := s.result(ctx, sqldialect.Once, len(value), s.queries.add, key, value, s.expiry(ttl), s.now())
	if err != nil {
		return false, failed("add", key, err)
	}
	added, err := s.added(result)
	if err != nil {
		return false, failed("add", key, err)
	}
	if added {
		s.wrote(ctx, key)
	}
	return added, nil
}

// added reads the outcome of the add statement.
func (s *Store) added(result sql.Result) (bool, error) {
	if s.dialect == sqldialect.MySQL {
		kept, err := result.LastInsertId()
		return kept == 0, err
	}
	rows, err := result.RowsAffected()
	return rows > 0, err
}

// CompareAndSwap implements [cache.Swapper]: it compares the value.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old, item cache.Item, ttl time.Duration) (bool, error) {
	if err := checkKey(key); err != nil {
		return false, fmt.Errorf("dbcache: compare and swap: %w", err)
	}
	was, value := encode(old), encode(item)
	if old.Stored != nil {
		was = string(old.Stored)
	}
	rows, err := s.affect(ctx, sqldialect.Once, len(was)+len(value), s.queries.swap, key, was, value, s.expiry(ttl), s.now())
	if err == nil && rows == 0 && was == value {
		return s.holds(ctx, key, was)
	}
	if err != nil {
		return false, failed("compare and swap", key, err)
	}
	return rows > 0, nil
}

// holds reports whether the entry under key has a value. It decides for
// connections to MySQL that do not count a row which an UPDATE left as it was.
func (s *Store) holds(ctx context.Context, key, value string) (bool, error) {
	item, err := s.Get(ctx, key)
	if errors.Is(err, cache.ErrMiss) {
		return false, nil
	}
	stored := encode(item)
	if item.Stored != nil {
		stored = string(item.Stored)
	}
	return err == nil && stored == value, err
}

// Touch implements [cache.Store].
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if err := checkKey(key); err != nil {
		return false, fmt.Errorf("dbcache: touch: %w", err)
	}
	rows, err := s.affect(ctx, sqldialect.Repeatable, 0, s.queries.touch, key, s.expiry(ttl), s.now())
	if err != nil {
		return false, failed("touch", key, err)
	}
	if rows == 0 && s.dialect == sqldialect.MySQL { // see holds
		_, err := s.Get(ctx, key)
		return err == nil, ignoreMiss(err)
	}
	return rows > 0, nil
}

func ignoreMiss(err error) error {
	if errors.Is(err, cache.ErrMiss) {
		return nil
	}
	return err
}

// Delete implements [cache.Store]. An entry that has expired was not there; its
// row stays until the table is culled.
func (s *Store) Delete(ctx context.Context, key string) (bool, error) {
	if err := checkKey(key); err != nil {
		return false, fmt.Errorf("dbcache: delete: %w", err)
	}
	rows, err := s.affect(ctx, sqldialect.Repeatable, 0, s.queries.delete, key, s.now())
	if err != nil {
		return false, failed("delete", key, err)
	}
	return rows > 0, nil
}

// Clear implements [cache.Clearer]: it deletes all rows of the table.
func (s *Store) Clear(ctx context.Context) error {
	if err := s.exec(ctx, sqldialect.Repeatable, 0, s.queries.clear); err != nil {
		return fmt.Errorf("dbcache: clear: %w", err)
	}
	return nil
}

const (
	// smallPacket is a size that every MySQL server accepts as it is shipped.
	smallPacket = 512 << 10

	// statementSize is room for a statement's text, key and protocol.
	statementSize = 4 << 10
)

var packetQuery = sqldialect.MySQL.Rebind(`SELECT @@max_allowed_packet`)

// checkPacket returns ErrTooLarge when MySQL would not accept a statement: it
// would close the connection, too.
func (s *Store) checkPacket(ctx context.Context, size int) error {
	if size < smallPacket || s.dialect != sqldialect.MySQL {
		return nil
	}
	limit := s.packet.Load()
	if limit == 0 {
		if err := s.queryRow(ctx, packetQuery, nil, &limit); err != nil {
			return err
		}
		s.packet.Store(limit)
	}
	if int64(size)+statementSize > limit {
		return fmt.Errorf("%w: %d bytes as base64, max_allowed_packet is %d", cache.ErrTooLarge, size, limit)
	}
	return nil
}

func encode(item cache.Item) string { return base64.StdEncoding.EncodeToString(item.Value) }

// decode accepts line breaks, as Python's base64 module does.
func decode(key, value string) cache.Item {
	decoded, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return cache.Item{Err: failed("get", key, fmt.Errorf("the value is not base64: %w", err)), Stored: []byte(value)}
	}
	if len(value) != base64.StdEncoding.EncodedLen(len(decoded)) {
		return cache.Item{Value: decoded, Stored: []byte(value)}
	}
	return cache.Item{Value: decoded}
}

// checkKey refuses keys that the column cannot hold, or not on every database.
func checkKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", cache.ErrBadKey)
	case len(key) > maxKey:
		return fmt.Errorf("%w: %d bytes, the table holds %d", cache.ErrBadKey, len(key), maxKey)
	case strings.ContainsRune(key, 0), !utf8.ValidString(key):
		return fmt.Errorf("%w: %q has a NUL or is not UTF-8", cache.ErrBadKey, key)
	}
	return nil
}

func failed(operation, key string, err error) error {
	return fmt.Errorf("dbcache: %s %q: %w", operation, key, err)
}
