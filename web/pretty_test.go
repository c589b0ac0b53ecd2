package web

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/celeryresults/celeryresults/python"
)

func TestPretty(t *testing.T) {
	long := strings.Repeat("x", 50)
	for name, row := range map[string]struct {
		in   any
		want string
	}{
		"short":  {map[string]any{"a": int64(1), "b": []any{true, nil}}, `{'a': 1, 'b': [True, None]}`},
		"scalar": {strings.Repeat("y", 100), "'" + strings.Repeat("y", 100) + "'"},
		"a list": {[]any{long, int64(2), []any{long, long}}, "[\n    '" + long + "',\n    2,\n    [\n        '" + long + "',\n        '" + long + "',\n    ],\n]"},
		"a dict": {python.Dict{{Key: "b", Value: long}, {Key: int64(1), Value: python.Tuple{long, long}}}, "{\n    'b': '" + long + "',\n    1: (\n        '" + long + "',\n        '" + long + "',\n    ),\n}"},
		"a map":  {map[string]any{"b": long, "a": long}, "{\n    'a': '" + long + "',\n    'b': '" + long + "',\n}"},
		"a set":  {&python.Set{Items: []any{long, long + "2"}}, "{\n    '" + long + "',\n    '" + long + "2',\n}"},
	} {
		assert.Equal(t, row.want, pretty(row.in), name)
	}
	var deep any = long
	for range 400 {
		deep = []any{deep, long}
	}
	assert.Less(t, len(pretty(deep)), 2*mostShown)
	many := make([]any, 100_000)
	for i := range many {
		many[i] = long
	}
	text := pretty(many)
	assert.Less(t, len(text), 2*mostShown)
	assert.Contains(t, text, "…")
}
