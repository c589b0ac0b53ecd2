package sqldialect

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// In returns the condition that a column is one of the texts, of which there is at
// least one, and their parameters from the number first on. A collation may let it
// hold for others.
//
// PostgreSQL's planner makes one plan for good, and so must not know how many there
// are this time, hence the sub-select, nor take them for so many that reading the
// whole of a table which is small then is cheaper than its index, hence a condition
// that seems to leave one.
func (d *Dialect) In(column string, first int, texts []string) (string, []any) {
	if len(texts) == 1 {
		return column + " = $" + strconv.Itoa(first), []any{texts[0]}
	}
	if d == PostgreSQL {
		return fmt.Sprintf("%s IN (SELECT u.item FROM unnest((SELECT $%d::text[])) u (item) WHERE length(u.item) %% 1 = 0)", column, first),
			[]any{ArrayOf(texts)}
	}
	n := padded(len(texts))
	args := make([]any, n)
	for i := range args {
		args[i] = texts[min(i, len(texts)-1)]
	}
	return column + " IN (" + Parameters(first, n) + ")", args
}

// padded rounds the length of a list up to a power of two, so that few different
// statements are ever prepared.
func padded(n int) int { return 1 << bits.Len(uint(n-1)) }

// Parameters lists n parameters from the one numbered first on.
func Parameters(first, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(list, ", ")
}

// Array writes texts as a PostgreSQL array, which every driver can bind as a
// text. A nil item is NULL.
type Array struct {
	text []byte
}

// NewArray returns an empty array with room for a text of size bytes.
func NewArray(size int) *Array { return &Array{append(make([]byte, 0, size+2), '{')} }

// Add appends a text.
func (a *Array) Add(item string) {
	a.next()
	a.text = append(a.text, '"')
	for {
		i := strings.IndexAny(item, `"\`)
		if i < 0 {
			break
		}
		a.text = append(append(a.text, item[:i]...), '\\', item[i])
		item = item[i+1:]
	}
	a.text = append(append(a.text, item...), '"')
}

// AddNull appends NULL.
func (a *Array) AddNull() {
	a.next()
	a.text = append(a.text, "NULL"...)
}

func (a *Array) next() {
	if len(a.text) > 1 {
		a.text = append(a.text, ',')
	}
}

// String returns the array.
func (a *Array) String() string { return string(a.text) + "}" }

// ArrayOf returns the array of the items.
func ArrayOf(items []string) string {
	a := NewArray(40 * len(items))
	for _, item := range items {
		a.Add(item)
	}
	return a.String()
}
