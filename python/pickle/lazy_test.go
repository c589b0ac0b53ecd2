package pickle_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

// later is a value that somebody else decodes.
type later struct {
	v   any
	err error
}

func (l later) Decode() (any, error) { return l.v, l.err }

// endless is a value that stands for itself.
type endless struct{}

func (e *endless) Decode() (any, error) { return e, nil }

func TestALazyValueIsWrittenAsWhatItStandsFor(t *testing.T) {
	for name, v := range map[string]any{
		"a value": later{v: []any{int64(1), "x"}}, "a pointer": &later{v: []any{int64(1), "x"}},
		"a lazy in a lazy": later{v: &later{v: []any{int64(1), later{v: "x"}}}},
	} {
		assert.Equal(t, encode(t, map[string]any{"a": []any{int64(1), "x"}}), encode(t, map[string]any{"a": v}), name)
	}
	assert.Equal(t, encode(t, nil), encode(t, (*later)(nil)), "a nil pointer")
}

func TestALazyKeyIsHashedInPython(t *testing.T) {
	assert.Equal(t, encode(t, python.Dict{{Key: "a", Value: nil}}), encode(t, python.Dict{{Key: later{v: "a"}, Value: nil}}))
	_, err := pickle.Marshal(python.Dict{{Key: later{v: []any{}}, Value: nil}})
	assert.ErrorIs(t, err, python.ErrUnsupported)
}

func TestALazyValueMayNotStandForItself(t *testing.T) {
	_, err := pickle.Marshal(&endless{})
	assert.ErrorIs(t, err, python.ErrLimit)
}

func TestErrorsOfLazyValuesArePassedOn(t *testing.T) {
	broken := errors.New("broken")
	got, err := pickle.Marshal(map[string]any{"x": later{err: broken}})
	assert.Equal(t, broken, err)
	assert.Empty(t, got)
}

func TestAFieldIsWrittenAsItWasRead(t *testing.T) {
	data := encode(t, meta())
	fields, err := pickle.Fields(nil, data)
	require.NoError(t, err)
	var doc python.Dict
	for _, f := range fields {
		doc = append(doc, python.Pair{Key: f.Name, Value: f.Value})
	}
	want, err := pickle.Unmarshal(data)
	require.NoError(t, err)
	got, err := pickle.Unmarshal(encode(t, doc))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}
