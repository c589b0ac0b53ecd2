package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/survey"
	"github.com/celeryresults/celeryresults/python"
)

// queryOf reads the filters of a list.
func queryOf(values url.Values) (q celeryresults.Query, err error) {
	for name, list := range values {
		value := list[0]
		if len(list) > 1 && name != "state" {
			return q, refuse(http.StatusBadRequest, "%s is given twice", name)
		}
		if value == "" {
			continue // an empty field of a form
		}
		if err := setQuery(&q, name, value, list); err != nil {
			return q, err
		}
	}
	return q, nil
}

func setQuery(q *celeryresults.Query, name, value string, list []string) (err error) {
	if label, ok := strings.CutPrefix(name, "label."); ok {
		if q.Labels == nil {
			q.Labels = map[string]string{}
		}
		q.Labels[label] = value
		return nil
	}
	switch name {
	case "state":
		for _, state := range list {
			if state != "" {
				q.States = append(q.States, celeryresults.State(state))
			}
		}
	case "task":
		q.Task = value
	case "worker":
		q.Worker = value
	case "periodic_task":
		q.PeriodicTask = value
	case "group":
		q.GroupID = value
	case "created_from":
		q.CreatedFrom, err = instant(name, value)
	case "created_before":
		q.CreatedBefore, err = instant(name, value)
	case "done_from":
		q.DoneFrom, err = instant(name, value)
	case "done_before":
		q.DoneBefore, err = instant(name, value)
	case "order":
		switch value {
		case "created":
		case "done":
			q.Order = celeryresults.ByDone
		default:
			err = refuse(http.StatusBadRequest, "order is created or done")
		}
	case "limit":
		if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit < 1 || q.Limit > driver.MaxLimit {
			err = refuse(http.StatusBadRequest, "limit is a number from 1 to %d", driver.MaxLimit)
		}
	case "cursor":
		q.Cursor = value
	case "backend":
	default:
		err = refuse(http.StatusBadRequest, "unknown parameter %.40q", name)
	}
	return err
}

// instant reads a time: RFC 3339, a date, or what a field of a form gives, in UTC.
func instant(name, value string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if at, err := time.Parse(layout, value); err == nil {
			return at, nil
		}
	}
	return time.Time{}, refuse(http.StatusBadRequest, "%s is no time, such as 2026-11-26T12:00:00Z", name)
}

// list returns a page and, of a store without lists, what a look at its results has found
// instead.
func (h *Handler) list(r *http.Request) (*celeryresults.Page, *survey.Survey, error) {
	q, err := queryOf(r.URL.Query())
	if err != nil {
		return nil, nil, err
	}
	b, err := h.backend(r)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := withPatience(r)
	defer cancel()
	page, err := b.List(ctx, q)
	if !errors.Is(err, errors.ErrUnsupported) {
		return page, nil, err
	}
	survey, err := survey.Look(ctx, b, q, 0)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil, refuse(http.StatusNotImplemented, "this store does not show what lies in it; databases, redis and most caches do")
	}
	if err != nil {
		return nil, nil, err
	}
	return &celeryresults.Page{Results: survey.Results}, survey, nil
}

// listTasks is GET /api/tasks.
func (h *Handler) listTasks(w http.ResponseWriter, r *http.Request) error {
	page, survey, err := h.list(r)
	if err != nil {
		return err
	}
	results := make([]any, len(page.Results))
	for i, meta := range page.Results {
		results[i] = h.shown(meta)
	}
	var next any
	if page.Next != "" {
		next = page.Next
	}
	answer := python.Dict{{Key: "results", Value: results}, {Key: "next", Value: next}}
	if survey != nil {
		answer = append(answer, python.Pair{Key: "survey", Value: python.Dict{
			{Key: "looked_at", Value: survey.Looked}, {Key: "whole", Value: survey.Whole}, {Key: "more", Value: survey.More}, {Key: "unreadable", Value: survey.Unreadable},
		}})
	}
	return writeTagged(w, r, http.StatusOK, answer)
}

