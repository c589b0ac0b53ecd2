package web

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/survey"
	"github.com/celeryresults/celeryresults/python"
)

// page renders templates.
type page struct{ templates map[string]*template.Template }

func newPage() (*page, error) {
	p := &page{templates: map[string]*template.Template{}}
	functions := template.FuncMap{"path": url.PathEscape, "ago": ago, "exact": exact, "span": span, "symbol": symbol, "lower": strings.ToLower}
	for _, name := range []string{"list", "task", "group", "overview", "error"} {
		t, err := template.New("layout.html").Funcs(functions).ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, err
		}
		p.templates[name] = t
	}
	return p, nil
}

// common is what every page has. Root leads to the list.
type common struct {
	Title, Root, Backend string
	Events               string // the address of a stream, after which the page is to be loaded anew
	Poll                 int    // milliseconds after which the page is to be loaded anew; 0: never
	Data                 any
}

// Query returns the parameters that links keep.
func (c common) Query() string {
	if c.Backend == "" {
		return ""
	}
	return "?" + url.Values{"backend": {c.Backend}}.Encode()
}

func (p *page) render(w http.ResponseWriter, r *http.Request, status int, name string, data common) {
	data.Backend = r.URL.Query().Get("backend")
	var body bytes.Buffer
	if err := p.templates[name].Execute(&body, data); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	tag := tagOf(body.Bytes())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if status == http.StatusOK && matches(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the client may have gone
}

func (p *page) error(w http.ResponseWriter, r *http.Request, status int, text string) {
	root := strings.Repeat("../", max(0, strings.Count(strings.Trim(r.URL.Path, "/"), "/")))
	p.render(w, r, status, "error", common{Title: http.StatusText(status), Root: "./" + root, Data: text})
}

// symbols stand for states beside their colours.
var symbols = map[celeryresults.State]string{
	celeryresults.Success: "✓", celeryresults.Failure: "✗", celeryresults.Revoked: "⊘", celeryresults.Retry: "↻",
	celeryresults.Started: "▶", celeryresults.Pending: "…", celeryresults.Received: "…",
}

func symbol(state celeryresults.State) string {
	if s, ok := symbols[state]; ok {
		return s
	}
	return "▶"
}

// exact is a time as people can copy it.
func exact(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000 UTC") }

// ago is how long ago a time was, roughly.
func ago(t time.Time) string {
	d := time.Since(t)
	if d < 0 {
		return "in " + span(-d)
	}
	return span(d) + " ago"
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// row is a result in the list.
type row struct {
	ID, Name, Worker string
	State            celeryresults.State
	Created, Done    time.Time
	Took             time.Duration
	Brief            string
}

// mostBrief is how much of a result the list shows.
const mostBrief = 120

func (h *Handler) row(meta *celeryresults.TaskMeta) row {
	processing, _ := meta.ProcessingTime()
	r := row{ID: meta.TaskID, Name: meta.Name, Worker: meta.Worker, State: meta.State, Created: meta.DateCreated, Done: meta.DateDone, Took: processing}
	if err := meta.Err(); meta.State.Exception() && err != nil {
		r.Brief = clipped(err.Error())
	} else if tree, err := meta.Result.Any(); err == nil && tree != nil {
		r.Brief = python.Repr(tree, mostBrief)
	}
	return r
}

func clipped(text string) string {
	if runes := []rune(text); len(runes) > mostBrief {
		return string(runes[:mostBrief]) + "…"
	}
	return text
}

// listData is what the list has.
type listData struct {
	Rows     []row
	Next     string // the parameters of the next page
	First    string // of the first one, empty there
	Filters  url.Values
	Kept     url.Values // filters that have no field
	States   []stateLink
	Backends []string
	Why      string         // there is no list
	Survey   *survey.Survey // of a store without lists
}

type stateLink struct {
	State celeryresults.State
	Query string // with the state, or without it if it is chosen
	On    bool
}

var usualStates = []celeryresults.State{celeryresults.Success, celeryresults.Failure, celeryresults.Started, celeryresults.Retry, celeryresults.Revoked, celeryresults.Pending}

// keptFilters are those of a list that a form passes on.
var keptFilters = []string{"state", "backend", "periodic_task", "done_from", "done_before", "order", "limit"}

// listPage is GET /.
func (h *Handler) listPage(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	if id := values.Get("id"); id != "" { // the field that looks for a task
		target := "./tasks/" + url.PathEscape(id)
		if b := values.Get("backend"); b != "" {
			target += "?" + url.Values{"backend": {b}}.Encode()
		}
		redirect(w, target)
		return nil
	}
	values.Del("id")
	r.URL.RawQuery = values.Encode()
	kept := url.Values{}
	for name, list := range values {
		if strings.HasPrefix(name, "label.") || slices.Contains(keptFilters, name) {
			kept[name] = list
		}
	}
	data := listData{Filters: values, Kept: kept, Backends: h.options.App.BackendNames(), States: stateLinks(values)}
	found, survey, err := h.list(r)
	data.Survey = survey
	if told, ok := errors.AsType[*statusError](err); ok && told.status == http.StatusNotImplemented {
		data.Why = told.text
	} else if err != nil {
		return err
	}
	poll := 0
	if found != nil {
		for _, meta := range found.Results {
			data.Rows = append(data.Rows, h.row(meta))
		}
		if found.Next != "" {
			data.Next = changed(values, "cursor", found.Next)
		}
		if values.Get("cursor") == "" && survey == nil {
			poll = 3000
		} else if survey == nil {
			data.First = changed(values, "cursor", "")
		}
	}
	h.page.render(w, r, http.StatusOK, "list", common{Title: "Results", Root: ".", Poll: poll, Data: data})
	return nil
}

// changed returns parameters with one of them set, or taken away, as a query.
func changed(values url.Values, name, value string) string {
	next := url.Values{}
	for n, list := range values {
		if n != name && list[0] != "" {
			next[n] = list
		}
	}
	if value != "" {
		next.Set(name, value)
	}
	return "?" + next.Encode()
}

// stateLinks are links that choose states.
func stateLinks(values url.Values) []stateLink {
	chosen := values["state"]
	var links []stateLink
	for _, state := range usualStates {
		link := stateLink{State: state, On: slices.Contains(chosen, string(state))}
		next := url.Values{}
		for n, list := range values {
			if n != "cursor" && n != "state" && list[0] != "" {
				next[n] = list
			}
		}
		for _, s := range chosen {
			if s != string(state) && s != "" {
				next.Add("state", s)
			}
		}
		if !link.On {
			next.Add("state", string(state))
		}
		link.Query = "?" + next.Encode()
		links = append(links, link)
	}
	return links
}

// taskData is what a task's page has.
type taskData struct {
	Meta                      *celeryresults.TaskMeta
	Phase                     celeryresults.Phase
	Result, Args, Kwargs, Raw string
	Type                      string // of the result, or of the exception
	Unreadable                bool
	Traceback                 string
	Waiting, Processing       time.Duration
	WaitShare                 int // of the whole time, in percent
	Children                  []celeryresults.ResultTuple
	Labels                    []labelLink
	MayForget                 bool
}

// mostShown is how much of a value a page shows.
const mostShown = 100_000

// taskPage is GET /tasks/{id}.
func (h *Handler) taskPage(w http.ResponseWriter, r *http.Request) error {
	meta, err := h.meta(r)
	if err != nil {
		return err
	}
	waiting, _ := meta.WaitingTime()
	processing, _ := meta.ProcessingTime()
	data := taskData{Meta: meta, Phase: meta.Phase(), Children: meta.Children, MayForget: h.options.AllowForget && !meta.Unknown, Waiting: waiting, Processing: processing}
	if whole := waiting + processing; whole > 0 {
		data.WaitShare = int(100 * waiting / whole)
	}
	data.Labels = h.labels(meta, r.URL.Query().Get("backend"))
	if h.options.ShowTracebacks {
		data.Traceback = meta.Traceback
	}
	fields := h.shown(meta)
	data.Raw = indented(fields)
	for _, f := range fields {
		switch f.Key {
		case "result":
			data.Result = pretty(f.Value)
		case "args":
			data.Args = shownOr(f.Value)
		case "kwargs":
			data.Kwargs = shownOr(f.Value)
		}
	}
	if e, ok := errors.AsType[*celeryresults.TaskError](meta.Err()); ok && meta.State.Exception() {
		data.Type, data.Result = strings.TrimPrefix(e.Module+"."+e.Type, "."), e.Message()
	} else if tree, err := meta.Result.Any(); err != nil {
		data.Unreadable = true
	} else {
		data.Result, data.Type = pretty(tree), typeOf(tree)
	}
	events, status := "", http.StatusOK
	switch {
	case meta.Unknown:
		status = http.StatusNotFound
	case !meta.State.Ready():
		events = "../api/tasks/" + url.PathEscape(meta.TaskID) + "/events"
	}
	h.page.render(w, r, status, "task", common{Title: meta.TaskID, Root: "..", Events: events, Data: data})
	return nil
}

// labelLink is an entry of a task's metadata, with the parameters of a list of all tasks that
// have it.
type labelLink struct{ Name, Value, Query string }

// mostLabels is how many labels a page shows.
const mostLabels = 50

func (h *Handler) labels(meta *celeryresults.TaskMeta, backend string) (links []labelLink) {
	tree, err := meta.Meta.Any()
	if err != nil {
		return nil
	}
	pairs, _ := python.Pairs(h.redacted(tree))
	for _, pair := range pairs {
		text, ok := survey.Label(pair.Value)
		label, isText := pair.Key.(string)
		if !ok || !isText || len(links) == mostLabels {
			continue
		}
		query := url.Values{"label." + label: {text}}
		if backend != "" {
			query.Set("backend", backend)
		}
		links = append(links, labelLink{label, clipped(text), "?" + query.Encode()})
	}
	return links
}

func shownOr(v any) string {
	if v == nil {
		return ""
	}
	return pretty(v)
}

// typeOf returns Python's name for the type of a value.
func typeOf(tree any) string {
	switch tree.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case []byte:
		return "bytes"
	case []any:
		return "list"
	case python.Tuple:
		return "tuple"
	case map[string]any, python.Dict:
		return "dict"
	case time.Time, python.DateTime:
		return "datetime"
	}
	name := fmt.Sprintf("%T", tree)
	return name[strings.LastIndexByte(name, '.')+1:]
}

// indented is a record as JSON that people can read.
func indented(fields python.Dict) string {
	var out bytes.Buffer
	for i, f := range fields {
		separator := ",\n"
		if i == len(fields)-1 {
			separator = "\n"
		}
		value := string(python.JSON(nil, f.Value))
		if len(value) > mostShown {
			value = strings.ToValidUTF8(value[:mostShown], "") + "…"
		}
		fmt.Fprintf(&out, "  %s: %s%s", python.JSON(nil, f.Key), value, separator)
	}
	return visible("{\n" + out.String() + "}")
}

// visible shows what would be invisible, or turn text around.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !strconv.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// groupData is what a group's page has.
type groupData struct {
	ID       string
	Progress celeryresults.Progress
	Percent  int
	Rows     []row
	More     int // members that are not shown
	Parent   string
}

// mostMembers is how many members a group's page shows.
const mostMembers = 500

// groupPage is GET /groups/{id}.
func (h *Handler) groupPage(w http.ResponseWriter, r *http.Request) error {
	g, err := h.group(r)
	if err != nil {
		return err
	}
	data := groupData{ID: r.PathValue("id"), Progress: g.progress}
	if g.tuple.Parent != nil {
		data.Parent = g.tuple.Parent.ID
	}
	if total := g.progress.Total; total > 0 {
		data.Percent = 100 * g.progress.Ready / total
	}
	members := g.result.Results()
	if data.More = max(0, len(members)-mostMembers); data.More > 0 {
		members = members[:mostMembers]
	}
	ctx, cancel := withPatience(r)
	defer cancel()
	metas, err := celeryresults.NewResultSet(members...).Metas(ctx)
	if metas == nil && err != nil {
		return err
	}
	for i, meta := range metas {
		if meta == nil {
			data.Rows = append(data.Rows, row{ID: members[i].ID(), Brief: "can't be read"})
			continue
		}
		data.Rows = append(data.Rows, h.row(meta))
	}
	events := ""
	if g.progress.Ready < g.progress.Total {
		events = "../api/groups/" + url.PathEscape(data.ID) + "/events"
	}
	h.page.render(w, r, http.StatusOK, "group", common{Title: "Group " + data.ID, Root: "..", Events: events, Data: data})
	return nil
}

// forgetForm is POST /tasks/{id}/forget.
func (h *Handler) forgetForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.forget(r); err != nil {
		return err
	}
	target := "../../"
	if b := r.URL.Query().Get("backend"); b != "" {
		target += "?" + url.Values{"backend": {b}}.Encode()
	}
	redirect(w, target)
	return nil
}

// redirect leads to another page, by a relative address: the handler does not know what it
// is mounted under, and http.Redirect would make it absolute.
func redirect(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}
