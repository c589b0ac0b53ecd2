package backends

import (
	"context"
	"errors"

	"github.com/celeryresults/celeryresults"
)

// ErrDisabled is returned by reads of the disabled backend, which is the
// default when CELERY_RESULT_BACKEND is not set.
var ErrDisabled = errors.New("celeryresults: no result backend is configured: set CELERY_RESULT_BACKEND")

// disabled keeps nothing, as celery.backends.base.DisabledBackend.
type disabled struct{}

func openDisabled(celeryresults.Settings) (celeryresults.Backend, error) { return disabled{}, nil }

func (disabled) StoreResult(ctx context.Context, _ *celeryresults.TaskMeta, _ ...celeryresults.StoreOption) error {
	return ctx.Err()
}

func (disabled) GetTaskMeta(context.Context, string) (*celeryresults.TaskMeta, error) {
	return nil, ErrDisabled
}

func (disabled) GetMany(context.Context, []string) ([]*celeryresults.TaskMeta, error) {
	return nil, ErrDisabled
}

// WaitFor implements celeryresults.Waiter: there is nothing to wait for.
func (disabled) WaitFor(context.Context, string) (*celeryresults.TaskMeta, error) {
	return nil, ErrDisabled
}

func (disabled) Forget(context.Context, ...string) error { return ErrDisabled }

func (disabled) Close() error { return nil }
