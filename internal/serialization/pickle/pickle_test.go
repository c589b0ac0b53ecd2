package pickle_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/python"
	public "github.com/celeryresults/celeryresults/python/pickle"
)

// meta is a document of about 600 bytes, as Celery stores it.
func meta() python.Dict {
	return python.Dict{
		{Key: "status", Value: "SUCCESS"},
		{Key: "result", Value: python.Dict{
			{Key: "order", Value: int64(184467)}, {Key: "total", Value: 99.5}, {Key: "currency", Value: "EUR"},
			{Key: "lines", Value: []any{"socks", "a hat", "gloves"}}, {Key: "paid", Value: true},
			{Key: "address", Value: python.Dict{{Key: "city", Value: "Zürich"}, {Key: "street", Value: "Bahnhofstrasse 1"}}},
		}},
		{Key: "traceback", Value: nil},
		{Key: "children", Value: []any{[]any{[]any{"3f5b2c1e-9d7a-4c58-8b31-0f6f0c9a7e55", nil}, nil}}},
		{Key: "date_done", Value: "2026-11-21T09:09:40.859911+00:00"},
		{Key: "parent_id", Value: "0d9c6d68-5d0c-4b0f-9d7a-0a5f0b3c7d11"},
		{Key: "name", Value: "shop.tasks.orders.ship"},
		{Key: "args", Value: []any{int64(184467), "express"}},
		{Key: "kwargs", Value: python.Dict{{Key: "notify", Value: true}}},
		{Key: "worker", Value: "celery@worker-7f9c.shop.internal"},
		{Key: "retries", Value: int64(0)},
		{Key: "queue", Value: "celery"},
		{Key: "task_id", Value: "9f1b7c52-6a83-4e0e-b8ad-2f4f5d0c7e21"},
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := pickle.Codec.Append(nil, v)
	require.NoError(t, err)
	return data
}

func TestCodecHasKombusNames(t *testing.T) {
	assert.Equal(t, "pickle", pickle.Codec.Name())
	assert.Equal(t, "application/x-python-serialize", pickle.Codec.ContentType())
	assert.Equal(t, "binary", pickle.Codec.ContentEncoding())
	v, err := pickle.Codec.Decode(encode(t, "x"))
	require.NoError(t, err)
	assert.Equal(t, "x", v)
}

func TestTheLimitsAreThoseOfAllCodecs(t *testing.T) {
	assert.Equal(t, serialization.MaxDepth, public.MaxDepth)
	assert.Equal(t, serialization.MaxNodes, public.MaxValues)
	assert.Equal(t, serialization.MaxDigits, public.MaxDigits)
}

func TestFieldsAgreeWithDecode(t *testing.T) {
	data := encode(t, meta())
	whole, err := pickle.Codec.Decode(data)
	require.NoError(t, err)
	fields, err := pickle.Codec.Fields([]serialization.Field{{Name: "before"}}, data)
	require.NoError(t, err)
	assert.Equal(t, "before", fields[0].Name)
	got := make(map[string]any)
	for _, f := range fields[1:] {
		got[f.Name], err = f.Value.Decode()
		require.NoError(t, err)
	}
	assert.Equal(t, whole, got)
}

func TestFieldsLeaveScalarsAsTheyAre(t *testing.T) {
	fields, err := pickle.Codec.Fields(nil, encode(t, meta()))
	require.NoError(t, err)
	assert.Equal(t, serialization.Value{Node: "SUCCESS"}, fields[0].Value)
	assert.Equal(t, pickle.Codec, fields[1].Value.Codec)
	assert.Equal(t, serialization.Value{}, fields[2].Value)
}

func TestMoreFieldsThanAResultHas(t *testing.T) {
	var doc python.Dict
	for i := range 100 {
		doc = append(doc, python.Pair{Key: string(rune('A' + i)), Value: []any{int64(i)}})
	}
	fields, err := pickle.Codec.Fields(nil, encode(t, doc))
	require.NoError(t, err)
	require.Len(t, fields, len(doc))
	for i, f := range fields {
		v, err := f.Value.Decode()
		require.NoError(t, err)
		assert.Equal(t, []any{int64(i)}, v)
	}
}

func TestACutDocumentKeepsWhatWasRead(t *testing.T) {
	data := encode(t, meta())
	fields, err := pickle.Codec.Fields(nil, data[:len(data)/2])
	checkSyntax(t, err)
	require.NotEmpty(t, fields)
	assert.Equal(t, "status", fields[0].Name)
}

func TestBrokenPicklesAreSyntaxErrorsOfAllCodecs(t *testing.T) {
	for _, data := range []string{"", "K", "\xff", "K\x05", "}K\x01K\x02s"} {
		_, err := pickle.Codec.Decode([]byte(data))
		checkSyntax(t, err)
		_, err = pickle.Codec.Fields(nil, []byte(data))
		checkSyntax(t, err)
		_, err = serialization.Value{Codec: pickle.Codec, Data: []byte(data)}.Decode()
		checkSyntax(t, err)
	}
	_, err := pickle.Codec.Fields(nil, encode(t, []any{}))
	checkSyntax(t, err)
}

func checkSyntax(t *testing.T, err error) {
	t.Helper()
	var broken *serialization.SyntaxError
	require.ErrorAs(t, err, &broken)
	assert.Equal(t, "pickle", broken.Format)
	assert.NotEmpty(t, broken.Reason)
}

func TestOtherErrorsStay(t *testing.T) {
	_, err := pickle.Codec.Decode([]byte("]q\x00h\x00a."))
	assert.ErrorIs(t, err, serialization.ErrUnsupported)
	_, err = pickle.Codec.Fields(nil, []byte("Nr\xff\xff\xff\xff."))
	assert.ErrorIs(t, err, serialization.ErrLimit)
}

func TestResolveDecodesData(t *testing.T) {
	v, err := serialization.Value{Codec: pickle.Codec, Data: []byte("K\x05.")}.Decode()
	require.NoError(t, err)
	assert.Equal(t, int64(5), v)
	_, err = pickle.Codec.Resolve(serialization.Value{Codec: pickle.Codec, Node: 5})
	assert.ErrorIs(t, err, serialization.ErrUnsupported)
}

func TestValuesAreWrittenAsWhatTheyStandFor(t *testing.T) {
	assert.Equal(t, encode(t, []any{"x"}), encode(t, []any{serialization.Value{Node: "x"}}))
	assert.Equal(t, encode(t, []any{nil}), encode(t, []any{serialization.Value{}}))
	fields, err := pickle.Codec.Fields(nil, encode(t, meta()))
	require.NoError(t, err)
	var doc python.Dict
	for _, f := range fields {
		doc = append(doc, python.Pair{Key: f.Name, Value: f.Value})
	}
	want, err := pickle.Codec.Decode(encode(t, meta()))
	require.NoError(t, err)
	got, err := pickle.Codec.Decode(encode(t, doc))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestErrorsOfOtherCodecsArePassedOn(t *testing.T) {
	broken := errors.New("broken")
	_, err := pickle.Append(nil, map[string]any{"x": serialization.Value{Codec: failing{broken}}})
	assert.ErrorIs(t, err, broken)
}

func TestTrustedObjectsAreWritten(t *testing.T) {
	object := &python.Object{Class: python.Class{Module: "shop", Name: "Order"}, Args: python.Tuple{int64(1)}}
	assert.False(t, pickle.Harmless(object.Class))
	_, err := pickle.Append(nil, object)
	assert.ErrorIs(t, err, serialization.ErrUnsupported)
	got, err := pickle.Decode(encode(t, pickle.Trusted{Object: object}))
	require.NoError(t, err)
	assert.Equal(t, object, got)
}

// failing is a codec whose values cannot be read.
type failing struct{ err error }

func (failing) Name() string                               { return "failing" }
func (failing) ContentType() string                        { return "" }
func (failing) ContentEncoding() string                    { return "" }
func (f failing) Append(dst []byte, _ any) ([]byte, error) { return dst, f.err }
func (f failing) Decode([]byte) (any, error)               { return nil, f.err }
func (f failing) Resolve(serialization.Value) (any, error) { return nil, f.err }
func (f failing) Fields(dst []serialization.Field, _ []byte) ([]serialization.Field, error) {
	return dst, f.err
}

// BenchmarkFieldsOfMeta reads the entries and decodes only the status.
func BenchmarkFieldsOfMeta(b *testing.B) {
	data := encode(b, meta())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var fields []serialization.Field
	for b.Loop() {
		var err error
		fields, err = pickle.Codec.Fields(fields[:0], data)
		require.NoError(b, err)
		if state, _ := fields[0].Value.Decode(); state != "SUCCESS" {
			b.Fatal(state)
		}
	}
}
