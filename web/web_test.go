package web_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/web"
)

// site is a handler over a backend, mounted under a prefix as a program would.
type site struct {
	*httptest.Server
	app *celeryresults.App
}

func start(t *testing.T, s celeryresults.Settings, o web.Options) site {
	t.Helper()
	s.ResultExtended, s.TaskTrackStarted = true, true
	app, err := backends.Open(s)
	require.NoError(t, err)
	o.App = app
	h, err := web.New(o)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/results/", http.StripPrefix("/results", h))
	server := httptest.NewServer(mux)
	t.Cleanup(func() { server.Close(); require.NoError(t, app.Close()) })
	return site{server, app}
}

func inMemory(t *testing.T, o web.Options) site {
	t.Helper()
	return start(t, celeryresults.Settings{
		ResultBackend: "django-cache",
		Caches:        map[string]cache.Settings{"default": {Location: []string{t.Name()}, Options: cache.Options{MaxEntries: 1000}}},
	}, o)
}

// inTables has a list, too.
func inTables(t *testing.T, o web.Options) site {
	t.Helper()
	d := cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "results.db")}
	db, _, err := sqldialect.Open(d)
	require.NoError(t, err)
	_, err = dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{})
	require.NoError(t, errors.Join(err, db.Close()))
	return start(t, celeryresults.Settings{ResultBackend: "django-db", Databases: map[string]cache.Database{"default": d}}, o)
}

// anybody opens a site to the tests.
var anybody = web.Options{Authorize: web.Anybody}

func (s site) do(t *testing.T, method, path string, head ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/results"+path, nil)
	require.NoError(t, err)
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer, string(body)
}

func (s site) get(t *testing.T, path string, head ...string) (int, string) {
	t.Helper()
	answer, body := s.do(t, "GET", path, head...)
	return answer.StatusCode, body
}

func request(id string) *celeryresults.Request {
	return &celeryresults.Request{ID: id, Task: "shop.add", Args: []any{2, "zwei"}, Kwargs: map[string]any{"card": "4111", "deep": map[string]any{"Token": "t0p"}}}
}

func TestTheURLsOfDjango(t *testing.T) {
	s := inMemory(t, web.Options{Authorize: web.Anybody, ShowTracebacks: true})
	require.NoError(t, s.app.MarkAsDone(t.Context(), request("ok"), map[string]any{"when": time.Date(2026, 11, 26, 8, 0, 0, 123456000, time.UTC), "for": 90 * time.Second}))
	require.NoError(t, s.app.MarkAsFailure(t.Context(), request("bad"), &celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{"no"}, Traceback: "here"}))
	require.NoError(t, s.app.BackendFor("").SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "g", Children: []celeryresults.ResultTuple{{ID: "ok"}, {ID: "bad"}, {ID: "nobody"}}}))
	for path, want := range map[string]string{
		"/task/done/ok/":       `{"task": {"id": "ok", "executed": true}}`,
		"/bad/done/":           `{"task": {"id": "bad", "executed": false}}`,
		"/task/status/ok/":     `{"task": {"id": "ok", "status": "SUCCESS", "result": {"when": "2026-11-26T08:00:00.123Z", "for": "P0DT00H01M30S"}}}`,
		"/bad/status/":         `{"task": {"id": "bad", "status": "FAILURE", "result": "ValueError('no')", "exc": "builtins.ValueError", "traceback": "here"}}`,
		"/task/status/nobody/": `{"task": {"id": "nobody", "status": "PENDING", "result": null}}`,
		"/group/done/g/":       `{"group": {"id": "g", "results": [{"id": "ok", "executed": true}, {"id": "bad", "executed": false}, {"id": "nobody", "executed": false}]}}`,
		"/nobody/group/done/":  `{"group": {"id": "nobody", "results": []}}`,
		"/group/status/no/":    `{"group": {"id": "no", "results": []}}`,
	} {
		status, body := s.get(t, path)
		assert.Equal(t, 200, status, path)
		assert.JSONEq(t, want, body, path)
	}
	_, body := s.get(t, "/g/group/status/")
	assert.Contains(t, body, `"result":"ValueError('no')","status":"FAILURE"`)

	strict := inMemory(t, web.Options{Authorize: web.Anybody, UnknownIs404: true})
	for _, path := range []string{"/task/status/nobody/", "/nobody/done/", "/group/status/nobody/", "/nobody/group/done/"} {
		status, _ := strict.get(t, path)
		assert.Equal(t, 404, status, path)
	}
}

