package browsertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/testserver"
	"github.com/celeryresults/celeryresults/web"
)

// programs are the names that Chromium has.
var programs = []string{"chromium-headless-shell", "headless-shell", "chromium", "chromium-browser", "google-chrome"}

// browser is the one Chromium of all tests.
var browser = sync.OnceValues(func() (context.Context, error) {
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)
		allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(allocator)
		if err := chromedp.Do(ctx); err != nil {
			cancel()
			stop()
			return nil, fmt.Errorf("start %s: %w", path, err)
		}
		return ctx, nil
	}
	return nil, errors.New("no Chromium is installed: sh scripts/install-servers.sh")
})

func TestMain(m *testing.M) {
	status := m.Run()
	if ctx, err := browser(); err == nil {
		_ = chromedp.Cancel(ctx)
	}
	os.Exit(status)
}

// tab is a page of the browser with what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu       sync.Mutex
	problems []string
}

// open opens a tab on a site of its own.
func open(t *testing.T, s *site, size ...int64) *tab {
	t.Helper()
	parent, err := browser()
	if err != nil {
		if (&testserver.Service{Name: "chromium"}).Required() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(stop)
	b := &tab{t: t, ctx: ctx, url: s.URL + "/results"}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.problems = append(b.problems, "exception: "+e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.problems = append(b.problems, fmt.Sprint("console: ", e.Type))
		case *log.EventEntryAdded: // what the policy for scripts refuses, among others
			b.problems = append(b.problems, fmt.Sprint("log: ", e.Entry.Text, " ", e.Entry.URL))
		case *page.EventJavascriptDialogOpening:
			b.problems = append(b.problems, "dialog: "+e.Message)
		}
	}))
	width, height := int64(1200), int64(900)
	if len(size) == 2 {
		width, height = size[0], size[1]
	}
	b.run(chromedp.EmulateViewport(width, height))
	call(b, log.Enable, cdp.Empty{})
	return b
}

func (b *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, steps...))
}

// call sends a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, command, params)
	require.NoError(b.t, err)
}

func (b *tab) visit(path string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.url+path), chromedp.WaitReady(chromedp.CSS("#main")))
}

// eval returns what an expression has as its value.
func eval[T any](b *tab, expression string) (value T) {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return value
}

// script runs statements in the page.
func (b *tab) script(statements string) {
	b.t.Helper()
	b.run(chromedp.Evaluate[chromedp.Void](statements))
}

// await waits until an expression is true.
func (b *tab) await(expression string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		value, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		return err == nil && value // a page that is being left has no answer
	}, 20*time.Second, 20*time.Millisecond, "%s", expression)
}

// isClean makes sure that nothing has gone wrong in the page.
func (b *tab) isClean(what string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Empty(b.t, b.problems, what)
}

// screenshot keeps a picture for people, where CELERYRESULTS_SCREENSHOTS names a folder.
func (b *tab) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("CELERYRESULTS_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// dark chooses dark colours.
func (b *tab) dark(on bool) {
	b.t.Helper()
	scheme := "light"
	if on {
		scheme = "dark"
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// site is a handler over tables in a file, mounted under a prefix.
type site struct {
	*httptest.Server
	app *celeryresults.App
}

func serve(t *testing.T) *site {
	t.Helper()
	d := cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "results.db")}
	app, err := backends.Open(celeryresults.Settings{
		ResultBackend: "django-db", ResultExtended: true, TaskTrackStarted: true, Databases: map[string]cache.Database{"default": d},
	})
	require.NoError(t, err)
	db, err := sql.Open("sqlite", d.Name)
	require.NoError(t, err)
	_, err = dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{})
	require.NoError(t, errors.Join(err, db.Close()))
	h, err := web.New(web.Options{App: app, Authorize: web.Anybody, AllowForget: true, ShowTracebacks: true})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/results/", http.StripPrefix("/results", h))
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		require.NoError(t, h.Close())
		server.CloseClientConnections()
		server.Close()
		require.NoError(t, app.Close())
	})
	return &site{server, app}
}
