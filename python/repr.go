package python

import (
	"encoding/json"
	"iter"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	reprLevels   = 3       // of containers in a limited text, celery.utils.saferepr's maxlevels
	maxReprBytes = 1 << 26 // of a text without a limit
)

// Repr returns value as Python's repr shows it, for the argsrepr and
// kwargsrepr of a task: (2, "it's", {'a': [1.0, None]}) with Python's
// spelling of every scalar, its quotes and its escapes.
//
// With maxBytes > 0 the text is shortened as Celery's saferepr does it: the
// containers of a fourth level are shown as [...], a text that is cut ends
// in three dots, 'the beginn...', what is left out of a container is ", ...",
// and the brackets that are open are closed. Unlike Celery's, the text with
// all its marks is never longer than maxBytes, and strings and bytes keep
// the escapes and quotes of repr; Celery leaves line feeds and backslashes as
// they are. Celery passes 1024.
//
// With maxBytes <= 0 the text is repr's own. It is cut in the same way where
// it would be longer than 64 MiB or show more than four million values, and
// a container is [...] below 512 levels.
//
//   - Everything that [Plain] accepts is shown as its plain form, a slice as a
//     list; a map[string]any is sorted by key. What Plain refuses is
//     <TypeName>, and so is an int of more than 4300 digits, which Python does
//     not print either. A container inside itself is [...].
//   - An *Object is shown as the call that makes it, ValueError('no'), with
//     Items and Pairs as a last list and dict; one that has nothing but a State
//     is <module.Name object>. A Class is <class 'module.Name'>, an Envelope the
//     dict that it travels as.
//
// The work on a decoded value allocates in proportion to maxBytes, not to the
// value; marshalers and Go maps of other types may take more. The text is
// valid UTF-8 and has no unprintable characters: bytes in a string that are
// not UTF-8 become U+FFFD.
func Repr(value any, maxBytes int) string {
	w := reprWriter{limit: maxBytes, levels: reprLevels, left: maxPrinted}
	if maxBytes <= 0 {
		w.limit, w.levels = maxReprBytes, maxDepth
	}
	w.dst = make([]byte, 0, min(w.limit, 128))
	w.value(value, 0)
	return w.text()
}

// reprWriter writes until the text is complete or full, and remembers the
// last place where it can be cut so that all marks fit.
type reprWriter struct {
	dst    []byte
	limit  int  // most bytes of the text
	levels int  // containers that are shown inside each other
	left   int  // values that may still be written
	full   bool // nothing more is written

	path    []identity // the containers that are being written
	ends    []string   // what closes each of them after a cut
	closing int        // bytes in ends

	cut     int      // where to cut
	cutMark string   // what follows there, "" when there is no such place
	cutEnds []string // ends at that place
	same    int      // how many of ends are the same as in cutEnds

	scratch [64]byte
}

// identity tells containers apart that share no memory. The zero identity is
// like no other.
type identity struct {
	pointer uintptr
	length  int
}

// unprintable is the name of a type that has no Python form.
type unprintable string

func (w *reprWriter) text() string {
	switch {
	case !w.full:
		return string(w.dst)
	case w.cutMark == "":
		return "..."[:min(3, w.limit)]
	}
	w.dst = append(w.dst[:w.cut], w.cutMark...)
	for _, end := range slices.Backward(w.cutEnds) {
		w.dst = append(w.dst, end...)
	}
	return string(w.dst)
}

// raw writes all of s, or nothing when it does not fit.
func (w *reprWriter) raw(s string) {
	if w.full = w.full || len(s) > w.limit-len(w.dst); !w.full {
		w.dst = append(w.dst, s...)
	}
}

func (w *reprWriter) bytes(b []byte) {
	if w.full = w.full || len(b) > w.limit-len(w.dst); !w.full {
		w.dst = append(w.dst, b...)
	}
}

// mark makes here the place to cut, if there is room for what must follow.
func (w *reprWriter) mark(s string) {
	if !w.full {
		w.markAt(len(w.dst), s)
	}
}

func (w *reprWriter) markAt(at int, s string) {
	if at > w.limit-len(s)-w.closing {
		return
	}
	w.cut, w.cutMark = at, s
	w.cutEnds = append(w.cutEnds[:w.same], w.ends[w.same:]...)
	w.same = len(w.ends)
}