// writeTagged answers with a value and its tag, or that the client has it.
func writeTagged(w http.ResponseWriter, r *http.Request, status int, value any) error {
	body := append(python.JSON(nil, value), '\n')
	tag := tagOf(body)
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if status == http.StatusOK && matches(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone
	return nil
}

// waitOf reads how long a request wants to wait.
func (h *Handler) waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || seconds != seconds || seconds > 1e6 {
			return 0, refuse(http.StatusBadRequest, "wait is a duration, such as 30s")
		}
		wait = time.Duration(seconds * float64(time.Second))
	}
	if wait < 0 {
		return 0, refuse(http.StatusBadRequest, "wait is a duration, such as 30s")
	}
	longest := h.options.MaxWait
	if longest <= 0 {
		longest = defaultWait
	}
	return min(wait, longest), nil
}

// getTask is GET /api/tasks/{id}: 404 for a task that nobody knows, 410 for one whose result
// has expired or was forgotten, as far as the store tells. With wait it answers when the task
// is ready, or after that time with what there is.
func (h *Handler) getTask(w http.ResponseWriter, r *http.Request) error {
	wait, err := h.waitOf(r)
	if err != nil {
		return err
	}
	b, err := h.backend(r)
	if err != nil {
		return err
	}
	var meta *celeryresults.TaskMeta
	if wait > 0 {
		ctx, cancel := h.upTo(r, wait)
		defer cancel()
		meta, err = readable(celeryresults.NewAsyncResult(r.PathValue("id"), b).Wait(ctx))
		if err != nil && ctx.Err() != nil && r.Context().Err() == nil {
			meta, err = nil, nil
		}
	}
	if err == nil && meta == nil {
		meta, err = h.meta(r)
	}
	if err != nil {
		return err
	}
	status := http.StatusOK
	switch {
	case meta.Expired:
		status = http.StatusGone
	case meta.Unknown:
		status = http.StatusNotFound
	}
	return writeTagged(w, r, status, h.shown(meta))
}

// forgetTask is DELETE /api/tasks/{id}.
func (h *Handler) forgetTask(w http.ResponseWriter, r *http.Request) error {
	if err := h.forget(r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *Handler) forget(r *http.Request) error {
	b, err := h.backend(r)
	if err != nil {
		return err
	}
	ctx, cancel := withPatience(r)
	defer cancel()
	return b.Forget(ctx, r.PathValue("id"))
}

// group returns a group, its members' records and its progress.
func (h *Handler) group(r *http.Request) (*groupState, error) {
	b, err := h.backend(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := withPatience(r)
	defer cancel()
	tuple, err := b.RestoreGroup(ctx, r.PathValue("id"))
	if _, bad := errors.AsType[*celeryresults.UnreadableError](err); bad {
		return nil, refuse(http.StatusUnprocessableEntity, "this group can't be read")
	}
	if err != nil {
		return nil, err
	}
	g := &groupState{result: celeryresults.GroupFromTuple(tuple, b), tuple: tuple}
	g.progress, err = g.result.Progress(ctx)
	return g, err
}

type groupState struct {
	result   *celeryresults.GroupResult
	tuple    celeryresults.ResultTuple
	progress celeryresults.Progress
}

// progressOf returns a progress in JSON.
func progressOf(p celeryresults.Progress) python.Dict {
	return python.Dict{
		{Key: "total", Value: p.Total}, {Key: "unknown", Value: p.Unknown}, {Key: "queued", Value: p.Queued}, {Key: "running", Value: p.Running},
		{Key: "ready", Value: p.Ready}, {Key: "expired", Value: p.Expired}, {Key: "successful", Value: p.Successful}, {Key: "failed", Value: p.Failed}, {Key: "revoked", Value: p.Revoked},
	}
}

// getGroup is GET /api/groups/{id}.
func (h *Handler) getGroup(w http.ResponseWriter, r *http.Request) error {
	g, err := h.group(r)
	if err != nil {
		return err
	}
	var members []any
	for _, member := range g.result.Results() {
		members = append(members, member.ID())
	}
	return writeTagged(w, r, http.StatusOK, python.Dict{
		{Key: "group_id", Value: r.PathValue("id")}, {Key: "progress", Value: progressOf(g.progress)}, {Key: "members", Value: members},
	})
}
