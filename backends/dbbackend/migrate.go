package dbbackend

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// MigrateOptions say how Migrate goes about it. The zero value is fine.
type MigrateOptions struct {
	// TaskIDMaxLength (DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH) is the width of
	// the ids in tables that are made. Default: 255.
	TaskIDMaxLength int

	// Alter also adds columns and indexes of ours to tables that are there.
	// Default: false, which alters no table that Migrate did not make.
	Alter bool

	// DjangoMigrations also enters the migrations of django-celery-results as
	// done in django_migrations, so that a later manage.py migrate succeeds.
	DjangoMigrations bool

	// NotifyTrigger makes a trigger on the task table of PostgreSQL, so that rows
	// which Python writes wake those who wait in Go, as rows of Go do anyway. It is
	// errors.ErrUnsupported for the other databases. Default: false.
	NotifyTrigger bool

	// Engine is postgresql, mysql or sqlite, for drivers whose type does not
	// tell. Default: told by the driver.
	Engine string
}

// MigrateReport is what Migrate did and found.
type MigrateReport struct {
	Created []string // tables that were made
	Adopted []string // tables of django-celery-results that others made
	Altered []string // columns, as table.column, and indexes that were added

	// Missing are columns, as table.column, and tables that are not there: what
	// depends on them is not kept. MissingIndexes are ours that adopted tables lack:
	// some lists are slow without.
	Missing, MissingIndexes []string

	DjangoMigrations []string // that were entered in django_migrations
	Version          int      // of our schema
}

// Migrate makes the tables of django-celery-results, and a few of our own beside
// them, where they are missing, and adopts those that Django's migrations made.
// Several processes may call it at once.
func Migrate(ctx context.Context, db *sql.DB, o MigrateOptions) (MigrateReport, error) {
	d, err := dialectOf(db, o.Engine)
	if err != nil {
		return MigrateReport{}, fmt.Errorf("dbbackend: migrate: %w", err)
	}
	report, err := resultschema.Migrate(ctx, db, d, resultschema.Options{
		TaskIDMaxLength: o.TaskIDMaxLength, Alter: o.Alter, DjangoMigrations: o.DjangoMigrations,
	})
	if err == nil && o.NotifyTrigger {
		err = makeTrigger(ctx, sqldialect.NewDB(db, d))
	}
	if err != nil {
		return MigrateReport(report), fmt.Errorf("dbbackend: migrate: %w", err)
	}
	return MigrateReport(report), nil
}
