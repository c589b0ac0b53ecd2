package browsertest

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

// hostile are texts that a page must only show.
var hostile = []string{
	`<script>window.hacked=1</script>`, `"><img src=x onerror=window.hacked=1>`, `'><svg onload=window.hacked=1>`, `</pre></main><script>window.hacked=1</script>`,
	`javascript:window.hacked=1`, `{{.}}${window.hacked=1}`, "\u202egnp.exe\u202c", `</title><script>window.hacked=1</script>`, `../../../x?y#z`, `<style>*{display:none}</style>`,
}

func request(id string) *celeryresults.Request {
	return &celeryresults.Request{ID: id, Task: "shop.bill", Worker: "worker@host", Args: []any{1, "zwei"}, Kwargs: map[string]any{"customer": "acme"}}
}

func TestHostileResultsAreOnlyShown(t *testing.T) {
	s := serve(t)
	ctx := t.Context()
	var members []celeryresults.ResultTuple
	for i, text := range hostile {
		req := &celeryresults.Request{
			ID: text, Task: text, Worker: text, Queue: text, GroupID: text, ParentID: text, RootID: text, PeriodicTaskName: text,
			Args: []any{text}, Kwargs: map[string]any{text: text}, Meta: map[string]any{text: text},
			Children: []celeryresults.ResultTuple{{ID: text}, {ID: text + "g", Children: []celeryresults.ResultTuple{{ID: text}}}},
		}
		if i%2 == 0 {
			require.NoError(t, s.app.MarkAsFailure(ctx, req, &celeryresults.TaskError{Type: text, Module: text, Args: []any{text}, Traceback: text + "\n" + text}))
		} else {
			require.NoError(t, s.app.MarkAsDone(ctx, req, []any{text, map[string]any{text: strings.Repeat(text, 20)}}))
		}
		members = append(members, celeryresults.ResultTuple{ID: text})
	}
	backend, err := s.app.Backend("")
	require.NoError(t, err)
	require.NoError(t, backend.SaveGroup(ctx, celeryresults.ResultTuple{ID: hostile[0], Children: members}))
	b := open(t, s)
	paths := []string{"/", "/overview", "/groups/" + url.PathEscape(hostile[0])}
	for _, text := range hostile {
		paths = append(paths, "/tasks/"+url.PathEscape(text), "/?task="+url.QueryEscape(text), "/?label."+url.QueryEscape(text)+"="+url.QueryEscape(text))
	}
	for _, path := range paths {
		b.visit(path)
		assert.False(t, eval[bool](b, `"hacked" in window`), path)
		assert.Equal(t, 1, eval[int](b, `document.scripts.length`), path)
		assert.Zero(t, eval[int](b, `document.querySelectorAll("img, style, iframe, [onerror], [onload], a[href^='javascript:']").length`), path)
		assert.NotEqual(t, "none", eval[string](b, `getComputedStyle(document.getElementById("main")).display`), path)
		assert.True(t, eval[bool](b, `[...document.links].every((a) => a.origin === location.origin && a.pathname.startsWith("/results/"))`), path)
		b.isClean(path)
	}
	b.visit("/tasks/" + url.PathEscape(hostile[0]))
	b.script(`document.querySelectorAll("details").forEach((d) => { d.open = true; })`)
	assert.Contains(t, eval[string](b, `document.querySelector("details pre").innerText`), hostile[0], "the traceback is shown as it is")
	b.screenshot("hostile")
	b.visit("/")
	assert.Equal(t, len(hostile), eval[int](b, `document.querySelectorAll("tbody tr").length`))
	for i := range hostile { // each link leads to its task
		b.visit("/")
		b.script(fmt.Sprintf(`document.querySelectorAll("tbody tr td a")[%d].click()`, i))
		b.await(`document.querySelector("h1 .state") !== null`)
		assert.NotContains(t, eval[string](b, `document.getElementById("main").innerText`), "Nobody knows this task")
	}
}

