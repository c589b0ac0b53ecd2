package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// heartbeat is how often a stream says that it is there, so that proxies leave it open.
const heartbeat = 15 * time.Second

// stream writes server-sent events. An event's id is the tag of its data: a client that
// comes back with the last one it has seen does not get that again, and misses none that
// came meanwhile and still stands.
type stream struct {
	w    http.ResponseWriter
	flow *http.ResponseController
	last string
}

func (h *Handler) stream(w http.ResponseWriter, r *http.Request) (*stream, context.Context, context.CancelFunc) {
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-store")
	head.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	longest := h.options.MaxWait
	if longest <= 0 {
		longest = streamWait
	}
	ctx, cancel := h.upTo(r, longest)
	s := &stream{w: w, flow: http.NewResponseController(w), last: r.Header.Get("Last-Event-ID")}
	_ = s.flow.SetWriteDeadline(time.Time{}) // the server may have one for all requests
	s.comment("here")
	return s, ctx, cancel
}

func (s *stream) comment(text string) {
	fmt.Fprintf(s.w, ": %s\n\n", text)
	_ = s.flow.Flush() // the client may have gone
}

// send sends an event unless it is the last one that the client has, and reports whether it
// did.
func (s *stream) send(name string, value any) bool {
	data := python.JSON(nil, value)
	id := tagOf(data)
	id = id[1 : len(id)-1]
	if id == s.last {
		return false
	}
	s.last = id
	fmt.Fprintf(s.w, "event: %s\nid: %s\ndata: %s\n\n", name, id, data)
	_ = s.flow.Flush() // the client may have gone
	return true
}

// end tells the client not to come back.
func (s *stream) end() {
	fmt.Fprint(s.w, "event: end\ndata: {}\n\n")
	_ = s.flow.Flush() // the client may have gone
}

// taskEvents is GET /api/tasks/{id}/events: an event state for every record, and end after
// the last one.
func (h *Handler) taskEvents(w http.ResponseWriter, r *http.Request) error {
	b, err := h.backend(r)
	if err != nil {
		return err
	}
	if _, err := h.meta(r); err != nil { // while there is a status to say so
		return err
	}
	s, ctx, cancel := h.stream(w, r)
	defer cancel()
	type change struct {
		meta *celeryresults.TaskMeta
		err  error
	}
	changes := make(chan change)
	go func() {
		defer close(changes)
		for meta, err := range celeryresults.NewAsyncResult(r.PathValue("id"), b).Watch(ctx) {
			select {
			case changes <- change{meta, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			s.comment("still here")
		case c, more := <-changes:
			if !more || c.err != nil {
				return nil // the client asks again
			}
			s.send("state", h.shown(c.meta))
			if c.meta.State.Ready() {
				s.end()
				return nil
			}
		}
	}
}

// The pauses between two looks at a group.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
)

// groupEvents is GET /api/groups/{id}/events: an event progress for every change of it, and
// end once all members are ready.
func (h *Handler) groupEvents(w http.ResponseWriter, r *http.Request) error {
	g, err := h.group(r)
	if err != nil {
		return err
	}
	s, ctx, cancel := h.stream(w, r)
	defer cancel()
	pause, quiet := firstLook, time.Now()
	for progress := g.progress; ; {
		if s.send("progress", progressOf(progress)) {
			pause, quiet = firstLook, time.Now()
		}
		if progress.Ready == progress.Total {
			s.end()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if time.Since(quiet) > heartbeat {
			quiet = time.Now()
			s.comment("still here")
		}
		pause = min(pause*3/2, lastLook)
		if progress, err = g.result.Progress(ctx); err != nil {
			return nil //nolint:nilerr // the client asks again
		}
	}
}
