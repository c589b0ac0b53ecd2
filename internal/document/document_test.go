package document_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/serialization"
	jsoncodec "github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
)

func sample() *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{
		TaskID: "3f0e6a52-8c55-4f2c-9a53-5a4f7c1f7d11", State: celeryresults.Success, Children: []celeryresults.ResultTuple{},
		DateDone: time.Date(2026, 11, 21, 9, 9, 29, 18034000, time.UTC), Extended: true,
		Result: celeryresults.NewValue(map[string]any{
			"order": 4711, "total": "1234.50", "currency": "EUR", "paid": true, "note": "delivered to the neighbour, second floor",
			"lines": []any{map[string]any{"sku": "A-100", "count": 2, "price": 99.5}, map[string]any{"sku": "B-200", "count": 1, "price": 1035.5}},
		}),
		Name: "shop.tasks.settle_order", Worker: "celery@worker-7.example.org", Queue: "billing",
		Args: celeryresults.NewValue([]any{4711}), Kwargs: celeryresults.NewValue(map[string]any{"notify": true, "locale": "de_DE"}),
	}
}

func everyCodec(t testing.TB) []serialization.Codec {
	var list []serialization.Codec
	for _, name := range registry.Names() {
		codec, ok := registry.ByName(name)
		require.True(t, ok)
		list = append(list, codec)
	}
	require.Len(t, list, 4)
	return list
}

// TestBrokenDocumentsKeepTheirState cuts a document at every byte: once the
// state was written it is read, and nothing panics. Only YAML, which sorts its
// keys and has no partial reading, may lose it.
func TestBrokenDocumentsKeepTheirState(t *testing.T) {
	for _, codec := range everyCodec(t) {
		d := document.Documents{Codec: codec}
		whole, err := d.Append(nil, sample())
		require.NoError(t, err)
		written := strings.Index(string(whole), "SUCCESS") + len("SUCCESS") + 2
		for n := range len(whole) {
			meta, err := d.Read("id", whole[:n:n])
			if err != nil {
				var unreadable *celeryresults.UnreadableError
				require.ErrorAs(t, err, &unreadable)
				require.True(t, n < written || codec.Name() == "yaml", "%s cut at %d of %d hides the state: %v", codec.Name(), n, len(whole), err)
				continue
			}
			if codec.Name() != "yaml" { // where a plain text may end anywhere
				require.Equal(t, celeryresults.Success, meta.State, "%s cut at %d", codec.Name(), n)
			}
			_, _ = meta.Result.Any()
			_, err = json.Marshal(meta)
			require.NoError(t, err)
		}
	}
}

func TestAPayloadThatCantBeDecodedReportsItself(t *testing.T) {
	d := document.Documents{Codec: jsoncodec.Codec}
	meta, err := d.Read("id", []byte(`{"status": "SUCCESS", "result": {"a": 0x}, "traceback": null, "task_id": "id"}`))
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Success, meta.State)
	_, err = meta.Result.Any()
	require.Error(t, err)
	printed, err := json.Marshal(meta)
	require.NoError(t, err)
	assert.Contains(t, string(printed), `"error":`)

	meta, err = d.Read("id", []byte(`{"status": "FAILURE", "result": {"exc_type": 0x`))
	require.NoError(t, err)
	require.Error(t, meta.Err())
	var syntax *serialization.SyntaxError
	require.ErrorAs(t, meta.Err(), &syntax, "the failure says why it can't be read")
}

func TestOldAndForeignDocuments(t *testing.T) {
	d := document.Documents{Codec: jsoncodec.Codec}
	meta, err := d.Read("id", []byte(`{"date_done": "2021-05-01T10:11:12.000013", "status": "SUCCESS", "result": 1, "children": [["c", null], [["d", ["p", null]], null], 5], "task_id": "", "more": [1]}`))
	require.NoError(t, err)
	assert.Equal(t, time.Date(2021, 5, 1, 10, 11, 12, 13000, time.UTC), meta.DateDone, "naive times are UTC")
	assert.Equal(t, "id", meta.TaskID, "the id is the one that was asked for")
	assert.Equal(t, "[{c <nil> []} {d", fmt.Sprintf("%v", meta.Children)[:16])
	_, ok := meta.ExtraValue("more")
	assert.True(t, ok, "unknown entries are kept")
	for _, text := range []string{``, `null`, `[]`, `5`, `{}`, `{"status": 5}`, `{"status": null}`, `{"result": 1}`, "\x80\x05."} {
		_, err := d.Read("id", []byte(text))
		var unreadable *celeryresults.UnreadableError
		require.ErrorAs(t, err, &unreadable, "%q", text)
		assert.Empty(t, d.StateOf([]byte(text)), "%q", text)
		_, err = d.ReadGroup("g", []byte(text))
		require.ErrorAs(t, err, &unreadable, "%q", text)
	}
}

func FuzzRead(f *testing.F) {
	for _, codec := range everyCodec(f) {
		d := document.Documents{Codec: codec}
		whole, err := d.Append(nil, sample())
		require.NoError(f, err)
		f.Add(whole)
		group, err := d.AppendGroup(nil, celeryresults.ResultTuple{ID: "g", Children: []celeryresults.ResultTuple{{ID: "a"}}})
		require.NoError(f, err)
		f.Add(group)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, codec := range everyCodec(t) {
			d := document.Documents{Codec: codec}
			if meta, err := d.Read("id", data); err == nil {
				if got := d.StateOf(data); got != meta.State {
					t.Errorf("State is %q, Read says %q", got, meta.State)
				}
				if _, err := json.Marshal(meta); err != nil {
					t.Errorf("%s: %v", codec.Name(), err)
				}
				_ = meta.Err()
			}
			_, _ = d.ReadGroup("id", data)
		}
	})
}

func BenchmarkDocument(b *testing.B) {
	for _, codec := range []serialization.Codec{jsoncodec.Codec, pickle.Codec} {
		d := document.Documents{Codec: codec}
		meta := sample()
		whole, err := d.Append(nil, meta)
		require.NoError(b, err)
		b.Run(codec.Name()+"/append", func(b *testing.B) {
			var buf []byte
			for b.Loop() {
				buf, _ = d.Append(buf[:0], meta)
			}
		})
		b.Run(codec.Name()+"/read", func(b *testing.B) {
			for b.Loop() {
				_, _ = d.Read("id", whole)
			}
		})
		b.Run(codec.Name()+"/state", func(b *testing.B) {
			for b.Loop() {
				_ = d.StateOf(whole)
			}
		})
	}
}

func TestPythonsOwnExceptionsNeedNoModule(t *testing.T) {
	for _, codec := range everyCodec(t) {
		d := document.Documents{Codec: codec}
		data, err := d.Append(nil, &celeryresults.TaskMeta{
			TaskID: "id", State: celeryresults.Failure, Result: celeryresults.NewValue(&celeryresults.TaskError{Type: "ValueError", Args: []any{"x"}}),
		})
		require.NoError(t, err)
		meta, err := d.Read("id", data)
		require.NoError(t, err)
		assert.ErrorIs(t, meta.Err(), &celeryresults.TaskError{Type: "ValueError", Module: "builtins"}, codec.Name())
	}
}
