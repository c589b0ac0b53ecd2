package pickle_test

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

func le(n uint64, size int) string {
	return string(binary.LittleEndian.AppendUint64(nil, n)[:size])
}

func short(s string) string { return "\x8c" + string(rune(len(s))) + s }

// laughs doubles a list so many times.
func laughs(times int) string { return "]" + strings.Repeat("2\x86", times) + "." }

// wide nests lists that hold the one before ten times, by way of the memo.
func wide(levels int) string {
	var s strings.Builder
	s.WriteString("]q\x00")
	for i := range levels {
		s.WriteString("](" + strings.Repeat("h"+string(byte(i)), 10) + "eq" + string(byte(i+1)))
	}
	return s.String() + "."
}

const (
	syntax      = "syntax"
	limit       = "limit"
	unsupported = "unsupported"
	inert       = "inert" // not an error
)

type hostile struct {
	name, data, want string
}

// executing are pickles that run a shell command in Python.
func executing(command string) []hostile {
	arg := "X" + le(uint64(len(command)), 4) + command
	return []hostile{
		{"system by GLOBAL and REDUCE", "\x80\x02cos\nsystem\n" + arg + "\x85R.", inert},
		{"system by text opcodes", "cposix\nsystem\n(S'" + command + "'\ntR.", inert},
		{"system by STACK_GLOBAL", "\x80\x04" + short("posix") + short("system") + "\x93" + arg + "\x85R.", inert},
		{"system by INST", "(" + arg + "ios\nsystem\n.", inert},
		{"system by OBJ", "(cos\nsystem\n" + arg + "o.", inert},
		{"system by NEWOBJ", "\x80\x02cos\nsystem\n" + arg + "\x85\x81.", inert},
		{"system by NEWOBJ_EX", "\x80\x04cos\nsystem\n" + arg + "\x85}" + short("k") + "Ns\x92.", inert},
		{"system by getattr", "cbuiltins\ngetattr\n(cos\nos\nVsystem\ntR(" + arg + "tR.", inert},
		{"eval", "c__builtin__\neval\n(" + arg + "tR.", inert},
		{"system by _reconstructor", "ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\n" + arg + "tR.", inert},
		{"system by __newobj__", "ccopyreg\n__newobj__\n(cos\nsystem\n" + arg + "tR.", inert},
		{"system by defaultdict's factory", "ccollections\ndefaultdict\n(cos\nsystem\ntR.", inert},
		{"system in a state", "ccases\nT\n)\x81}Vos\ncos\nsystem\nsb.", inert},
		{"system called twice", "cos\nsystem\n(" + arg + "tR(tR.", inert},
	}
}