func (w *reprWriter) value(v any, level int) {
	w.left--
	if w.full = w.full || w.left < 0; w.full {
		return
	}
	switch v := v.(type) {
	case nil:
		w.raw("None")
	case bool:
		w.bool(v)
	case int64:
		w.bytes(strconv.AppendInt(w.scratch[:0], v, 10))
	case int:
		w.bytes(strconv.AppendInt(w.scratch[:0], int64(v), 10))
	case float64:
		w.bytes(AppendFloat(w.scratch[:0], v))
	case complex128:
		w.bytes(appendComplex(w.scratch[:0], v))
	case string:
		w.quoted("", v, "")
	case []byte:
		w.byteString(v)
	case *big.Int:
		w.integer(v)
	case Decimal:
		w.quoted("Decimal(", string(v), ")")
	case UUID:
		w.quoted("UUID(", v.String(), ")")
	case time.Time, DateTime, Date, Time, Timedelta:
		w.bytes(appendTimeRepr(w.scratch[:0], v))
	case Class:
		w.class(v)
	case unprintable:
		w.raw("<" + string(v) + ">")
	case []any, Tuple, map[string]any, Dict, *Set, *Object, Envelope:
		w.container(v, level)
	default:
		w.reflected(reflect.ValueOf(v), level)
	}
}

func (w *reprWriter) bool(b bool) {
	if b {
		w.raw("True")
	} else {
		w.raw("False")
	}
}

func (w *reprWriter) integer(i *big.Int) {
	const maxBits = 14285 // of maxDigits
	if i == nil {
		w.raw("None")
		return
	}
	digits := ""
	if i.BitLen() <= maxBits {
		digits = i.String()
	}
	if n := len(strings.TrimPrefix(digits, "-")); n == 0 || n > maxDigits {
		w.value(unprintable("int"), 0)
		return
	}
	w.cuttable(digits, 0, "", w.character)
}

// quoted writes s as a str, between two other texts.
func (w *reprWriter) quoted(before, s, after string) {
	quote := quoteFor(s[:min(len(s), w.limit)])
	w.raw(before + quote)
	w.cuttable(s, quote[0], quote+after, w.character)
	w.raw(quote + after)
}

// byteString writes no more of b than may fit: there is no byte that takes
// less than one.
func (w *reprWriter) byteString(b []byte) {
	if b == nil {
		w.raw("None")
		return
	}
	s := string(b[:min(len(b), w.limit)])
	quote := quoteFor(s)
	w.raw("b" + quote)
	w.cuttable(s, quote[0], quote, w.byte)
	w.raw(quote)
}

// quoteFor prefers the single quote, as Python does.
func quoteFor(s string) string {
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		return `"`
	}
	return "'"
}

// cuttable writes s with escapes; each call of escaped writes all that it
// should or nothing, and returns how much of s it stands for. The text can be
// cut after any of them and of the characters that need none, and ends in dots
// and end then.
func (w *reprWriter) cuttable(s string, quote byte, end string, escaped func(s string, quote byte) int) {
	mark := "..." + end
	if len(w.path) > 0 {
		mark += ", ..."
	}
	start, room := len(w.dst), w.limit-len(mark)-w.closing
	cut := start
	for len(s) > 0 && !w.full {
		before, n := len(w.dst), w.run(s, quote)
		switch {
		case n == 0:
			if n = escaped(s, quote); len(w.dst) <= room {
				cut = len(w.dst)
			}
		case before < room:
			cut = min(len(w.dst), room)
		}
		s = s[n:]
	}
	if cut > start {
		w.markAt(cut, mark)
	}
}

// run writes what s begins with and stands for itself, as far as it fits, and
// returns its length.
func (w *reprWriter) run(s string, quote byte) int {
	n := 0
	for n < len(s) && n <= w.limit && ' ' <= s[n] && s[n] < 0x7f && s[n] != '\\' && s[n] != quote {
		n++
	}
	fits := min(n, w.limit-len(w.dst))
	w.dst = append(w.dst, s[:fits]...)
	w.full = fits < n
	return n
}

// byte writes the first byte of s, escaped where Python does it.
func (w *reprWriter) byte(s string, quote byte) int {
	if s[0] < utf8.RuneSelf {
		return w.character(s, quote)
	}
	w.escape('x', 2, rune(s[0]))
	return 1
}

// character writes the first character of s, escaped where Python does it,
// and returns its length.
func (w *reprWriter) character(s string, quote byte) int {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r == '\\' || r == rune(quote):
		w.bytes(append(w.scratch[:0], '\\', byte(r)))
	case unicode.IsPrint(r):
		w.bytes(utf8.AppendRune(w.scratch[:0], r))
	case r == '\n':
		w.raw(`\n`)
	case r == '\r':
		w.raw(`\r`)
	case r == '\t':
		w.raw(`\t`)
	case r < 0x100:
		w.escape('x', 2, r)
	case r < 0x10000:
		w.escape('u', 4, r)
	default:
		w.escape('U', 8, r)
	}
	return size
}

