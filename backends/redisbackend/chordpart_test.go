package redisbackend_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// celeryChord is a line of testdata/parts.jsonl: what Celery keeps of a chord.
type celeryChord struct {
	Serializer string
	Ordered    bool
	Prefix     string
	GroupID    string `json:"group_id"`
	Keys       map[string]struct {
		Type  string
		TTL   int
		Value json.RawMessage
	}
}

func celeryChords(t *testing.T) []celeryChord {
	data, err := os.ReadFile("testdata/parts.jsonl")
	require.NoError(t, err)
	var list []celeryChord
	for line := range bytes.Lines(data) {
		var c celeryChord
		require.NoError(t, json.Unmarshal(line, &c))
		if c.GroupID != "" {
			list = append(list, c)
		}
	}
	require.NotEmpty(t, list)
	return list
}

func (c celeryChord) settings(addr string) celeryresults.Settings {
	s := serializer(addr, c.Serializer)
	s.ResultBackendTransportOptions.GlobalKeyPrefix = c.Prefix
	s.ResultBackendTransportOptions.ResultChordOrdered = &c.Ordered
	return s
}

// parts are those of parts.py.
func (c celeryChord) parts() []celeryresults.ChordPart {
	index := func(i int) *int { return &i }
	failure := &celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{"no", 7}}
	return []celeryresults.ChordPart{
		{TaskID: "part-0", Index: index(0), State: celeryresults.Success, Result: celeryresults.NewValue(5)},
		{TaskID: "part-1", Index: index(1), State: celeryresults.Success, Result: celeryresults.NewValue(map[string]any{"a": []any{1, 2.5, nil, true}, "b": "zwölf"})},
		{TaskID: "part-2", Index: index(2), State: celeryresults.Failure, Result: celeryresults.NewValue(failure)},
		{TaskID: "part-3", State: celeryresults.Success, Result: celeryresults.NewValue("last")},
	}
}

// members returns the bytes of the parts and, where there are any, their scores.
func (c celeryChord) members(t *testing.T, raw *redis.Client, key string) (members []string, scores []string) {
	if !c.Ordered {
		list, err := raw.LRange(t.Context(), key, 0, -1).Result()
		require.NoError(t, err)
		return list, nil
	}
	list, err := raw.ZRangeWithScores(t.Context(), key, 0, -1).Result()
	require.NoError(t, err)
	for _, z := range list {
		members, scores = append(members, z.Member.(string)), append(scores, fmt.Sprint(z.Score))
	}
	return members, scores
}

func decode64(t *testing.T, text string) string {
	data, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	return string(data)
}

// recorded returns what members of the parts Celery kept.
func (c celeryChord) recorded(t *testing.T, key string) (members []string, scores []string) {
	if !c.Ordered {
		require.NoError(t, json.Unmarshal(c.Keys[key].Value, &members))
		for i := range members {
			members[i] = decode64(t, members[i])
		}
		return members, nil
	}
	var pairs [][2]string
	require.NoError(t, json.Unmarshal(c.Keys[key].Value, &pairs))
	for _, pair := range pairs {
		score, err := strconv.ParseFloat(pair[1], 64)
		require.NoError(t, err)
		members, scores = append(members, decode64(t, pair[0])), append(scores, fmt.Sprint(score))
	}
	return members, scores
}

func TestChordPartsAreCelerysByteByByte(t *testing.T) {
	for _, c := range celeryChords(t) {
		t.Run(fmt.Sprint(c.Serializer, c.Ordered, c.Prefix), func(t *testing.T) {
			addr := testserver.StartRedis(t).Addr()
			raw, b := rawClient(t, addr), open(t, c.settings(addr))
			require.NoError(t, b.CeleryChord(c.GroupID).Add(t.Context()))
			parts := c.parts()
			slices.Reverse(parts)
			for _, part := range parts {
				complete, err := b.CeleryChord(c.GroupID).Report(t.Context(), part)
				require.NoError(t, err)
				require.Nil(t, complete)
			}
			require.NoError(t, b.CeleryChord(c.GroupID).Start(t.Context(), celeryresults.ResultTuple{}, len(parts)-1))
			keys, err := raw.Keys(t.Context(), "*").Result()
			require.NoError(t, err)
			require.Len(t, keys, len(c.Keys))
			for key, want := range c.Keys {
				ttl, err := raw.TTL(t.Context(), key).Result()
				require.NoError(t, err)
				if !strings.HasSuffix(key, ".t") || c.Ordered { // expire comes with a part
					assert.Equal(t, time.Duration(want.TTL)*time.Second, ttl, key)
				}
				if want.Type == "string" {
					var text string
					require.NoError(t, json.Unmarshal(want.Value, &text))
					assert.Equal(t, decode64(t, text), raw.Get(t.Context(), key).Val(), key)
					continue
				}
				members, scores := c.members(t, raw, key)
				wantMembers, wantScores := c.recorded(t, key)
				assert.Equal(t, wantScores, scores)
				if c.Serializer != "pickle" && c.Serializer != "yaml" { // which may write a value in several ways
					assert.Equal(t, wantMembers, members)
				}
			}
		})
	}
}

