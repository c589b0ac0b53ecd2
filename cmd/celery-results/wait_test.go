package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWaitPrintsInTheOrderOfReadiness(t *testing.T) {
	environ := sqliteEnvironment(t)
	store := func(id string) {
		require.Equal(t, result{}, celeryResults(t, environ, "", "store", id, "--status", "SUCCESS"))
	}
	store("second")
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"wait", "fourth", "third", "second", "--format", "json"}, nil, writer, &stderr, environ)
	}()
	lines := bufio.NewScanner(reader)
	for _, next := range []string{"second", "third", "fourth"} {
		if next != "second" {
			store(next)
		}
		require.True(t, lines.Scan())
		assert.Equal(t, next, decodeExactly(t, lines.Bytes())["task_id"])
	}
	assert.Equal(t, 0, <-ended, stderr.String())
}

func TestACancelledWaitIsNoTimeout(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	status := run(ctx, []string{"wait", "a"}, nil, io.Discard, &stderr, sqliteEnvironment(t))
	assert.Equal(t, statusFailed, status)
	assert.Equal(t, "celery-results: wait: context canceled\n", stderr.String())
}

func TestTimeouts(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "30": 30 * time.Second, "0.5": 500 * time.Millisecond, "1e3": 1000 * time.Second,
	} {
		got, err := parseTimeout(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"0", "0s", "-1", "-1s", "1e-10", "NaN", "Inf", "1e300", "soon", "1 s", "5min"} {
		_, err := parseTimeout(text)
		assert.ErrorIs(t, err, errNoTimeout, text)
	}
}

func FuzzParseTimeout(f *testing.F) {
	f.Add("30s")
	f.Add("9223372036.854775807")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseTimeout(text)
		assert.Equal(t, err == nil && text != "", d > 0, "%q: %v", text, d)
	})
}