func (w *reprWriter) escape(kind byte, digits int, r rune) {
	const hex = "0123456789abcdef"
	out := append(w.scratch[:0], '\\', kind)
	for i := digits - 1; i >= 0; i-- {
		out = append(out, hex[r>>(4*i)&15])
	}
	w.bytes(out)
}

func (w *reprWriter) class(c Class) {
	w.raw("<class '")
	w.dotted(c)
	w.raw("'>")
}

// dotted writes the name of a class, of one of Python's own without a module.
func (w *reprWriter) dotted(c Class) {
	if c.Module != "" && c.Module != "builtins" {
		w.name(c.Module)
		w.raw(".")
	}
	w.name(c.Name)
}

// name writes a name without quotes, but with escapes: nothing checks it.
func (w *reprWriter) name(s string) {
	for len(s) > 0 && !w.full {
		s = s[w.character(s, '\''):]
	}
}

func (w *reprWriter) container(v any, level int) {
	switch v := v.(type) {
	case []any:
		w.list(v, level)
	case Tuple:
		end := ")"
		if len(v) == 1 {
			end = ",)"
		}
		w.items(v, "(", end, level)
	case map[string]any:
		w.sorted(v, level)
	case Dict:
		w.pairs(v, level)
	case *Set:
		w.set(v, level)
	case *Object:
		w.object(v, level)
	case Envelope:
		w.pairs([]Pair{{"__type__", v.Type}, {"__value__", v.Value}}, level)
	}
}

// enter begins a container, and reports whether its contents are to follow
// and then leave.
func (w *reprWriter) enter(id identity, open, end string, level int) bool {
	cutEnd := strings.TrimPrefix(end, ",")
	switch {
	case id != identity{} && slices.Contains(w.path, id):
		w.raw(open + "..." + cutEnd)
		return false
	case level >= w.levels || len(w.path) >= maxDepth:
		w.raw(open + "..." + end)
		return false
	}
	w.raw(open)
	w.path, w.ends = append(w.path, id), append(w.ends, cutEnd)
	w.closing += len(cutEnd)
	w.mark("...")
	return true
}

func (w *reprWriter) leave(end string) {
	last := len(w.ends) - 1
	w.closing -= len(w.ends[last])
	w.path, w.ends = w.path[:last], w.ends[:last]
	w.same = min(w.same, last)
	w.raw(end)
}

// next begins the i-th part of a container, if there is room for one.
func (w *reprWriter) next(i int) bool {
	if i > 0 {
		w.mark(", ...")
		w.raw(", ")
	}
	return !w.full
}

func (w *reprWriter) list(items []any, level int) {
	if items == nil {
		w.raw("None")
		return
	}
	w.items(items, "[", "]", level)
}

func (w *reprWriter) items(items []any, open, end string, level int) {
	if !w.enter(identityOf(reflect.ValueOf(items)), open, end, level) {
		return
	}
	for i, item := range items {
		if !w.next(i) {
			break
		}
		w.value(item, level+1)
	}
	w.leave(end)
}

// identityOf returns what tells a slice, a map or a pointer from its parts.
func identityOf(v reflect.Value) identity {
	switch v.Kind() {
	case reflect.Slice:
		if v.Len() > 0 {
			return identity{v.Pointer(), v.Len()}
		}
	case reflect.Map, reflect.Pointer:
		return identity{v.Pointer(), -1}
	}
	return identity{}
}

// key writes a key and what follows it. Celery counts the levels inside of a
// key anew.
func (w *reprWriter) key(key any) {
	w.value(key, 0)
	w.raw(": ")
}

func (w *reprWriter) pairs(pairs []Pair, level int) {
	if !w.enter(identityOf(reflect.ValueOf(pairs)), "{", "}", level) {
		return
	}
	for i, p := range pairs {
		if !w.next(i) {
			break
		}
		w.key(p.Key)
		w.value(p.Value, level+1)
	}
	w.leave("}")
}

func (w *reprWriter) sorted(m map[string]any, level int) {
	if m == nil {
		w.raw("None")
		return
	}
	if !w.enter(identityOf(reflect.ValueOf(m)), "{", "}", level) {
		return
	}
	for i, key := range smallest(maps.Keys(m), w.room(), strings.Compare) {
		if !w.next(i) {
			break
		}
		w.key(key)
		w.value(m[key], level+1)
	}
	w.leave("}")
}

