package yaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

const (
	// maxSize is the largest document that is read, in bytes.
	maxSize = 64 << 20

	// maxIndicators bounds the memory of the parsed tree before it is built.
	// Nodes need indicator characters, at most three of them share one, and a
	// node takes some two hundred bytes. Indicators inside text count as well.
	maxIndicators = serialization.MaxNodes / 4

	// maxDirectives bounds the %TAG directives, which the parser compares with
	// each other.
	maxDirectives = 1000
)

// parse returns the root node of the only document in data, nil when data has
// none. The node can be decoded within the limits.
func parse(data []byte) (root *yaml.Node, err error) {
	if err := checkSize(data); err != nil {
		return nil, err
	}
	guard := &depthGuard{}
	defer func() {
		// The parser is third-party code that reads hostile bytes.
		if p := recover(); p != nil {
			root, err = nil, syntaxError(0, fmt.Sprintf("the parser failed: %v", p))
		}
	}()
	root, err = loadRepaired(data, guard)
	if guard.exceeded {
		return nil, limitError("nested too deeply")
	}
	if root == nil || err != nil {
		return nil, err
	}
	return root, check(data, root)
}

func checkSize(data []byte) error {
	if len(data) > maxSize {
		return limitError(fmt.Sprintf("a document of %d bytes", len(data)))
	}
	count := 0
	for _, indicator := range []string{",", ":", "[", "{", "-", "?"} {
		count += bytes.Count(data, []byte(indicator))
	}
	if count > maxIndicators {
		return limitError(fmt.Sprintf("a document with %d indicator characters", count))
	}
	if bytes.Count(data, []byte("%TAG")) > maxDirectives {
		return limitError("a document with many tag directives")
	}
	return nil
}

// loadRepaired loads data with U+FFFD for the escapes of lone surrogates, which
// PyYAML writes for text that has no UTF-8 form and the parser refuses. Each
// one costs another load, so there may be fewer of them in a larger document.
func loadRepaired(data []byte, guard *depthGuard) (*yaml.Node, error) {
	for budget := maxSize; ; budget -= len(data) {
		root, err := load(data, guard)
		at, ok := surrogate(data, err)
		if !ok || budget < 0 {
			return root, err
		}
		data = bytes.Clone(data)
		copy(data[at:], "FFFD")
	}
}

// surrogate returns where the four digits of a surrogate's escape are, if that
// is what err complains about.
func surrogate(data []byte, err error) (at int, ok bool) {
	var syntax *serialization.SyntaxError
	if !errors.As(err, &syntax) {
		return 0, false
	}
	before, digits := data[:syntax.Offset], data[syntax.Offset:]
	if bytes.HasSuffix(before, []byte(`\U`)) {
		digits = bytes.TrimPrefix(digits, []byte("0000"))
	} else if !bytes.HasSuffix(before, []byte(`\u`)) {
		return 0, false
	}
	code, err := strconv.ParseUint(string(digits[:min(4, len(digits))]), 16, 32)
	return len(data) - len(digits), err == nil && utf16.IsSurrogate(rune(code))
}

func load(data []byte, guard *depthGuard) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(guard))
	if err != nil {
		return nil, fmt.Errorf("yaml: %w", err)
	}
	var doc, next yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, parseError(data, err)
	}
	switch err := loader.Load(&next); {
	case err == nil:
		return nil, syntaxError(offset(data, next.Line, next.Column), "more than one document")
	case !errors.Is(err, io.EOF):
		return nil, parseError(data, err)
	}
	return content(&doc), nil
}

func content(doc *yaml.Node) *yaml.Node {
	if doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
		return doc.Content[0]
	}
	return doc
}

// depthGuard stops the parser at MaxDepth. It belongs to one parse.
type depthGuard struct {
	exceeded bool
}

var errDepth = errors.New("nested too deeply")

// CheckDepth implements yaml.LoaderLimitsPlugin.
func (g *depthGuard) CheckDepth(depth int, _ *yaml.DepthContext) error {
	// Flow collections and the document's own level count from different starts.
	if depth <= serialization.MaxDepth+1 {
		return nil
	}
	g.exceeded = true
	return errDepth
}

// CheckAlias implements yaml.LoaderLimitsPlugin. The decoder counts what
// aliases expand to; the parser does not expand them.
func (g *depthGuard) CheckAlias(_, _ int) error { return nil }

func parseError(data []byte, err error) error {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		return syntaxError(0, err.Error())
	}
	return syntaxError(offset(data, e.Mark.Line, e.Mark.Column), e.Message)
}

// offset returns the byte at which a line and a column, both counted from one,
// begin. Columns count characters.
func offset(data []byte, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return len(data)
		}
		at += end + 1
	}
	for ; column > 1 && at < len(data); column-- {
		_, size := utf8.DecodeRune(data[at:])
		at += size
	}
	return at
}

func syntaxError(at int, reason string) error {
	return &serialization.SyntaxError{Format: format, Offset: at, Reason: reason}
}

func limitError(what string) error {
	return fmt.Errorf("yaml: %w: %s", serialization.ErrLimit, what)
}