func hostiles() []hostile {
	cases := []hostile{
		{"billion laughs", laughs(64), limit},
		{"a hundred laughs", laughs(100), limit},
		{"wide sharing", wide(20), limit},
		{"laughs in objects", "ccases\nT\n)R" + strings.Repeat("2\x86", 60) + ".", limit},
		{"list in itself", "]q\x00h\x00a.", unsupported},
		{"dict in itself", "}q\x00K\x01h\x00s.", unsupported},
		{"a list in a list and beside it", "]q\x00]q\x01h\x00ah\x01\x86.", inert},
		{"two lists in a circle", "]q\x00]q\x01h\x00aa.", unsupported},
		{"tuple in itself by a list", "]q\x00h\x00\x85a.", unsupported},
		{"object in its own state", "ccases\nT\n)Rq\x00h\x00b.", inert},
		{"object in its own items", "ccases\nT\n)Rq\x00h\x00a.", inert},
		{"objects that all contain each other", web(40), limit},
		{"set in itself", "\x8fq\x00(h\x00\x90.", unsupported},
		{"frame of 2^60 bytes", "\x80\x04\x95" + le(1<<60, 8) + "N.", syntax},
		{"frame of 2^64-1 bytes", "\x80\x04\x95" + le(1<<64-1, 8) + "N.", syntax},
		{"LONG1 of no bytes", "\x80\x02\x8a\x00.", inert},
		{"LONG4 of 1 MB", "\x80\x02\x8b" + le(1<<20, 4) + strings.Repeat("\x7f", 1<<20) + ".", limit},
		{"LONG4 of a negative length", "\x80\x02\x8b\xff\xff\xff\xff.", syntax},
		{"INT of a million digits", "I" + strings.Repeat("7", 1e6) + "\n.", limit},
		{"LONG of a million digits", "L" + strings.Repeat("7", 1e6) + "L\n.", limit},
		{"FLOAT of a million digits", "F" + strings.Repeat("7", 1e6) + "\n.", syntax},
		{"a million lists in each other", strings.Repeat("]", 1e6) + strings.Repeat("a", 1e6-1) + ".", limit},
		{"a million tuples in each other", ")" + strings.Repeat("\x85", 1e6) + ".", limit},
		{"a million calls of calls", "cos\nsystem\n)" + strings.Repeat("R)", 1e6) + "R.", limit},
		{"a million marks", strings.Repeat("(", 1e6) + strings.Repeat("t", 1e6) + ".", limit},
		{"lists 600 deep", strings.Repeat("]", 600) + strings.Repeat("a", 599) + ".", limit},
		{"a million dups", "N" + strings.Repeat("2", 1e6) + ".", limit},
		{"odd SETITEMS", "}(K\x01u.", syntax},
		{"odd DICT", "(K\x01d.", syntax},
		{"memo index 2^32-1", "Nr\xff\xff\xff\xff.", limit},
		{"memo index 2^64", "Np18446744073709551616\n.", syntax},
		{"memo index -1", "Np-1\n.", syntax},
		{"memo without that entry", "Nh\x07.", syntax},
		{"memo with a gap", "N]r\x02\x00\x00\x00j\x01\x00\x00\x00.", syntax},
		{"APPENDS to an int", "K\x01(K\x02e.", syntax},
		{"APPEND to a tuple", ")K\x02a.", syntax},
		{"ADDITEMS to a list", "](K\x02\x90.", syntax},
		{"SETITEM in a list", "]K\x00K\x01s.", syntax},
		{"BUILD of an int", "K\x01}b.", syntax},
		{"REDUCE of text", short("os") + ")R.", syntax},
		{"REDUCE without a tuple", "cos\nsystem\nVid\nR.", syntax},
		{"opcode 0xff", "\xff", syntax},
		{"opcode 0", "\x00", syntax},
		{"protocol 6", "\x80\x06N.", syntax},
		{"empty input", "", syntax},
		{"no STOP", "\x80\x04K\x01", syntax},
		{"STOP alone", ".", syntax},
		{"STOP above a mark", "N(.", syntax},
		{"persistent id", "\x80\x02K\x01Q.", unsupported},
		{"persistent id in text", "Pid\n.", unsupported},
		{"extension code", "\x80\x02\x82\x01.", unsupported},
		{"buffer outside", "\x80\x05\x97.", unsupported},
		{"text that is not UTF-8", "X\x01\x00\x00\x00\xff.", syntax},
		{"half a surrogate", "X\x02\x00\x00\x00\xed\xa0.", syntax},
		{"class name that is not UTF-8", "c\xff\nT\n.", syntax},
		{"class name that is an int", "K\x01K\x02\x93.", syntax},
		{"bad escape", "V\\u12\n.", syntax},
		{"escape beyond Unicode", "V\\Uffffffff\n.", syntax},
		{"string without quotes", "Sabc\n.", syntax},
		{"bad hexadecimal escape", "S'\\xg'\n.", syntax},
		{"integer of letters", "Iabc\n.", syntax},
		{"a zone outside the database", "cdatetime\ndatetime\n(C\n\x07\xea\x01\x01\x00\x00\x00\x00\x00\x00czoneinfo\nZoneInfo._unpickle\n(V../../etc/passwd\nI01\ntRtR.", inert},
		{"a date of 255 months", "cdatetime\ndate\n(C\x04\x07\xea\xff\x01tR.", inert},
		{"text of 1 MB encoded again and again", "X" + le(1<<20, 4) + strings.Repeat("a", 1<<20) + "q\x000" +
			short("latin1") + "q\x010c_codecs\nencode\nq\x020(" + strings.Repeat("h\x02h\x00h\x01\x86R", 1000) + "t.", inert},
		{"class name of 100 KB again and again", "X" + le(1e5, 4) + strings.Repeat("a", 1e5) + "q\x000(" +
			strings.Repeat("h\x00h\x00\x93", 1000) + "t.", limit},
	}
	for _, op := range []struct {
		code string
		size int
	}{{"T", 4}, {"X", 4}, {"B", 4}, {"\x8b", 4}, {"\x8d", 8}, {"\x8e", 8}, {"\x96", 8}} {
		cases = append(cases,
			hostile{fmt.Sprintf("length of 1 GiB for opcode %#x", op.code), op.code + le(1<<30, op.size) + "x.", syntax},
			hostile{fmt.Sprintf("greatest length for opcode %#x", op.code), op.code + le(1<<64-1, op.size) + "x.", syntax})
	}
	for _, code := range "0123aebdelosturREb\x81\x85\x86\x87\x90\x91\x92\x93\x94" {
		cases = append(cases, hostile{fmt.Sprintf("empty stack for opcode %#x", code), string([]byte{byte(code), 0, 0, 0, 0, '.'}), syntax})
	}
	return cases
}

