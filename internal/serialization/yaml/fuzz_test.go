package yaml_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/yaml"
)

// FuzzDecode checks that no document panics, that errors are of the kinds that
// the package promises, and that what can be written reads back equal.
func FuzzDecode(f *testing.F) {
	for _, r := range readRecords(f, "testdata/redis-yaml.jsonl") {
		f.Add(r.Store.Value)
	}
	for _, doc := range []string{
		"", "a", "- &a [*a]", laughs(3, 3, false), laughs(2, 2, true), "!!set {a, 1}", "!!omap [a: 1]", "!!binary aGk=",
		"? [a]\n: b", "!!python/tuple [1]", "!!python/object/apply:a.b {args: [1]}", "190:20:30.5", "2026-11-21 08:30:15.5 -5",
		"0x_f", "0b_", "-0_7", "%TAG !e! x\n--- !e!a b", "<<: {a: 1}", "\"\\u2028\\x00\"", "| \n a\n", ">+\n a\n\n", "{a: b, c}", "\ufeffa",
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := yaml.Codec.Decode(data)
		checkError(t, err)
		fields, err := yaml.Codec.Fields(nil, data)
		checkError(t, err)
		for _, field := range fields {
			_, err := field.Value.Decode()
			checkError(t, err)
		}
		out, err := yaml.Codec.Append(nil, v)
		if err != nil {
			require.True(t, errors.Is(err, serialization.ErrUnsupported) || errors.Is(err, serialization.ErrLimit), err)
			return
		}
		requireReadBack(t, out)
	})
}

// FuzzText checks that all text is written so that it reads back equal,
// wherever it stands.
func FuzzText(f *testing.F) {
	for _, text := range []string{"", "a", " a", "yes", "1:2", "=", "<<", "a: b", "- a", "a\nb", "a \n b", "\x00", "\u0085", "\u2028", "it's", "\"", "🎉", "---"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := yaml.Codec.Append(nil, map[string]any{"k": []any{text}, text: map[string]any{text: text}})
		require.NoError(t, err)
		requireReadBack(t, out)
		v, err := yaml.Codec.Decode(out)
		require.NoError(t, err)
		out, err = yaml.Codec.Append(nil, text)
		require.NoError(t, err)
		root, err := yaml.Codec.Decode(out)
		require.NoError(t, err, string(out))
		if text != "k" {
			require.Equal(t, []any{root}, v.(map[string]any)["k"])
		}
	})
}

// requireReadBack checks that a document that Append wrote is written again
// byte for byte from what it decodes to.
func requireReadBack(t *testing.T, doc []byte) {
	t.Helper()
	v, err := yaml.Codec.Decode(doc)
	require.NoError(t, err, string(doc))
	again, err := yaml.Codec.Append(nil, v)
	require.NoError(t, err, string(doc))
	require.Equal(t, string(doc), string(again))
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var syntax *serialization.SyntaxError
	if err != nil && !errors.As(err, &syntax) && !errors.Is(err, serialization.ErrLimit) {
		t.Fatalf("an error of another kind: %v", err)
	}
}
