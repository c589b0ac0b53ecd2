package dbbackend

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// MigrateOptions say how Migrate goes about it. The zero value is fine.
type MigrateOptions = resultschema.Options

// MigrateReport is what Migrate did and found.
type MigrateReport = resultschema.Report

// Migrate makes the tables of django-celery-results, and a few of our own beside
// them, where they are missing, and adopts those that Django's migrations made.
// Several processes may call it at once.
func Migrate(ctx context.Context, db *sql.DB, o MigrateOptions) (MigrateReport, error) {
	d, err := dialectOf(db, o.Engine)
	if err != nil {
		return MigrateReport{}, fmt.Errorf("dbbackend: migrate: %w", err)
	}
	report, err := resultschema.Django.Migrate(ctx, db, d, o)
	if err == nil && o.NotifyTrigger {
		err = makeTrigger(ctx, sqldialect.NewDB(db, d))
	}
	if err != nil {
		err = fmt.Errorf("dbbackend: migrate: %w", err)
	}
	return report, err
}