func TestNoPayloadIsAnErrorOfTheServer(t *testing.T) {
	s := inMemory(t, anybody)
	backend := s.app.BackendFor("")
	for i, value := range []any{
		[]byte{0, 0xff}, &python.Set{Items: []any{1}}, complex(1, 2), &python.Object{Class: python.Class{Module: "shop", Name: "Odd"}}, strings.Repeat("<", 1000), "\x00\u202e</script>",
		[]any{[]any{[]any{nil}}}, python.Dict{{Key: python.Tuple{1, 2}, Value: 1}}, time.Time{}, python.Decimal("1.5"),
	} {
		id := fmt.Sprint("odd-", i)
		err := backend.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(value), DateDone: time.Now()})
		if err != nil {
			continue // it can't be stored
		}
		for _, path := range []string{"/task/status/%s/", "/%s/done/", "/api/tasks/%s", "/tasks/%s"} {
			status, body := s.get(t, fmt.Sprintf(path, id), "Accept", "text/html")
			assert.Equal(t, 200, status, "%v: %s", value, body)
			if strings.HasPrefix(path, "/tasks/") {
				assert.NotContains(t, body, "\u202e", "what turns text around")
			}
		}
	}
	for _, path := range []string{"/api/tasks/" + strings.Repeat("x", 5000), "/api/tasks/%00", "/task/done/..%2f/", "/api/tasks?limit=-1", "/api/tasks?limit=x", "/api/tasks?created_from=x", "/api/tasks?nonsense=1", "/api/tasks?cursor=x", "/api/tasks/a?wait=x", "/api/tasks/a?wait=NaN", "/api/tasks/a?backend=nobody"} {
		status, body := s.get(t, path)
		assert.Less(t, status, 502, "%s: %s", path, body)
		assert.NotEqual(t, 500, status, "%s: %s", path, body)
	}
}

func TestNothingIsAnsweredWithoutAnAuthorizer(t *testing.T) {
	paths := []string{"/", "/tasks/a", "/groups/a", "/api/tasks", "/api/tasks/a", "/api/tasks/a/events", "/api/groups/a", "/task/done/a/", "/a/status/", "/group/status/a/"}
	closed, token := inTables(t, web.Options{}), inTables(t, web.Options{Authorize: web.Token("s3cret"), AllowForget: true})
	for _, path := range paths {
		status, _ := closed.get(t, path)
		assert.Equal(t, 403, status, path)
		answer, _ := token.do(t, "GET", path)
		assert.Equal(t, 401, answer.StatusCode, path)
		assert.Contains(t, answer.Header.Get("WWW-Authenticate"), "Basic")
		status, _ = token.get(t, path, "Authorization", "Bearer wrong")
		assert.Equal(t, 401, status, path)
	}
	for _, head := range []string{"Bearer s3cret", "Basic " + "YW55Ym9keTpzM2NyZXQ="} {
		status, _ := token.get(t, "/", "Authorization", head)
		assert.Equal(t, 200, status)
	}
	empty := inTables(t, web.Options{Authorize: web.Token("")})
	status, _ := empty.get(t, "/", "Authorization", "Bearer ")
	assert.Equal(t, 401, status, "an empty secret opens nothing")
	_, err := web.New(web.Options{})
	require.Error(t, err)
}

