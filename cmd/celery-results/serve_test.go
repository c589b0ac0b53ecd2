package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lines is a writer that tests read while the command writes.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var servingOn = regexp.MustCompile(`serving on (http://\S+/)`)

func TestServe(t *testing.T) {
	_, environ := djangoDatabase(t)
	require.Equal(t, 0, celeryResults(t, environ, "", "store", "a", "--status", "SUCCESS", "--result", "5").status)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("a-token-that-is-long\n"), 0o600))
	ctx, stop := context.WithCancel(t.Context())
	var stderr lines
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--token-file", token}, strings.NewReader(""), io.Discard, &stderr, environ)
	}()
	var address string
	require.Eventually(t, func() bool {
		found := servingOn.FindStringSubmatch(stderr.String())
		if found != nil {
			address = found[1]
		}
		return found != nil
	}, 30*time.Second, time.Millisecond)
	get := func(path, password string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", address+path, nil)
		require.NoError(t, err)
		if password != "" {
			r.SetBasicAuth("anybody", password)
		}
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(body)
	}
	status, _ := get("", "")
	assert.Equal(t, 401, status)
	status, body := get("", "a-token-that-is-long")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, "tasks/a")
	status, body = get("api/tasks/a", "a-token-that-is-long")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, `"result":5`)

	status, _ = get("metrics", "")
	assert.Equal(t, 401, status)
	status, body = get("metrics", "a-token-that-is-long")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, `celery_results_operation_duration_seconds_count{backend="default",operation="get",outcome="ok"} 1`)
	assert.Contains(t, body, "go_goroutines")

	r, err := http.NewRequestWithContext(t.Context(), "DELETE", address+"api/tasks/a", nil)
	require.NoError(t, err)
	r.SetBasicAuth("anybody", "a-token-that-is-long")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	answer.Body.Close()
	assert.Equal(t, 403, answer.StatusCode, "without --allow-forget")

	r, err = http.NewRequestWithContext(t.Context(), "GET", address+"api/tasks/never/events", nil)
	require.NoError(t, err)
	r.SetBasicAuth("anybody", "a-token-that-is-long")
	stream, err := http.DefaultClient.Do(r) // which must not keep the server from ending
	require.NoError(t, err)
	defer stream.Body.Close()
	stop()
	select {
	case status := <-ended:
		assert.Equal(t, 0, status, stderr.String())
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	assert.NotContains(t, stderr.String(), "a-token")
}

func TestServeIsSafeByDefault(t *testing.T) {
	_, environ := djangoDatabase(t)
	short := filepath.Join(t.TempDir(), "short")
	require.NoError(t, os.WriteFile(short, []byte("short"), 0o600))
	for _, args := range [][]string{
		{}, {"--no-auth", "--listen", ":0"}, {"--no-auth", "--listen", "0.0.0.0:0"}, {"--no-auth", "--listen", "192.0.2.1:0"}, {"--no-auth", "--token-file", short},
		{"--token-file", short}, {"--token-file", short + "er"}, {"--no-auth", "x"},
	} {
		got := celeryResults(t, environ, "", append([]string{"serve"}, args...)...)
		assert.Equal(t, statusUsage, got.status, "%v", args)
	}
}

func TestLimitsOfRequests(t *testing.T) {
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		}
	}), limits{read: 200 * time.Millisecond, idle: time.Minute, header: 4096, body: 100})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(listener) }() // until it is closed
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	exchange := func(request string) string {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err, "the server ends it")
		first, _, _ := strings.Cut(string(answer), "\r\n")
		return first
	}
	const head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	assert.Equal(t, "HTTP/1.1 200 OK", exchange(head+"Content-Length: 100\r\n\r\n"+strings.Repeat("a", 100)))
	assert.Equal(t, "HTTP/1.1 413 Request Entity Too Large", exchange(head+"Content-Length: 101\r\n\r\n"+strings.Repeat("a", 101)))
	assert.Equal(t, "HTTP/1.1 431 Request Header Fields Too Large", exchange(head+"X: "+strings.Repeat("a", 9000)+"\r\n\r\n"))
	assert.Equal(t, "HTTP/1.1 400 Bad Request", exchange("POST / HT"), "a head that does not come")
	assert.Equal(t, "HTTP/1.1 413 Request Entity Too Large", exchange(head+"Content-Length: 100\r\n\r\na"), "a body that does not come")
}
