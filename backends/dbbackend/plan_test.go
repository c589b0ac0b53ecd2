package dbbackend_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// planned is how many rows the tables have whose plans are looked at.
const planned = 20_000

// fill writes the rows straight into the tables: a second apart, with 25 task
// names, 8 workers, 100 groups, and states of which most are SUCCESS.
func (b base) fill(t *testing.T) {
	t.Helper()
	for first := 0; first < planned; first += 500 {
		var rows, labels []string
		var args, labelArgs []any
		for i := first; i < first+500; i++ {
			state := []string{"SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS", "FAILURE", "STARTED", "SUCCESS", "SUCCESS", "SUCCESS", "REVOKED"}[i%10]
			created := start.Add(-time.Duration(planned-i) * time.Second)
			var periodic, group any
			if i%7 == 0 {
				periodic = "nightly-" + strconv.Itoa(i%3)
			}
			if i%5 == 0 {
				group = "group-" + strconv.Itoa(i%100)
			}
			rows = append(rows, "("+sqldialect.Parameters(len(args)+1, 12)+")")
			args = append(args, fmt.Sprintf("id-%05d", i), state, "application/json", "utf-8", `"result"`, `{"tenant": "tenant-`+strconv.Itoa(i%10)+`"}`,
				b.dialect.Time(created), b.dialect.Time(created.Add(time.Minute)), fmt.Sprintf("shop.task-%02d", i%25), "worker-"+strconv.Itoa(i%8), periodic, group)
			labels = append(labels, "("+sqldialect.Parameters(len(labelArgs)+1, 4)+")")
			labelArgs = append(labelArgs, "tenant", "tenant-"+strconv.Itoa(i%10), b.dialect.Time(created), i+1)
		}
		b.exec(t, `INSERT INTO `+resultschema.TaskTable+` (task_id, status, content_type, content_encoding, result, meta, date_created, date_done,
			task_name, worker, periodic_task_name, group_id) VALUES `+strings.Join(rows, ", "), args...)
		b.exec(t, `INSERT INTO `+resultschema.LabelTable+` (name, value, date_created, result_id) VALUES `+strings.Join(labels, ", "), labelArgs...)
	}
	for _, table := range []string{resultschema.TaskTable, resultschema.LabelTable} {
		b.exec(t, map[bool]string{true: `ANALYZE TABLE `, false: `ANALYZE `}[b.dialect == sqldialect.MySQL]+table)
	}
}

// lists are the lists that an index of ours serves.
var lists = map[string]celeryresults.Query{
	"everything":     {},
	"ready":          {Order: celeryresults.ByDone},
	"a state":        {States: []celeryresults.State{celeryresults.Failure}},
	"states":         {States: []celeryresults.State{celeryresults.Success, celeryresults.Failure, celeryresults.Revoked}},
	"a task":         {Task: "shop.task-07"},
	"a pattern":      {Task: "shop.task-0?"},
	"no such task":   {Task: "none.*"},
	"a worker":       {Worker: "worker-3"},
	"a schedule":     {PeriodicTask: "nightly-1"},
	"a group":        {GroupID: "group-35"},
	"a label":        {Labels: map[string]string{"tenant": "tenant-7"}},
	"a label, ready": {Labels: map[string]string{"tenant": "tenant-7"}, States: []celeryresults.State{celeryresults.Success}},
	"a time":         {CreatedFrom: start.Add(-planned / 2 * time.Second), CreatedBefore: start.Add(-planned / 4 * time.Second)},
	"a time of done": {Order: celeryresults.ByDone, DoneFrom: start.Add(-planned / 2 * time.Second), DoneBefore: start.Add(-planned / 4 * time.Second)},
	"a task, failed": {Task: "shop.task-04", States: []celeryresults.State{celeryresults.Failure}},
}

func TestListsReadLittleMoreThanTheirPage(t *testing.T) {
	onEachIndexed(t, func(t *testing.T, b base, own bool) {
		b.fill(t)
		backend := b.at(t, func() time.Time { return start.Add(time.Hour) })
		for name, q := range lists {
			q.Limit = 20
			for _, at := range []string{"first page", "later page"} {
				if at == "later page" {
					for range 5 {
						page, err := backend.List(t.Context(), q)
						require.NoError(t, err)
						if page.Next != "" {
							q.Cursor = page.Next
						}
					}
					if q.Cursor == "" {
						continue
					}
				}
				read, plan := b.cost(t, backend, q)
				assert.LessOrEqual(t, read, b.most(name, own), "%s, %s reads %d rows:\n%s", name, at, read, plan)
				t.Logf("%-15s %s: %d rows read", name, at, read)
			}
		}
	})
}

// onEachIndexed runs a test on tables with our indexes, with and without Django's
// own beside them.
func onEachIndexed(t *testing.T, test func(t *testing.T, b base, own bool)) {
	onEach(t, func(t *testing.T, b base) { test(t, b, true) })
	onEachEmpty(t, "2.6.0 altered", func(t *testing.T, b base) {
		b.load(t, "2.6.0")
		b.migrate(t, dbbackend.MigrateOptions{Alter: true})
		test(t, b, false)
	})
}

