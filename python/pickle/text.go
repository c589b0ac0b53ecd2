package pickle

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	errNotText = errors.New("text is not UTF-8")
	errEscape  = errors.New("bad escape in text")
	errQuotes  = errors.New("string without quotes")
)

// replaceSurrogates returns b with each surrogate that is encoded like a
// character (Python's surrogatepass) as U+FFFD.
func replaceSurrogates(b []byte) (string, error) {
	var s strings.Builder
	s.Grow(len(b))
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			if !startsSurrogate(b) {
				return "", errNotText
			}
			size = 3
		}
		s.WriteRune(r)
		b = b[size:]
	}
	return s.String(), nil
}

func startsSurrogate(b []byte) bool {
	return len(b) >= 3 && b[0] == 0xed && b[1] >= 0xa0 && b[1] <= 0xbf && b[2] >= 0x80 && b[2] <= 0xbf
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// latin1 returns b, one character a byte, as text.
func latin1(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// unlatin1 returns s as bytes, one a character, and whether that is possible.
func unlatin1(s string) ([]byte, bool) {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return nil, false
		}
		b = append(b, byte(r))
	}
	return b, true
}

// rawUnicodeEscape decodes Python's codec of that name: Latin-1 with \uXXXX
// and \UXXXXXXXX. An escape counts after an odd number of backslashes.
func rawUnicodeEscape(b []byte) (string, error) {
	var s strings.Builder
	for len(b) > 0 {
		size := rawEscapeSize(b)
		if size == 0 {
			n := plainSize(b)
			s.WriteString(latin1(b[:n]))
			b = b[n:]
			continue
		}
		if size > len(b) {
			return "", errEscape
		}
		r, err := strconv.ParseUint(string(b[2:size]), 16, 32)
		if err != nil || r > utf8.MaxRune {
			return "", errEscape
		}
		s.WriteRune(rune(r))
		b = b[size:]
	}
	return s.String(), nil
}

// rawEscapeSize returns the length of the escape that b starts with, or 0.
func rawEscapeSize(b []byte) int {
	if len(b) < 2 || b[0] != '\\' {
		return 0
	}
	switch b[1] {
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 0
}

// plainSize returns how much of b comes before the next possible escape. A
// backslash that starts none takes the character behind it along.
func plainSize(b []byte) int {
	if b[0] == '\\' {
		return min(2, len(b))
	}
	for i, c := range b {
		if c == '\\' {
			return i
		}
	}
	return len(b)
}

// stringEscape decodes the repr of a Python 2 str, quotes included.
func stringEscape(b []byte) ([]byte, error) {
	n := len(b)
	if n < 2 || b[0] != b[n-1] || b[0] != '\'' && b[0] != '"' {
		return nil, errQuotes
	}
	b = b[1 : n-1]
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		if b[0] != '\\' {
			out, b = append(out, b[0]), b[1:]
			continue
		}
		var err error
		if out, b, err = unescape(out, b[1:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// unescape appends the character that the escape at the start of b means (the
// backslash is gone already) and returns what follows it.
func unescape(out, b []byte) ([]byte, []byte, error) {
	if len(b) == 0 {
		return nil, nil, errEscape
	}
	switch c := b[0]; {
	case c == 'x':
		return unescapeDigits(out, b[1:], 16, 2, 2)
	case c >= '0' && c <= '7':
		return unescapeDigits(out, b, 8, 1, 3)
	case simpleEscapes[c] != 0:
		return append(out, simpleEscapes[c]), b[1:], nil
	case c == '\n':
		return out, b[1:], nil
	default:
		return append(out, '\\', c), b[1:], nil
	}
}

var simpleEscapes = [256]byte{
	'\\': '\\', '\'': '\'', '"': '"',
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
}

// unescapeDigits reads from least to most digits.
func unescapeDigits(out, b []byte, base, least, most int) ([]byte, []byte, error) {
	n, c := 0, 0
	for ; n < min(most, len(b)); n++ {
		d, err := strconv.ParseUint(string(b[n:n+1]), base, 8)
		if err != nil {
			break
		}
		c = c*base + int(d)
	}
	if n < least {
		return nil, nil, errEscape
	}
	return append(out, byte(c)), b[n:], nil
}
