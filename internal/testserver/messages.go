package testserver

import (
	"bytes"
	"strconv"
	"sync/atomic"
)

// messageFilter takes the messages of pub/sub out of what a Redis server sends
// on one connection. It follows the values of RESP2 and RESP3 as they arrive,
// in chunks of any size, so that it can begin and cease to drop at any time.
type messageFilter struct {
	dropping *atomic.Bool  // asked at the beginning of every value
	dropped  *atomic.Int64 // counts the messages

	inside bool   // a value has begun and not ended
	fate   fate   // of that value
	held   []byte // what has arrived of it, while the fate is open
	parser respParser
}

// fate is what happens to a value.
type fate int

const (
	forwarded fate = iota
	undecided
	lost
)

// messageStarts is how messages begin: to channels, patterns and channels of a
// cluster's shard, as arrays of RESP2 and pushes of RESP3.
var messageStarts = [][]byte{
	[]byte("*3\r\n$7\r\nmessage\r\n"), []byte(">3\r\n$7\r\nmessage\r\n"),
	[]byte("*4\r\n$8\r\npmessage\r\n"), []byte(">4\r\n$8\r\npmessage\r\n"),
	[]byte("*3\r\n$8\r\nsmessage\r\n"), []byte(">3\r\n$8\r\nsmessage\r\n"),
}

// pass returns what is forwarded of a chunk, after what was held of earlier
// ones. It holds bytes only as long as they may be the start of a message.
func (f *messageFilter) pass(chunk []byte) []byte {
	var out []byte
	for len(chunk) > 0 {
		if !f.inside && f.dropping.Load() {
			f.fate = undecided
		}
		n, ended := f.parser.take(chunk)
		out = f.deal(out, chunk[:n])
		chunk = chunk[n:]
		if f.inside = !ended; ended {
			f.fate = forwarded
		}
	}
	return out
}

// deal appends a piece of a value to the output, or not.
func (f *messageFilter) deal(out, piece []byte) []byte {
	if f.fate == undecided {
		f.held = append(f.held, piece...)
		if f.fate = fateOf(f.held); f.fate == undecided {
			return out
		}
		piece, f.held = f.held, nil
		if f.fate == lost {
			f.dropped.Add(1)
		}
	}
	if f.fate == lost {
		return out
	}
	return append(out, piece...)
}

func fateOf(start []byte) fate {
	for _, message := range messageStarts {
		switch {
		case bytes.HasPrefix(start, message):
			return lost
		case bytes.HasPrefix(message, start):
			return undecided
		}
	}
	return forwarded
}

// respParser finds where the values of a stream of RESP end. When it meets
// what is not RESP it takes the rest of the stream for one value.
type respParser struct {
	wanted int    // values until the outermost one is complete, 0 between two
	bulk   int    // bytes of a string until it is complete, with its line end
	line   []byte // what has arrived of a line
	alien  bool   // this is not RESP
}

// take consumes some of a chunk that is not empty, and tells how much, and
// whether an outermost value ends there.
func (p *respParser) take(chunk []byte) (n int, ended bool) {
	switch {
	case p.alien:
		return len(chunk), false
	case p.bulk > 0:
		n = min(p.bulk, len(chunk))
		if p.bulk -= n; p.bulk == 0 {
			p.wanted--
		}
	default:
		n = p.takeLine(chunk)
	}
	return n, !p.alien && p.wanted == 0
}

func (p *respParser) takeLine(chunk []byte) int {
	if len(p.line) == 0 {
		p.wanted = max(p.wanted, 1)
	}
	n := bytes.IndexByte(chunk, '\n') + 1
	if n == 0 {
		n = len(chunk)
	}
	p.line = append(p.line, chunk[:n]...)
	p.alien = !bytes.ContainsRune([]byte("+-:_#,($=!*~>%|"), rune(p.line[0]))
	if rest, complete := bytes.CutSuffix(p.line, []byte("\r\n")); complete && !p.alien {
		p.begin(rest[0], string(rest[1:]))
		p.line = p.line[:0]
	}
	return n
}

// begin takes the first line of a value, without its end.
func (p *respParser) begin(kind byte, rest string) {
	switch kind {
	case '$', '=', '!', '*', '~', '>', '%', '|':
	default:
		p.wanted--
		return
	}
	const most = 1 << 40
	size, err := strconv.Atoi(rest)
	if err != nil || size > most {
		p.alien = true
		return
	}
	switch kind {
	case '$', '=', '!':
		p.string(size)
	case '*', '~', '>':
		p.wanted += max(size, 0) - 1
	case '%':
		p.wanted += 2*max(size, 0) - 1
	case '|': // comes before the value that it belongs to
		p.wanted += 2 * max(size, 0)
	}
}

// string expects the bytes of a string, unless it is null.
func (p *respParser) string(size int) {
	if size < 0 {
		p.wanted--
	} else {
		p.bulk = size + len("\r\n")
	}
}
