package sqldialect

import (
	"math/bits"
	"strconv"
	"strings"
)

// Padded rounds the length of a list up to a power of two, so that few different
// statements are ever prepared.
func Padded(n int) int { return 1 << bits.Len(uint(n-1)) }

// Parameters lists n parameters from the one numbered first on.
func Parameters(first, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(list, ", ")
}

// PadTo appends the items to args, the last one again up to the padded length.
func PadTo(args []any, items []string) []any {
	for i := range Padded(len(items)) {
		args = append(args, items[min(i, len(items)-1)])
	}
	return args
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
