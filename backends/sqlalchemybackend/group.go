package sqlalchemybackend

import (
	"context"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// SaveGroup implements celeryresults.Grouper (DatabaseBackend._save_group).
func (b *DatabaseBackend) SaveGroup(ctx context.Context, group celeryresults.ResultTuple) error {
	l, err := b.checkGroup(ctx, group.ID)
	if err != nil {
		return err
	}
	data, err := b.appendGroup(l, group)
	if err != nil {
		return fmt.Errorf("sqlalchemybackend: encode group %q: %w", group.ID, err)
	}
	same := b.dialect.SameKey("taskset_id", "$1")
	update := b.dialect.Rebind(`UPDATE ` + b.names.group + ` SET result = $2, date_done = $3 WHERE ` + same)
	names, values := "taskset_id, result, date_done", "$1, $2, $3"
	if l.groupID != "" {
		names, values = "id, "+names, l.groupID+", "+values
	}
	insert := b.dialect.Rebind(`INSERT INTO ` + b.names.group + ` (` + names + `) VALUES (` + values + `)`)
	args := []any{group.ID, data, b.time(b.now())}
	conflicts := 0
	return b.do(ctx, "save group", func() error { // an insert that comes too late is an update next time
		n, err := b.db.Affect(ctx, update, args...)
		if err != nil || n > 0 {
			return err
		}
		_, err = b.db.Affect(ctx, insert, args...)
		if sqldialect.Classify(err) == sqldialect.Conflict {
			if conflicts++; conflicts > mostConflicts {
				return fmt.Errorf("the table takes group id %.60q for that of another group: %w", group.ID, celeryresults.ErrBadID)
			}
		}
		return err
	})
}

func (b *DatabaseBackend) checkGroup(ctx context.Context, groupID string) (*layout, error) {
	l, err := b.check(ctx)
	switch {
	case groupID == "":
		return nil, celeryresults.ErrNoTaskID
	case err != nil:
		return nil, err
	}
	if err := checkText(groupID, l.groupWidth, limit); err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: group id %.60q %w: %w", groupID, err, celeryresults.ErrBadID)
	}
	return l, nil
}

// appendGroup returns a group as its column holds it: as a tuple in the serializer
// since Celery 5.7, unless that is pickle, and before as a pickled GroupResult.
func (b *DatabaseBackend) appendGroup(l *layout, group celeryresults.ResultTuple) ([]byte, error) {
	if l.modern && b.codec != pickle.Codec {
		return b.documents().AppendTuple(nil, group)
	}
	return pickle.Codec.Append(nil, keyvalue.ResultObject(group))
}

// RestoreGroup implements celeryresults.Grouper (DatabaseBackend._restore_group). A
// group expires as a result does, after it was saved.
func (b *DatabaseBackend) RestoreGroup(ctx context.Context, groupID string) (celeryresults.ResultTuple, error) {
	if _, err := b.checkGroup(ctx, groupID); err != nil {
		return celeryresults.ResultTuple{}, err
	}
	q := b.dialect.Rebind(`SELECT result, date_done FROM ` + b.names.group + ` WHERE ` + b.dialect.SameKey("taskset_id", "$1"))
	var result []byte
	var done time.Time
	found := false
	err := b.do(ctx, "restore group", func() error {
		return b.db.Rows(ctx, q, []any{groupID}, func(scan func(...any) error) error {
			found = true
			return scan(&result, b.dialect.ScanTime(&done))
		})
	})
	switch {
	case err != nil:
		return celeryresults.ResultTuple{}, err
	case !found, b.expired(done):
		return celeryresults.ResultTuple{}, fmt.Errorf("%w %q", celeryresults.ErrUnknownGroup, groupID)
	}
	codec := b.codecOf(result)
	if codec == pickle.Codec {
		tree, err := codec.Decode(result)
		if err != nil {
			return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: groupID, Err: err}
		}
		if group, ok := keyvalue.TupleOfObject(tree); ok {
			return group, nil
		}
	}
	return keyvalue.Documents{Codec: codec}.ReadTuple(groupID, result)
}

// DeleteGroup implements celeryresults.Grouper.
func (b *DatabaseBackend) DeleteGroup(ctx context.Context, groupID string) error {
	if _, err := b.checkGroup(ctx, groupID); err != nil {
		return err
	}
	return b.change(ctx, "delete group", `DELETE FROM `+b.names.group+` WHERE `+b.dialect.SameKey("taskset_id", "$1"), groupID)
}
