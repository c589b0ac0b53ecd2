package redisbackend_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// put sends writes in one call and returns their answers.
func put(t *testing.T, b *celeryresults.Backend, writes ...*driver.Write) []driver.Answer {
	t.Helper()
	answers := make([]driver.Answer, len(writes))
	for _, w := range writes {
		if w.TTL == 0 {
			w.TTL = time.Hour
		}
		if w.Kind == "" {
			w.Kind = driver.Task
		}
		w.StateOf = func([]byte) driver.State { return "" }
		w.Answer = driver.Answer{}
	}
	b.Driver().Put(t.Context(), writes)
	for i, w := range writes {
		answers[i] = w.Answer
	}
	return answers
}

var stored = driver.Answer{Outcome: driver.Stored}

func TestLifetimesOfABatchDiffer(t *testing.T) {
	addr := testserver.StartRedis(t).Addr()
	raw, b := rawClient(t, addr), at(t, addr)
	ttls := []time.Duration{time.Hour, time.Minute, driver.Never, 1500 * time.Millisecond, time.Minute}
	for _, power := range []driver.Power{driver.Absent, driver.Anything} {
		var writes []*driver.Write
		for i, ttl := range ttls {
			writes = append(writes, &driver.Write{ID: fmt.Sprint(power, i), Power: power, Document: []byte("x"), TTL: ttl})
		}
		for _, answer := range put(t, b, writes...) {
			assert.Equal(t, stored, answer)
		}
		for i, want := range []time.Duration{time.Hour, time.Minute, -1, 2 * time.Second, time.Minute} {
			assert.Equal(t, want, raw.TTL(t.Context(), taskKey(fmt.Sprint(power, i))).Val())
		}
	}
}

func TestExactlyOneDocumentIsReplaced(t *testing.T) {
	b := at(t, testserver.Redis(t))
	id := "exact-" + fmt.Sprint(time.Now().UnixNano())
	exact := func(old, document string) *driver.Write {
		w := &driver.Write{ID: id, Power: driver.Exact, Document: []byte(document)}
		if old != "" {
			w.Old = []byte(old)
		}
		return w
	}
	refused := driver.Refused
	assert.Equal(t, refused, put(t, b, exact("= none", "a"))[0].Outcome, "none stands")
	first := exact("", "a")
	assert.Equal(t, stored, put(t, b, first)[0])
	assert.Equal(t, refused, put(t, b, first)[0].Outcome)
	first.Repeated = true
	assert.Equal(t, stored, put(t, b, first)[0])
	assert.Equal(t, refused, put(t, b, exact("b", "c"))[0].Outcome)
	second := exact("a", "-")
	assert.Equal(t, stored, put(t, b, second)[0])
	second.Repeated = true
	assert.Equal(t, stored, put(t, b, second)[0])
	assert.Equal(t, stored, put(t, b, exact("-", "c"))[0])
}

func TestMarkersAreNotPublished(t *testing.T) {
	addr := testserver.Redis(t)
	raw, b := rawClient(t, addr), at(t, addr)
	messages := raw.PSubscribe(t.Context(), "celery-t*-quiet")
	defer messages.Close()
	_, err := messages.Receive(t.Context())
	require.NoError(t, err)
	for _, kind := range []driver.Kind{driver.Marker, driver.Group} {
		assert.Equal(t, stored, put(t, b, &driver.Write{Kind: kind, ID: "quiet", Power: driver.Anything, Document: []byte("x")})[0])
	}
	message, err := messages.ReceiveMessage(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "celery-taskset-meta-quiet", message.Channel)
	assert.Equal(t, "x", raw.Get(t.Context(), "celery-task-gone-quiet").Val())
}

func TestATallyThatFailsIsToldOfAndTheRecordStands(t *testing.T) {
	nodes := testserver.StartCluster(t, 3)
	for _, url := range []string{"redis://" + testserver.StartRedis(t).Addr(), "redis+cluster://" + nodes.Addrs()[0]} {
		b := open(t, celeryresults.Settings{ResultBackend: url, ResultTally: true})
		meta := done("counted", 1)
		meta.GroupID = "odd"
		group := celeryresults.ResultTuple{ID: "odd.tally"} // a text under the key of the tally
		require.NoError(t, b.SaveGroup(t.Context(), group))
		err := b.StoreResult(t.Context(), meta)
		require.ErrorContains(t, err, `tally of group "odd"`)
		assert.Equal(t, celeryresults.OutcomeStored, celeryresults.OutcomeOf(err))
		assert.Equal(t, celeryresults.Success, get(t, b, "counted").State)
		meta.TaskID, meta.GroupID = "even", "even"
		store(t, b, meta)
		p, err := b.Tally(t.Context(), "even")
		require.NoError(t, err)
		assert.Equal(t, 1, p.Successful)
	}
}

func TestNothingIsStoredOverAClosedClient(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t)})
	b, err := redisbackend.New(client, celeryresults.Settings{}, redisbackend.Options{})
	require.NoError(t, err)
	require.NoError(t, client.Close())
	err = b.StoreResult(t.Context(), done("closed", 1))
	require.ErrorIs(t, err, redis.ErrClosed)
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
	_ = b.Close()
}

func TestARecordOfAnotherTypeInACluster(t *testing.T) {
	nodes := testserver.StartCluster(t, 3)
	b := open(t, celeryresults.Settings{ResultBackend: "redis+cluster://" + nodes.Addrs()[0]})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: nodes.Addrs()})
	defer cluster.Close()
	require.NoError(t, cluster.LPush(t.Context(), taskKey("odd"), "x").Err())
	store(t, b, done("even", 1))
	metas, err := b.GetMany(t.Context(), []string{"even", "odd"})
	var unreadable *celeryresults.UnreadableError
	require.ErrorAs(t, err, &unreadable)
	assert.Equal(t, "odd", unreadable.ID)
	assert.Equal(t, celeryresults.Success, metas[0].State)
}
