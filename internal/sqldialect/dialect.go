// Package sqldialect holds what differs between PostgreSQL, MySQL (and
// MariaDB) and SQLite, for the packages that keep data in SQL tables.
//
// Statements stand as text beside the method that runs them, with their
// parameters written $1, $2…; a [Dialect] supplies the few phrases that differ,
// binds and scans times as Django's tables want them, and [Classify] sorts
// errors. The package imports no driver: [ForDriver] recognises one and [Open]
// asks database/sql for it.
package sqldialect

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialect is one of [PostgreSQL], [MySQL] and [SQLite], which can be compared.
// It never changes, so it is safe for concurrent use.
type Dialect struct {
	name      string
	quote     string
	longest   int  // of an identifier's part, in characters
	numbered  byte // before a parameter's number; 0 when parameters have none
	upsert    string
	newValue  string // of a column in an upsert, a format
	sameBytes string // column and parameter compared byte by byte, a format
}

// The three dialects.
var (
	PostgreSQL = &Dialect{
		name: "postgresql", quote: `"`, longest: 63, numbered: '$',
		upsert: "ON CONFLICT (%s) DO UPDATE SET ", newValue: "%[1]s = excluded.%[1]s",
		sameBytes: "%s = %s",
	}
	MySQL = &Dialect{
		name: "mysql", quote: "`", longest: 64,
		upsert: "ON DUPLICATE KEY UPDATE ", newValue: "%[1]s = VALUES(%[1]s)",
		sameBytes: "CAST(%s AS BINARY) = CAST(%s AS BINARY)",
	}
	SQLite = &Dialect{
		name: "sqlite", quote: `"`, longest: 255, numbered: '?',
		upsert: "ON CONFLICT (%s) DO UPDATE SET ", newValue: "%[1]s = excluded.%[1]s",
		sameBytes: "%s = %s",
	}
)

// byName finds a dialect by the name that cache.DatabaseEngine gives.
func byName(name string) (*Dialect, bool) {
	for _, d := range []*Dialect{PostgreSQL, MySQL, SQLite} {
		if d.name == name {
			return d, true
		}
	}
	return nil, false
}

// Name returns postgresql, mysql or sqlite.
func (d *Dialect) Name() string { return d.name }

// QuoteIdent returns a table or column name quoted for a statement. The name
// may have a schema (in MySQL a database) in front, separated by a dot. It
// returns an error unless both consist of ASCII letters, digits and
// underscores and are no longer than the database allows, so that no name can
// change the meaning of a statement.
func (d *Dialect) QuoteIdent(name string) (string, error) {
	parts := strings.Split(name, ".")
	if len(parts) > 2 {
		return "", fmt.Errorf("sqldialect: name %q has more than one dot", shown(name))
	}
	for i, part := range parts {
		if err := d.checkIdent(part); err != nil {
			return "", fmt.Errorf("sqldialect: name %q: %w", shown(name), err)
		}
		parts[i] = d.quote + part + d.quote
	}
	return strings.Join(parts, "."), nil
}

// shown hides what may be the password of a URL in the wrong place.
func shown(name string) string {
	if i := strings.LastIndex(name, "@"); i >= 0 {
		return "**" + name[i:]
	}
	return name
}

func (d *Dialect) checkIdent(part string) error {
	switch {
	case part == "":
		return fmt.Errorf("a part is empty")
	case len(part) > d.longest:
		return fmt.Errorf("%d characters, %s allows %d", len(part), d.name, d.longest)
	case strings.ContainsFunc(part, notInIdent):
		return fmt.Errorf("only letters, digits, underscores and one dot are allowed")
	}
	return nil
}

func notInIdent(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// Upsert returns the clause that turns an INSERT whose key is taken into an
// update of the columns to the values that were to be inserted. All names are
// given as they stand in the statement. On MySQL the key column is updated,
// too: its collation may have taken another spelling for the same key.
func (d *Dialect) Upsert(key string, columns ...string) string {
	clause := d.upsert
	if d == MySQL {
		columns = append([]string{key}, columns...)
	} else {
		clause = fmt.Sprintf(clause, key)
	}
	assignments := make([]string, len(columns))
	for i, column := range columns {
		assignments[i] = fmt.Sprintf(d.newValue, column)
	}
	return clause + strings.Join(assignments, ", ")
}

// Same returns the condition that a text column holds exactly the parameter,
// byte by byte. The collation of Django's tables on MySQL takes "a" for "A" and
// ignores trailing spaces; there the condition uses no index.
func (d *Dialect) Same(column, parameter string) string {
	return fmt.Sprintf(d.sameBytes, column, parameter)
}

// SameKey is Same for an indexed column, whose index is used.
func (d *Dialect) SameKey(column, parameter string) string {
	same := d.Same(column, parameter)
	if d == MySQL {
		return column + " = " + parameter + " AND " + same
	}
	return same
}

// Query is a statement in the text of one database. Make one with
// [Dialect.Rebind]; it never changes.
type Query struct {
	// Text is what the driver gets.
	Text string

	order []int // the parameter behind each ?, in MySQL
	keep  bool  // to be kept prepared
}

// Kept returns the query marked as one of a few that are used all the time: a
// [DB] keeps it prepared where that is worth it.
func (q Query) Kept() Query {
	q.keep = true
	return q
}

// Args returns the arguments in the order that Text wants: as often as it names
// them. It may return args itself.
func (q Query) Args(args ...any) []any {
	if q.order == nil {
		return args
	}
	ordered := make([]any, len(q.order))
	for i, n := range q.order {
		ordered[i] = args[n-1]
	}
	return ordered
}

// Rebind translates a statement whose parameters are written $1, $2… in any
// order and as often as needed. It must use every number from 1 to the highest
// one, and hold no dollar sign for anything else.
func (d *Dialect) Rebind(statement string) Query {
	var text strings.Builder
	order := []int{}
	for {
		before, after, found := strings.Cut(statement, "$")
		text.WriteString(before)
		if !found {
			break
		}
		digits := len(after) - len(strings.TrimLeft(after, "0123456789"))
		n, _ := strconv.Atoi(after[:digits])
		order = append(order, n)
		text.WriteString(d.Placeholder(n))
		statement = after[digits:]
	}
	if d.numbered != 0 {
		order = nil
	}
	return Query{Text: text.String(), order: order}
}

// Placeholder returns how the parameter with a number, counted from 1, is
// written: $1 in PostgreSQL, ?1 in SQLite, ? in MySQL.
func (d *Dialect) Placeholder(n int) string {
	if d.numbered == 0 {
		return "?"
	}
	return string(d.numbered) + strconv.Itoa(n)
}
