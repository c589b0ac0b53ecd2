package drivertest

import (
	"context"
	"errors"

	"github.com/celeryresults/celeryresults/driver"
)

// hanging is a store whose server never answers.
type hanging struct{}

func (hanging) Traits() driver.Traits { return driver.Traits{Name: "hanging", PutMost: 256} }

func (hanging) Put(ctx context.Context, writes []*driver.Write) {
	<-ctx.Done()
	for _, w := range writes {
		w.Answer = driver.Answer{Err: ctx.Err()}
	}
}

func (hanging) Get(ctx context.Context, _ driver.Kind, _ []driver.Record, _ driver.How) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) Delete(ctx context.Context, _ driver.Kind, _ []string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) Close() error { return nil }

// absent is a store whose server is not there.
type absent struct{ hanging }

var errRefused = errors.New("connection refused")

func (absent) Put(_ context.Context, writes []*driver.Write) {
	for _, w := range writes {
		w.Answer = driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: errRefused}}
	}
}

func (absent) Get(context.Context, driver.Kind, []driver.Record, driver.How) error {
	return &driver.Again{Err: errRefused}
}

func (absent) Delete(context.Context, driver.Kind, []string) error {
	return &driver.Again{Err: errRefused}
}
