package interop_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/web"
)

// TestViewsAnswerAsDjangos asks django-celery-results' own views and ours for the same
// results. Where Django has an error, ours have none.
func TestViewsAnswerAsDjangos(t *testing.T) {
	for _, set := range sets {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			url := "sqlite:///" + filepath.Join(t.TempDir(), "views.db")
			p := startWith(t, needPython(t, set.requirements), url, `SETTINGS={"CELERY_RESULT_SERIALIZER": "pickle", "CELERY_RESULT_ACCEPT_CONTENT": ["pickle", "json"], "ALLOWED_HOSTS": ["*"]}`)
			p.do(t, "migrate", nil)
			app, err := backends.Open(celeryresults.Settings{
				ResultBackend: "django-db", ResultSerializer: "pickle", ResultAcceptContent: []string{"pickle", "json"},
				Databases: map[string]cache.Database{"default": {URL: url}},
			})
			require.NoError(t, err)
			defer app.Close()
			handler, err := web.New(web.Options{App: app, Authorize: web.Anybody, ShowTracebacks: true})
			require.NoError(t, err)
			server := httptest.NewServer(handler)
			defer server.Close()

			ids := []string{"nobody"}
			for _, v := range append(append([]value{}, values...), pickled...) {
				id := "value-" + strings.ReplaceAll(v.name, " ", "-")
				if _, err := p.ask("store", arguments{"id": id, "state": "SUCCESS", "value": v.source}); err == nil {
					ids = append(ids, id)
				}
			}
			for id, source := range map[string]string{"value-error": "ValueError('no', 3)", "quota": "QuotaExceeded('acme', 10)", "key-error": "KeyError('k')", "without-args": "RuntimeError()"} {
				p.do(t, "store", arguments{"id": id, "state": "FAILURE", "value": source, "traceback": "Traceback (most recent call last):"})
				ids = append(ids, id)
			}
			p.do(t, "save_group", arguments{"id": "group", "members": []celeryresults.ResultTuple{{ID: "value-int"}, {ID: "value-dict"}, {ID: "nobody"}}, "parent": nil})
			var paths []string
			for _, id := range ids {
				paths = append(paths, "task/done/"+id+"/", "task/status/"+id+"/", id+"/done/", id+"/status/")
			}
			paths = append(paths, "group/done/group/", "group/status/group/", "group/group/done/", "group/group/status/", "group/done/no-group/")
			errors, compared := 0, 0
			for _, path := range paths {
				theirs := ask[struct {
					Status int
					Body   any
				}](t, p, "http", arguments{"path": "/results/" + path})
				answer, err := http.Get(server.URL + "/" + path)
				require.NoError(t, err)
				body, err := io.ReadAll(answer.Body)
				require.NoError(t, err)
				require.NoError(t, answer.Body.Close())
				assert.Equal(t, 200, answer.StatusCode, "%s: %s", path, body)
				if theirs.Status != 200 {
					errors++
					continue
				}
				var ours any
				numbers := json.NewDecoder(bytes.NewReader(body))
				numbers.UseNumber()
				require.NoError(t, numbers.Decode(&ours), path)
				assert.Equal(t, theirs.Body, ours, path)
				compared++
			}
			assert.Greater(t, compared, 150)
			assert.Positive(t, errors, "Django can't answer bytes")
		})
	}
}