func TestForgetting(t *testing.T) {
	s := inTables(t, web.Options{Authorize: web.Anybody, AllowForget: true})
	require.NoError(t, s.app.MarkAsDone(t.Context(), request("a"), 1))
	answer, _ := s.do(t, "POST", "/tasks/a/forget", "Sec-Fetch-Site", "cross-site")
	assert.Equal(t, 403, answer.StatusCode, "from another site")
	answer, _ = s.do(t, "POST", "/tasks/a/forget", "Sec-Fetch-Site", "same-origin")
	assert.Equal(t, 303, answer.StatusCode)
	status, _ := s.get(t, "/api/tasks/a")
	assert.Equal(t, 404, status)
	require.NoError(t, s.app.MarkAsDone(t.Context(), request("b"), 1))
	answer, _ = s.do(t, "DELETE", "/api/tasks/b")
	assert.Equal(t, 204, answer.StatusCode)

	reading := inTables(t, anybody)
	require.NoError(t, reading.app.MarkAsDone(t.Context(), request("a"), 1))
	for method, path := range map[string]string{"DELETE": "/api/tasks/a", "POST": "/tasks/a/forget"} {
		answer, _ = reading.do(t, method, path, "Sec-Fetch-Site", "same-origin")
		assert.Equal(t, 403, answer.StatusCode)
	}
	_, page := reading.get(t, "/tasks/a")
	assert.NotContains(t, page, "forget")
}

func TestTheAPI(t *testing.T) {
	s := inTables(t, anybody)
	for i := range 5 {
		require.NoError(t, s.app.MarkAsDone(t.Context(), request(fmt.Sprint("task-", i)), i))
	}
	require.NoError(t, s.app.MarkAsFailure(t.Context(), &celeryresults.Request{ID: "failed", Task: "shop.other", Meta: map[string]any{"customer": "acme"}}, errors.New("no")))
	type page struct {
		Results []struct {
			ID string `json:"task_id"`
		}
		Next *string
	}
	list := func(path string) page {
		t.Helper()
		status, body := s.get(t, path)
		require.Equal(t, 200, status, body)
		var p page
		require.NoError(t, json.Unmarshal([]byte(body), &p))
		return p
	}
	first := list("/api/tasks?limit=2&task=shop.add")
	require.Len(t, first.Results, 2)
	assert.Equal(t, "task-4", first.Results[0].ID)
	require.NotNil(t, first.Next)
	second := list("/api/tasks?limit=2&task=shop.add&cursor=" + *first.Next)
	assert.Equal(t, "task-2", second.Results[0].ID)
	assert.Len(t, list("/api/tasks?state=FAILURE&state=REVOKED").Results, 1)
	assert.Len(t, list("/api/tasks?label.customer=acme").Results, 1)
	assert.Empty(t, list("/api/tasks?created_before=2001-01-01").Results)
	assert.Nil(t, list("/api/tasks").Next)

	answer, body := s.do(t, "GET", "/api/tasks/task-1")
	assert.Contains(t, body, `"status":"SUCCESS","result":1`)
	assert.Contains(t, body, `"phase":"ready"`)
	assert.NotEmpty(t, answer.Header.Get("Content-Security-Policy"))
	status, body := s.get(t, "/api/tasks/task-1", "If-None-Match", answer.Header.Get("ETag"))
	assert.Equal(t, 304, status)
	assert.Empty(t, body)
	status, body = s.get(t, "/api/tasks/nobody")
	assert.Equal(t, 404, status)
	assert.Contains(t, body, `"status":"PENDING"`)
}

