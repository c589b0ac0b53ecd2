package redisbackend_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// record is one line of a recording of a real store.
type record struct {
	Case    string          `json:"case"`
	TaskID  string          `json:"task_id"`
	GroupID string          `json:"group_id"`
	Canon   json.RawMessage `json:"canon"`
	Tuple   json.RawMessage `json:"tuple"`
	Store   struct {
		Key   string `json:"key"`
		Value []byte `json:"value"`
	} `json:"store"`
}

func recordings(t *testing.T, name string) []record {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "driver", "drivertest", "testdata", "recorded", name+".jsonl"))
	require.NoError(t, err)
	var list []record
	for line := range bytes.Lines(data) {
		var r record
		require.NoError(t, json.Unmarshal(line, &r))
		if r.Case != "" {
			list = append(list, r)
		}
	}
	require.NotEmpty(t, list)
	return list
}

// TestRecordsOfCeleryAreReadAndWrittenByteByByte covers what real Celery stored: it is
// read as Celery reads it, and what was read is written as the same bytes, with
// the same expiry, and published as the same bytes.
func TestRecordsOfCeleryAreReadAndWrittenByteByByte(t *testing.T) {
	addr := testserver.StartRedis(t).Addr()
	raw := rawClient(t, addr)
	for _, name := range []string{"redis-json", "redis-pickle", "redis-yaml", "redis-msgpack", "redis-prefix"} {
		t.Run(name, func(t *testing.T) {
			records := recordings(t, name)
			b := open(t, recordedSettings(addr, name))
			for _, r := range records {
				t.Run(r.Case, func(t *testing.T) {
					require.NoError(t, raw.Set(t.Context(), r.Store.Key, r.Store.Value, 0).Err())
					checkRead(t, r, b)
					checkRewrite(t, r, b, raw)
				})
			}
			t.Logf("%s: %d records equal", name, len(records))
		})
	}
}

func recordedSettings(addr, name string) celeryresults.Settings {
	serializer := strings.TrimPrefix(name, "redis-")
	s := celeryresults.Settings{ResultBackend: "redis://" + addr}
	if serializer == "prefix" {
		s.ResultBackendTransportOptions.GlobalKeyPrefix = "shop"
		return s
	}
	s.ResultSerializer, s.ResultAcceptContent = serializer, []string{serializer}
	return s
}

func checkRead(t *testing.T, r record, b *celeryresults.Backend) {
	t.Helper()
	if r.TaskID == "" {
		group, err := b.RestoreGroup(t.Context(), r.GroupID)
		require.NoError(t, err)
		got, err := json.Marshal(group)
		require.NoError(t, err)
		assert.JSONEq(t, string(r.Tuple), string(got))
		return
	}
	meta := get(t, b, r.TaskID)
	require.False(t, meta.Unknown, "it is not under the key %s", r.Store.Key)
	printed, err := json.Marshal(meta)
	require.NoError(t, err)
	got, want := exact(t, printed), exact(t, r.Canon)
	if r.Case == "unserializable-failure" { // either form is right for it
		dropAddress(got)
		dropAddress(want)
	}
	assert.Equal(t, want, got)
}

func exact(t *testing.T, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v map[string]any
	require.NoError(t, d.Decode(&v), "%s", data)
	return v
}

func dropAddress(doc map[string]any) { delete(doc["result"].(map[string]any), "exc_message") }

// checkRewrite stores what was read and compares the bytes. Pickle and YAML may write a
// value in several ways: these are compared by what they mean.
func checkRewrite(t *testing.T, r record, b *celeryresults.Backend, raw *redis.Client) {
	t.Helper()
	messages := raw.Subscribe(t.Context(), r.Store.Key)
	defer messages.Close()
	_, err := messages.Receive(t.Context())
	require.NoError(t, err)
	if r.TaskID == "" {
		group, err := b.RestoreGroup(t.Context(), r.GroupID)
		require.NoError(t, err)
		require.NoError(t, b.SaveGroup(t.Context(), group))
	} else {
		require.NoError(t, b.StoreResult(t.Context(), get(t, b, r.TaskID), celeryresults.Override))
	}
	stored, err := raw.Get(t.Context(), r.Store.Key).Bytes()
	require.NoError(t, err)
	message, err := messages.ReceiveMessage(t.Context())
	require.NoError(t, err)
	assert.Equal(t, string(stored), message.Payload)
	ttl, err := raw.TTL(t.Context(), r.Store.Key).Result()
	require.NoError(t, err)
	assert.Equal(t, celeryresults.DefaultExpires, ttl)
	if strings.Contains(t.Name(), "redis-pickle") || strings.Contains(t.Name(), "redis-yaml") {
		checkRead(t, r, b)
		return
	}
	assert.Equal(t, string(r.Store.Value), string(stored))
}
