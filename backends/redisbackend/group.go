package redisbackend

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
)

// SaveGroup implements celeryresults.Grouper, with the document and the message of
// KeyValueStoreBackend._save_group.
func (b *RedisBackend) SaveGroup(ctx context.Context, group celeryresults.ResultTuple) error {
	key, err := b.keys.Group(group.ID)
	if err != nil {
		return err
	}
	document, err := b.documents.AppendGroup(nil, group)
	if err != nil {
		return err
	}
	return fail(ctx, "save group", b.setAndPublish(ctx, key, document))
}

// setAndPublish is RedisBackend.set of Celery.
func (b *RedisBackend) setAndPublish(ctx context.Context, key string, value []byte) error {
	_, err := again(ctx, b, func(c redis.UniversalClient) (struct{}, error) {
		_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			if b.seconds == 0 {
				p.Set(ctx, key, value, 0)
			} else {
				p.SetEx(ctx, key, value, b.expiry())
			}
			p.Publish(ctx, key, value)
			return nil
		})
		return struct{}{}, err
	})
	return err
}

// RestoreGroup implements celeryresults.Grouper.
func (b *RedisBackend) RestoreGroup(ctx context.Context, groupID string) (celeryresults.ResultTuple, error) {
	key, err := b.keys.Group(groupID)
	if err != nil {
		return celeryresults.ResultTuple{}, err
	}
	data, err := b.findOne(ctx, key)
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: groupID, Err: err}
	case err != nil:
		return celeryresults.ResultTuple{}, fail(ctx, "restore group", err)
	case data == nil:
		return celeryresults.ResultTuple{}, fmt.Errorf("%w %q", celeryresults.ErrUnknownGroup, groupID)
	}
	return b.documents.ReadGroup(groupID, data)
}

// DeleteGroup implements celeryresults.Grouper.
func (b *RedisBackend) DeleteGroup(ctx context.Context, groupID string) error {
	key, err := b.keys.Group(groupID)
	if err != nil {
		return err
	}
	return fail(ctx, "delete group", b.delete(ctx, key))
}