func TestStoresWithoutLists(t *testing.T) {
	s := inMemory(t, anybody)
	for i := range 3 {
		require.NoError(t, s.app.MarkAsDone(t.Context(), request(fmt.Sprint("task-", i)), i))
	}
	require.NoError(t, s.app.MarkAsFailure(t.Context(), request("failed"), errors.New("no")))
	status, body := s.get(t, "/api/tasks?state=SUCCESS&limit=2")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, `"survey":{"looked_at":4,"whole":true,"more":1,"unreadable":0}`)
	assert.Contains(t, body, `"task_id":"task-2"`)
	assert.NotContains(t, body, `"task_id":"task-0"`)
	status, _ = s.get(t, "/api/tasks?cursor=x")
	assert.Equal(t, 400, status)
	_, body = s.get(t, "/?state=FAILURE", "Accept", "text/html")
	assert.Contains(t, body, "This store keeps no lists. All 4 results in it were looked at")
	assert.Contains(t, body, "tasks/failed")
	assert.NotContains(t, body, "tasks/task-1")

	closed := start(t, celeryresults.Settings{ResultBackend: "cache+memcached://127.0.0.1:1/"}, anybody)
	status, body = closed.get(t, "/api/tasks")
	assert.Equal(t, 501, status)
	assert.Contains(t, body, "does not show what lies in it")
	status, body = closed.get(t, "/", "Accept", "text/html")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, "does not show what lies in it")
}

func TestLongPolls(t *testing.T) {
	s := inMemory(t, anybody)
	started := time.Now()
	status, _ := s.get(t, "/api/tasks/late?wait=50ms")
	assert.Equal(t, 404, status)
	assert.GreaterOrEqual(t, time.Since(started), 50*time.Millisecond)
	go func() {
		time.Sleep(50 * time.Millisecond)
		assert.NoError(t, s.app.MarkAsDone(t.Context(), request("late"), 5))
	}()
	status, body := s.get(t, "/api/tasks/late?wait=30")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, `"result":5`)
}

// events reads a stream up to its end and returns the names and data of its events, and the
// last id.
func events(t *testing.T, s site, path, last string, seen func(name string)) (names, data []string, id string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/results"+path, nil)
	require.NoError(t, err)
	r.Header.Set("Last-Event-ID", last)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, 200, answer.StatusCode)
	name := ""
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "id":
			id = value
		case "data":
			names, data = append(names, name), append(data, value)
			seen(name)
			if name == "end" {
				return names, data, id
			}
		}
	}
	return names, data, id
}

func TestEventsOfATask(t *testing.T) {
	s := inMemory(t, anybody)
	states := []func() error{
		func() error { return s.app.MarkAsStarted(t.Context(), request("a")) },
		func() error {
			return s.app.UpdateState(t.Context(), request("a"), "PROGRESS", map[string]any{"done": 1})
		},
		func() error { return s.app.MarkAsDone(t.Context(), request("a"), 5) },
	}
	names, data, id := events(t, s, "/api/tasks/a/events", "", func(string) {
		if len(states) > 0 {
			require.NoError(t, states[0]())
			states = states[1:]
		}
	})
	assert.Equal(t, []string{"state", "state", "state", "state", "end"}, names)
	for i, state := range []string{"PENDING", "STARTED", "PROGRESS", "SUCCESS"} {
		assert.Contains(t, data[i], `"status":"`+state+`"`)
	}
	names, _, _ = events(t, s, "/api/tasks/a/events", id, func(string) {})
	assert.Equal(t, []string{"end"}, names, "the client has the last one")
	names, _, _ = events(t, s, "/api/tasks/a/events", "another", func(string) {})
	assert.Equal(t, []string{"state", "end"}, names)
}

func TestEventsOfAGroup(t *testing.T) {
	s := inMemory(t, anybody)
	require.NoError(t, s.app.BackendFor("").SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "g", Children: []celeryresults.ResultTuple{{ID: "m-0"}, {ID: "m-1"}}}))
	n := 0
	names, data, _ := events(t, s, "/api/groups/g/events", "", func(string) {
		if n < 2 {
			require.NoError(t, s.app.MarkAsDone(t.Context(), request(fmt.Sprint("m-", n)), n))
			n++
		}
	})
	assert.Equal(t, []string{"progress", "progress", "progress", "end"}, names)
	assert.Contains(t, data[2], `"ready":2`)
	status, _ := s.get(t, "/api/groups/nobody/events")
	assert.Equal(t, 404, status)
	_, body := s.get(t, "/api/groups/g")
	assert.Contains(t, body, `"members":["m-0","m-1"]`)
}

