package yaml_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/yaml"
)

// laughs returns a document whose last value expands to width^depth values.
func laughs(depth, width int, merge bool) string {
	var b strings.Builder
	b.WriteString("a0: &a0 {k: v}\n")
	for i := 1; i <= depth; i++ {
		refs := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), width), ", ")
		form := "a%d: &a%d [%s]\n"
		if merge {
			form = "a%d: &a%d {<<: [%s]}\n"
		}
		fmt.Fprintf(&b, form, i, i, refs)
	}
	return b.String()
}

func TestHostileDocumentsFailFastAndSmall(t *testing.T) {
	chain := "a0: &a0 {k: v}\n"
	for i := 1; i < 2000; i++ {
		chain += fmt.Sprintf("a%d: &a%d {<<: *a%d, k%d: v}\n", i, i, i-1, i)
	}
	tests := []struct {
		name string
		doc  string
		want error // ErrLimit, or nil for a syntax error
	}{
		{"a billion laughs", laughs(8, 9, false), serialization.ErrLimit},
		{"a billion merged laughs", laughs(8, 9, true), serialization.ErrLimit},
		{"a long chain of merges", chain, serialization.ErrLimit},
		{"400 KB of opened lists", strings.Repeat("[", 400_000), serialization.ErrLimit},
		{"400 KB of opened mappings", strings.Repeat("{a: ", 100_000), serialization.ErrLimit},
		{"400 KB of nested block lists", strings.Repeat("- ", 200_000), serialization.ErrLimit},
		{"400 KB of nested keys", strings.Repeat("? ", 200_000), serialization.ErrLimit},
		{"20 MB of nested lists", strings.Repeat("[", 20_000_000), serialization.ErrLimit},
		{"20 MB of list items", strings.Repeat("- a\n", 5_000_000), serialization.ErrLimit},
		{"5 MB of empty entries", "{" + strings.Repeat("a,", 2_500_000) + "}", serialization.ErrLimit},
		{"a megabyte of tag directives", strings.Repeat("%TAG !a! b\n", 100_000) + "--- a", serialization.ErrLimit},
		{"a document of more than 64 MB", "'" + strings.Repeat("a", 64<<20) + "'", serialization.ErrLimit},
		{"an integer of 5000 digits", strings.Repeat("9", 5000), serialization.ErrLimit},
		{"a list in itself", "&a [*a]", nil},
		{"a mapping in itself", "&a {k: {k: *a}}", nil},
		{"a key in itself", "&a {*a : 1}", nil},
		{"a mapping merged into itself", "&a {<<: *a}", nil},
		{"lists merged into each other", "- &a {<<: &b [{<<: *b}]}", nil},
		{"a megabyte of anchors", strings.Repeat("&a ", 300_000), nil},
		{"a megabyte of tags", strings.Repeat("!a ", 300_000), nil},
		{"a megabyte of an open quote", "\"" + strings.Repeat("\\x41", 250_000), nil},
		{"a megabyte of directives", strings.Repeat("%YAML 1.1\n", 100_000), nil},
		{"a megabyte of lone surrogates", "\"" + strings.Repeat("\\uD83C", 170_000) + "\"", nil},
		{"bytes that are not text", strings.Repeat("\x80", 1000), nil},
		{"control characters", "a\x00b", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := []byte(tt.doc)
			took, allocated, err := cost(func() error {
				_, err := yaml.Codec.Decode(doc)
				return err
			})
			require.Error(t, err)
			if tt.want != nil {
				assert.ErrorIs(t, err, tt.want)
			} else {
				var syntax *serialization.SyntaxError
				assert.ErrorAs(t, err, &syntax)
			}
			assert.Less(t, took, patience)
			assert.Less(t, allocated, uint64(600<<20), "bytes allocated")
		})
	}
}

func TestLargeHarmlessDocumentsAreRead(t *testing.T) {
	tests := []struct {
		name string
		doc  string
	}{
		{"a megabyte of text", "a: '" + strings.Repeat("word ", 200_000) + "'\n"},
		{"a megabyte of comments", strings.Repeat("# comment\n", 100_000) + "a: 1\n"},
		{"a hundred thousand items", strings.Repeat("- item\n", 100_000)},
		{"a hundred thousand keys", keys(100_000)},
		{"ten thousand aliases", "- &a [x]\n" + strings.Repeat("- *a\n", 10_000)},
		{"a megabyte of spaces", "a: 1\n" + strings.Repeat(" ", 1_000_000)},
		{"a megabyte of newlines in quotes", "\"" + strings.Repeat("\n", 1_000_000) + "\""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			took, _, err := cost(func() error {
				_, err := yaml.Codec.Decode([]byte(tt.doc))
				return err
			})
			require.NoError(t, err)
			assert.Less(t, took, patience)
		})
	}
}

func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key%d: %d\n", i, i)
	}
	return b.String()
}

// patience is many times what a document may take, for slow machines.
const patience = 20 * time.Second

// cost runs f and returns how long it took and how much it allocated.
func cost(f func() error) (time.Duration, uint64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc, err
}
