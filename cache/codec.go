package cache

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/python"
)

// codec turns values into items as Django's cache of the same store does, so
// that each side reads what the other wrote.
type codec struct {
	serializer serialization.Codec
	format     Format // of what the serializer writes: Pickled or Text
	integers   bool   // the store takes integers as decimal text
	text       bool   // the store tells Text and Bytes from Pickled
}

// newCodec returns the codec of the named serializer for a store.
func newCodec(serializer string, store Store) (codec, error) {
	_, counts := store.(Counter)
	keeps := store.Traits().KeepsFormat
	switch serializer {
	case "", "pickle":
		return codec{serializer: pickle.Codec, format: Pickled, integers: counts || keeps, text: keeps}, nil
	case "json":
		return codec{serializer: json.Codec, format: Text, integers: counts}, nil
	}
	return codec{}, fmt.Errorf("cache: new: unknown serializer %.40q, known are pickle and json", serializer)
}

// Encode returns value as the cache stores it. It takes every value that
// [python.Plain] accepts.
func (c *Cache) Encode(value any) (Item, error) {
	item, err := c.codec.encode(value)
	if err != nil {
		return Item{}, fmt.Errorf("cache: encode: %w", err)
	}
	return item, nil
}

// Decode returns the value of an item as package python describes it. It does
// not keep the item's bytes.
func (c *Cache) Decode(item Item) (any, error) {
	if item.Err != nil {
		return nil, item.Err
	}
	v, err := c.codec.decode(item)
	if err != nil {
		return nil, fmt.Errorf("cache: decode: %w", err)
	}
	return v, nil
}

// encode is Encode for the entry under a whole key.
func (c *Cache) encode(whole string, value any) (Item, error) {
	item, err := c.codec.encode(value)
	if err != nil {
		return Item{}, fmt.Errorf("cache: encode %s: %w", quoteKey(whole), err)
	}
	return item, nil
}

// decode is Decode for the entry under a key.
func (c *Cache) decode(key string, item Item) (any, error) {
	if item.Err != nil {
		return nil, item.Err
	}
	v, err := c.codec.decode(item)
	if err != nil {
		return nil, fmt.Errorf("cache: decode %s: %w", quoteKey(key), err)
	}
	return v, nil
}

func (c *codec) encode(value any) (Item, error) {
	if c.integers || c.text {
		plain, err := python.Plain(value)
		if err != nil {
			return Item{}, err
		}
		if item, ok := c.encodeScalar(plain); ok {
			return item, nil
		}
		value = plain
	}
	data, err := c.serializer.Append(nil, value)
	return Item{Value: data, Format: c.format}, err
}

// encodeScalar encodes what the store takes without the serializer. A bool is
// none of it: Python tells True from 1.
func (c *codec) encodeScalar(plain any) (Item, bool) {
	switch v := plain.(type) {
	case int64:
		return Item{Value: strconv.AppendInt(nil, v, 10), Format: Integer}, c.integers
	case *big.Int:
		return Item{Value: v.Append(nil, 10), Format: Integer}, c.integers && v.IsInt64()
	case string:
		return Item{Value: []byte(v), Format: Text}, c.text && utf8.ValidString(v)
	case []byte:
		return Item{Value: bytes.Clone(v), Format: Bytes}, c.text
	}
	return Item{}, false
}

func (c *codec) decode(item Item) (any, error) {
	switch item.Format {
	case Pickled:
		return pickle.Codec.Decode(item.Value)
	case Integer:
		return parseInteger(bytes.TrimSpace(item.Value))
	case Text:
		return c.decodeText(item.Value)
	case Bytes:
		return append([]byte{}, item.Value...), nil
	case Unspecified:
		return c.decodeUnspecified(item.Value)
	}
	return nil, fmt.Errorf("format %d is unknown", item.Format)
}

func (c *codec) decodeText(data []byte) (any, error) {
	if c.format == Text {
		return c.serializer.Decode(data)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("text is not UTF-8")
	}
	return string(data), nil
}

// decodeUnspecified tells integers from the serializer's bytes by their look,
// as Django's redis cache does: no pickle is all digits.
func (c *codec) decodeUnspecified(data []byte) (any, error) {
	if isInteger(data) {
		return parseInteger(data)
	}
	return c.serializer.Decode(data)
}

// isInteger reports whether data is an optional minus and digits.
func isInteger(data []byte) bool {
	digits := bytes.TrimPrefix(data, []byte("-"))
	for _, b := range digits {
		if b < '0' || b > '9' {
			return false
		}
	}
	return len(digits) > 0
}

// parseInteger returns an int64, or a *big.Int where that is too small.
func parseInteger(data []byte) (any, error) {
	if !isInteger(data) {
		return nil, ErrNotInteger
	}
	if n, err := strconv.ParseInt(string(data), 10, 64); err == nil {
		return n, nil
	}
	if len(data) > serialization.MaxDigits {
		return nil, fmt.Errorf("integer of %d digits: %w", len(data), serialization.ErrLimit)
	}
	n, ok := new(big.Int).SetString(string(data), 10)
	if !ok {
		return nil, ErrNotInteger
	}
	return n, nil
}