func TestPagesFollowWhatHappens(t *testing.T) {
	s := serve(t)
	ctx := t.Context()
	require.NoError(t, s.app.MarkAsStarted(ctx, request("one")))
	b := open(t, s)
	b.visit("/tasks/one")
	b.script(`window.stayed = true; document.querySelector("details").open = true`)
	assert.Contains(t, eval[string](b, `document.querySelector("h1").innerText`), "STARTED")
	require.NoError(t, s.app.UpdateState(ctx, request("one"), "PROGRESS", map[string]any{"current": 4, "total": 10}))
	b.await(`document.querySelector("h1").innerText.includes("PROGRESS")`)
	require.NoError(t, s.app.MarkAsDone(ctx, request("one"), "the result"))
	b.await(`document.querySelector("h1").innerText.includes("SUCCESS")`)
	b.await(`document.getElementById("main").innerText.includes("the result")`)
	assert.True(t, eval[bool](b, `window.stayed && document.querySelector("details").open`), "the page was not loaded anew, and what was open is")

	backend, err := s.app.Backend("")
	require.NoError(t, err)
	require.NoError(t, backend.SaveGroup(ctx, celeryresults.ResultTuple{ID: "g", Children: []celeryresults.ResultTuple{{ID: "m1"}, {ID: "m2"}}}))
	b.visit("/groups/g")
	assert.Zero(t, eval[int](b, `document.querySelector("progress").value`))
	require.NoError(t, s.app.MarkAsDone(ctx, request("m1"), 1))
	b.await(`document.querySelector("progress").value === 1`)
	require.NoError(t, s.app.MarkAsFailure(ctx, request("m2"), errors.New("no")))
	b.await(`document.querySelector("progress").value === 2 && document.getElementById("main").innerText.includes("1 failed")`)

	b.visit("/?task=late*")
	assert.Zero(t, eval[int](b, `document.querySelectorAll("tbody tr").length`))
	late := request("late")
	late.Task = "late.bill"
	require.NoError(t, s.app.MarkAsDone(ctx, late, 1))
	b.await(`document.querySelectorAll("tbody tr").length === 1`)
	b.isClean("live pages")
}

func TestEverythingWorksWithoutScripts(t *testing.T) {
	s := serve(t)
	ctx := t.Context()
	for i := range 60 {
		require.NoError(t, s.app.MarkAsDone(ctx, request(fmt.Sprintf("task-%02d", i)), i))
	}
	other := request("odd")
	other.Task = "mail.send"
	require.NoError(t, s.app.MarkAsFailure(ctx, other, errors.New("no")))
	b := open(t, s)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	rows := func() int {
		return eval[int](b, `document.querySelectorAll("tbody tr td a").length`) // the protocol's scripts still run
	}
	b.visit("/")
	assert.Equal(t, 50, rows())
	b.run(chromedp.Click(chromedp.CSS(`a[rel=next]`)), chromedp.WaitVisible(chromedp.Search(`//a[text()="newest"]`)))
	assert.Equal(t, 11, rows())
	b.run(chromedp.Click(chromedp.Search(`//a[text()="newest"]`)), chromedp.WaitVisible(chromedp.CSS(`a[rel=next]`)))
	b.run(chromedp.SendKeys(chromedp.CSS(`input[name=task]`), "mail.*"), chromedp.Click(chromedp.CSS(`.filters button`)), chromedp.WaitNotPresent(chromedp.CSS(`a[rel=next]`)))
	assert.Equal(t, 1, rows())
	b.run(chromedp.Click(chromedp.CSS(`.states a:nth-child(2)`)), chromedp.WaitVisible(chromedp.CSS(`.states a:nth-child(2)[aria-current]`)))
	assert.Equal(t, 1, rows(), "FAILURE is chosen beside the task")
	b.run(chromedp.Click(chromedp.CSS(`tbody tr td a`)), chromedp.WaitVisible(chromedp.CSS(`form[method=post] button`)))
	b.run(chromedp.Click(chromedp.CSS(`summary`)), chromedp.WaitVisible(chromedp.CSS(`details[open]`)))
	b.run(chromedp.Click(chromedp.CSS(`form[method=post] button`)), chromedp.WaitVisible(chromedp.CSS(`.filters`)))
	b.run(chromedp.SendKeys(chromedp.CSS(`input[name=id]`), "odd"+kb.Enter), chromedp.WaitVisible(chromedp.CSS(`.note`)))
	assert.Contains(t, eval[string](b, `document.getElementById("main").innerText`), "Nobody knows this task")
	b.run(chromedp.Click(chromedp.Search(`//a[text()="Overview"]`)), chromedp.WaitVisible(chromedp.CSS(`svg.plot`)))
	b.isCleanBut("404", "without scripts")
}

// isCleanBut is isClean, but for one status, which the browser notes.
func (b *tab) isCleanBut(status, what string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		assert.Contains(b.t, problem, status, what)
	}
}

func TestTheKeyboardIsEnough(t *testing.T) {
	s := serve(t)
	require.NoError(t, s.app.MarkAsDone(t.Context(), request("one"), 1))
	b := open(t, s)
	b.visit("/")
	b.run(chromedp.KeyEvent(kb.Tab))
	assert.Equal(t, "Skip to the content", eval[string](b, `document.activeElement.innerText`), "the first stop")
	assert.True(t, eval[bool](b, `document.activeElement.getBoundingClientRect().left >= 0`), "it can be seen")
	b.run(chromedp.KeyEvent(kb.Enter))
	assert.Equal(t, "main", eval[string](b, `document.activeElement.id`))
	b.run(chromedp.KeyEvent(kb.Tab))
	assert.True(t, eval[bool](b, `document.activeElement.closest("#main") !== null`), "the header was left out")

	b.visit("/")
	wanted := eval[int](b, `document.querySelectorAll("a[href], button, input:not([type=hidden]), summary").length`)
	seen := map[string]bool{}
	for range 3 * wanted { // a field for a time has several stops
		b.run(chromedp.KeyEvent(kb.Tab))
		name := eval[string](b, `(() => { const e = document.activeElement; e.dataset.stop ??= String(Math.random()); return e === document.body ? "" : e.dataset.stop; })()`)
		if name == "" {
			break
		}
		if !seen[name] {
			assert.NotEqual(t, "none", eval[string](b, `getComputedStyle(document.activeElement).outlineStyle`), "what has the focus shows it")
			seen[name] = true
		}
	}
	assert.Len(t, seen, wanted, "everything that does something is a stop")
	assert.Zero(t, eval[int](b, `[...document.querySelectorAll("input:not([type=hidden])")].filter((e) => !e.labels.length && !e.ariaLabel).length`), "every field has a name")
	b.isClean("keyboard")
}

