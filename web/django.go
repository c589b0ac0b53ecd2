package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// The views of django_celery_results.views. Django answers unknown groups, and results
// that its JSON can't hold, with an error of the server; these are answered here.

// mostRepr is how much of an exception is shown.
const mostRepr = 64 << 10

func (h *Handler) meta(r *http.Request) (*celeryresults.TaskMeta, error) {
	ctx, cancel := withPatience(r)
	defer cancel()
	b, err := h.backend(r)
	if err != nil {
		return nil, err
	}
	return readable(b.GetTaskMeta(ctx, r.PathValue("id")))
}

// readable returns a record that nobody can read as one that failed to be read.
func readable(meta *celeryresults.TaskMeta, err error) (*celeryresults.TaskMeta, error) {
	if _, ok := errors.AsType[*celeryresults.UnreadableError](err); ok {
		return nil, refuse(http.StatusUnprocessableEntity, "this record can't be read")
	}
	return meta, err
}

// known is 404 for what nobody knows, where that is wanted.
func (h *Handler) known(meta *celeryresults.TaskMeta) error {
	if h.options.UnknownIs404 && meta.Unknown {
		return refuse(http.StatusNotFound, "nobody knows this task")
	}
	return nil
}

// taskDone is is_task_successful.
func (h *Handler) taskDone(w http.ResponseWriter, r *http.Request) error {
	meta, err := h.meta(r)
	if err == nil {
		err = h.known(meta)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, python.Dict{{Key: "task", Value: python.Dict{
		{Key: "id", Value: r.PathValue("id")}, {Key: "executed", Value: meta.State == celeryresults.Success},
	}}})
	return nil
}

// taskStatus is task_status.
func (h *Handler) taskStatus(w http.ResponseWriter, r *http.Request) error {
	meta, err := h.meta(r)
	if err == nil {
		err = h.known(meta)
	}
	if err != nil {
		return err
	}
	task := python.Dict{{Key: "id", Value: r.PathValue("id")}, {Key: "status", Value: string(meta.State)}, {Key: "result", Value: django(meta)}}
	if meta.State.Exception() {
		class, traceback := "", any(nil)
		if e, ok := errors.AsType[*celeryresults.TaskError](meta.Err()); ok {
			class = e.Type
			if e.Module != "" {
				class = e.Module + "." + e.Type
			}
		}
		if h.options.ShowTracebacks && meta.Traceback != "" {
			traceback = meta.Traceback
		}
		task = append(task, python.Pair{Key: "exc", Value: class}, python.Pair{Key: "traceback", Value: traceback})
	}
	writeJSON(w, http.StatusOK, python.Dict{{Key: "task", Value: task}})
	return nil
}