// room returns how many entries may be written, at the most.
func (w *reprWriter) room() int {
	const shortest = len("a=1, ")
	return min((w.limit-len(w.dst))/shortest+2, w.left+1)
}

// smallest returns the first n in the order, and holds few more meanwhile.
func smallest[E any](all iter.Seq[E], n int, compare func(a, b E) int) []E {
	var kept []E
	for e := range all {
		if kept = append(kept, e); len(kept) >= 2*n {
			slices.SortFunc(kept, compare)
			kept = kept[:n]
		}
	}
	slices.SortFunc(kept, compare)
	return kept[:min(n, len(kept))]
}

func (w *reprWriter) set(s *Set, level int) {
	switch {
	case s == nil:
		w.raw("None")
	case s.Frozen && len(s.Items) == 0:
		w.raw("frozenset()")
	case s.Frozen:
		w.items(s.Items, "frozenset({", "})", level)
	case len(s.Items) == 0:
		w.raw("set()")
	default:
		w.items(s.Items, "{", "}", level)
	}
}

func (w *reprWriter) object(o *Object, level int) {
	if o == nil {
		w.raw("None")
		return
	}
	if o.State != nil && len(o.Args)+len(o.Kwargs)+len(o.Items)+len(o.Pairs) == 0 {
		w.raw("<")
		w.dotted(o.Class)
		w.raw(" object>")
		return
	}
	w.name(o.Class.Name)
	if w.enter(identityOf(reflect.ValueOf(o)), "(", ")", level) {
		w.arguments(o, level+1)
		w.leave(")")
	}
}

func (w *reprWriter) arguments(o *Object, level int) {
	n := 0
	argument := func(name string, v any) {
		if !w.next(n) {
			return
		}
		if n++; name != "" {
			w.name(name)
			w.raw("=")
		}
		w.value(v, level)
	}
	for i := 0; i < len(o.Args) && !w.full; i++ {
		argument("", o.Args[i])
	}
	if len(o.Items) > 0 {
		argument("", o.Items)
	}
	if len(o.Pairs) > 0 {
		argument("", Dict(o.Pairs))
	}
	for _, key := range smallest(maps.Keys(o.Kwargs), w.room(), strings.Compare) {
		argument(key, o.Kwargs[key])
	}
}

// A printer writes a Go value of one type, that is no pointer and no
// interface.
type printer func(w *reprWriter, v reflect.Value, level int)

var printers sync.Map // reflect.Type to printer

// reflected follows pointers and interfaces and writes what they lead to.
func (w *reprWriter) reflected(v reflect.Value, level int) {
	for range maxDepth {
		switch {
		case !v.IsValid():
			w.raw("None")
			return
		case keptPointers[v.Type()]:
			w.value(v.Interface(), level)
			return
		case v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface:
			printerOf(v.Type())(w, v, level)
			return
		}
		v = v.Elem()
	}
	w.raw("...")
}

func printerOf(t reflect.Type) printer {
	if known, ok := printers.Load(t); ok {
		return known.(printer)
	}
	known, _ := printers.LoadOrStore(t, newPrinter(t))
	return known.(printer)
}

// newPrinter goes through containers item by item where Plain converts them
// as a whole, as the text needs few of many.
func newPrinter(t reflect.Type) printer {
	switch reflect.Zero(t).Interface().(type) {
	case time.Duration, json.Number, json.RawMessage:
		return printConverted
	case Set, Object, big.Int:
		return func(w *reprWriter, v reflect.Value, level int) { w.value(pointerTo(v), level) }
	}
	switch k := t.Kind(); {
	case converterByType(t) != nil:
		return func(w *reprWriter, v reflect.Value, level int) { w.value(v.Interface(), level) }
	case converterByMethods(t) != nil:
		return printConverted
	case (k == reflect.Slice || k == reflect.Array) && !holdsBytes(t):
		return printSequence
	case k == reflect.Map:
		return printMap
	case k == reflect.Struct:
		return printStruct
	}
	return printConverted
}

// holdsBytes tells the slices and arrays that become bytes.
func holdsBytes(t reflect.Type) bool {
	return t.Elem().Kind() == reflect.Uint8 && converterByMethods(t.Elem()) == nil
}

func printConverted(w *reprWriter, v reflect.Value, level int) {
	w.value(converted(v), level)
}

// converted returns the plain form of v, or the name of its type.
func converted(v reflect.Value) any {
	p := plainer{left: maxNodes}
	out, err := p.reflected(v, 0)
	if err != nil {
		return unprintable(v.Type().String())
	}
	return out
}

