package dbbackend

import (
	"context"
	"fmt"
	"strings"

	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// putLabels notes the labels of the results that were stored, so that lists can
// be filtered by them. A label that is there already stays as it is.
func (b *DatabaseBackend) putLabels(ctx context.Context, tx *sqldialect.Tx, entries []*entry, stored map[string]bool) error {
	var rows []string
	var args []any
	for _, e := range entries {
		if !stored[e.id] {
			continue
		}
		for _, l := range e.labels {
			rows = append(rows, fmt.Sprintf("SELECT $%d AS task_id, $%d AS name, $%d AS value", len(args)+1, len(args)+2, len(args)+3))
			args = append(args, e.id, l.name, l.value)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if b.dialect == sqldialect.PostgreSQL { // whose parameters have no type here
		rows[0] = "SELECT $1::text AS task_id, $2::text AS name, $3::text AS value"
	}
	insert, ignore := "INSERT", " ON CONFLICT DO NOTHING"
	if b.dialect == sqldialect.MySQL {
		insert, ignore = "INSERT IGNORE", "" // every value is known to fit
	}
	source := `(` + strings.Join(rows, " UNION ALL ") + `) l JOIN ` + taskTable + ` t ON t.task_id = l.task_id`
	if b.dialect == sqldialect.MySQL {
		source = `(` + strings.Join(rows, " UNION ALL ") + `) l JOIN ` + taskTable + ` t ON CAST(t.task_id AS BINARY) = CAST(l.task_id AS BINARY)`
	}
	_, err := tx.Affect(ctx, b.dialect.Rebind(insert+` INTO `+labelTable+` (name, value, date_created, result_id)
		SELECT l.name, l.value, t.date_created, t.id FROM `+source+` WHERE 1 = 1`+ignore), args...)
	return err
}
