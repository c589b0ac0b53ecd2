package memcached

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/celeryresults/celeryresults/cache"
)

// The flags of pymemcache's serde and of pylibmc. Bytes have none.
const (
	flagPickle  = 1 << 0
	flagInteger = 1 << 1 // pymemcache's int; pylibmc's bool
	flagLong    = 1 << 2 // pylibmc's int
	flagZlib    = 1 << 3
	flagText    = 1 << 4
)

// maxInflated bounds what a compressed value may become.
const maxInflated = 64 << 20

// flags says what the library calls a format.
func (l Library) flags(format cache.Format) uint32 {
	switch format {
	case cache.Pickled:
		return flagPickle
	case cache.Text:
		return flagText
	case cache.Integer:
		if l != Pymemcache {
			return flagLong
		}
		return flagInteger
	}
	return 0
}

// format reads flags as both libraries do: each reads what the other writes.
// Flags of other clients mean bytes.
func format(flags uint32) cache.Format {
	switch flags &^ flagZlib {
	case flagPickle:
		return cache.Pickled
	case flagInteger, flagLong:
		return cache.Integer
	case flagText:
		return cache.Text
	}
	return cache.Bytes
}

// decode returns the item that memcached holds, with an Err where that can't be read. Memcached pads a number that
// became shorter with spaces.
func decode(stored *memcache.Item) cache.Item {
	item := cache.Item{Value: stored.Value, Format: format(stored.Flags), Token: stored.CasID}
	if stored.Flags&flagZlib != 0 {
		value, err := inflate(stored.Value)
		if err != nil {
			item.Err = fmt.Errorf("memcached: get %q: compressed value: %w", stored.Key, err)
			return item
		}
		item.Value = value
	}
	if item.Format == cache.Integer {
		item.Value = bytes.TrimRight(item.Value, " ")
	}
	return item
}

func inflate(compressed []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	value, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
	if err == nil && len(value) > maxInflated {
		err = fmt.Errorf("longer than %d bytes", maxInflated)
	}
	return value, err
}
