package backends

import (
	"context"
	"errors"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
)

// ErrDisabled is returned by reads of the disabled backend, which is the
// default when CELERY_RESULT_BACKEND is not set.
var ErrDisabled = errors.New("celeryresults: no result backend is configured: set CELERY_RESULT_BACKEND")

// disabled keeps nothing, as celery.backends.base.DisabledBackend: what is stored is gone,
// and what is asked is ErrDisabled.
type disabled struct{}

func openDisabled(s celeryresults.Settings) (*celeryresults.Backend, error) {
	return celeryresults.NewBackend(disabled{}, disabled{}, s, nil)
}

// Traits implements driver.Store.
func (disabled) Traits() driver.Traits { return driver.Traits{Name: "disabled", KeepsExpired: true} }

// Put implements driver.Store.
func (disabled) Put(_ context.Context, writes []*driver.Write) {
	for _, w := range writes {
		w.Answer = driver.Answer{Outcome: driver.Stored}
	}
}

// Get implements driver.Store.
func (disabled) Get(context.Context, driver.Kind, []driver.Record, driver.How) error {
	return ErrDisabled
}

// Delete implements driver.Store.
func (disabled) Delete(context.Context, driver.Kind, []string) error { return ErrDisabled }

// Close implements driver.Store.
func (disabled) Close() error { return nil }

// Encode implements celeryresults.Encoding.
func (disabled) Encode(context.Context, *celeryresults.TaskMeta, *driver.Write) error { return nil }

// Decode implements celeryresults.Encoding.
func (disabled) Decode(*driver.Record) (*celeryresults.TaskMeta, error) { return nil, ErrDisabled }

// State implements celeryresults.Encoding.
func (disabled) State(*driver.Record) (celeryresults.State, error) { return "", ErrDisabled }

// EncodeGroup implements celeryresults.Encoding.
func (disabled) EncodeGroup(context.Context, celeryresults.ResultTuple, *driver.Write) error {
	return nil
}

// DecodeGroup implements celeryresults.Encoding.
func (disabled) DecodeGroup(*driver.Record) (celeryresults.ResultTuple, error) {
	return celeryresults.ResultTuple{}, ErrDisabled
}

// EncodeValue implements celeryresults.Encoding.
func (disabled) EncodeValue(celeryresults.Value) (string, []byte, error) { return "", nil, nil }

// DecodeValue implements celeryresults.Encoding.
func (disabled) DecodeValue(string, []byte) (celeryresults.Value, error) {
	return celeryresults.Value{}, ErrDisabled
}
