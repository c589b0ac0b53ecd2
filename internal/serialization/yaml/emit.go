package yaml

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	width        = 80  // beyond it, a line is folded at the next space
	step         = 2   // of indentation
	maxSimpleKey = 127 // characters in a key on the line of its value, tag included
)

// place is where a value is written.
type place struct {
	indent    int  // of the collection around it
	root      bool // it is the document
	mapping   bool // it is a key or a value of a mapping
	simpleKey bool // it is a key on the same line as its value
}

// deeper returns the indent of what is inside a value at p.
func (p place) deeper() int {
	if p.root {
		return 0
	}
	return p.indent + step
}

// scalarIndent returns the indent of the further lines of a scalar at p.
func (p place) scalarIndent() int {
	if p.root {
		return step
	}
	return p.indent + step
}

// scalarText is a scalar as PyYAML represents it: text that is plain, but for
// !!str, which may need quotes, and !!binary, which is a literal block.
type scalarText struct {
	tag  string
	text string
}

// isSimpleKey follows Emitter.check_simple_key, which counts the tag even
// where it is not written.
func (s scalarText) isSimpleKey() bool {
	return s.text != "" && !isMultiline(s.text) &&
		len(s.tag)+utf8.RuneCountInString(s.text) <= maxSimpleKey
}

func isMultiline(s string) bool {
	return strings.ContainsAny(s, "\n\u0085\u2028\u2029")
}

// emitter lays YAML out as PyYAML's Emitter does in block style. Its fields
// are that emitter's: they decide where lines break.
type emitter struct {
	out        []byte
	column     int  // in characters
	whitespace bool // the last character separates tokens
	indention  bool // only indentation and indicators are on this line
	openEnded  bool // the document needs an end marker
}

// newEmitter returns an emitter that appends to out. An empty stream counts as
// freshly indented.
func newEmitter(out []byte) emitter {
	return emitter{out: out, whitespace: true, indention: true}
}

func (e *emitter) write(s string) {
	e.out = append(e.out, s...)
	e.column += len(s)
}

// indicator writes punctuation, after a space if it needs one. keep says that
// a collection may still start on this line.
func (e *emitter) indicator(s string, spaced, keep bool) {
	if spaced && !e.whitespace {
		e.write(" ")
	}
	e.write(s)
	e.whitespace = false
	e.indention = e.indention && keep
	e.openEnded = false
}

func (e *emitter) lineBreak() {
	e.out = append(e.out, '\n')
	e.column, e.whitespace, e.indention = 0, true, true
}

// writeIndent goes to the indent, on a new line unless this one is still empty
// up to there.
func (e *emitter) writeIndent(indent int) {
	if !e.indention || e.column > indent || e.column == indent && !e.whitespace {
		e.lineBreak()
	}
	if e.column < indent {
		e.write(strings.Repeat(" ", indent-e.column))
		e.whitespace = true
	}
}

func (e *emitter) endDocument() {
	e.writeIndent(0)
	if e.openEnded {
		e.indicator("...", true, false)
		e.writeIndent(0)
	}
}

// sequenceIndent returns the indent of a sequence's items: under a key they
// stand below the key itself.
func (e *emitter) sequenceIndent(at place) int {
	if at.mapping && !e.indention {
		return at.indent
	}
	return at.deeper()
}

func (e *emitter) emptySequence() {
	e.indicator("[", true, false)
	e.indicator("]", false, false)
}

func (e *emitter) emptyMapping() {
	e.indicator("{", true, false)
	e.indicator("}", false, false)
}

// scalar follows Emitter.choose_scalar_style.
func (e *emitter) scalar(s scalarText, at place) {
	indent, split := at.scalarIndent(), !at.simpleKey
	styles := analyze(s.text)
	switch {
	case s.tag == "!!binary":
		e.binary(s.text, indent)
	case s.tag != "!!str" || styles.plain && resolve(s.text) == text:
		e.plain(s.text, indent, split)
		e.openEnded = at.root
	case styles.single:
		e.singleQuoted(s.text, indent, split)
	default:
		e.doubleQuoted(s.text, indent, split)
	}
}

// binary writes base64 as a literal block. Nothing at all has no block form.
func (e *emitter) binary(s string, indent int) {
	e.indicator("!!binary", true, false)
	if s == "" {
		e.doubleQuoted("", indent, true)
		return
	}
	e.indicator("|", true, false)
	e.lineBreak()
	for line := range strings.Lines(s) {
		e.writeIndent(indent)
		e.write(strings.TrimSuffix(line, "\n"))
		e.lineBreak()
	}
}

// analysis is which styles can hold a text.
type analysis struct {
	plain, single bool
}

// analyze follows Emitter.analyze_scalar with allow_unicode off.
func analyze(s string) analysis {
	if s == "" {
		return analysis{single: true}
	}
	if !isPrintable(s) || strings.Contains(s, "\n ") || strings.Contains(s, " \n") {
		return analysis{}
	}
	edge := strings.Trim(s, " \n") != s
	return analysis{plain: !edge && !strings.Contains(s, "\n") && !hasIndicator(s), single: true}
}

