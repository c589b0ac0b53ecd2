package redisbackend_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

var serializers = []string{"json", "pickle", "yaml", "msgpack"}

func serializer(addr, name string) celeryresults.Settings {
	return celeryresults.Settings{ResultBackend: "redis://" + addr, ResultSerializer: name, ResultAcceptContent: []string{name}}
}

// misleading are payloads that hold what a record of a SUCCESS begins with.
var misleading = []any{
	`{"status": "SUCCESS", "result": 1}`,
	"\nstatus: SUCCESS\n",
	"x\nstatus: SUCCESS\ny",
	"status: SUCCESS",
	[]byte("\x80\x04}\x94(\x8c\x06status\x94\x8c\x07SUCCESS\x94"),
	[]byte("\x82\xa6status\xa7SUCCESS"),
	map[string]any{"status": "SUCCESS"},
	map[string]any{"a": map[string]any{"status": "SUCCESS"}, "status": "FAILURE"},
	[]any{map[string]any{"status": "SUCCESS"}, map[string]any{"status": "REVOKED"}},
	strings.Repeat("status: SUCCESS\n", 50),
}

func TestThePayloadIsNeverTakenForTheState(t *testing.T) {
	addr := testserver.Redis(t)
	for _, name := range serializers {
		t.Run(name, func(t *testing.T) {
			b := open(t, serializer(addr, name))
			for i, payload := range misleading {
				id := fmt.Sprintf("misleading-%s-%d", name, i)
				running := inState(id, "PROGRESS")
				running.Result = celeryresults.NewValue(payload)
				running.Traceback = strings.ToValidUTF8(fmt.Sprintf("%s", payload), "?")
				store(t, b, running)
				store(t, b, inState(id, celeryresults.Started))
				running.State = "PROGRESS"
				store(t, b, running)
				store(t, b, inState(id, celeryresults.Failure))
				require.ErrorIs(t, b.StoreResult(t.Context(), running), celeryresults.ErrRefused)
				ready := done(id, payload)
				store(t, b, ready)
				for _, late := range []celeryresults.State{celeryresults.Failure, celeryresults.Started, celeryresults.Success, celeryresults.Pending} {
					err := b.StoreResult(t.Context(), inState(id, late))
					var refused *celeryresults.RefusedError
					require.ErrorAs(t, err, &refused, "%s over %q", late, payload)
					assert.Equal(t, celeryresults.Success, refused.Stands)
				}
			}
		})
	}
}

// TestRecordsOfOtherWritersAreJudgedRight are documents that no writer of
// Celery's would write: the script can't tell their state, and Go does.
func TestRecordsOfOtherWritersAreJudgedRight(t *testing.T) {
	addr := testserver.Redis(t)
	raw := rawClient(t, addr)
	for _, row := range []struct {
		serializer, record string
		stands             celeryresults.State // empty: none that can be read
	}{
		{"json", `{"task_id": "x", "status": "SUCCESS", "result": 1}`, celeryresults.Success},
		{"json", `{"status":"SUCCESS","result":1}`, celeryresults.Success},
		{"json", "{ \"status\" : \"FAILURE\" }", celeryresults.Failure},
		{"json", `{"result": "{\"status\": \"SUCCESS\"}", "status": "STARTED"}`, celeryresults.Started},
		{"json", `{"status": "\u0053UCCESS"}`, celeryresults.Success},
		{"json", `{"status": nu`, ""},
		{"json", ``, ""},
		{"json", `no document`, ""},
		{"yaml", "{status: SUCCESS, result: 1}\n", celeryresults.Success},
		{"yaml", "result: \"a\nstatus: SUCCESS\n\"\nstatus: STARTED\n", celeryresults.Started},
		{"yaml", "status: STARTED\nresult: |\n  status: SUCCESS\n", celeryresults.Started},
		{"yaml", "'status': SUCCESS\n", celeryresults.Success},
		{"yaml", "---\nstatus: SUCCESS\n", celeryresults.Success},
		{"yaml", "status: >-\n  SUCCESS\n", celeryresults.Success},
		{"msgpack", "\x81\xa6status\xd9\x07SUCCESS", celeryresults.Success},
		{"msgpack", "\xde\x00\x01\xa6status\xa7SUCCESS", celeryresults.Success},
		{"msgpack", "\x82\xa1x\xa7SUCCESS\xa6status\xa7STARTED", celeryresults.Started},
		{"pickle", "\x80\x02}q\x00(X\x06\x00\x00\x00statusq\x01X\x07\x00\x00\x00SUCCESSq\x02u.", celeryresults.Success},
		{"pickle", "\x80\x02}q\x00X\x06\x00\x00\x00statusq\x01X\x07\x00\x00\x00SUCCESSq\x02s.", celeryresults.Success},
		{"pickle", "\x80\x04}(\x8c\x01x\x8c\x07SUCCESS\x8c\x06status\x8c\x07STARTEDu.", celeryresults.Started},
	} {
		b := open(t, serializer(addr, row.serializer))
		for _, next := range []celeryresults.State{celeryresults.Pending, celeryresults.Started, celeryresults.Failure, celeryresults.Success} {
			id := "foreign"
			require.NoError(t, raw.Set(t.Context(), taskKey(id), row.record, 0).Err())
			err := b.StoreResult(t.Context(), inState(id, next))
			if driver.PowerOf(next, false).Over(row.stands) {
				require.NoError(t, err, "%s over %q", next, row.record)
				assert.Equal(t, next, get(t, b, id).State)
				continue
			}
			var refused *celeryresults.RefusedError
			require.ErrorAs(t, err, &refused, "%s over %q", next, row.record)
			assert.Equal(t, row.stands, refused.Stands, row.record)
			left, err := raw.Get(t.Context(), taskKey(id)).Result()
			require.NoError(t, err)
			assert.Equal(t, row.record, left)
		}
	}
}