// most is how many rows a list may read. Of two conditions one is checked row by
// row; in the tables that Django made, MySQL meets a pattern row by row, and
// PostgreSQL also likes the index of Django's that is sorted by creation alone.
func (b base) most(list string, own bool) int {
	pattern := strings.Contains(list, "pattern") || list == "no such task"
	switch {
	case pattern && !own && b.dialect == sqldialect.MySQL:
		return planned + 100
	case list == "a task, failed", pattern && !own:
		return planned / 3
	}
	return 800
}

// cost returns how many rows a list makes the database read, and why.
func (b base) cost(t *testing.T, backend *celeryresults.Backend, q celeryresults.Query) (int, string) {
	t.Helper()
	switch b.dialect {
	case sqldialect.PostgreSQL:
		return b.costPostgres(t, backend, q)
	case sqldialect.SQLite:
		return b.costSQLite(t, backend, q)
	}
	return b.costMySQL(t, q)
}

// costPostgres looks at the plan for these arguments and at the one for any,
// which the server may settle for.
func (b base) costPostgres(t *testing.T, backend *celeryresults.Backend, q celeryresults.Query) (int, string) {
	t.Helper()
	statement, args, err := dbbackend.ListStatement(t.Context(), backend, q)
	require.NoError(t, err)
	assert.NotContains(t, statement, "OFFSET")
	literals := make([]string, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case time.Time:
			literals[i] = "'" + v.Format(time.RFC3339Nano) + "'"
		default:
			literals[i] = "'" + fmt.Sprint(v) + "'"
		}
	}
	conn, err := b.db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	worst, why := 0, ""
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		b.execOn(t, conn, `SET plan_cache_mode = `+mode)
		b.execOn(t, conn, `PREPARE list AS `+statement)
		execute := `EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE list`
		if len(literals) > 0 {
			execute += `(` + strings.Join(literals, ", ") + `)`
		}
		var text string
		require.NoError(t, conn.QueryRowContext(t.Context(), execute).Scan(&text))
		b.execOn(t, conn, `DEALLOCATE list`)
		var explained []struct{ Plan planNode }
		require.NoError(t, json.Unmarshal([]byte(text), &explained))
		if read := explained[0].Plan.read(); read > worst {
			worst, why = read, mode+" "+text
		}
	}
	return worst, why
}

func (b base) execOn(t *testing.T, conn *sql.Conn, statement string) {
	t.Helper()
	_, err := conn.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

type planNode struct {
	NodeType string  `json:"Node Type"`
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Removed  float64 `json:"Rows Removed by Filter"`
	Plans    []planNode
}

// read is how many rows the scans of a plan looked at.
func (n planNode) read() int {
	sum := 0
	if strings.Contains(n.NodeType, "Scan") && len(n.Plans) == 0 {
		sum = int((n.Rows + n.Removed) * n.Loops)
	}
	for _, child := range n.Plans {
		sum += child.read()
	}
	return sum
}

// costMySQL counts what one connection reads for the whole of List.
func (b base) costMySQL(t *testing.T, q celeryresults.Query) (int, string) {
	t.Helper()
	single := openBase(t, b.database)
	single.db.SetMaxOpenConns(1)
	backend := single.at(t, func() time.Time { return start.Add(time.Hour) })
	_, err := backend.List(t.Context(), celeryresults.Query{Limit: 1}) // looks at the tables
	require.NoError(t, err)
	single.exec(t, `FLUSH STATUS`)
	_, err = backend.List(t.Context(), q)
	require.NoError(t, err)
	sum, all := 0, ""
	for _, row := range single.rows(t, `SHOW SESSION STATUS LIKE 'Handler_read%'`) {
		n, err := strconv.Atoi(row["Value"].(string))
		require.NoError(t, err)
		sum += n
		all += fmt.Sprintln(row["Variable_name"], n)
	}
	statement, args, err := dbbackend.ListStatement(t.Context(), backend, q)
	require.NoError(t, err)
	assert.NotContains(t, statement, "OFFSET")
	for _, row := range single.query(t, `EXPLAIN `+statement, args) {
		all += fmt.Sprintln(row)
	}
	require.NoError(t, single.db.Close())
	return sum, all
}

// costSQLite knows no numbers: what is scanned without an index, or sorted as it
// comes out of the table, counts as the whole of it.
func (b base) costSQLite(t *testing.T, backend *celeryresults.Backend, q celeryresults.Query) (int, string) {
	t.Helper()
	statement, args, err := dbbackend.ListStatement(t.Context(), backend, q)
	require.NoError(t, err)
	assert.NotContains(t, statement, "OFFSET")
	read, all := 0, ""
	reads := map[int64]bool{} // whether a step reads the table
	for _, row := range b.query(t, `EXPLAIN QUERY PLAN `+statement, args) {
		detail, parent := row["detail"].(string), row["parent"].(int64)
		all += fmt.Sprintln(parent, detail)
		scans := strings.HasPrefix(detail, "SCAN t")
		reads[parent] = reads[parent] || parent != 0 && (scans || strings.HasPrefix(detail, "SEARCH t"))
		if scans && !strings.Contains(detail, " INDEX ") || strings.HasPrefix(detail, "USE TEMP B-TREE") && reads[parent] {
			read += planned
		}
	}
	return read, all
}
