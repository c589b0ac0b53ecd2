package python_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/celeryresults/celeryresults/python"
)

func TestPairs(t *testing.T) {
	dict := python.Dict{{Key: "b", Value: 1}, {Key: int64(1), Value: 2}}
	pairs, ok := python.Pairs(dict)
	assert.True(t, ok)
	assert.Equal(t, dict, pairs)
	pairs, ok = python.Pairs(map[string]any{"b": 1, "a": nil})
	assert.True(t, ok)
	assert.Equal(t, python.Dict{{Key: "a"}, {Key: "b", Value: 1}}, pairs)
	pairs, ok = python.Pairs(nil)
	assert.True(t, ok)
	assert.Empty(t, pairs)
	_, ok = python.Pairs([]any{1})
	assert.False(t, ok)
}