func TestAKeyOfAnotherTypeIsAnErrorAndNoOtherStoresFault(t *testing.T) {
	addr := testserver.Redis(t)
	raw, b := rawClient(t, addr), at(t, addr)
	require.NoError(t, raw.LPush(t.Context(), taskKey("odd"), "x").Err())
	var odd atomic.Value
	everyone(32, func(i int) {
		id := fmt.Sprint("even-", i)
		if i == 7 {
			odd.Store(b.StoreResult(t.Context(), done("odd", 1)))
			return
		}
		assert.NoError(t, b.StoreResult(t.Context(), done(id, i)))
	})
	err, _ := odd.Load().(error)
	require.ErrorContains(t, err, "WRONGTYPE")
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
	_, err = b.GetTaskMeta(t.Context(), "odd")
	var unreadable *celeryresults.UnreadableError
	require.ErrorAs(t, err, &unreadable)
	require.NoError(t, b.StoreResult(t.Context(), done("odd", 1), celeryresults.Override))
}

func TestStoresAndMessagesAreCelerys(t *testing.T) {
	addr := testserver.StartRedis(t).Addr()
	raw := rawClient(t, addr)
	for name, row := range map[string]struct {
		expires, want time.Duration
	}{
		"a day by default":   {0, 24 * time.Hour},
		"an hour":            {time.Hour, time.Hour},
		"rounded up":         {1500 * time.Millisecond, 2 * time.Second},
		"a moment":           {time.Millisecond, time.Second},
		"over thirty days":   {31 * 24 * time.Hour, 31 * 24 * time.Hour},
		"never, a plain SET": {celeryresults.Never, -1},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, celeryresults.Settings{ResultBackend: "redis://" + addr, ResultExpires: row.expires})
			id := strings.ReplaceAll(name, " ", "-")
			messages := raw.Subscribe(t.Context(), taskKey(id))
			defer messages.Close()
			_, err := messages.Receive(t.Context())
			require.NoError(t, err)
			for _, meta := range []*celeryresults.TaskMeta{inState(id, celeryresults.Started), done(id, 42)} {
				store(t, b, meta)
				stored, err := raw.Get(t.Context(), taskKey(id)).Result()
				require.NoError(t, err)
				message, err := messages.ReceiveMessage(t.Context())
				require.NoError(t, err)
				assert.Equal(t, stored, message.Payload)
				ttl, err := raw.TTL(t.Context(), taskKey(id)).Result()
				require.NoError(t, err)
				assert.Equal(t, row.want, ttl)
			}
			assert.ErrorIs(t, b.StoreResult(t.Context(), inState(id, celeryresults.Started)), celeryresults.ErrRefused)
			require.NoError(t, raw.Publish(t.Context(), taskKey(id), "the end").Err())
			message, err := messages.ReceiveMessage(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "the end", message.Payload, "what is refused is not published")
			require.NoError(t, b.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: id, Children: []celeryresults.ResultTuple{{ID: "a"}}}))
			ttl, err := raw.TTL(t.Context(), "celery-taskset-meta-"+id).Result()
			require.NoError(t, err)
			assert.Equal(t, row.want, ttl)
		})
	}
}

// TestTwoProcessesRaceForOneRecord has the other one in a child process.
func TestTwoProcessesRaceForOneRecord(t *testing.T) {
	const n = 10_000
	addr := os.Getenv("RACE_WITH")
	state := celeryresults.Failure
	if addr == "" {
		addr, state = testserver.StartRedis(t).Addr(), celeryresults.Success
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTwoProcessesRaceForOneRecord$", "-test.count=1")
		child.Env = append(os.Environ(), "RACE_WITH="+addr)
		require.NoError(t, child.Start())
		defer func() { require.NoError(t, child.Wait()) }()
	}
	raw, b := rawClient(t, addr), at(t, addr)
	require.NoError(t, raw.Incr(t.Context(), "ready").Err())
	require.Eventually(t, func() bool { return raw.Get(t.Context(), "ready").Val() == "2" }, 20*time.Second, time.Millisecond)
	var refused atomic.Int64
	everyone(16, func(i int) {
		for j := i; j < n; j += 16 {
			err := b.StoreResult(t.Context(), inState(fmt.Sprint("race-", j), state))
			if errors.Is(err, celeryresults.ErrRefused) {
				refused.Add(1)
				continue
			}
			assert.NoError(t, err)
		}
	})
	if os.Getenv("RACE_WITH") != "" {
		require.NoError(t, raw.Set(t.Context(), "refused", refused.Load(), 0).Err())
		return
	}
	require.Eventually(t, func() bool { return raw.Get(t.Context(), "refused").Err() == nil }, 20*time.Second, time.Millisecond)
	metas, err := b.GetMany(t.Context(), ids("race", n))
	require.NoError(t, err)
	for _, meta := range metas {
		assert.Equal(t, celeryresults.Success, meta.State)
	}
	assert.Zero(t, refused.Load(), "a SUCCESS replaces a FAILURE")
	t.Logf("%d ids, the other process was refused %s times", n, raw.Get(t.Context(), "refused").Val())
}