// TestGoCompletesAChordOfPythons has Python's parts and Go's last one.
func TestGoCompletesAChordOfPythons(t *testing.T) {
	for _, c := range celeryChords(t) {
		for last := range c.parts() {
			t.Run(fmt.Sprint(c.Serializer, c.Ordered, c.Prefix, last), func(t *testing.T) {
				addr := testserver.StartRedis(t).Addr()
				raw, b := rawClient(t, addr), open(t, c.settings(addr))
				c.restore(t, raw, last)
				complete, err := b.CeleryChord(c.GroupID).Report(t.Context(), c.parts()[last])
				require.NoError(t, err)
				require.NotNil(t, complete)
				c.checkComplete(t, complete)
				keys, err := raw.Keys(t.Context(), "*").Result()
				require.NoError(t, err)
				assert.Empty(t, keys)
				complete, err = b.CeleryChord(c.GroupID).Report(t.Context(), c.parts()[last])
				require.NoError(t, err)
				assert.Nil(t, complete, "reported again")
			})
		}
	}
}

// restore puts into Redis what Celery had, without one part.
func (c celeryChord) restore(t *testing.T, raw *redis.Client, without int) {
	for key, kept := range c.Keys {
		if kept.Type == "string" {
			var text string
			require.NoError(t, json.Unmarshal(kept.Value, &text))
			require.NoError(t, raw.Set(t.Context(), key, decode64(t, text), 0).Err())
			continue
		}
		members, scores := c.recorded(t, key)
		for i, member := range members {
			switch {
			case strings.Contains(member, fmt.Sprint("part-", without)):
			case c.Ordered:
				require.NoError(t, raw.Do(t.Context(), "ZADD", key, scores[i], member).Err())
			default:
				require.NoError(t, raw.RPush(t.Context(), key, member).Err())
			}
		}
	}
}

func (c celeryChord) checkComplete(t *testing.T, complete *celeryresults.ChordParts) {
	parts := c.parts()
	require.Len(t, complete.Members, len(parts))
	assert.Nil(t, complete.Group)
	require.ErrorIs(t, complete.Err(), &celeryresults.TaskError{Type: "ValueError"})
	for i, member := range complete.Members {
		if !c.Ordered { // in the order in which they came
			i = slices.IndexFunc(parts, func(p celeryresults.ChordPart) bool { return p.TaskID == member.TaskID })
		}
		want := parts[i]
		assert.Equal(t, want.TaskID, member.TaskID)
		assert.Equal(t, want.State, member.State)
		if want.State == celeryresults.Failure {
			var failure *celeryresults.TaskError
			require.ErrorAs(t, member.Err(), &failure)
			assert.Equal(t, "ValueError", failure.Type)
			assert.Equal(t, []any{"no", int64(7)}, failure.Args)
			continue
		}
		got, err := json.Marshal(member.Result)
		require.NoError(t, err)
		wanted, err := json.Marshal(want.Result)
		require.NoError(t, err)
		assert.JSONEq(t, string(wanted), string(got))
	}
}

func TestAHeaderWithGroupsIsReturnedWithItsShape(t *testing.T) {
	b := at(t, testserver.Redis(t))
	group := celeryresults.ResultTuple{ID: "shaped", Children: []celeryresults.ResultTuple{{ID: "a"}, {ID: "inner", Children: []celeryresults.ResultTuple{{ID: "b"}}}}}
	require.NoError(t, b.CeleryChord("shaped").Start(t.Context(), group, 2))
	complete, err := b.CeleryChord("shaped").Report(t.Context(), celeryresults.ChordPart{TaskID: "a", State: celeryresults.Success})
	require.NoError(t, err)
	require.Nil(t, complete)
	complete, err = b.CeleryChord("shaped").Report(t.Context(), celeryresults.ChordPart{TaskID: "b", State: celeryresults.Success})
	require.NoError(t, err)
	require.NotNil(t, complete)
	assert.Equal(t, &group, complete.Group)
	assert.NoError(t, complete.Err())
}

func TestOneOfManyLastPartsGetsThem(t *testing.T) {
	b := at(t, testserver.Redis(t))
	for n := range 50 {
		id := fmt.Sprint("many-last-", n)
		require.NoError(t, b.CeleryChord(id).Start(t.Context(), celeryresults.ResultTuple{}, 8))
		var fired atomic.Int32
		everyone(24, func(i int) { // each part three times
			index := i % 8
			complete, err := b.CeleryChord(id).Report(t.Context(), celeryresults.ChordPart{TaskID: fmt.Sprint("t", index), Index: &index, State: celeryresults.Success})
			assert.NoError(t, err)
			if complete != nil {
				fired.Add(1)
				assert.Len(t, complete.Members, 8)
			}
		})
		assert.Equal(t, int32(1), fired.Load())
	}
}

func TestPartsNeedAGroupATaskAndAState(t *testing.T) {
	b := at(t, testserver.Redis(t))
	for group, part := range map[string]celeryresults.ChordPart{"": {TaskID: "t", State: "SUCCESS"}, "no task": {State: "SUCCESS"}, "no state": {TaskID: "t"}} {
		_, err := b.CeleryChord(group).Report(t.Context(), part)
		require.Error(t, err)
	}
	require.ErrorIs(t, b.CeleryChord("").Add(t.Context()), celeryresults.ErrNoTaskID)
	require.ErrorIs(t, b.CeleryChord("").Start(t.Context(), celeryresults.ResultTuple{}, 1), celeryresults.ErrNoTaskID)
}