func TestHostilePicklesAreHarmless(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "marker")
	for _, c := range append(hostiles(), executing("touch "+marker)...) {
		t.Run(c.name, func(t *testing.T) {
			var got any
			var err error
			took, allocated := measure(func() { got, err = pickle.Unmarshal([]byte(c.data)) })
			checkKind(t, c.want, got, err)
			assert.Less(t, allocated, uint64(16<<20), "bytes allocated")
			assert.Less(t, took, 50*time.Millisecond*slowdown)

			took, allocated = measure(func() { _, err = pickle.Fields(nil, []byte(c.data)) })
			if _, isDocument := got.(map[string]any); !isDocument {
				assert.Error(t, err, "not a document")
			}
			assert.Less(t, allocated, uint64(16<<20), "bytes allocated by Fields")
			assert.Less(t, took, 50*time.Millisecond*slowdown)
		})
	}
	assert.NoFileExists(t, marker)
}

func checkKind(t *testing.T, want string, got any, err error) {
	t.Helper()
	var broken *pickle.SyntaxError
	switch want {
	case syntax:
		assert.ErrorAs(t, err, &broken, "got %v", got)
	case limit:
		assert.ErrorIs(t, err, python.ErrLimit)
	case unsupported:
		assert.ErrorIs(t, err, python.ErrUnsupported)
	default:
		assert.NoError(t, err)
	}
	if err != nil {
		assert.True(t, strings.HasPrefix(err.Error(), "pickle: "), err.Error())
	}
}

// measure returns the time and the memory that f takes: the least of some
// runs, because other programs slow it down.
func measure(f func()) (took time.Duration, allocated uint64) {
	for try := range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		f()
		this := time.Since(start)
		runtime.ReadMemStats(&after)
		if try == 0 || this < took {
			took = this
		}
		allocated = max(allocated, after.TotalAlloc-before.TotalAlloc)
		if took < 10*time.Millisecond {
			break
		}
	}
	return took, allocated
}

func TestACallStaysAnObject(t *testing.T) {
	got, err := pickle.Unmarshal([]byte("\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."))
	require.NoError(t, err)
	want := &python.Object{Class: python.Class{Module: "os", Name: "system"}, Args: python.Tuple{"id"}}
	assert.Equal(t, want, got)
	_, err = pickle.Append(nil, got)
	assert.ErrorIs(t, err, python.ErrUnsupported)
	assert.ErrorContains(t, err, "os.system not written")
}

func TestEveryOpcodeSurvivesEveryCut(t *testing.T) {
	for _, c := range storedCorpus(t, "testdata/corpus.jsonl") {
		for n := range min(len(c.Pickle), 100) {
			_, err := pickle.Unmarshal(c.Pickle[:n])
			require.Error(t, err, "%s cut to %d bytes", c, n)
		}
	}
}

func TestWhatFollowsStopIsIgnored(t *testing.T) {
	got, err := pickle.Unmarshal([]byte("K\x05.rubbish\xff"))
	require.NoError(t, err)
	assert.Equal(t, int64(5), got)
}

func TestASharedListIsTheSameEverywhere(t *testing.T) {
	got, err := pickle.Unmarshal([]byte("]q\x00q\x01(]q\x02h\x02e0h\x02K\x07a0h\x01."))
	require.NoError(t, err)
	assert.Equal(t, []any{[]any{int64(7)}, []any{int64(7)}}, got, "appended after it was memoised")
}

// web is n objects, each of which has all of them in its items: cut only where
// an object is met inside itself, it has n! leaves.
func web(n byte) string {
	var s strings.Builder
	s.WriteString("\x80\x02]q\xff")
	for i := range n {
		s.WriteString("ccases\nT\n)Rq" + string([]byte{i}))
		s.WriteString("(")
		for j := range i {
			s.WriteString("h" + string([]byte{j}))
		}
		s.WriteString("e")
	}
	for i := range n {
		for j := i + 1; j < n; j++ {
			s.WriteString("h" + string([]byte{i}) + "h" + string([]byte{j}) + "a0")
		}
	}
	return s.String() + "."
}