// isPrintable reports whether s is printable ASCII and line feeds only.
func isPrintable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '\n' && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}

// hasIndicator reports whether s, printable and of one line, would not be read
// as plain text because of its punctuation.
func hasIndicator(s string) bool {
	if strings.HasPrefix(s, "---") || strings.HasPrefix(s, "...") {
		return true
	}
	if strings.IndexByte("#,[]{}&*!|>'\"%@`", s[0]) >= 0 {
		return true
	}
	if strings.IndexByte("?:-", s[0]) >= 0 && (len(s) == 1 || s[1] == ' ') {
		return true
	}
	return strings.Contains(s, ": ") || strings.HasSuffix(s, ":") || strings.Contains(s, " #")
}

// plain writes text without quotes. Lines are folded at single spaces.
func (e *emitter) plain(s string, indent int, split bool) {
	if !e.whitespace {
		e.write(" ")
	}
	e.whitespace, e.indention = false, false
	for {
		n := wordEnd(s)
		e.write(s[:n])
		s = s[n:]
		if s == "" {
			return
		}
		spaces := len(s) - len(strings.TrimLeft(s, " "))
		if spaces == 1 && split && e.column > width {
			e.writeIndent(indent)
			e.whitespace, e.indention = false, false
		} else {
			e.write(s[:spaces])
		}
		s = s[spaces:]
	}
}

func wordEnd(s string) int {
	if n := strings.IndexByte(s, ' '); n >= 0 {
		return n
	}
	return len(s)
}

// singleQuoted writes text of which only quotes are escaped, by doubling them.
func (e *emitter) singleQuoted(s string, indent int, split bool) {
	e.indicator("'", true, false)
	for i := 0; i < len(s); {
		n := runLength(s[i:])
		run := s[i : i+n]
		i += n
		switch {
		case run == " " && split && e.column > width && i > 1 && i < len(s):
			e.writeIndent(indent)
		case run[0] == '\n':
			e.lineBreak()
			for range run {
				e.lineBreak()
			}
			e.writeIndent(indent)
		default:
			e.write(strings.ReplaceAll(run, "'", "''"))
		}
	}
	e.indicator("'", false, false)
}

// runLength returns how many bytes of s are spaces, or line feeds, or neither.
func runLength(s string) int {
	class := func(c byte) int { return strings.IndexByte(" \n", c) }
	n := 1
	for n < len(s) && class(s[n]) == class(s[0]) {
		n++
	}
	return n
}

// escapes are the characters that have an escape of their own.
var escapes = map[rune]string{
	0: `\0`, '\a': `\a`, '\b': `\b`, '\t': `\t`, '\n': `\n`, '\v': `\v`, '\f': `\f`, '\r': `\r`,
	0x1B: `\e`, '"': `\"`, '\\': `\\`, 0x85: `\N`, 0xA0: `\_`, 0x2028: `\L`, 0x2029: `\P`,
}

// doubleQuoted writes text with escapes for all but printable ASCII. Lines are
// folded at spaces and at escapes.
func (e *emitter) doubleQuoted(s string, indent int, split bool) {
	e.indicator(`"`, true, false)
	start := 0 // of what is not written yet
	last := lastRune(s)
	for i, r := range s {
		pending := i - start
		if needsEscape(r) {
			e.write(s[start:i])
			e.writeEscape(r)
			start, pending = i+utf8.RuneLen(r), -1
		}
		if split && 0 < i && i < last && (r == ' ' || pending <= 0) && e.column+pending > width {
			e.foldQuoted(s[min(start, i):i], s[max(start, i):], indent)
			start = max(start, i)
		}
	}
	e.write(s[start:])
	e.indicator(`"`, false, false)
}

func needsEscape(r rune) bool {
	return r < ' ' || r > '~' || r == '"' || r == '\\'
}

// lastRune returns where the last character of s begins.
func lastRune(s string) int {
	_, size := utf8.DecodeLastRuneInString(s)
	return len(s) - size
}

// foldQuoted ends a line of double-quoted text with pending and a backslash. A
// space that begins the next line needs one too.
func (e *emitter) foldQuoted(pending, next string, indent int) {
	e.write(pending)
	e.write(`\`)
	e.writeIndent(indent)
	e.whitespace, e.indention = false, false
	if strings.HasPrefix(next, " ") {
		e.write(`\`)
	}
}

func (e *emitter) writeEscape(r rune) {
	switch s, ok := escapes[r]; {
	case ok:
		e.write(s)
	case r <= 0xFF:
		e.write(fmt.Sprintf(`\x%02X`, r))
	case r <= 0xFFFF:
		e.write(fmt.Sprintf(`\u%04X`, r))
	default:
		e.write(fmt.Sprintf(`\U%08X`, r))
	}
}