// members returns the results of a group's members, none for a group that is unknown. A
// member that is a group has all of its tasks.
func (h *Handler) members(r *http.Request) (tuples []celeryresults.ResultTuple, metas map[string]*celeryresults.TaskMeta, err error) {
	ctx, cancel := withPatience(r)
	defer cancel()
	b, err := h.backend(r)
	if err != nil {
		return nil, nil, err
	}
	group, err := b.RestoreGroup(ctx, r.PathValue("id"))
	if _, bad := errors.AsType[*celeryresults.UnreadableError](err); bad || errors.Is(err, celeryresults.ErrUnknownGroup) {
		if h.options.UnknownIs404 {
			return nil, nil, refuse(http.StatusNotFound, "nobody knows this group")
		}
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	metas, err = metasOf(ctx, b, group.Children)
	return group.Children, metas, err
}

// metasOf returns the records of all tasks in groups; those that can't be read are nil.
func metasOf(ctx context.Context, b *celeryresults.Backend, tuples []celeryresults.ResultTuple) (map[string]*celeryresults.TaskMeta, error) {
	var ids []string
	var collect func([]celeryresults.ResultTuple)
	collect = func(list []celeryresults.ResultTuple) {
		for _, t := range list {
			if t.Children != nil {
				collect(t.Children)
			} else if t.ID != "" {
				ids = append(ids, t.ID)
			}
		}
	}
	collect(tuples)
	found := make(map[string]*celeryresults.TaskMeta, len(ids))
	metas, err := b.GetMany(ctx, ids)
	if metas == nil && err != nil {
		return nil, err
	}
	for i, meta := range metas {
		found[ids[i]] = meta
	}
	return found, nil
}

// stateOf returns the state of a member: of a group SUCCESS when all of it is.
func stateOf(t celeryresults.ResultTuple, metas map[string]*celeryresults.TaskMeta) celeryresults.State {
	if t.Children == nil {
		if meta := metas[t.ID]; meta != nil {
			return meta.State
		}
		return celeryresults.Pending
	}
	for _, child := range t.Children {
		if state := stateOf(child, metas); state != celeryresults.Success {
			return state
		}
	}
	return celeryresults.Success
}

// groupDone is is_group_successful.
func (h *Handler) groupDone(w http.ResponseWriter, r *http.Request) error {
	tuples, metas, err := h.members(r)
	if err != nil {
		return err
	}
	results := make([]any, len(tuples))
	for i, t := range tuples {
		results[i] = python.Dict{{Key: "id", Value: t.ID}, {Key: "executed", Value: stateOf(t, metas) == celeryresults.Success}}
	}
	writeJSON(w, http.StatusOK, python.Dict{{Key: "group", Value: python.Dict{{Key: "id", Value: r.PathValue("id")}, {Key: "results", Value: results}}}})
	return nil
}

// groupStatus is group_status.
func (h *Handler) groupStatus(w http.ResponseWriter, r *http.Request) error {
	tuples, metas, err := h.members(r)
	if err != nil {
		return err
	}
	results := make([]any, len(tuples))
	for i, t := range tuples {
		var result any
		if meta := metas[t.ID]; meta != nil {
			result = django(meta)
		}
		results[i] = python.Dict{{Key: "result", Value: result}, {Key: "status", Value: string(stateOf(t, metas))}}
	}
	writeJSON(w, http.StatusOK, python.Dict{{Key: "group", Value: python.Dict{{Key: "id", Value: r.PathValue("id")}, {Key: "results", Value: results}}}})
	return nil
}

// django returns a result as Django's JsonResponse writes it: an exception as its repr,
// and values as DjangoJSONEncoder does. What that refuses is written as everywhere here.
func django(meta *celeryresults.TaskMeta) any {
	if meta.State.Exception() {
		e, ok := errors.AsType[*celeryresults.TaskError](meta.Err())
		if !ok {
			return nil
		}
		return python.Repr(&python.Object{Class: python.Class{Module: e.Module, Name: e.Type}, Args: python.Tuple(e.Args)}, mostRepr)
	}
	tree, err := meta.Result.Any()
	if err != nil {
		return nil
	}
	return encoded(tree, 0)
}

// encoded follows django.core.serializers.json.DjangoJSONEncoder: times have milliseconds,
// and UTC is a Z.
func encoded(tree any, depth int) any {
	if depth > 500 {
		return "..."
	}
	list := func(items []any) any {
		out := make([]any, len(items))
		for i, item := range items {
			out[i] = encoded(item, depth+1)
		}
		return out
	}
	switch t := tree.(type) {
	case []any:
		return list(t)
	case python.Tuple:
		return list(t)
	case map[string]any:
		out := make(map[string]any, len(t))
		for name, value := range t {
			out[name] = encoded(value, depth+1)
		}
		return out
	case python.Dict:
		out := make(python.Dict, len(t))
		for i, pair := range t {
			out[i] = python.Pair{Key: pair.Key, Value: encoded(pair.Value, depth+1)}
		}
		return out
	case time.Time, python.DateTime, python.Time:
		text := strings.Trim(string(python.JSON(nil, tree)), `"`)
		if dot := strings.IndexByte(text, '.'); dot >= 0 && len(text) >= dot+7 {
			text = text[:dot+4] + text[dot+7:]
		}
		if zoneless, ok := strings.CutSuffix(text, "+00:00"); ok {
			text = zoneless + "Z"
		}
		return text
	case python.Timedelta:
		if d, ok := t.Duration(); ok {
			return isoDuration(d)
		}
	}
	return tree
}

// isoDuration follows django.utils.duration.duration_iso_string.
func isoDuration(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	days, d := d/(24*time.Hour), d%(24*time.Hour)
	text := fmt.Sprintf("%sP%dDT%02dH%02dM%02d", sign, days, d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
	if micro := d % time.Second / time.Microsecond; micro > 0 {
		text += fmt.Sprintf(".%06d", micro)
	}
	return text + "S"
}
