// Package compression compresses and decompresses values as Python's programs do that
// share a store with Go. What is read is hostile: it is decompressed as far as Max, and
// nothing is allocated by a size that it only claims.
package compression

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

// Max is the most bytes that a compressed value may hold.
const Max = 256 << 20

// Method is a way to compress.
type Method struct {
	// Append appends data, compressed. Nil: this library only reads it.
	Append func(dst, data []byte) ([]byte, error)

	// Decompress returns what data holds, an error of serialization.ErrLimit if that
	// is over Max.
	Decompress func(data []byte) ([]byte, error)
}

// The methods, by the names of Python's modules.
var (
	Zlib = Method{
		pooled(func() compressor { return zlib.NewWriter(io.Discard) }),
		reading(func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }),
	}
	Gzip = Method{
		pooled(func() compressor { return gzip.NewWriter(io.Discard) }),
		reading(func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }),
	}
	Bz2  = Method{nil, reading(func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil })}
	LZMA = Method{appendXZ, reading(func(r io.Reader) (io.Reader, error) {
		return xz.ReaderConfig{DictCap: maxDictionary}.NewReader(r)
	})}
	LZ4 = Method{
		pooled(func() compressor { return lz4.NewWriter(io.Discard) }),
		reading(func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }),
	}
	Zstd = Method{appendZstd, decompressZstd}
)

// maxDictionary bounds what an xz stream may claim for its window: Python's default.
const maxDictionary = 8 << 20

var errLarge = fmt.Errorf("it holds over %d bytes: %w", Max, serialization.ErrLimit)

func reading(open func(io.Reader) (io.Reader, error)) func([]byte) ([]byte, error) {
	return func(data []byte) ([]byte, error) {
		r, err := open(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		var plain bytes.Buffer
		n, err := io.Copy(&plain, io.LimitReader(r, Max+1))
		switch {
		case err != nil:
			return nil, err
		case n > Max:
			return nil, errLarge
		}
		return plain.Bytes(), nil
	}
}

type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// pooled compresses with writers that are kept, as each takes much memory.
func pooled(open func() compressor) func(dst, data []byte) ([]byte, error) {
	pool := sync.Pool{New: func() any { return open() }}
	return func(dst, data []byte) ([]byte, error) {
		w := pool.Get().(compressor)
		defer pool.Put(w)
		out := bytes.NewBuffer(dst)
		w.Reset(out)
		_, err := w.Write(data)
		err = errors.Join(err, w.Close())
		return out.Bytes(), err
	}
}

func appendXZ(dst, data []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, err := xz.NewWriter(out)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}

// The coders of zstd are safe for concurrent use, and made when they are first needed.
var (
	zstdEncoder = sync.OnceValues(func() (*zstd.Encoder, error) { return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2)) })
	zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(Max))
	})
)

func appendZstd(dst, data []byte) ([]byte, error) {
	encoder, err := zstdEncoder()
	if err != nil {
		return nil, err
	}
	return encoder.EncodeAll(data, dst), nil
}

func decompressZstd(data []byte) ([]byte, error) {
	decoder, err := zstdDecoder()
	if err != nil {
		return nil, err
	}
	plain, err := decoder.DecodeAll(data, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, errLarge
	}
	return plain, err
}
