package observe

import (
	"context"
	"log/slog"
)

// Log returns an Observer that logs: what failed or can't be decoded as errors, results that
// were refused and operations that were tried again as warnings, and all else at debug
// level. It logs ids, names and states, and nothing of what results contain.
func Log(log *slog.Logger) Observer {
	return Func(func(ctx context.Context, e Event) {
		level := levelOf(e)
		if !log.Enabled(ctx, level) {
			return
		}
		attrs := []slog.Attr{
			slog.String("backend", e.Backend), slog.String("operation", string(e.Operation)), slog.Duration("duration", e.Duration),
		}
		switch len(e.TaskIDs) {
		case 0:
		case 1:
			attrs = append(attrs, slog.String("task_id", e.TaskIDs[0]))
		default:
			attrs = append(attrs, slog.Int("tasks", len(e.TaskIDs)))
		}
		if e.Task != "" {
			attrs = append(attrs, slog.String("task", e.Task))
		}
		if e.State != "" {
			attrs = append(attrs, slog.String("state", string(e.State)))
		}
		if e.Operation == Store {
			attrs = append(attrs, slog.String("outcome", e.Outcome.String()))
		}
		for _, n := range []struct {
			name  string
			value int64
		}{
			{"retries", int64(e.Retries)}, {"sent", e.Sent}, {"received", e.Received}, {"unknown", int64(e.Unknown)},
			{"expired", int64(e.Expired)}, {"undecodable", int64(e.Undecodable)},
		} {
			if n.value != 0 {
				attrs = append(attrs, slog.Int64(n.name, n.value))
			}
		}
		if e.Waited {
			attrs = append(attrs, slog.Duration("late", e.Late))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.Any("error", e.Err))
		}
		log.LogAttrs(ctx, level, "celery results", attrs...)
	})
}

func levelOf(e Event) slog.Level {
	switch {
	case e.Ended == Failed, e.Undecodable > 0:
		return slog.LevelError
	case e.Ended == Refused, e.Retries > 0:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