// element writes a part of a container.
func (w *reprWriter) element(v reflect.Value, level int) {
	w.left--
	if w.full = w.full || w.left < 0; !w.full {
		w.reflected(v, level)
	}
}

func printSequence(w *reprWriter, v reflect.Value, level int) {
	if v.Kind() == reflect.Slice && v.IsNil() {
		w.raw("None")
		return
	}
	if !w.enter(identityOf(v), "[", "]", level) {
		return
	}
	for i := 0; i < v.Len() && w.next(i); i++ {
		w.element(v.Index(i), level+1)
	}
	w.leave("]")
}

// entry is one of a Go map.
type entry struct {
	key   any
	value reflect.Value
}

func printMap(w *reprWriter, v reflect.Value, level int) {
	if v.IsNil() {
		w.raw("None")
		return
	}
	if !w.enter(identityOf(v), "{", "}", level) {
		return
	}
	for i, e := range smallest(entriesOf(v), w.room(), compareEntries) {
		if !w.next(i) {
			break
		}
		w.key(e.key)
		w.element(e.value, level+1)
	}
	w.leave("}")
}

func entriesOf(v reflect.Value) iter.Seq[entry] {
	key := converted
	if v.Type().Key().Kind() == reflect.String {
		key = func(k reflect.Value) any { return k.String() }
	}
	return func(yield func(entry) bool) {
		for it := v.MapRange(); it.Next() && yield(entry{key(it.Key()), it.Value()}); {
		}
	}
}

func compareEntries(a, b entry) int {
	if a, ok := a.key.(string); ok {
		if b, ok := b.key.(string); ok {
			return strings.Compare(a, b)
		}
	}
	return compareKeys(a.key, b.key)
}

func printStruct(w *reprWriter, v reflect.Value, level int) {
	if !w.enter(identity{}, "{", "}", level) {
		return
	}
	n := 0
	fields := fieldsOf(v.Type()).list
	for i := range fields {
		f := &fields[i]
		value, ok := f.of(v)
		if !ok || f.omits(value) {
			continue
		}
		if !w.next(n) {
			break
		}
		n++
		w.key(f.name)
		w.element(value, level+1)
	}
	w.leave("}")
}

// appendTimeRepr appends what the classes of the datetime module print.
func appendTimeRepr(dst []byte, v any) []byte {
	switch v := v.(type) {
	case time.Time:
		_, offset := v.Zone()
		return append(appendZoneRepr(appendDateTimeRepr(dst, v), offset), ')')
	case DateTime:
		return append(appendDateTimeRepr(dst, v.Time), ')')
	case Date:
		dst = append(dst, "datetime.date("...)
		return append(appendNumbers(dst, v.Year, int(v.Month), v.Day), ')')
	case Time:
		dst = appendNumbers(append(dst, "datetime.time("...), clock(v.Hour, v.Minute, v.Second, v.Microsecond)...)
		if v.Aware {
			dst = appendZoneRepr(dst, int(v.Offset/time.Second))
		}
		return append(dst, ')')
	default:
		return appendTimedeltaRepr(dst, v.(Timedelta))
	}
}

func appendDateTimeRepr(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = appendNumbers(append(dst, "datetime.datetime("...), year, int(month), day)
	dst = append(dst, ", "...)
	return appendNumbers(dst, clock(hour, minute, second, t.Nanosecond()/1000)...)
}

// clock leaves out the seconds when they are zero.
func clock(hour, minute, second, microsecond int) []int {
	switch {
	case microsecond != 0:
		return []int{hour, minute, second, microsecond}
	case second != 0:
		return []int{hour, minute, second}
	}
	return []int{hour, minute}
}

func appendNumbers(dst []byte, numbers ...int) []byte {
	for i, n := range numbers {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return dst
}

func appendZoneRepr(dst []byte, seconds int) []byte {
	dst = append(dst, ", tzinfo=datetime.timezone"...)
	if seconds == 0 {
		return append(dst, ".utc"...)
	}
	dst = appendTimedeltaRepr(append(dst, '('), TimedeltaOf(time.Duration(seconds)*time.Second))
	return append(dst, ')')
}

func appendTimedeltaRepr(dst []byte, d Timedelta) []byte {
	dst = append(dst, "datetime.timedelta("...)
	start := len(dst)
	for _, part := range []struct {
		name  string
		value int64
	}{{"days=", d.Days}, {"seconds=", d.Seconds}, {"microseconds=", d.Microseconds}} {
		if part.value == 0 {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ", "...)
		}
		dst = strconv.AppendInt(append(dst, part.name...), part.value, 10)
	}
	if len(dst) == start {
		dst = append(dst, '0')
	}
	return append(dst, ')')
}