func TestWhatIsNotToBeSeen(t *testing.T) {
	s := inTables(t, web.Options{Authorize: web.Anybody, Redact: []string{"card", "token"}})
	require.NoError(t, s.app.MarkAsFailure(t.Context(), request("a"), &celeryresults.TaskError{Type: "ValueError", Args: []any{"no"}, Traceback: "File secret.py"}))
	for _, path := range []string{"/api/tasks/a", "/api/tasks", "/tasks/a", "/", "/task/status/a/"} {
		_, body := s.get(t, path)
		assert.NotContains(t, body, "4111", path)
		assert.NotContains(t, body, "t0p", path)
		assert.NotContains(t, body, "zwei", path)
		assert.NotContains(t, body, "secret.py", path)
	}
	_, body := s.get(t, "/api/tasks/a")
	assert.Contains(t, body, `"card":"***"`)

	labelled := request("b")
	labelled.Meta = map[string]any{"token": "t0p-label", "customer": "acme"}
	require.NoError(t, s.app.MarkAsDone(t.Context(), labelled, 1))
	for _, path := range []string{"/api/tasks/b", "/tasks/b"} {
		_, body := s.get(t, path)
		assert.NotContains(t, body, "t0p-label", path)
		assert.Contains(t, body, "acme", path)
	}
}

func TestPages(t *testing.T) {
	s := inTables(t, web.Options{Authorize: web.Anybody, ShowTracebacks: true, AllowForget: true})
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	for i := range 60 {
		require.NoError(t, s.app.MarkAsDone(t.Context(), request(fmt.Sprint("task-", i)), i))
	}
	require.NoError(t, s.app.MarkAsFailure(t.Context(), &celeryresults.Request{
		ID: "a/b?c#d " + hostile, Task: hostile, GroupID: hostile, ParentID: hostile, Worker: hostile, Children: []celeryresults.ResultTuple{{ID: hostile}},
	}, &celeryresults.TaskError{Type: hostile, Args: []any{hostile}, Traceback: hostile}))
	status, body := s.get(t, "/")
	require.Equal(t, 200, status)
	assert.NotContains(t, body, "<script>alert")
	assert.NotContains(t, body, "<img")
	assert.Contains(t, body, `href="./tasks/a%2Fb%3Fc%23d%20`)
	assert.Contains(t, body, `data-poll="3000"`)
	_, rest, found := strings.Cut(body, `<a rel="next" href="`)
	require.True(t, found)
	next, _, _ := strings.Cut(rest, `"`)
	status, body = s.get(t, "/"+strings.ReplaceAll(next, "&amp;", "&"))
	require.Equal(t, 200, status)
	assert.Contains(t, body, "task-0")
	assert.NotContains(t, body, "data-poll")

	answer, body := s.do(t, "GET", "/tasks/a%2Fb%3Fc%23d%20%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src=x%20onerror=alert(1)%3E")
	require.Equal(t, 200, answer.StatusCode, body)
	assert.NotContains(t, body, "<script>alert")
	assert.NotContains(t, body, "<img")
	assert.Contains(t, body, "<summary>Traceback</summary>")
	assert.Contains(t, answer.Header.Get("Content-Security-Policy"), "script-src 'self'")
	status, body = s.get(t, "/?task=shop.*&state=SUCCESS")
	require.Equal(t, 200, status)
	assert.Contains(t, body, `aria-current="true"`)
	answer, _ = s.do(t, "GET", "/?id=a%2Fb")
	assert.Equal(t, 303, answer.StatusCode)
	assert.Equal(t, "./tasks/a%2Fb", answer.Header.Get("Location"))
	status, body = s.get(t, "/tasks/nobody", "Accept", "text/html")
	assert.Equal(t, 404, status)
	assert.Contains(t, body, "Nobody knows this task")
	status, body = s.get(t, "/groups/nobody", "Accept", "text/html")
	assert.Equal(t, 404, status)
	assert.Contains(t, body, "nobody knows this group")
	require.NoError(t, s.app.MarkAsStarted(t.Context(), request("running")))
	_, body = s.get(t, "/tasks/running")
	assert.Contains(t, body, `data-events="../api/tasks/running/events"`)
	for _, file := range []string{"/static/page.css", "/static/page.js", "/api/openapi.json"} {
		status, _ := s.get(t, file)
		assert.Equal(t, 200, status, file)
	}
	cached := inMemory(t, anybody)
	status, body = cached.get(t, "/")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, "keeps no lists")
}

