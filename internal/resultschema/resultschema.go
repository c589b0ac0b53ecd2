// Package resultschema makes and describes the SQL tables in which results are
// kept. There are two lists of them, each a [Schema]: [Django] are the three of
// django-celery-results, for tasks, groups and chords, and a few beside them that
// Python does not read; [Celery] returns the two of Celery's own database backend.
//
// Schema.Migrate makes what is missing. Tables that Python made are adopted as they
// are: programs in Go and in Python then share them. Schema.Inspect says what is
// there, so that statements name only columns that exist. The package imports no
// driver.
package resultschema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// The tables. The first three are django-celery-results' own.
const (
	TaskTable         = "django_celery_results_taskresult"
	GroupTable        = "django_celery_results_groupresult"
	ChordCounterTable = "django_celery_results_chordcounter"

	// LabelTable holds names and values by which results are found.
	LabelTable = "celeryresults_label"

	// ChordTable holds what is to be called when all members of a chord are
	// ready, and ChordMemberTable which of them have reported.
	ChordTable       = "celeryresults_chord"
	ChordMemberTable = "celeryresults_chordmember"

	// VersionTable says for each table which version of the schema it has,
	// since when, and whether this package made it.
	VersionTable = "celeryresults_schema"
)

// Version is the version of the schema that this package makes.
const Version = 1

// DefaultTaskIDMaxLength is the width of ids that Django uses, too.
const DefaultTaskIDMaxLength = 255

// longestMySQLID is how wide an id may be so that two of them fit into an
// index of MySQL, of at most 3072 bytes.
const longestMySQLID = 384

// ErrTooNew is returned for tables that a later version of this package has
// migrated. The program must be updated.
var ErrTooNew = errors.New("the tables have a newer schema than this program knows: update the program")

// ErrIncomplete is returned when Options.DjangoMigrations would say that work
// is done which is not: columns of Django's are missing.
var ErrIncomplete = errors.New("the migrations of django-celery-results can't be entered as done")

// Options say how far Migrate may go. The zero value makes what is missing and
// changes nothing that others made.
type Options struct {
	// TaskIDMaxLength (DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH) is the width of
	// ids, and as in Django of task names, in Django's tables that are made now.
	// Tables that are there keep theirs. MySQL takes 384 at most. Default: 255.
	TaskIDMaxLength int

	// Alter also adds columns and indexes to tables that others made.
	//
	// To Celery's own tables it adds the columns that those of older releases of
	// Celery lack, and those of result_extended. Celery from 5.7 on then reads and
	// writes results in result_serializer, and older releases can't read what Go
	// writes.
	//
	// To Django's tables it adds the column and the indexes of our own, and the
	// nullable columns that a later django-celery-results has. Where django_migrations lists its migrations,
	// the one that would add such a column is entered there as done, so that a
	// later manage.py migrate does not add it again. Building an index on a
	// large table keeps writers waiting meanwhile. Default: false.
	//
	// On SQLite a migration of Django may replace a table by a new one, without
	// what is ours and even if Migrate had made it. It then is Django's: call
	// Migrate with Alter again.
	Alter bool

	// DjangoMigrations also enters the migrations of django-celery-results in
	// django_migrations, which is made if need be, so that a later manage.py
	// migrate finds its work done. Where Django has listed some itself, nothing is
	// entered. It is ErrIncomplete if a table lacks a column of Django's. Default:
	// false; then manage.py migrate fails on the tables that Migrate made.
	DjangoMigrations bool

	// NotifyTrigger makes a trigger on Django's task table in PostgreSQL, so that rows
	// which Python writes wake those who wait in Go, as rows of Go do anyway. It is
	// errors.ErrUnsupported for the other databases. Default: false. Package dbbackend
	// does it.
	NotifyTrigger bool

	// Engine is postgresql, mysql or sqlite, for drivers whose type does not
	// tell. Default: told by the driver.
	Engine string
}

// Report is what Migrate did, and what it found.
type Report struct {
	// Created are the tables that this call made.
	Created []string

	// Adopted are the tables of django-celery-results that others made. They
	// are used as they are. Celery's own are not told apart.
	Adopted []string

	// Altered are the columns, as table.column, and the indexes that this call
	// added to tables that were there.
	Altered []string

	// Missing are the columns that adopted tables lack, as table.column, and the
	// tables that Django's migrations have yet to make: what depends on them is
	// not stored. Options.Alter adds the columns that can be added.
	Missing []string

	// MissingIndexes are those of our indexes that adopted tables lack: some
	// lists are slow without. Options.Alter adds them.
	MissingIndexes []string

	// DjangoMigrations are the migrations that this call entered in
	// django_migrations.
	DjangoMigrations []string

	// Version is the version that Django's schema now has.
	Version int
}

// Migrate makes the tables that are missing and records the version of Django's schema.
// It never alters a table that it did not make, unless told to, and makes none
// that the migrations listed in django_migrations have to make. When nothing
// is to be done it writes nothing and takes no lock.
//
// Several processes may call it at the same time: one works, the others wait
// until it is done or their context over. PostgreSQL and SQLite keep all or
// nothing of a call that was interrupted; on MySQL, which commits every table
// by itself, the next call goes on where it ended. On PostgreSQL the tables
// are found as statements find them, by the search_path, and made in its first
// schema.
func (s *Schema) Migrate(ctx context.Context, db *sql.DB, d *sqldialect.Dialect, o Options) (Report, error) {
	m, err := s.newMigration(d, o)
	if err != nil {
		return Report{}, fmt.Errorf("resultschema: migrate: %w", err)
	}
	p, err := m.migrate(ctx, db)
	if sqldialect.Classify(err) == sqldialect.Conflict { // Django's migrate at the same time
		p, err = m.migrate(ctx, db)
	}
	if err != nil {
		return Report{}, fmt.Errorf("resultschema: migrate: %w", err)
	}
	return p.report, nil
}

// migration is one call of Migrate.
type migration struct {
	schema  *Schema
	dialect *sqldialect.Dialect
	options Options
}

func (s *Schema) newMigration(d *sqldialect.Dialect, o Options) (migration, error) {
	if o.TaskIDMaxLength == 0 {
		o.TaskIDMaxLength = DefaultTaskIDMaxLength
	}
	switch {
	case o.TaskIDMaxLength < 0:
		return migration{}, fmt.Errorf("TaskIDMaxLength is negative: %d", o.TaskIDMaxLength)
	case d == sqldialect.MySQL && o.TaskIDMaxLength > longestMySQLID:
		return migration{}, fmt.Errorf("TaskIDMaxLength is %d, MySQL takes %d at most", o.TaskIDMaxLength, longestMySQLID)
	}
	return migration{s, d, o}, nil
}

func (m migration) migrate(ctx context.Context, db *sql.DB) (plan, error) {
	var p plan
	err := sqldialect.Retry(ctx, sqldialect.Repeatable, func() error {
		var err error
		if p, err = m.plan(ctx, db); err != nil || len(p.statements) == 0 {
			return err
		}
		return locked(ctx, db, m.dialect, func(s session) error {
			if p, err = m.plan(ctx, s); err != nil {
				return err
			}
			return m.run(ctx, s, p.statements)
		})
	})
	return p, err
}

func (m migration) run(ctx context.Context, s session, statements []statement) error {
	for _, st := range statements {
		q := m.dialect.Rebind(st.text)
		if _, err := s.ExecContext(ctx, q.Text, q.Args(st.args...)...); err != nil {
			return fmt.Errorf("%s: %w", st.what, err)
		}
	}
	return nil
}
