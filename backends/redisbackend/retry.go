package redisbackend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/inflight"
)

// once runs a command that must not be sent twice.
func once[T any](ctx context.Context, b *RedisBackend, command func(redis.UniversalClient) (T, error)) (T, error) {
	return inflight.Run(ctx, b.server.pool, command)
}

// again runs a command that may be sent twice: it is, while that helps. The error
// is what the caller is told.
func again[T any](ctx context.Context, b *RedisBackend, command func(redis.UniversalClient) (T, error)) (value T, err error) {
	if err = b.ready(ctx); err != nil {
		return value, err
	}
	err = b.retries.Do(ctx, b.ready, b.helps, func() (err error) {
		value, err = once(ctx, b, command)
		return err
	})
	return value, b.explain(ctx, err)
}

// explain makes of the last failure of an operation what its caller is told.
func (b *RedisBackend) explain(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	over := b.ready(ctx)
	switch {
	case errors.Is(over, celeryresults.ErrClosed), errors.Is(err, inflight.ErrClosed), errors.Is(err, redis.ErrClosed):
		return celeryresults.ErrClosed
	case over != nil && errors.Is(err, over):
		return over
	case over != nil:
		return fmt.Errorf("%w: %w", over, err)
	}
	return err
}

// answered reports whether an error is the server's answer: it did nothing of
// what it was asked.
func answered(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

// unsent reports whether an error came before anything was sent.
func unsent(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return untrusted || errors.Is(err, redis.ErrPoolTimeout)
}

// passing are how answers begin that will be another one soon.
var passing = []string{
	"LOADING ", "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "MOVED ", "ASK ", "BUSY ", "NOREPLICAS ",
	"UNKILLABLE ", "ERR max number of clients reached",
}

// transient reports whether an operation may succeed when it is repeated: after
// every failure of a connection, and those answers.
func transient(err error) bool {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, inflight.ErrClosed), errors.Is(err, redis.ErrClosed):
		return false
	case answered(err):
		return passes(err.Error())
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !untrusted
}

// helps reports whether another attempt may work, and sees to it that it can.
func (b *RedisBackend) helps(err error) bool {
	switch {
	case errors.Is(err, errGone):
		return true
	case !transient(err):
		return false
	case !answered(err):
		b.server.lost()
	}
	return true
}

// passes reports whether an answer will be another one soon.
func passes(answer string) bool {
	for _, prefix := range passing {
		if strings.HasPrefix(answer, prefix) {
			return true
		}
	}
	return false
}
