package redisbackend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/redisclient"
	"github.com/celeryresults/celeryresults/internal/serialization"
)

// keysPerCommand is how many keys one command has, so that a large call does not
// hold up the server's other clients, and commandsPerTrip how many such commands
// are sent together.
const (
	keysPerCommand  = 500
	commandsPerTrip = 2
)

// Get implements driver.Store, in one round trip. In one call for several records of one
// server, those of other types than a string are not there.
func (b *Store) Get(ctx context.Context, kind driver.Kind, records []driver.Record, _ driver.How) error {
	if len(records) == 1 {
		return b.getOne(ctx, kind, &records[0])
	}
	names := make([]string, len(records))
	for i := range records {
		names[i], _ = b.keys.Key(kind, records[i].ID)
	}
	if b.server.sharded {
		return b.getEach(ctx, names, records)
	}
	values, err := run(ctx, b, func(c redis.UniversalClient) ([]any, error) { return mget(ctx, c, names) })
	if err != nil {
		return err
	}
	for i, value := range values {
		if text, ok := value.(string); ok {
			records[i].Document = serialization.BytesOf(text)
		}
	}
	return nil
}

func (b *Store) getOne(ctx context.Context, kind driver.Kind, r *driver.Record) error {
	key, _ := b.keys.Key(kind, r.ID)
	text, err := run(ctx, b, func(c redis.UniversalClient) (string, error) { return c.Get(ctx, key).Result() })
	return take(r, text, err)
}

// take puts the answer to one GET into its record.
func take(r *driver.Record, text string, err error) error {
	switch {
	case err == nil:
		r.Document = serialization.BytesOf(text)
	case errors.Is(err, redis.Nil):
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		r.Err = err
	default:
		return err
	}
	return nil
}

// mget reads keys of one server in one round trip.
func mget(ctx context.Context, c redis.UniversalClient, names []string) ([]any, error) {
	if len(names) <= keysPerCommand {
		return c.MGet(ctx, names...).Result()
	}
	var cmds []*redis.SliceCmd
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for part := range slices.Chunk(names, keysPerCommand) {
			cmds = append(cmds, p.MGet(ctx, part...))
		}
		return nil
	})
	values := make([]any, 0, len(names))
	for _, cmd := range cmds {
		values = append(values, cmd.Val()...)
	}
	return values, err
}

// getEach reads keys of a cluster, those of one node in one round trip.
func (b *Store) getEach(ctx context.Context, names []string, records []driver.Record) error {
	cmds, err := run(ctx, b, func(c redis.UniversalClient) ([]*redis.StringCmd, error) {
		cmds := make([]*redis.StringCmd, len(names))
		_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
			for i, key := range names {
				cmds[i] = p.Get(ctx, key)
			}
			return nil
		})
		return cmds, nil
	})
	for i, cmd := range cmds {
		if err := take(&records[i], cmd.Val(), cmd.Err()); err != nil {
			return b.failed(err)
		}
	}
	return err
}

// Delete implements driver.Store, in one round trip.
func (b *Store) Delete(ctx context.Context, kind driver.Kind, ids []string) error {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i], _ = b.keys.Key(kind, id)
	}
	_, err := run(ctx, b, func(c redis.UniversalClient) (struct{}, error) {
		if kind != driver.Chord && !b.server.sharded && len(names) <= keysPerCommand {
			return struct{}{}, c.Del(ctx, names...).Err()
		}
		each := keysPerCommand
		if b.server.sharded {
			each = 1
		}
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			if kind == driver.Chord {
				b.deleteChords(ctx, p, ids)
				return nil
			}
			for part := range slices.Chunk(names, each) {
				p.Del(ctx, part...)
			}
			return nil
		})
		return struct{}{}, err
	})
	return err
}

// errNoTally is returned by Count.
var errNoTally = fmt.Errorf("CELERY_RESULT_TALLY is not set: %w", errors.ErrUnsupported)

// Count implements driver.Lister for groups, from what Settings.ResultTally keeps.
func (b *Store) Count(ctx context.Context, of driver.Members) (map[driver.State]int, error) {
	if of.Group == "" {
		return nil, errors.ErrUnsupported
	}
	if !b.tallies {
		return nil, errNoTally
	}
	key, _ := b.keys.Group(of.Group)
	states, err := run(ctx, b, func(c redis.UniversalClient) ([]string, error) { return c.HVals(ctx, key+tallySuffix).Result() })
	counts := map[driver.State]int{}
	for _, state := range states {
		counts[driver.State(state)]++
	}
	return counts, err
}

// keysPerStep is how many results Walk has in memory at once.
const keysPerStep = 100

// Walk implements driver.Lister, with SCAN: the server is not held up, but looks at all
// of its keys. It returns errors.ErrUnsupported for a cluster.
func (b *Store) Walk(ctx context.Context) iter.Seq2[driver.Record, error] {
	return func(yield func(driver.Record, error) bool) {
		if b.server.sharded {
			yield(driver.Record{}, fmt.Errorf("of a cluster: %w", errors.ErrUnsupported))
			return
		}
		some, _ := b.keys.Task("x")
		prefix := strings.TrimSuffix(some, "x")
		for cursor := uint64(0); ; {
			found, err := run(ctx, b, func(c redis.UniversalClient) (redisclient.Scanned, error) {
				return redisclient.Scan(ctx, c, cursor, prefix)
			})
			if err != nil {
				yield(driver.Record{}, err)
				return
			}
			for some := range slices.Chunk(found.Keys, keysPerStep) {
				if !b.yield(ctx, some, yield) {
					return
				}
			}
			if cursor = found.Next; cursor == 0 {
				return
			}
		}
	}
}

// yield yields the results under keys, and reports whether more are wanted.
func (b *Store) yield(ctx context.Context, names []string, yield func(driver.Record, error) bool) bool {
	values, err := run(ctx, b, func(c redis.UniversalClient) ([]any, error) { return mget(ctx, c, names) })
	if err != nil {
		return yield(driver.Record{}, err) && false
	}
	for i, value := range values {
		text, there := value.(string)
		id, ok := b.keys.TaskID(names[i])
		if !there || !ok || id == "" { // it has gone meanwhile, or nobody can ask for it
			continue
		}
		if !yield(driver.Record{ID: id, Document: serialization.BytesOf(text)}, nil) {
			return false
		}
	}
	return true
}

// Sample implements cache.Sampler.
func (b *Store) Sample(ctx context.Context, text string, n int) ([]cache.Sample, error) {
	return run(ctx, b, func(c redis.UniversalClient) ([]cache.Sample, error) { return redisclient.Sample(ctx, c, text, n) })
}
