package cache_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

// keeping is like memcached, counting like redis, and plain like the database.
func keeping() cache.Store {
	s := newPlainStore()
	s.traits.KeepsFormat = true
	return countStore{s}
}

func counting() cache.Store { return countStore{newPlainStore()} }
func plain() cache.Store    { return newPlainStore() }

var asJSON = cache.Settings{Options: cache.Options{Serializer: "json"}}

func TestEncodingFollowsTheStore(t *testing.T) {
	type named int
	for _, test := range []struct {
		name     string
		store    func() cache.Store
		settings cache.Settings
		value    any
		format   cache.Format
		text     string // the bytes, where they are not a pickle
	}{
		{"memcached takes ints as text", keeping, cache.Settings{}, -42, cache.Integer, "-42"},
		{"memcached takes every kind of int", keeping, cache.Settings{}, uint8(7), cache.Integer, "7"},
		{"memcached takes named ints", keeping, cache.Settings{}, named(7), cache.Integer, "7"},
		{"memcached takes the least int", keeping, cache.Settings{}, int64(math.MinInt64), cache.Integer, "-9223372036854775808"},
		{"memcached takes small big ints", keeping, cache.Settings{}, big.NewInt(5), cache.Integer, "5"},
		{"memcached pickles large ints", keeping, cache.Settings{}, uint64(math.MaxUint64), cache.Pickled, ""},
		{"memcached pickles bools", keeping, cache.Settings{}, true, cache.Pickled, ""},
		{"memcached pickles None", keeping, cache.Settings{}, nil, cache.Pickled, ""},
		{"memcached takes str as text", keeping, cache.Settings{}, "grüß", cache.Text, "grüß"},
		{"memcached takes bytes as they are", keeping, cache.Settings{}, []byte("\xff"), cache.Bytes, "\xff"},
		{"memcached pickles the rest", keeping, cache.Settings{}, []any{1}, cache.Pickled, ""},
		{"redis takes ints as text", counting, cache.Settings{}, 42, cache.Integer, "42"},
		{"redis pickles bools", counting, cache.Settings{}, false, cache.Pickled, ""},
		{"redis pickles str", counting, cache.Settings{}, "123", cache.Pickled, ""},
		{"redis pickles bytes", counting, cache.Settings{}, []byte("123"), cache.Pickled, ""},
		{"the database pickles ints", plain, cache.Settings{}, 42, cache.Pickled, ""},
		{"the database pickles str", plain, cache.Settings{}, "text", cache.Pickled, ""},
		{"json counts where the store does", counting, asJSON, 42, cache.Integer, "42"},
		{"json writes ints", plain, asJSON, 42, cache.Text, "42"},
		{"json writes str", keeping, asJSON, "a", cache.Text, `"a"`},
		{"json writes lists", keeping, asJSON, []any{1, nil}, cache.Text, "[1, null]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			item, err := newCache(t, test.store(), test.settings).Encode(test.value)
			require.NoError(t, err)
			assert.Equal(t, test.format, item.Format)
			if test.format != cache.Pickled {
				assert.Equal(t, test.text, string(item.Value))
			}
		})
	}
}

