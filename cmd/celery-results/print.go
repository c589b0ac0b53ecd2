package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/python"
)

// The values of --format.
const (
	formatJSON  = "json"  // plain values
	formatKombu = "kombu" // values with their types, as kombu's JSON has them
	formatTable = "table"

	formatTemplate = "template" // of --template
)

// row is one line of the form for people, or several where the text has some.
type row struct{ name, text string }

// print writes one object to standard output, in one piece: its JSON, or the
// rows, aligned and followed by an empty line.
func (c *cli) print(object python.Dict, rows []row) error {
	switch c.format {
	case formatJSON:
		return c.write(append(python.JSON(nil, object), '\n'))
	case formatTemplate:
		return c.execute(object)
	case formatKombu:
		line, err := kombu(object)
		if err != nil {
			return err
		}
		return c.write(append(line, '\n'))
	}
	return c.write(c.aligned(rows))
}

// kombu returns the object in kombu's JSON, which store --stdin reads back
// without loss. The record's own times stay plain text.
func kombu(object python.Dict) ([]byte, error) {
	fields := slices.Clone(object)
	for i, field := range fields {
		if at, ok := field.Value.(time.Time); ok {
			fields[i].Value = string(python.AppendISO(nil, at))
		}
	}
	return json.Codec.Append(nil, fields)
}

func (c *cli) write(text []byte) error {
	if _, err := c.stdout.Write(text); err != nil {
		return withStatus(statusFailed, fmt.Errorf("standard output: %w", err))
	}
	return nil
}

func (c *cli) aligned(rows []row) []byte {
	width := 0
	for _, r := range rows {
		width = max(width, len(r.name)+1)
	}
	indent := "\n" + strings.Repeat(" ", width+1)
	var b bytes.Buffer
	for _, r := range rows {
		text := strings.ReplaceAll(escapeLines(r.text), "\n", indent)
		if r.name == "status" {
			text = c.state(celeryresults.State(r.text))
		}
		fmt.Fprintf(&b, "%-*s %s\n", width, escape(r.name)+":", text)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// escapeLines is escape for text of several lines.
func escapeLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		lines[i] = escape(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// escape replaces what could drive a terminal or deceive its reader (control
// and invisible characters) by Go's escapes, such as \x1b.
func escape(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// textOrNone is null for an empty text.
func textOrNone(s string) any {
	if s == "" {
		return nil
	}
	return s
}
