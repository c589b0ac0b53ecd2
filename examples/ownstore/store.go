package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/celeryresults/celeryresults/driver"
)

// Store keeps results in a file of bbolt's, which one process has open at a time. Make one
// with OpenStore.
type Store struct {
	driver.Unlisted // List, Count and Stats, which it does not have
	db              *bbolt.DB
}

var bucket = []byte("results")

// OpenStore opens the file, or makes it. Another process that has it open is an error after a
// second.
func OpenStore(file string) (*Store, error) {
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the bucket of results: %w", err), db.Close())
	}
	return &Store{db: db}, nil
}

// Traits implements driver.Store.
func (s *Store) Traits() driver.Traits {
	return driver.Traits{
		Name:     "bbolt",
		PutMost:  256,  // a commit costs as much for 256 results as for one
		InFlight: 1,    // as there is one commit at a time
		GetAlone: true, // reads are from memory
		Exact:    true, // Write.Allows knows how
	}
}

// Put implements driver.Store.
func (s *Store) Put(ctx context.Context, writes []*driver.Write) {
	answers := make([]driver.Answer, len(writes)) // they count after the commit
	failed := driver.NotStored
	err := s.db.Update(func(tx *bbolt.Tx) error {
		for i, w := range writes {
			answers[i] = put(tx.Bucket(bucket), w)
		}
		if err := ctx.Err(); err != nil {
			return err // rolls back
		}
		failed = driver.Unknown // a commit that fails may have been written
		return nil
	})
	for i, w := range writes {
		if w.Answer = answers[i]; err != nil {
			w.Answer = driver.Answer{Outcome: failed, Err: err}
		}
	}
}

// put stores one record, if it may replace what stands.
func put(b *bbolt.Bucket, w *driver.Write) driver.Answer {
	key := keyOf(w.Kind, w.ID)
	if !w.Allows(live(b.Get(key))) {
		return w.Answer
	}
	err := b.Put(key, append(until(w.TTL), w.Document...))
	switch {
	case errors.Is(err, bolterrors.ErrKeyTooLarge):
		err = fmt.Errorf("%w: %w", driver.ErrBadID, err)
	case errors.Is(err, bolterrors.ErrValueTooLarge):
		err = fmt.Errorf("%w: %w", driver.ErrTooLarge, err)
	}
	if err != nil {
		return driver.Answer{Outcome: driver.NotStored, Err: err}
	}
	return driver.Answer{Outcome: driver.Stored}
}

func keyOf(kind driver.Kind, id string) []byte { return []byte(string(kind) + id) }

// stamp is how many bytes of a value say until when it stands.
const stamp = 8

// until returns what a value begins with: when it expires, in nanoseconds since 1970, or 0.
func until(ttl time.Duration) []byte {
	if ttl == driver.Never {
		return make([]byte, stamp)
	}
	return binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(ttl).UnixNano()))
}

// live returns the document in a value, nil where there is none, or no longer.
func live(value []byte) []byte {
	if len(value) < stamp {
		return nil
	}
	if at := binary.BigEndian.Uint64(value); at != 0 && at <= uint64(time.Now().UnixNano()) {
		return nil
	}
	return value[stamp:]
}

// Get implements driver.Store.
func (s *Store) Get(ctx context.Context, kind driver.Kind, records []driver.Record, _ driver.How) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		for i := range records {
			// What bbolt returns is only there until the transaction ends.
			records[i].Document = bytes.Clone(live(tx.Bucket(bucket).Get(keyOf(kind, records[i].ID))))
		}
		return ctx.Err()
	})
}

// Delete implements driver.Store.
func (s *Store) Delete(ctx context.Context, kind driver.Kind, ids []string) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, id := range ids {
			if err := tx.Bucket(bucket).Delete(keyOf(kind, id)); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// Close implements driver.Store.
func (s *Store) Close() error { return s.db.Close() }

// atOnce is how many records a walk and a clean-up look at in one transaction.
const atOnce = 1000

// Walk implements driver.Lister. No transaction is open while the caller looks at a result.
func (s *Store) Walk(ctx context.Context) iter.Seq2[driver.Record, error] {
	return func(yield func(driver.Record, error) bool) {
		for next := []byte(driver.Task); next != nil; {
			var found []driver.Record
			err := s.db.View(func(tx *bbolt.Tx) error {
				next = each(tx, next, driver.Task, func(key, value []byte) {
					if document := live(value); document != nil {
						found = append(found, driver.Record{ID: string(key[len(driver.Task):]), Document: bytes.Clone(document)})
					}
				})
				return ctx.Err()
			})
			if err != nil {
				yield(driver.Record{}, err)
				return
			}
			for _, r := range found {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// each calls f for some records of a kind, of all kinds if that is empty, from a key on. It
// returns the key of the next one, nil at the end.
func each(tx *bbolt.Tx, from []byte, kind driver.Kind, f func(key, value []byte)) (next []byte) {
	c := tx.Bucket(bucket).Cursor()
	n := 0
	for key, value := c.Seek(from); key != nil && bytes.HasPrefix(key, []byte(kind)); key, value = c.Next() {
		if n == atOnce {
			return bytes.Clone(key)
		}
		n++
		f(key, value)
	}
	return nil
}

// Cleanup implements driver.Lister: bbolt drops nothing by itself.
func (s *Store) Cleanup(ctx context.Context) (removed int64, err error) {
	for next := []byte{}; next != nil && err == nil; {
		var expired [][]byte
		results := int64(0) // among them
		err = s.db.Update(func(tx *bbolt.Tx) error {
			next = each(tx, next, "", func(key, value []byte) {
				if live(value) != nil {
					return
				}
				expired = append(expired, bytes.Clone(key))
				if bytes.HasPrefix(key, []byte(driver.Task)) {
					results++
				}
			})
			for _, key := range expired {
				if err := tx.Bucket(bucket).Delete(key); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
		if err == nil {
			removed += results
		}
	}
	return removed, err
}