func TestDecodingFollowsTheFormat(t *testing.T) {
	large, _ := new(big.Int).SetString("18446744073709551616", 10)
	for _, test := range []struct {
		name     string
		settings cache.Settings
		item     cache.Item
		want     any
	}{
		{"a number looks like one", cache.Settings{}, cache.Item{Value: []byte("-12")}, int64(-12)},
		{"leading zeros are a number", cache.Settings{}, cache.Item{Value: []byte("007")}, int64(7)},
		{"a large number is a big int", cache.Settings{}, cache.Item{Value: []byte("18446744073709551616")}, large},
		{"python's long", cache.Settings{}, cache.Item{Value: []byte("18446744073709551616"), Format: cache.Integer}, large},
		{"memcached pads a shorter number", cache.Settings{}, cache.Item{Value: []byte("9 "), Format: cache.Integer}, int64(9)},
		{"a pickle is not a number", cache.Settings{}, cache.Item{Value: []byte("\x80\x04K\x05.")}, int64(5)},
		{"an old pickle", cache.Settings{}, cache.Item{Value: []byte("I5\n.")}, int64(5)},
		{"pickled None", cache.Settings{}, cache.Item{Value: []byte("N."), Format: cache.Pickled}, nil},
		{"text", cache.Settings{}, cache.Item{Value: []byte("12"), Format: cache.Text}, "12"},
		{"bytes", cache.Settings{}, cache.Item{Value: []byte("12"), Format: cache.Bytes}, []byte("12")},
		{"no bytes", cache.Settings{}, cache.Item{Format: cache.Bytes}, []byte{}},
		{"json in text", asJSON, cache.Item{Value: []byte(`{"a": [1]}`), Format: cache.Text}, map[string]any{"a": []any{int64(1)}}},
		{"json without a format", asJSON, cache.Item{Value: []byte(`[true]`)}, []any{true}},
		{"a pickle among json", asJSON, cache.Item{Value: []byte("\x80\x04K\x05."), Format: cache.Pickled}, int64(5)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := newCache(t, plain(), test.settings).Decode(test.item)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestBrokenItemsAreErrors(t *testing.T) {
	for _, item := range []cache.Item{
		{},
		{Value: []byte("-")},
		{Value: []byte("1.5")},
		{Value: []byte("\x80\x04")},
		{Format: cache.Pickled, Value: []byte("12")},
		{Format: cache.Integer, Value: []byte("")},
		{Format: cache.Integer, Value: []byte("1_000")},
		{Format: cache.Integer, Value: []byte(strings.Repeat("9", 1<<20))},
		{Format: cache.Text, Value: []byte("\xff")},
		{Format: 200, Value: []byte("12")},
	} {
		v, err := newCache(t, plain(), cache.Settings{}).Decode(item)
		assert.Error(t, err, "format %d, %.40q gave %v", item.Format, item.Value, v)
	}
}

func TestUndecodableEntriesNameTheirKey(t *testing.T) {
	c := newCache(t, keeping(), cache.Settings{KeyPrefix: "p"})
	require.NoError(t, c.SetItem(ctx, "k", cache.Item{Value: []byte("\x80\x04broken"), Format: cache.Pickled}, 0))
	_, err := c.Get(ctx, "k")
	require.ErrorContains(t, err, `"p:1:k"`)
	_, err = c.GetMany(ctx, []string{"k"})
	require.ErrorContains(t, err, `"k"`)
}

func TestEncodedBytesAreACopy(t *testing.T) {
	c := newCache(t, keeping(), cache.Settings{})
	value := []byte("first")
	require.NoError(t, c.Set(ctx, "k", value, 0))
	copy(value, "XXXXX")
	got, err := c.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, []byte("first"), got)
	copy(got.([]byte), "YYYYY")
	got, err = c.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, []byte("first"), got)
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "-", "0", "-12", "18446744073709551616", "1.5", "\x80\x04K\x05.", "I5\n.", "N.", "9 ", `{"a": 1}`, "\xff"} {
		for format := range 6 {
			f.Add([]byte(seed), uint8(format))
		}
	}
	pickled, err := cache.New(keeping(), cache.Settings{})
	require.NoError(f, err)
	jsons, err := cache.New(keeping(), asJSON)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte, format uint8) {
		item := cache.Item{Value: data, Format: cache.Format(format)}
		_, _ = jsons.Decode(item)
		v, err := pickled.Decode(item)
		if err != nil {
			require.Nil(t, v, "a value beside an error")
			return
		}
		again, err := pickled.Encode(v)
		if err != nil {
			return // inert remains of classes may be readable only
		}
		_, err = pickled.Decode(again)
		require.NoError(t, err, "%q decodes to %#v, which is stored as %q", data, v, again.Value)
	})
}

func FuzzScalarsComeBack(f *testing.F) {
	f.Add("", int64(0))
	f.Add("123", int64(math.MinInt64))
	f.Add("grüß\x00", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, s string, n int64) {
		s = strings.ToValidUTF8(s, "?")
		for _, store := range []cache.Store{keeping(), counting(), plain()} {
			c := newCache(t, store, cache.Settings{})
			for _, want := range []any{s, n, []byte(s)} {
				require.NoError(t, c.Set(ctx, "k", want, 0))
				got, err := c.Get(ctx, "k")
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	for _, seed := range []string{"", "k", " ", "a b", "\x7f", "\x00", "grüß", "\xff", strings.Repeat("k", 300)} {
		f.Add(seed, "prefix")
	}
	f.Fuzz(func(t *testing.T, key, prefix string) {
		s := newPlainStore()
		s.traits.MaxKey, s.traits.PrintableKeys = 250, true
		c, err := cache.New(s, cache.Settings{KeyPrefix: prefix})
		if err != nil {
			require.ErrorIs(t, err, cache.ErrBadKey)
			return
		}
		whole := prefix + ":1:" + key
		good := len(whole) <= 250 && !strings.ContainsFunc(whole, func(r rune) bool { return r <= ' ' || r == 0x7f })
		err = c.SetItem(ctx, key, cache.Item{}, 0)
		if !good {
			require.ErrorIs(t, err, cache.ErrBadKey)
			require.Less(t, len(err.Error()), 500)
			require.Empty(t, s.calls)
			return
		}
		require.NoError(t, err)
		require.Contains(t, s.items, whole)
	})
}
