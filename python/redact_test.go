package python_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/celeryresults/celeryresults/python"
)

func TestRedact(t *testing.T) {
	names := []string{"card", "Token"}
	const secret = "4111"
	var deep any = map[string]any{"card": secret}
	for range 5000 {
		deep = []any{deep}
	}
	for name, row := range map[string]struct{ in, want any }{
		"a map":       {map[string]any{"card": secret, "to": "ann"}, map[string]any{"card": "***", "to": "ann"}},
		"a dict":      {python.Dict{{Key: "CARD", Value: secret}, {Key: int64(1), Value: int64(2)}}, python.Dict{{Key: "CARD", Value: "***"}, {Key: int64(1), Value: int64(2)}}},
		"below":       {[]any{python.Tuple{map[string]any{"token": []any{secret}}}}, []any{python.Tuple{map[string]any{"token": "***"}}}},
		"a set":       {&python.Set{Items: []any{python.Tuple{"card", int64(1)}}}, &python.Set{Items: []any{python.Tuple{"card", int64(1)}}}},
		"an envelope": {python.Envelope{Type: "card", Value: map[string]any{"card": secret}}, python.Envelope{Type: "card", Value: map[string]any{"card": "***"}}},
		"an object": {
			&python.Object{Class: python.Class{Name: "Payment"}, Args: python.Tuple{secret}, Kwargs: map[string]any{"card": secret}, State: map[string]any{"card": secret, "n": int64(1)}, Items: []any{"x"}, Pairs: []python.Pair{{Key: "card", Value: secret}}},
			&python.Object{Class: python.Class{Name: "Payment"}, Args: python.Tuple{"***"}, Kwargs: map[string]any{"card": "***"}, State: map[string]any{"card": "***", "n": int64(1)}, Items: []any{"x"}, Pairs: []python.Pair{{Key: "card", Value: "***"}}},
		},
		"nothing":         {nil, nil},
		"a scalar":        {"card", "card"},
		"nil collections": {[]any(nil), []any(nil)},
	} {
		before := python.Repr(row.in, 0)
		assert.Equal(t, row.want, python.Redact(row.in, names), name)
		assert.Equal(t, before, python.Repr(row.in, 0), "%s is not changed", name)
		assert.Equal(t, row.in, python.Redact(row.in, nil), "%s, without names", name)
	}
	assert.NotContains(t, string(python.JSON(nil, python.Redact(deep, names))), secret)
}
