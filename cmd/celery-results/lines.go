package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine is the longest line of store --stdin, in bytes.
const maxLine = 64 << 20

var errLongLine = fmt.Errorf("is longer than %d MiB", maxLine>>20)

// lineReader reads lines that have something in them, and counts all.
type lineReader struct {
	r      *bufio.Reader
	limit  int
	number int   // of the line that next returned, from 1
	bytes  int64 // read until its end
	line   []byte
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), limit: maxLine}
}

// next returns the next line that is not blank, valid until the next call, or
// io.EOF at the end. A line that is too long is an error, and skipped.
func (l *lineReader) next() ([]byte, error) {
	for {
		line, err := l.read()
		if err != nil || len(bytes.TrimSpace(line)) > 0 {
			return line, err
		}
	}
}

// read returns one line. What follows the last line break is one, too, unless
// it is empty.
func (l *lineReader) read() ([]byte, error) {
	l.line = l.line[:0]
	l.number++
	tooLong, begun := false, false
	for {
		part, err := l.r.ReadSlice('\n')
		begun = begun || len(part) > 0
		l.bytes += int64(len(part))
		if tooLong = tooLong || len(l.line)+len(part) > l.limit; !tooLong {
			l.line = append(l.line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && !begun:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, withStatus(statusFailed, fmt.Errorf("standard input: %w", err))
		case tooLong:
			return nil, withStatus(statusUsage, errLongLine)
		}
		return l.line, nil
	}
}
