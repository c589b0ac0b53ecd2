package redisbackend

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
)

// storeScript stores results, each unless the record that stands must not be
// replaced, and publishes those that it stored.
//
//	KEYS[i]       a task's key
//	ARGV[1]       the serializer
//	ARGV[2]       the expiry in seconds, 0 for never
//	ARGV[2i+1]    what the document may replace: 0 nothing, 1 what is not ready,
//	              2 all but a SUCCESS, 3 everything; with = behind it, a record of
//	              the same bytes counts as stored
//	ARGV[2i+2]    the document
//
// It returns, for each key whose document it did not store, the number of the
// key and why:
//
//	=STATE        a record of the state stands
//	?bytes        this record stands, and the script can't tell its state
//	!message      an error of SET or GET; nothing was changed
//	~message      stored, but PUBLISH failed
//
// The state is looked for only where the serializer's writers put it, and never
// within a payload.
var storeScript = redis.NewScript(`
local serializer, seconds = ARGV[1], ARGV[2]
local answers, late = {}, nil

-- mostly nothing stands: the rest is for what does
for i, key in ipairs(KEYS) do
	local document, done = ARGV[2 * i + 2], nil
	if ARGV[2 * i + 1] ~= '3' then
		if seconds == '0' then
			done = redis.pcall('SET', key, document, 'NX')
		else
			done = redis.pcall('SET', key, document, 'EX', seconds, 'NX')
		end
	end
	if done and done.ok then
		done = redis.pcall('PUBLISH', key, document)
		if type(done) == 'table' then
			answers[#answers + 1] = i
			answers[#answers + 1] = '~' .. done.err
		end
	elseif done then
		answers[#answers + 1] = i
		answers[#answers + 1] = '!' .. done.err
	else
		late = late or {}
		late[#late + 1] = i
	end
end
if not late then
	return answers
end

-- pickle's memo and text opcodes

local function memo(d, at)
	local op = string.byte(d, at)
	if op == 148 then return at + 1 end
	if op == 113 then return at + 2 end
	if op == 114 then return at + 5 end
	return at
end

local function text(d, at)
	local op, size, from = string.byte(d, at), nil, nil
	if op == 140 then
		size, from = string.byte(d, at + 1), at + 2
	elseif op == 88 then
		local a, b, c, e = string.byte(d, at + 1, at + 4)
		if c ~= 0 or e ~= 0 then return nil, at end
		size, from = a + 256 * b, at + 5
	end
	if not size then return nil, at end
	return string.sub(d, from, from + size - 1), memo(d, from + size)
end

local function pickled(d)
	local first, protocol = string.byte(d, 1, 2)
	if first ~= 128 or not protocol or protocol < 2 or protocol > 5 then return nil end
	local at = 3
	if string.byte(d, at) == 149 then at = at + 9 end
	if string.byte(d, at) ~= 125 then return nil end
	at = memo(d, at + 1)
	if string.byte(d, at) ~= 40 then return nil end
	local name, state
	name, at = text(d, at + 1)
	if name ~= 'status' then return nil end
	state, at = text(d, at)
	return state
end

local function packed(d)
	local first, at = string.byte(d), nil
	if not first then return nil end
	if first >= 128 and first <= 143 then at = 2 elseif first == 222 then at = 4 elseif first == 223 then at = 6 end
	if not at or string.sub(d, at, at + 6) ~= '\166status' then return nil end
	local head = string.byte(d, at + 7)
	if not head or head < 160 or head > 191 then return nil end
	return string.sub(d, at + 8, at + 7 + head - 160)
end

-- one line of the top level, in a document of the plain block style

local function lined(d)
	if not string.find(d, '^[%a_]') then return nil end
	d = '\n' .. d
	if string.find(d, '\n[?%%]') or string.find(d, '\n%-%-%-') or string.find(d, '\n%.%.%.') then return nil end
	local found, at, state = 0, 1, nil
	while true do
		local from, to = string.find(d, '\n["\']?status["\']?%s*:', at)
		if not from then break end
		found, at = found + 1, to
		state = string.match(d, '^\nstatus: ([%u_]+)\n[^ ]', from) or string.match(d, '^\nstatus: ([%u_]+)\n?$', from)
	end
	if found == 1 then return state end
	return nil
end

local function standing(d)
	if serializer == 'json' then return string.match(d, '^{"status": ?"([^"\\]+)"') end
	if serializer == 'pickle' then return pickled(d) end
	if serializer == 'msgpack' then return packed(d) end
	if serializer == 'yaml' then return lined(d) end
	return nil
end

-- nil when the document may be stored

local function refusal(key, rule, document)
	local stands = redis.pcall('GET', key)
	if type(stands) == 'table' then return '!' .. stands.err end
	if not stands then return nil end
	if stands == document and string.sub(rule, 2) == '=' then return '' end
	local state = standing(stands)
	if not state or state == '' then return '?' .. stands end
	local power = string.sub(rule, 1, 1)
	if power == '0' or state == 'SUCCESS' or power == '1' and (state == 'FAILURE' or state == 'REVOKED') then
		return '=' .. state
	end
	return nil
end

local function replace(key, rule, document)
	local why = nil
	if rule ~= '3' then why = refusal(key, rule, document) end
	if why then return why end
	local done
	if seconds == '0' then
		done = redis.pcall('SET', key, document)
	else
		done = redis.pcall('SETEX', key, seconds, document)
	end
	if done.err then return '!' .. done.err end
	done = redis.pcall('PUBLISH', key, document)
	if type(done) == 'table' then return '~' .. done.err end
	return ''
end

for _, i in ipairs(late) do
	local answer = replace(KEYS[i], ARGV[2 * i + 1], ARGV[2 * i + 2])
	if answer ~= '' then
		answers[#answers + 1] = i
		answers[#answers + 1] = answer
	end
end
return answers
`)

