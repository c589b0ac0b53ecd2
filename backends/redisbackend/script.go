package redisbackend

import (
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/internal/rank"
)

// storeScript stores records, each unless the one that stands must not be replaced,
// publishes those that it stored, and notes them in the tallies of their groups.
//
//	KEYS[i]    the record's key
//
// Each has three arguments, or all have six:
//
//	1  what it may replace, a driver.Power: 0 nothing to 3 everything, with = behind
//	   it if a record of the same bytes counts as stored; 3- everything, and nobody is
//	   told; or 4 and the one document that must stand
//	2  its lifetime in seconds, 0 for never
//	3  the document
//	4  the group's tally, empty for none
//	5  the task's id
//	6  its state
//
// It returns, for each key whose document it did not store, the number of the
// key and why:
//
//	=STATE        a record of the state stands
//	?bytes        this record stands, and the script can't tell its state; or, with
//	              the power 4, another one than must stand, or none
//	!message      an error of SET or GET; nothing was changed
//	~message      stored, but PUBLISH failed
//	#message      stored, but not in the tally
const storeScript = `
local answers, refusal, each = {}, nil, #ARGV / #KEYS

for i, key in ipairs(KEYS) do
	local at, done, why = each * (i - 1), nil, nil
	local rule, seconds, document = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]

	if rule < '3' then -- mostly nothing stands
		if seconds == '0' then
			done = redis.pcall('SET', key, document, 'NX')
		else
			done = redis.pcall('SET', key, document, 'EX', seconds, 'NX')
		end
	end
	if not done then
		if rule < '3' or rule >= '4' then
			if not refusal then
` + refusal + `end
			why = refusal(key, rule, document)
		end
		if not why then
			if seconds == '0' then
				done = redis.pcall('SET', key, document)
			else
				done = redis.pcall('SETEX', key, seconds, document)
			end
		end
	end

	if done and done.err then
		why = '!' .. done.err
	elseif done then
		if rule ~= '3-' then
			done = redis.pcall('PUBLISH', key, document)
			if type(done) == 'table' then why = '~' .. done.err end
		end
		if each > 3 and ARGV[at + 4] ~= '' then
			done = redis.pcall('HSET', ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
			if type(done) ~= 'table' and seconds ~= '0' then
				done = redis.pcall('EXPIRE', ARGV[at + 4], seconds)
			end
			if type(done) == 'table' then why = '#' .. done.err end
		end
	end
	if why and why ~= '' then
		answers[#answers + 1] = i
		answers[#answers + 1] = why
	end
end
return answers
`

// refusal is the part of storeScript that says why a document may not be stored: nil if
// it may, and an empty text if it is there. It is made when it is first needed.
const refusal = standing + `
refusal = function(key, rule, document)
	local stands = redis.pcall('GET', key)
	if type(stands) == 'table' then return '!' .. stands.err end
	if rule >= '4' then
		if stands == string.sub(rule, 2) then return nil end
		return '?' .. (stands or '')
	end
	if not stands then return nil end
	if stands == document and string.sub(rule, 2) == '=' then return '' end
	local state = standing(stands)
	if not state or state == '' then return '?' .. stands end
	if tonumber(string.sub(rule, 1, 1)) < rank(state) then return '=' .. state end
	return nil
end
`

// standing is where refusal has the function standing(document), which returns its
// state, or nil where it can't tell.
const standing = "-- standing --"

// storeScriptOf returns storeScript for documents of a serializer. It looks for the state
// only where the serializer's writers put it, and never within a payload; Go looks in
// documents of the other serializers, compressed ones, and those of other writers.
func storeScriptOf(serializer string) *redis.Script {
	lua, ok := standings[serializer]
	if !ok {
		lua = "local function standing() return nil end\n"
	}
	return redis.NewScript(strings.Replace(storeScript, standing, rank.Lua()+lua, 1))
}

var standings = map[string]string{
	"json": `
local function standing(d) return string.match(d, '^{"status": ?"([^"\\]+)"') end
`,
	"pickle": `
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

local function standing(d)
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
`,
}

// tallySuffix makes the key of a group's tally of that of the group: a hash from
// task ids to states.
const tallySuffix = ".tally"

// tallyScript notes a state that was stored, in a cluster, where a record and the tally
// are on different nodes. It follows the rule of stores, as the commands of two writers
// may arrive in another order than their results did: of two states of one rank that are
// stored at once, either may be noted.
//
//	KEYS[1]       the group's tally
//	ARGV[1], [2]  the task's id and its state
//	ARGV[3]       what that may replace, as in storeScript
//	ARGV[4]       the lifetime in seconds, 0 for never
var tallyScript = redis.NewScript(rank.Lua() + `
local stands = redis.call('HGET', KEYS[1], ARGV[1])
if not stands or tonumber(ARGV[3]) >= rank(stands) then
	redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if ARGV[4] ~= '0' then
	redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return {}
`)
