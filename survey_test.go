package celeryresults_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/survey"
)

// walkable is a store that only walks, through records whose rows are metas; nil is one that
// can't be read.
type walkable struct {
	*fakeStore
	metas []*celeryresults.TaskMeta
	err   error
}

func (w *walkable) Walk(context.Context) iter.Seq2[driver.Record, error] {
	return func(yield func(driver.Record, error) bool) {
		for _, meta := range w.metas {
			r := driver.Record{ID: "odd", Err: errors.New("odd")}
			if meta != nil {
				r = driver.Record{ID: meta.TaskID, Row: meta}
			}
			if !yield(r, nil) {
				return
			}
		}
		if w.err != nil {
			yield(driver.Record{}, w.err)
		}
	}
}

// rows is the encoding of records whose rows are metas.
type rows struct{ celeryresults.Encoding }

func (rows) Decode(r *driver.Record) (*celeryresults.TaskMeta, error) {
	return r.Row.(*celeryresults.TaskMeta), nil
}

func walking(t *testing.T, w *walkable) *celeryresults.Backend {
	t.Helper()
	w.fakeStore = newStore()
	b, err := celeryresults.NewBackend(w, rows{}, celeryresults.Settings{}, nil)
	require.NoError(t, err)
	return b
}

func taskIDs(metas []*celeryresults.TaskMeta) (ids []string) {
	for _, meta := range metas {
		ids = append(ids, meta.TaskID)
	}
	return ids
}

func TestSurvey(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	metas := []*celeryresults.TaskMeta{
		{TaskID: "a", State: celeryresults.Success, Name: "billing.charge", DateDone: at(1), Worker: "w1", Meta: celeryresults.NewValue(map[string]any{"customer": "acme", "n": 7, "list": []any{1}})},
		{TaskID: "b", State: celeryresults.Failure, Name: "billing.refund", DateDone: at(3), GroupID: "g", PeriodicTaskName: "nightly"},
		nil,
		{TaskID: "c", State: celeryresults.Started, Name: "mail.send", DateCreated: at(2)},
		{TaskID: "d", State: celeryresults.Success, DateDone: at(2), DateCreated: at(9)},
	}
	b := walking(t, &walkable{metas: metas})
	for name, row := range map[string]struct {
		q    celeryresults.Query
		want []string
	}{
		"all":            {celeryresults.Query{}, []string{"d", "b", "c", "a"}},
		"by done":        {celeryresults.Query{Order: celeryresults.ByDone}, []string{"b", "d", "a"}},
		"a state":        {celeryresults.Query{States: []celeryresults.State{celeryresults.Failure, celeryresults.Started}}, []string{"b", "c"}},
		"a pattern":      {celeryresults.Query{Task: "billing.*"}, []string{"b", "a"}},
		"a worker":       {celeryresults.Query{Worker: "w1"}, []string{"a"}},
		"a group":        {celeryresults.Query{GroupID: "g"}, []string{"b"}},
		"a periodic one": {celeryresults.Query{PeriodicTask: "nightly"}, []string{"b"}},
		"labels":         {celeryresults.Query{Labels: map[string]string{"customer": "acme", "n": "7"}}, []string{"a"}},
		"other labels":   {celeryresults.Query{Labels: map[string]string{"customer": "acme", "list": "[1]"}}, nil},
		"done from":      {celeryresults.Query{DoneFrom: at(2)}, []string{"d", "b"}},
		"done before":    {celeryresults.Query{DoneBefore: at(2)}, []string{"a"}},
		"created":        {celeryresults.Query{CreatedFrom: at(2), CreatedBefore: at(9)}, []string{"c"}},
	} {
		s, err := survey.Look(t.Context(), b, row.q, 0)
		require.NoError(t, err, name)
		assert.Equal(t, row.want, taskIDs(s.Results), name)
		assert.Equal(t, 5, s.Looked, name)
		assert.Equal(t, 1, s.Unreadable, name)
		assert.True(t, s.Whole, name)
		assert.Zero(t, s.More, name)
	}
	twice := walking(t, &walkable{metas: append(metas[:2:2], metas[:2]...)})
	s, err := survey.Look(t.Context(), twice, celeryresults.Query{}, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"b", "a"}, taskIDs(s.Results), "each is there once")
	assert.Equal(t, 2, s.Looked)
	assert.Zero(t, s.More)

	s, err = survey.Look(t.Context(), b, celeryresults.Query{Limit: 1}, 4)
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, taskIDs(s.Results))
	assert.False(t, s.Whole)
	assert.Equal(t, 4, s.Looked)
	assert.Equal(t, 2, s.More)
}

func TestSurveysKeepTheNewest(t *testing.T) {
	var metas []*celeryresults.TaskMeta
	for i := range 5000 {
		metas = append(metas, &celeryresults.TaskMeta{TaskID: fmt.Sprintf("%04d", i*7919%5000), State: celeryresults.Success, DateDone: time.Unix(int64(i*7919%5000), 0)})
	}
	s, err := survey.Look(t.Context(), walking(t, &walkable{metas: metas}), celeryresults.Query{Limit: 3}, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"4999", "4998", "4997"}, taskIDs(s.Results))
	assert.Equal(t, 4997, s.More)
}

func TestSurveysThatCantBe(t *testing.T) {
	b := walking(t, &walkable{err: errors.ErrUnsupported})
	_, err := survey.Look(t.Context(), b, celeryresults.Query{}, 0)
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = survey.Look(t.Context(), b, celeryresults.Query{Cursor: "x"}, 0)
	assert.ErrorIs(t, err, celeryresults.ErrCursor)
	_, err = survey.Look(t.Context(), b, celeryresults.Query{Limit: -1}, 0)
	assert.Error(t, err)
}
