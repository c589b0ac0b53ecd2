package pickle_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
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
	b, err := pickle.Marshal(v)
	require.NoError(t, err)
	return b
}

func namesOf(fields []pickle.Field) (names []string) {
	for _, f := range fields {
		names = append(names, f.Name)
	}
	return names
}

func valueOf(t *testing.T, fields []pickle.Field, name string) any {
	t.Helper()
	for _, f := range fields {
		if f.Name == name {
			v, err := f.Value.Decode()
			require.NoError(t, err)
			return v
		}
	}
	t.Fatalf("no field %q", name)
	return nil
}

func TestFieldsKeepTheOrder(t *testing.T) {
	fields, err := pickle.Fields([]pickle.Field{{Name: "before"}}, encode(t, meta()))
	require.NoError(t, err)
	assert.Equal(t, []string{
		"before", "status", "result", "traceback", "children", "date_done", "parent_id", "name",
		"args", "kwargs", "worker", "retries", "queue", "task_id",
	}, namesOf(fields))
	assert.Equal(t, "SUCCESS", valueOf(t, fields, "status"))
	assert.Equal(t, map[string]any{"notify": true}, valueOf(t, fields, "kwargs"))
	assert.Nil(t, valueOf(t, fields, "traceback"))
}

func TestAFieldIsDecodedAnew(t *testing.T) {
	fields, err := pickle.Fields(nil, encode(t, map[string]any{"b": []byte("bytes"), "list": []any{"x"}}))
	require.NoError(t, err)
	valueOf(t, fields, "b").([]byte)[0] = 'X'
	valueOf(t, fields, "list").([]any)[0] = "y"
	assert.Equal(t, []byte("bytes"), valueOf(t, fields, "b"))
	assert.Equal(t, []any{"x"}, valueOf(t, fields, "list"))
}

func TestFieldsAreDecodedConcurrently(t *testing.T) {
	for _, r := range recordings(t)[:40] {
		fields, err := pickle.Fields(nil, r.Pickle)
		require.NoError(t, err)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for _, f := range fields {
					_, err := f.Value.Decode()
					assert.NoError(t, err)
				}
			})
		}
		group.Wait()
	}
}

func TestABadValueDoesNotHideTheOthers(t *testing.T) {
	for name, bad := range map[string]string{
		"recursion":      "]q\x60h\x60a",
		"laughs":         "]" + strings.Repeat("2\x86", 60),
		"deep lists":     strings.Repeat("]", 600) + strings.Repeat("a", 599),
		"a long integer": "\x8b" + le(5000, 4) + strings.Repeat("\x11", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			padding := "(" + strings.Repeat("N", 100) + "1"
			doc := padding + "}(" + short("status") + short("FAILURE") + short("result") + bad + short("task_id") + short("5f0c") + "u."
			fields, err := pickle.Fields(nil, []byte(doc))
			require.NoError(t, err)
			require.Equal(t, []string{"status", "result", "task_id"}, namesOf(fields))
			assert.Equal(t, "FAILURE", valueOf(t, fields, "status"))
			assert.Equal(t, "5f0c", valueOf(t, fields, "task_id"))
			_, err = fields[1].Value.Decode()
			assert.Error(t, err)
		})
	}
}

// However a document is cut, what comes back is right, and the status comes
// back as soon as it has been read.
func TestACutDocumentKeepsWhatWasRead(t *testing.T) {
	for _, r := range recordings(t)[:40] {
		whole, err := pickle.Fields(nil, r.Pickle)
		if err != nil || whole[0].Name != "status" {
			continue
		}
		state := valueOf(t, whole, "status").(string)
		read := strings.Index(string(r.Pickle), state) + len(state)
		for n := range r.Pickle {
			fields, err := pickle.Fields(nil, r.Pickle[:n])
			require.Error(t, err, "%s cut to %d bytes", r.Name, n)
			require.LessOrEqual(t, len(fields), len(whole))
			for i, f := range fields {
				require.Equal(t, whole[i].Name, f.Name, "%s cut to %d bytes", r.Name, n)
				require.Equal(t, marshal(describe(valueOf(t, whole, f.Name))), marshal(describe(valueOf(t, fields, f.Name))), "%s cut to %d bytes", r.Name, n)
			}
			if n > read && state != "" {
				require.NotEmpty(t, fields, "%s cut to %d bytes", r.Name, n)
			}
		}
	}
}

func TestABrokenDocumentKeepsItsStatus(t *testing.T) {
	start := "\x80\x04}\x94(" + short("status") + "\x94" + short("SUCCESS") + "\x94" + short("result") + "\x94"
	for name, rest := range map[string]string{
		"unknown opcode":           "\xff",
		"persistent id":            "K\x01Q",
		"tuple under way":          short("a") + "\x94" + short("b") + "\x94",
		"long tuple under way":     "(" + short("x") + short("status") + short("y") + short("status"),
		"dict under way":           "}\x94" + short("status") + short("FAILURE"),
		"large dict under way":     "}\x94(" + short("status") + short("FAILURE") + short("result") + short("status"),
		"list under way":           "]\x94" + short("task_id"),
		"class under way":          short("cases") + "\x94" + short("T") + "\x94",
		"a length of 1 GiB":        "X\x00\x00\x00\x40",
		"a million marks":          strings.Repeat("(", 1e6),
		"a frame that is too long": "\x95\xff\xff\xff\xff\xff\xff\xff\x0f",
	} {
		t.Run(name, func(t *testing.T) {
			fields, err := pickle.Fields(nil, []byte(start+rest))
			require.Error(t, err)
			require.Equal(t, []string{"status"}, namesOf(fields))
			assert.Equal(t, "SUCCESS", valueOf(t, fields, "status"))
		})
	}
}

func TestFieldsOfOldProtocolsSurviveACut(t *testing.T) {
	doc := "(dp0\nVstatus\np1\nVSUCCESS\np2\nsVresult\np3\n(lp4\nI1\naI2\n"
	fields, err := pickle.Fields(nil, []byte(doc))
	require.Error(t, err)
	require.Equal(t, []string{"status"}, namesOf(fields))
}

func TestFieldsRefuseOtherDocuments(t *testing.T) {
	for name, v := range map[string]any{
		"a list": []any{}, "nothing": nil, "text": "status", "a dict of ints": map[int]string{1: "a"},
	} {
		fields, err := pickle.Fields(nil, encode(t, v))
		var broken *pickle.SyntaxError
		assert.ErrorAs(t, err, &broken, name)
		assert.Empty(t, fields, name)
	}
}

func TestAValueIsReadyIfItCostsNothing(t *testing.T) {
	fields, err := pickle.Fields(nil, encode(t, python.Dict{
		{Key: "none", Value: nil}, {Key: "bool", Value: true}, {Key: "int", Value: int64(1 << 40)}, {Key: "float", Value: 0.5},
		{Key: "state", Value: "SUCCESS"}, {Key: "text", Value: "some text"}, {Key: "list", Value: []any{}},
	}))
	require.NoError(t, err)
	want := map[string]any{"none": nil, "bool": true, "int": int64(1 << 40), "float": 0.5, "state": "SUCCESS"}
	for _, f := range fields {
		v, ready := f.Value.Ready()
		expected, known := want[f.Name]
		assert.Equal(t, known, ready, f.Name)
		assert.Equal(t, expected, v, f.Name)
	}
}

func TestTheZeroValueIsNone(t *testing.T) {
	v, err := pickle.Value{}.Decode()
	require.NoError(t, err)
	assert.Nil(t, v)
	assert.Equal(t, encode(t, nil), encode(t, pickle.Value{}))
}