func TestTheOverview(t *testing.T) {
	status, body := inTables(t, anybody).get(t, "/overview")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, "Nothing has ended")
	s := inTables(t, anybody) // another one, as counts that took long are kept
	require.NoError(t, s.app.MarkAsStarted(t.Context(), request("a")))
	require.NoError(t, s.app.MarkAsDone(t.Context(), request("a"), 1))
	require.NoError(t, s.app.MarkAsFailure(t.Context(), &celeryresults.Request{ID: "b", Task: "<b>"}, errors.New("no")))
	for _, span := range []string{"", "?span=1h", "?span=7d", "?span=30d"} {
		status, body = s.get(t, "/overview"+span)
		assert.Equal(t, 200, status)
		assert.Contains(t, body, "<strong>2</strong> done, <strong>1</strong> failed (50.0 %)")
		assert.Contains(t, body, "1 failed</title>")
		assert.Contains(t, body, "points=")
		assert.NotContains(t, body, "<b>")
	}
	_, body = s.get(t, "/api/stats")
	assert.Contains(t, body, `{"task":"shop.add","total":1,"states":{"SUCCESS":1}}`)
	status, _ = s.get(t, "/overview?span=x")
	assert.Equal(t, 400, status)
	status, _ = inMemory(t, anybody).get(t, "/api/stats")
	assert.Equal(t, 501, status)
}

// The description says what the handlers take and answer.
func TestTheDescriptionIsTrue(t *testing.T) {
	s := inTables(t, web.Options{Authorize: web.Anybody, AllowForget: true, Sender: new(sender)})
	_, body := s.get(t, "/api/openapi.json")
	var description struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name   string
				Schema struct{ Type, Format string }
			}
			Responses map[string]any
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &description))
	require.NoError(t, s.app.MarkAsDone(t.Context(), request("a"), 1))
	require.NoError(t, s.app.BackendFor("").SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "a", Children: []celeryresults.ResultTuple{{ID: "a"}}}))
	tried := 0
	for path, methods := range description.Paths {
		for method, operation := range methods {
			if method == "delete" {
				continue // last
			}
			if method == "post" {
				status, _ := s.post(t, strings.ReplaceAll(path, "{task}", "shop.add"), "x=1")
				assert.Contains(t, operation.Responses, fmt.Sprint(status), path)
				continue
			}
			for _, p := range operation.Parameters {
				value := map[string]string{"date-time": "2026-01-01T00:00:00Z"}[p.Schema.Format]
				switch {
				case p.Schema.Type == "integer":
					value = "5"
				case p.Name == "order":
					value = "done"
				case p.Name == "cursor":
					continue // only one of a page's
				case p.Name == "span":
					value = "7d"
				case p.Name == "wait":
					value = "1s"
				case value == "":
					value = "x"
				}
				status, body := s.get(t, strings.ReplaceAll(path, "{id}", "a")+"?"+strings.ReplaceAll(p.Name, "NAME", "x")+"="+value)
				assert.Equal(t, 200, status, "%s %s: %s", path, p.Name, body)
				tried++
			}
			status, _ := s.get(t, strings.ReplaceAll(path, "{id}", "a"))
			assert.Contains(t, operation.Responses, fmt.Sprint(status), path)
		}
	}
	assert.Equal(t, 14, tried)
	answer, _ := s.do(t, "DELETE", "/api/tasks/a")
	assert.Equal(t, 204, answer.StatusCode)
}