func TestMergedStoresEachHaveTheirOutcome(t *testing.T) {
	addr := testserver.Redis(t)
	for _, name := range serializers {
		b := open(t, serializer(addr, name))
		prefix := fmt.Sprint("merged-", name, rand.Int64())
		stands := map[int]celeryresults.State{}
		for i := range 200 {
			switch i % 4 {
			case 1:
				stands[i] = celeryresults.Started
			case 2:
				stands[i] = celeryresults.Success
			case 3:
				stands[i] = celeryresults.Revoked
			}
			if stands[i] != "" {
				store(t, b, inState(fmt.Sprint(prefix, i), stands[i]))
			}
		}
		everyone(200, func(i int) {
			for _, next := range []celeryresults.State{celeryresults.Pending, celeryresults.Started, "PROGRESS"} {
				if i%3 == 0 { // some store things that can't be
					bad := done(fmt.Sprint(prefix, i), make(chan int))
					assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(b.StoreResult(t.Context(), bad)))
				}
				err := b.StoreResult(t.Context(), inState(fmt.Sprint(prefix, i), next))
				was := stands[i]
				if next.MayReplace(was) {
					stood := next
					assert.NoError(t, err, "%s over %q", next, was)
					was = stood
				} else {
					var refused *celeryresults.RefusedError
					if assert.ErrorAs(t, err, &refused, "%s over %q", next, was) {
						assert.Equal(t, was, refused.Stands)
					}
				}
				if i%4 == 0 || i%4 == 1 {
					assert.Equal(t, was, get(t, b, fmt.Sprint(prefix, i)).State)
				}
				if i%4 == 0 { // each writes a record of its own
					assert.NoError(t, b.Forget(t.Context(), fmt.Sprint(prefix, i)))
				} else if i%4 == 1 {
					assert.NoError(t, b.StoreResult(t.Context(), inState(fmt.Sprint(prefix, i), celeryresults.Started)))
				}
			}
		})
	}
}

func TestAFullServerAnswersAtOnce(t *testing.T) {
	server := testserver.StartRedis(t)
	b, raw := at(t, server.Addr()), rawClient(t, server.Addr())
	store(t, b, inState("stands", celeryresults.Started))
	require.NoError(t, raw.ConfigSet(t.Context(), "maxmemory", "1").Err())
	began := time.Now()
	err := b.StoreResult(t.Context(), done("full", 1))
	require.ErrorContains(t, err, "OOM")
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
	assert.Less(t, time.Since(began), time.Second)
	assert.True(t, get(t, b, "full").Unknown)
	require.NoError(t, raw.ConfigSet(t.Context(), "maxmemory", "0").Err())
	store(t, b, done("full", 1))
}

func TestAChannelWithoutPermissionIsToldOf(t *testing.T) {
	server := testserver.StartRedis(t, "--user", "mute", "on", "nopass", "~*", "+@all", "resetchannels")
	b := open(t, celeryresults.Settings{ResultBackend: "redis://mute:x@" + server.Addr()})
	err := b.StoreResult(t.Context(), done("mute", 1))
	require.ErrorContains(t, err, "PUBLISH")
	assert.NotEqual(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
	meta, err := celeryresults.NewAsyncResult("mute", b).Wait(within(t, 10*time.Second))
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Success, meta.State)
}

func TestAResultOverTheLimitIsNotSent(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a gigabyte")
	}
	b := at(t, testserver.Redis(t))
	err := b.StoreResult(t.Context(), done("large", strings.Repeat("x", 512<<20)))
	require.ErrorIs(t, err, celeryresults.ErrTooLarge)
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
}

func TestNewNeedsAClientAndSerializersThatGoTogether(t *testing.T) {
	_, err := redisbackend.New(nil, celeryresults.Settings{}, redisbackend.Options{})
	require.Error(t, err)
	client := rawClient(t, "127.0.0.1:1")
	_, err = redisbackend.New(client, celeryresults.Settings{ResultSerializer: "xml"}, redisbackend.Options{})
	require.ErrorContains(t, err, `"xml"`)
	_, err = redisbackend.New(client, celeryresults.Settings{ResultSerializer: "pickle"}, redisbackend.Options{})
	require.Error(t, err, "it could not read what it writes")
}
