package testserver

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

// filter returns a filter and what it shares with its proxy.
func filter(dropping bool) (f *messageFilter, drop *atomic.Bool, dropped *atomic.Int64) {
	drop, dropped = new(atomic.Bool), new(atomic.Int64)
	drop.Store(dropping)
	return &messageFilter{dropping: drop, dropped: dropped}, drop, dropped
}

// passIn passes a stream in chunks of a size.
func passIn(f *messageFilter, stream string, size int) string {
	var out []byte
	for chunk := range slices.Chunk([]byte(stream), size) {
		out = append(out, f.pass(chunk)...)
	}
	return string(out)
}

const (
	message  = "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$9\r\na\r\n*3\r\n\r\n\r\n"
	push     = ">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$0\r\n\r\n"
	pmessage = "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$2\r\nch\r\n$1\r\nx\r\n"
	smessage = ">3\r\n$8\r\nsmessage\r\n$2\r\nch\r\n$1\r\nx\r\n"
)

func TestMessagesAreTakenOutAcrossChunks(t *testing.T) {
	for name, values := range map[string][]string{
		"messages of every kind":     {message, push, pmessage, smessage},
		"messages between others":    {"+OK\r\n", message, ":1\r\n", message, message, "$3\r\nfoo\r\n"},
		"confirmations":              {"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n", message, ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", push},
		"pongs of a subscriber":      {"*2\r\n$4\r\npong\r\n$0\r\n\r\n", message},
		"simple values and nulls":    {"-ERR x\r\n:-1\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5\r\n(12\r\n", message},
		"strings":                    {"$0\r\n\r\n!3\r\nERR\r\n=5\r\ntxt:x\r\n", message},
		"collections":                {"%1\r\n+a\r\n*2\r\n+b\r\n*0\r\n~1\r\n:1\r\n*0\r\n%0\r\n", message},
		"attributes":                 {"|1\r\n+ttl\r\n:3\r\n*1\r\n+message\r\n", message},
		"what looks like one inside": {"*2\r\n" + message + push, message, fmt.Sprintf("$%d\r\n%s\r\n", len(message), message), message},
		"other lengths":              {"*2\r\n$7\r\nmessage\r\n:1\r\n*1\r\n$7\r\nmessage\r\n", message},
		"other beginnings":           {"*3\r\n$7\r\nmessagf\r\n:1\r\n:1\r\n*3\r\n$6\r\nmessag\r\n:1\r\n:1\r\n*3\r\n:7\r\n:1\r\n:1\r\n", message},
		"not RESP":                   {"VERSION 1.6\r\n" + message},
		"no number":                  {"$x\r\n" + message},
		"a number beyond reason":     {"*99999999999999999999\r\n" + message},
	} {
		t.Run(name, func(t *testing.T) {
			isMessage := func(v string) bool { return slices.Contains([]string{message, push, pmessage, smessage}, v) }
			rest := slices.DeleteFunc(slices.Clone(values), isMessage)
			stream, want := strings.Join(values, ""), strings.Join(rest, "")
			for size := 1; size <= len(stream); size++ {
				f, _, dropped := filter(true)
				assert.Equal(t, want, passIn(f, stream, size), "in chunks of %d", size)
				assert.EqualValues(t, len(values)-len(rest), dropped.Load(), "in chunks of %d", size)
			}
		})
	}
}

func TestMessagesAreTakenOutFromTheNextOne(t *testing.T) {
	for split := 1; split < len(message); split++ {
		f, drop, dropped := filter(false)
		out := string(f.pass([]byte(message[:split])))
		drop.Store(true)
		out += string(f.pass([]byte(message[split:] + message + "+OK\r\n" + message[:split])))
		drop.Store(false)
		out += string(f.pass([]byte(message[split:] + message)))
		assert.Equal(t, message+"+OK\r\n"+message, out, "split at %d", split)
		assert.EqualValues(t, 2, dropped.Load(), "split at %d", split)
	}
}

func FuzzMessageFilter(f *testing.F) {
	for _, seed := range []string{message + "+OK\r\n" + push, "|1\r\n+a\r\n%1\r\n:1\r\n_\r\n*-1\r\n" + pmessage, "\x16\x03\x01", "*\r\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		size = 1 + max(size, -size, 0)%64
		off, _, _ := filter(false)
		assert.Equal(t, string(stream), passIn(off, string(stream), size), "nothing is held when nothing is dropped")
		whole, _, _ := filter(true)
		chunked, _, _ := filter(true)
		assert.Equal(t, passIn(whole, string(stream), max(len(stream), 1)), passIn(chunked, string(stream), size), "chunks of %d", size)
	})
}
