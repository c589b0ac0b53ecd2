package redisclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/internal/inflight"
)

// Answered reports whether an error is the server's answer: it did nothing of
// what it was asked.
func Answered(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

// Unsent reports whether an error came before anything was sent.
func Unsent(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return untrusted || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed)
}

// passing are how answers begin that will be another one soon.
var passing = []string{
	"LOADING ", "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "MOVED ", "ASK ", "BUSY ", "NOREPLICAS ",
	"UNKILLABLE ", "ERR max number of clients reached",
}

// Passes reports whether an answer will be another one soon.
func Passes(answer string) bool {
	for _, prefix := range passing {
		if strings.HasPrefix(answer, prefix) {
			return true
		}
	}
	return false
}

// Transient reports whether an operation may succeed when it is repeated: after
// every failure of a connection, and the answers that pass.
func Transient(err error) bool {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, inflight.ErrClosed), errors.Is(err, redis.ErrClosed):
		return false
	case Answered(err):
		return Passes(err.Error())
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !untrusted
}
