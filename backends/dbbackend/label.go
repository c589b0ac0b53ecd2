package dbbackend

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// labelsPerStatement is how many labels a statement notes.
const labelsPerStatement = 100

// labelled is a label of a task.
type labelled struct {
	id string
	label
}

// putLabels notes the labels of the results that are stored, or perhaps are, so
// that lists can be filtered by them. Labels of other records of a row may stand
// there, too: whether a label counts is for the row to say.
func (b *DatabaseBackend) putLabels(ctx context.Context, tx *sqldialect.Tx, writes, perhaps []*driver.Write) error {
	var all []labelled
	for _, w := range writes {
		if w.Answer.Outcome != driver.Stored && !slices.Contains(perhaps, w) {
			continue
		}
		for _, l := range entryOf(w).labels {
			all = append(all, labelled{w.ID, l})
		}
	}
	for chunk := range slices.Chunk(all, labelsPerStatement) {
		statement, args := b.labelStatement(chunk)
		if _, err := tx.Affect(ctx, b.dialect.Rebind(statement), args...); err != nil {
			return err
		}
	}
	return nil
}

// labelStatement leaves labels that are there already as they are.
func (b *DatabaseBackend) labelStatement(labels []labelled) (statement string, args []any) {
	rows := make([]string, len(labels))
	for i, l := range labels {
		rows[i] = fmt.Sprintf("SELECT $%d AS task_id, $%d AS name, $%d AS value", len(args)+1, len(args)+2, len(args)+3)
		args = append(args, l.id, l.name, l.value)
	}
	insert, ignore, same := "INSERT", " ON CONFLICT DO NOTHING", "t.task_id = l.task_id"
	switch b.dialect {
	case sqldialect.PostgreSQL: // whose parameters have no type here
		rows[0] = "SELECT $1::text AS task_id, $2::text AS name, $3::text AS value"
	case sqldialect.MySQL: // every value is known to fit
		insert, ignore, same = "INSERT IGNORE", "", "t.task_id = l.task_id AND CAST(t.task_id AS BINARY) = CAST(l.task_id AS BINARY)"
	}
	return insert + ` INTO ` + labelTable + ` (name, value, date_created, result_id)
		SELECT l.name, l.value, t.date_created, t.id
		FROM (` + strings.Join(rows, " UNION ALL ") + `) l JOIN ` + taskTable + ` t ON ` + same + ` WHERE 1 = 1` + ignore, args
}
