package pickle_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

func seed(f *testing.F) {
	for _, c := range append(hostiles(), executing("true")...) {
		if len(c.data) < 1000 {
			f.Add([]byte(c.data))
		}
	}
	for _, c := range written() {
		if b := encode(f, c.v); len(b) < 1000 {
			f.Add(b)
		}
	}
	for _, r := range recordings(f)[:40] {
		f.Add(r.Pickle)
	}
}

// clean fails unless err is one of the kinds that this package returns.
func clean(t *testing.T, err error) {
	t.Helper()
	var broken *pickle.SyntaxError
	if !errors.As(err, &broken) && !errors.Is(err, python.ErrLimit) && !errors.Is(err, python.ErrUnsupported) {
		t.Fatalf("unexpected error %v", err)
	}
	require.True(t, strings.HasPrefix(err.Error(), "pickle: "), err.Error())
}

// many is more values than a fuzz test compares.
const many = 10_000

// count returns how many values v has, or some number above many.
func count(v any) int {
	var parts []any
	switch v := v.(type) {
	case []any:
		parts = v
	case python.Tuple:
		parts = v
	case *python.Set:
		parts = v.Items
	case map[string]any:
		for _, x := range v {
			parts = append(parts, x)
		}
	case python.Dict:
		for _, p := range v {
			parts = append(parts, p.Key, p.Value)
		}
	case *python.Object:
		parts = append(parts, v.Args, v.Kwargs, v.State, v.Items, python.Dict(v.Pairs))
	}
	n := 1
	for _, part := range parts {
		if n += count(part); n > many {
			break
		}
	}
	return n
}

// FuzzDecode checks that what can be read and written is read back the same.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := pickle.Unmarshal(data)
		if err != nil {
			clean(t, err)
			return
		}
		again, err := pickle.Append(nil, v)
		if err != nil {
			clean(t, err)
			return
		}
		if count(v) > many {
			return
		}
		back, err := pickle.Unmarshal(again)
		require.NoError(t, err, "written as %q", again)
		assert.Equal(t, marshal(describe(v)), marshal(describe(back)), "written as %q", again)
	})
}

// FuzzFields checks that fields and whole documents agree.
func FuzzFields(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		fields, err := pickle.Fields(nil, data)
		if err != nil {
			clean(t, err)
		}
		got, bad := make(map[string]any), false
		for _, field := range fields {
			v, resolveErr := field.Value.Decode()
			if resolveErr != nil {
				clean(t, resolveErr)
				bad = true
			}
			got[field.Name] = v
		}
		whole, wholeErr := pickle.Unmarshal(data)
		if err != nil || bad || wholeErr != nil || count(whole) > many {
			return
		}
		assert.Equal(t, marshal(describe(whole)), marshal(describe(got)))
	})
}

// FuzzText checks that every text that is written is read back.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "text", "\xff", "héllo", strings.Repeat("x", 300)} {
		f.Add(s, int64(len(s)), 0.5)
	}
	f.Fuzz(func(t *testing.T, s string, i int64, x float64) {
		doc := map[string]any{"text": s, "bytes": []byte(s), "int": i, "float": x}
		b, err := pickle.Append(nil, doc)
		if err != nil {
			require.ErrorIs(t, err, python.ErrUnsupported)
			return
		}
		got, err := pickle.Unmarshal(b)
		require.NoError(t, err)
		assert.Equal(t, marshal(describe(doc)), marshal(describe(got)))
	})
}
