package resultschema

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// statement is one of a plan, with parameters as sqldialect.Rebind takes them.
type statement struct {
	what string // it does, for errors
	text string
	args []any
}

// plan is what Migrate will do, and what it then reports.
type plan struct {
	report     Report
	statements []statement
}

func (p *plan) do(statements ...statement) { p.statements = append(p.statements, statements...) }

// found is what a database has.
type found struct {
	tables  Tables
	records map[string]record // in VersionTable, by table
	listed  map[string]bool   // migrations of django-celery-results
	now     any               // the time, as a parameter
}

// record is a row of VersionTable.
type record struct {
	version  int
	madeHere bool
}

// plan compares what is there with the definitions.
func (m migration) plan(ctx context.Context, s session) (plan, error) {
	f, err := m.find(ctx, s)
	if err != nil {
		return plan{}, err
	}
	var p plan
	for _, t := range m.schema.tables {
		if err := m.planTable(&p, f, t); err != nil {
			return plan{}, err
		}
	}
	if m.schema != Django {
		return p, nil
	}
	p.report.Version = Version
	return p, m.planDjango(&p, f)
}

func (m migration) find(ctx context.Context, s session) (found, error) {
	f := found{now: m.dialect.Time(time.Now())}
	var err error
	if f.tables, err = m.schema.inspect(ctx, s, m.dialect); err != nil {
		return found{}, err
	}
	if f.records, err = readRecords(ctx, s, f.tables); err != nil {
		return found{}, err
	}
	f.listed, err = m.readListed(ctx, s, f.tables)
	return f, err
}

func readRecords(ctx context.Context, s session, tables Tables) (map[string]record, error) {
	if !tables.Has(VersionTable) {
		return nil, nil
	}
	rows, err := s.QueryContext(ctx, `SELECT name, version, made_here FROM `+VersionTable)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	records := map[string]record{}
	for rows.Next() {
		var name string
		var r record
		if err := rows.Scan(&name, &r.version, &r.madeHere); err != nil {
			return nil, err
		}
		if r.version > Version {
			return nil, fmt.Errorf("%w (version %d, known is %d)", ErrTooNew, r.version, Version)
		}
		records[name] = r
	}
	return records, rows.Err()
}

// planTable creates, completes or adopts a table, and records which.
func (m migration) planTable(p *plan, f found, t definition) error {
	there := f.tables.Has(t.name)
	madeHere := f.tables.MadeHere(t.name)
	switch {
	case !there && t.djangos() && len(f.listed) > 0 && !f.records[t.name].madeHere:
		p.report.Missing = append(p.report.Missing, t.name) // Django's migrations are to make it
		return nil
	case !there:
		p.do(m.create(t)...)
		p.report.Created = append(p.report.Created, t.name)
		madeHere = true
	case m.schema != Django:
		if err := t.verify(f.tables); err != nil {
			return err
		}
		m.complete(p, f, t, m.options.Alter)
	case madeHere:
		if err := t.verify(f.tables); err != nil {
			return err
		}
		m.complete(p, f, t, true)
	default:
		p.report.Adopted = append(p.report.Adopted, t.name)
		m.complete(p, f, t, m.options.Alter)
	}
	if want := (record{Version, madeHere}); m.schema == Django && f.records[t.name] != want {
		p.do(m.write(f, t.name, want))
	}
	return nil
}

// verify refuses a stranger's table that has a name of ours.
func (t definition) verify(tables Tables) error {
	for _, c := range t.columns {
		if (c.must || !c.null) && tables.Has(t.name) && !tables.Has(t.name, c.name) {
			return fmt.Errorf("the table %s has no column %s: it is another program's", t.name, c.name)
		}
	}
	return nil
}

// write records a table. An UPDATE that finds no row would be no error, so the
// statement depends on what was found; nobody else writes meanwhile.
func (m migration) write(f found, table string, r record) statement {
	made := 0
	if r.madeHere {
		made = 1
	}
	text := `UPDATE ` + VersionTable + ` SET version = $1, made_here = $2, date_applied = $3 WHERE name = $4`
	if _, ok := f.records[table]; !ok {
		text = `INSERT INTO ` + VersionTable + ` (version, made_here, date_applied, name) VALUES ($1, $2, $3, $4)`
	}
	return statement{"record " + table, text, []any{r.version, made, f.now, table}}
}

// complete adds the columns and indexes that a table lacks, if that is allowed,
// and reports them.
func (m migration) complete(p *plan, f found, t definition, allowed bool) {
	absent := map[string]bool{}
	for _, c := range t.columns {
		if f.tables.Has(t.name, c.name) || c.later && !allowed {
			continue
		}
		if allowed && c.null && m.mayAdd(p, f, c) {
			p.do(m.addColumn(t, c))
			p.report.Altered = append(p.report.Altered, t.name+"."+c.name)
			continue
		}
		absent[c.name] = true
		p.report.Missing = append(p.report.Missing, t.name+"."+c.name)
	}
	for _, i := range t.indexes {
		m.completeIndex(p, f, t, i, allowed && !slices.ContainsFunc(strings.Split(i.columns, ", "), func(c string) bool { return absent[c] }))
	}
}

func (m migration) completeIndex(p *plan, f found, t definition, i index, allowed bool) {
	switch {
	case f.tables[t.name].Indexes[i.name]:
	case allowed:
		p.do(m.createIndex(t, i))
		p.report.Altered = append(p.report.Altered, i.name)
	default:
		p.report.MissingIndexes = append(p.report.MissingIndexes, i.name)
	}
}