// contrasts returns the texts whose contrast with what is behind them is below WCAG AA: 4.5, or 3 for
// large ones.
const contrasts = `(() => {
	const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
	const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
	const parse = (text) => { const m = text.match(/[\d.]+/g).map(Number); return m.length > 3 && m[3] === 0 ? null : m.slice(0, 3); };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c) return c; } return [255, 255, 255]; };
	const low = [];
	let looked = 0;
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let node; (node = walk.nextNode());) {
		const e = node.parentElement, style = getComputedStyle(e);
		if (!node.data.trim() || !e.getClientRects().length || e.closest("script, title")) continue;
		looked++;
		const a = luminance(parse(style.color)), b = luminance(behind(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
		if (ratio < (large ? 3 : 4.5)) low.push(node.data.trim() + ": " + ratio.toFixed(2));
	}
	for (const e of document.querySelectorAll("input[placeholder]")) {
		const a = luminance(parse(getComputedStyle(e, "::placeholder").color)), b = luminance(behind(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) low.push("placeholder " + e.name + ": " + ratio.toFixed(2));
	}
	if (innerWidth < 500)
		for (const cell of document.querySelectorAll("td")) {
			if (/^[\d.,]+( %)?$/.test(cell.innerText.trim()) && !cell.dataset.name) low.push("a number without a name: " + cell.innerText);
		}
	if (looked < 5) low.push("only " + looked + " texts");
	return low;
})()`

func TestColoursAndWidths(t *testing.T) {
	s := serve(t)
	ctx := t.Context()
	long := strings.Repeat("a-long-word", 20)
	for i, state := range []celeryresults.State{celeryresults.Success, celeryresults.Failure, celeryresults.Retry, celeryresults.Revoked, celeryresults.Started, "PROGRESS"} {
		req := request(fmt.Sprint(state, i))
		req.GroupID, req.Meta = "g", map[string]any{"customer": long}
		switch state {
		case celeryresults.Success:
			require.NoError(t, s.app.RecordPending(ctx, req))
			require.NoError(t, s.app.MarkAsStarted(ctx, req))
			require.NoError(t, s.app.MarkAsDone(ctx, req, map[string]any{"words": []string{long, long}, "n": 1}))
		case celeryresults.Failure:
			require.NoError(t, s.app.MarkAsFailure(ctx, req, &celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{long}, Traceback: "Traceback:\n  " + long}))
		case celeryresults.Retry:
			require.NoError(t, s.app.MarkAsRetry(ctx, req, errors.New("again")))
		case celeryresults.Revoked:
			require.NoError(t, s.app.MarkAsRevoked(ctx, req, "no"))
		case celeryresults.Started:
			require.NoError(t, s.app.MarkAsStarted(ctx, req))
		default:
			require.NoError(t, s.app.UpdateState(ctx, req, state, map[string]any{"current": 1}))
		}
	}
	require.NoError(t, s.app.RecordPending(ctx, request(long)))
	backend, err := s.app.Backend("")
	require.NoError(t, err)
	require.NoError(t, backend.SaveGroup(ctx, celeryresults.ResultTuple{ID: "g", Children: []celeryresults.ResultTuple{{ID: "SUCCESS0"}, {ID: "FAILURE1"}, {ID: long}}}))
	for name, path := range map[string]string{
		"list": "/", "filtered": "/?state=FAILURE&task=shop.*", "task": "/tasks/SUCCESS0", "failure": "/tasks/FAILURE1", "group": "/groups/g", "overview": "/overview", "unknown": "/tasks/nobody",
	} {
		for _, width := range []int64{1200, 360} {
			b := open(t, s, width, 800)
			for _, dark := range []bool{false, true} {
				b.dark(dark)
				b.visit(path)
				b.script(`document.querySelectorAll("details").forEach((d) => { d.open = true; })`)
				what := fmt.Sprintf("%s-%d-%v", name, width, map[bool]string{false: "light", true: "dark"}[dark])
				assert.Empty(t, eval[[]string](b, contrasts), what)
				assert.LessOrEqual(t, eval[int64](b, `document.scrollingElement.scrollWidth`), width, "%s does not fit its width", what)
				b.screenshot(what)
			}
		}
	}
}
