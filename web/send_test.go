package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/web"
)

// sender notes what is sent.
type sender struct{ sent []string }

func (s *sender) Send(_ context.Context, task string, kwargs map[string]any) (string, error) {
	switch task {
	case "shop.add":
	case "broken":
		return "", errors.New("no broker at amqp://user:secret@host")
	default:
		return "", fmt.Errorf("%w %q", web.ErrUnknownTask, task)
	}
	text, err := json.Marshal(kwargs)
	s.sent = append(s.sent, string(text))
	return fmt.Sprint("id-", len(s.sent)), err
}

func (s *sender) Tasks(context.Context) (regular, periodic []string, err error) {
	return []string{"shop.mul", "shop.add"}, []string{"nightly"}, nil
}

func bodyOf(t *testing.T, answer *http.Response) string {
	t.Helper()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	assert.NoError(t, err)
	return string(body)
}

// post sends a form.
func (s site) post(t *testing.T, path, form string, head ...string) (int, string) {
	t.Helper()
	return post(t, s.URL+"/results"+path, form, head...)
}

func post(t *testing.T, url, form string, head ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(form))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	return answer.StatusCode, bodyOf(t, answer)
}

func TestTasksAreSent(t *testing.T) {
	s := new(sender)
	at := inMemory(t, web.Options{Authorize: web.Anybody, Sender: s})
	status, body := at.post(t, "/apply/shop.add/?x=1&y=2", "y=3&z=4")
	assert.Equal(t, 200, status)
	assert.Equal(t, `{"ok":"true","task_id":"id-1"}`, strings.TrimSpace(body))
	assert.Equal(t, []string{`{"x":"1","y":"3","z":"4"}`}, s.sent)

	answer, body := at.do(t, "GET", "/tasks/")
	assert.Equal(t, 200, answer.StatusCode)
	assert.Equal(t, `{"regular":["shop.add","shop.mul"],"periodic":["nightly"]}`, strings.TrimSpace(body))

	for path, want := range map[string]int{"/apply/unknown/": 404, "/apply/broken/": 502} {
		status, body := at.post(t, path, "")
		assert.Equal(t, want, status, path)
		assert.NotContains(t, body, "secret")
	}
	answer, _ = at.do(t, "GET", "/apply/shop.add/?x=1")
	assert.Equal(t, 405, answer.StatusCode, "a link sends nothing")
	status, _ = at.post(t, "/apply/shop.add/", "x=1", "Sec-Fetch-Site", "cross-site")
	assert.Equal(t, 403, status, "nor does another site")
	status, _ = at.post(t, "/apply/shop.add/", "x="+strings.Repeat("a", 70_000))
	assert.Equal(t, 413, status)
	status, _ = at.post(t, "/apply/shop.add/", "{}", "Content-Type", "application/json")
	assert.Equal(t, 415, status)
	status, _ = at.post(t, "/apply/shop.add/", "%zz")
	assert.Equal(t, 400, status)
	assert.Len(t, s.sent, 1)
}

func TestTasksAreNotSentUnasked(t *testing.T) {
	at := inMemory(t, anybody)
	status, _ := at.post(t, "/apply/shop.add/", "")
	assert.Equal(t, 501, status)
	answer, _ := at.do(t, "GET", "/tasks/")
	assert.Equal(t, 501, answer.StatusCode)

	s := new(sender)
	at = inMemory(t, web.Options{Sender: s, Authorize: func(_ *http.Request, action web.Action) error {
		if action == web.Send {
			return web.ErrForbidden
		}
		return nil
	}})
	status, _ = at.post(t, "/apply/shop.add/", "")
	assert.Equal(t, 403, status)
	assert.Empty(t, s.sent)
}

func TestATaskAsAView(t *testing.T) {
	s := new(sender)
	app := inMemory(t, anybody).app
	h, err := web.New(web.Options{App: app, Authorize: web.Token("a-secret-of-the-test"), Sender: s})
	require.NoError(t, err)
	server := httptest.NewServer(h.TaskView("shop.add", map[string]any{"y": 2}))
	t.Cleanup(server.Close)
	status, _ := post(t, server.URL, "x=1&y=7")
	assert.Equal(t, 401, status)
	status, body := post(t, server.URL+"/somewhere", "x=1&y=7", "Authorization", "Bearer a-secret-of-the-test")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, `"id-1"`)
	assert.Equal(t, []string{`{"x":"1","y":2}`}, s.sent)
	status, _ = post(t, server.URL, "", "Authorization", "Bearer a-secret-of-the-test", "Sec-Fetch-Site", "cross-site")
	assert.Equal(t, 403, status)
}

func TestWebhooks(t *testing.T) {
	for want, f := range map[string]func(*http.Request) (any, error){
		`{"status":"success","retval":5}`:     func(*http.Request) (any, error) { return 5, nil },
		`{"status":"success","retval":"a=1"}`: func(r *http.Request) (any, error) { return "a=" + r.FormValue("a"), nil },
		`{"status":"success","retval":{"at":"2026-01-02T03:04:05Z"}}`: func(*http.Request) (any, error) {
			return map[string]any{"at": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, nil
		},
		`{"status":"failure","reason":"no stock"}`:                          func(*http.Request) (any, error) { return nil, errors.New("no stock") },
		`{"status":"failure","reason":"the function did not end"}`:          func(*http.Request) (any, error) { panic("secret") },
		`{"status":"failure","reason":"python: chan int has no form"}`[:31]: func(*http.Request) (any, error) { return make(chan int), nil },
	} {
		server := httptest.NewServer(web.Webhook(f))
		status, body := post(t, server.URL, "a=1")
		server.Close()
		assert.Equal(t, 200, status)
		assert.True(t, strings.HasPrefix(body, want), "%s, not %s", body, want)
	}
}

func TestCloseEndsStreamsAndLongPollsAlone(t *testing.T) {
	app := inMemory(t, anybody).app
	h, err := web.New(web.Options{App: app, Authorize: web.Anybody})
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	get := func(path string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		return answer
	}
	stream := get("/api/tasks/never/events")
	polled := make(chan *http.Response)
	go func() { polled <- get("/api/tasks/never?wait=50s") }()
	require.NoError(t, h.Close())
	ended := make(chan string, 1)
	go func() { ended <- bodyOf(t, stream) }()
	for range 2 {
		select {
		case <-ended:
		case answer := <-polled:
			assert.Equal(t, 404, answer.StatusCode)
			assert.Contains(t, bodyOf(t, answer), string(celeryresults.Pending))
		case <-time.After(30 * time.Second):
			t.Fatal("it goes on")
		}
	}
	answer := get("/api/tasks/never")
	assert.Equal(t, 404, answer.StatusCode)
	assert.Contains(t, bodyOf(t, answer), string(celeryresults.Pending))
}
