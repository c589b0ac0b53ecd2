package interop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

// TestChordCounters has Python's workers and Go's count the same chords.
func TestChordCounters(t *testing.T) {
	onEach(t, func(t *testing.T, p *pair) {
		starts := map[string]func(t *testing.T, c *chord){
			"Python": func(t *testing.T, c *chord) {
				p.do(t, "start_chord", arguments{"id": c.id, "tasks": c.tasks})
			},
			"Go": func(t *testing.T, c *chord) {
				group := celeryresults.ResultTuple{ID: c.id}
				for _, task := range c.tasks {
					group.Children = append(group.Children, celeryresults.ResultTuple{ID: task})
				}
				require.NoError(t, p.backend().CeleryChord(c.id).Start(t.Context(), group, len(group.Children)))
			},
		}
		for side, start := range starts {
			t.Run("started by "+side, func(t *testing.T) {
				c := p.newChord(t, side, 3)
				t.Run("Go counts the last part", func(t *testing.T) { start(t, c); c.endsInGo(t) })
				t.Run("Python counts the last part", func(t *testing.T) { start(t, c); c.endsInPython(t) })
				c = p.newChord(t, side+" at once", 20)
				t.Run("both count at once", func(t *testing.T) { start(t, c); c.countsAtOnce(t) })
			})
		}
	})
}

// chord is a chord whose members are done: with 0, 1 and so on.
type chord struct {
	*pair
	id    string
	tasks []string
}

func (p *pair) newChord(t *testing.T, name string, size int) *chord {
	t.Helper()
	c := &chord{p, "chord of " + name, nil}
	for i := range size {
		task := fmt.Sprintf("%s, part %d", c.id, i)
		c.tasks = append(c.tasks, task)
		require.NoError(t, p.app.MarkAsDone(t.Context(), &celeryresults.Request{ID: task, GroupID: c.id}, i))
	}
	return c
}

// count counts a part here: one that is not the last one returns nil.
func (c *chord) count(ctx context.Context) (*celeryresults.ChordParts, error) {
	return c.backend().CeleryChord(c.id).Report(ctx, celeryresults.ChordPart{TaskID: "a member", State: celeryresults.Success})
}

// python counts a part there and returns what it sent: the body, or nothing.
func (c *chord) python(t *testing.T, part int) string {
	t.Helper()
	return compact(t, ask[json.RawMessage](t, c.project, "chord_part", arguments{"id": c.id, "task": c.tasks[part]}))
}

// left returns the counts that stand in rows of the chord.
func (c *chord) left(t *testing.T) (counts []any) {
	t.Helper()
	for _, row := range c.rows(t, "chord", c.id) {
		counts = append(counts, row["count"])
	}
	return counts
}

func (c *chord) endsInGo(t *testing.T) {
	assert.Equal(t, []any{json.Number("3")}, c.left(t))
	assert.Equal(t, "[]", c.python(t, 0))
	parts, err := c.count(t.Context())
	require.NoError(t, err)
	assert.Nil(t, parts)
	assert.Equal(t, []any{json.Number("1")}, c.left(t))
	parts, err = c.count(t.Context())
	require.NoError(t, err)
	require.NotNil(t, parts)
	assert.Equal(t, c.id, parts.Group.ID)
	var members []string
	for _, member := range parts.Members {
		members = append(members, member.TaskID)
	}
	assert.Equal(t, c.tasks, members)
	assert.Empty(t, c.left(t))
	_, err = c.count(t.Context())
	assert.ErrorIs(t, err, celeryresults.ErrUnknownChord)
}

func (c *chord) endsInPython(t *testing.T) {
	for range 2 {
		_, err := c.count(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, `[["shop.tasks.total",[[0,1,2]]]]`, c.python(t, 2))
	assert.Empty(t, c.left(t))
}

// countsAtOnce has each side count half of the parts: one of them sees the end.
func (c *chord) countsAtOnce(t *testing.T) {
	half := len(c.tasks) / 2
	type answer struct {
		ends int
		err  error
	}
	counted := make(chan answer, 1)
	go func() {
		var a answer
		for range half {
			parts, err := c.count(t.Context())
			if a.err = err; err != nil {
				break
			}
			if parts != nil {
				a.ends++
			}
		}
		counted <- a
	}()
	ends := 0
	for part := range half {
		if c.python(t, part) != "[]" {
			ends++
		}
	}
	ours := <-counted
	require.NoError(t, ours.err)
	assert.Equal(t, 1, ends+ours.ends)
	assert.Empty(t, c.left(t))
}