// swapScript stores a result if the record that stands is what the caller has
// read, and publishes it.
//
//	KEYS[1]  the task's key
//	ARGV[1]  the expiry in seconds, 0 for never
//	ARGV[2]  the document
//	ARGV[3]  the record that must stand
//
// It returns nothing if it stored, else the record that stands, or false.
var swapScript = redis.NewScript(`
local stands = redis.call('GET', KEYS[1])
if stands ~= ARGV[3] then
	return {stands}
end
if ARGV[1] == '0' then
	redis.call('SET', KEYS[1], ARGV[2])
else
	redis.call('SETEX', KEYS[1], ARGV[1], ARGV[2])
end
redis.pcall('PUBLISH', KEYS[1], ARGV[2])
return {}
`)

// answer is what became of one request of a script call.
type answer struct {
	why string // as storeScript returns it; empty when stored
	err error  // of the call
}

// send sends requests to Redis.
func (b *RedisBackend) send(ctx context.Context, rs []*request) []answer {
	if b.server.sharded {
		return b.sendApart(ctx, rs)
	}
	keys, args := make([]string, len(rs)), b.scriptArgs(len(rs))
	for i, r := range rs {
		keys[i] = r.key
		args = append(args, b.rule(r), r.document)
	}
	found, err := once(ctx, b, func(c redis.UniversalClient) ([]any, error) {
		return storeScript.Run(ctx, c, keys, args...).Slice()
	})
	return answers(len(rs), found, err)
}

// sendApart sends requests to a cluster: a call each, those to one node together.
func (b *RedisBackend) sendApart(ctx context.Context, rs []*request) []answer {
	calls := make([][]any, len(rs))
	for i, r := range rs {
		calls[i] = append(b.scriptArgs(1), b.rule(r), r.document)
	}
	all, err := once(ctx, b, func(c redis.UniversalClient) ([]answer, error) {
		return evalEach(ctx, c, rs, calls), nil
	})
	if err != nil {
		return answers(len(rs), nil, err)
	}
	return all
}

// evalEach runs the script for each request in a pipeline, and sends its text to
// the nodes that do not have it.
func evalEach(ctx context.Context, c redis.UniversalClient, rs []*request, calls [][]any) []answer {
	all := make([]answer, len(rs))
	missing := make([]int, len(rs))
	for i := range missing {
		missing[i] = i
	}
	for _, eval := range []func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd{storeScript.EvalSha, storeScript.Eval} {
		cmds := make([]*redis.Cmd, len(missing))
		_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
			for n, i := range missing {
				cmds[n] = eval(ctx, p, []string{rs[i].key}, calls[i]...)
			}
			return nil
		})
		var again []int
		for n, i := range missing {
			found, err := cmds[n].Slice()
			all[i] = answers(1, found, err)[0]
			if redis.HasErrorPrefix(err, "NOSCRIPT") {
				again = append(again, i)
			}
		}
		if missing = again; len(missing) == 0 {
			break
		}
	}
	return all
}

func (b *RedisBackend) scriptArgs(requests int) []any {
	return append(make([]any, 0, 2+2*requests), b.documents.Codec.Name(), b.seconds)
}

var errScript = errors.New("the script returned something else")

// answers reads what the script returned.
func answers(requests int, found []any, err error) []answer {
	all := make([]answer, requests)
	if err != nil {
		for i := range all {
			all[i].err = err
		}
		return all
	}
	for i := 0; i+1 < len(found); i += 2 {
		n, _ := found[i].(int64)
		why, _ := found[i+1].(string)
		if n < 1 || int(n) > requests || why == "" {
			return answers(requests, nil, errScript)
		}
		all[n-1].why = why
	}
	return all
}

// rule is what a request may replace, as storeScript takes it.
func (b *RedisBackend) rule(r *request) string {
	same := ""
	if r.uncertain || b.server.repeats && r.state.Ready() {
		same = "="
	}
	switch {
	case r.override:
		return "3"
	case r.state == celeryresults.Pending:
		return "0" + same
	case r.state.Ready():
		return "2" + same
	}
	return "1" + same
}

// swap decides in Go about a record whose state the script could not tell.
func (b *RedisBackend) swap(ctx context.Context, r *request, stands string) error {
	for {
		state := b.documents.State([]byte(stands))
		switch {
		case stands == string(r.document) && (r.uncertain || b.server.repeats && r.state.Ready()):
			r.settle(nil)
			return nil
		case r.state == celeryresults.Pending, !r.state.MayReplace(state):
			r.refuse(state)
			return nil
		}
		found, err := once(ctx, b, func(c redis.UniversalClient) ([]any, error) {
			return swapScript.Run(ctx, c, []string{r.key}, b.seconds, r.document, stands).Slice()
		})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			r.settle(nil)
			return nil
		}
		next, ok := found[0].(string)
		if !ok { // it is gone: the next attempt stores
			return errGone
		}
		stands = next
	}
}

// errGone is why an attempt is repeated: the record that stood has gone.
var errGone = errors.New("redisbackend: the record is gone")

// serverError is an answer that a script passed on.
type serverError string

func (e serverError) Error() string { return string(e) }

// RedisError makes it a redis.Error.
func (serverError) RedisError() {}

var _ redis.Error = serverError("")

// errPublish is what StoreResult returns when the result is there and nobody was
// told of it.
func errPublish(message string) error {
	return fmt.Errorf("redisbackend: stored, but PUBLISH failed, and those who wait in Python will not wake: %w", serverError(message))
}
