package redisbackend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/driver"
)

// Put implements driver.Store, in one round trip. What the script can't decide takes one
// more, and so do tallies in a cluster.
func (b *Store) Put(ctx context.Context, writes []*driver.Write) {
	names, args := make([]string, len(writes)), make([]any, 0, 3*len(writes))
	var ttl time.Duration
	var seconds any // of ttl, made once for most batches
	for i, w := range writes {
		if w.TTL != ttl {
			ttl, seconds = w.TTL, wholeSeconds(w.TTL)
		}
		names[i], _ = b.keys.Key(w.Kind, w.ID) // ids are not empty
		args = b.appendArgs(args, b.rule(w), seconds, w)
	}
	for i, a := range b.eval(ctx, b.script, names, args) {
		writes[i].Answer = b.conclude(ctx, writes[i], names[i], a)
	}
	if b.tallies && b.server.sharded {
		b.tally(ctx, writes)
	}
}

// appendArgs appends what storeScript takes of a write.
func (b *Store) appendArgs(args []any, rule, seconds any, w *driver.Write) []any {
	args = append(args, rule, seconds, w.Document)
	if b.tallies && !b.server.sharded {
		args = append(args, b.tallyKey(w.Group), w.ID, string(w.State))
	}
	return args
}

// tallyKey returns the key of a group's tally, empty without a group.
func (b *Store) tallyKey(groupID string) string {
	if groupID == "" {
		return ""
	}
	key, _ := b.keys.Group(groupID)
	return key + tallySuffix
}

// rules are those of storeScript for each power, first sent and repeated, and quietly that
// of markers. They are made once, as texts in interfaces.
var (
	rules       = [...][2]any{{"0", "0="}, {"1", "1="}, {"2", "2="}, {"3", "3"}}
	quietly any = "3-"
)

// rule is what a write may replace, as storeScript takes it.
func (b *Store) rule(w *driver.Write) any {
	power := w.Power
	switch {
	case power == driver.Exact && w.Old != nil:
		return exactly(w.Old)
	case power == driver.Exact:
		power = driver.Absent
	case power == driver.Anything && w.Kind == driver.Marker:
		return quietly
	}
	if b.repeated(w) {
		return rules[power][1]
	}
	return rules[power][0]
}

// exactly is the rule that a document must stand.
func exactly(document []byte) any { return "4" + string(document) }

// repeated reports whether a write may have been sent before.
func (b *Store) repeated(w *driver.Write) bool {
	return w.Repeated || b.server.repeats && w.State.Ready()
}

// answer is what a script says of a key.
type answer struct {
	why string // as storeScript returns it; empty when stored
	err error  // of the call
}

// conclude returns what became of a write.
func (b *Store) conclude(ctx context.Context, w *driver.Write, key string, a answer) driver.Answer {
	switch {
	case a.err != nil:
		return notStored(a.err)
	case a.why == "":
		return driver.Answer{Outcome: driver.Stored}
	case a.why[0] == '=':
		return driver.Answer{Outcome: driver.Refused, Stands: driver.State(a.why[1:])}
	case a.why[0] == '?':
		return b.swap(ctx, w, key, []byte(a.why[1:]))
	case a.why[0] == '~':
		return driver.Answer{Outcome: driver.Stored, Err: fmt.Errorf("PUBLISH failed, and those who wait in Python will not wake: %w", serverError(a.why[1:]))}
	case a.why[0] == '#':
		return driver.Answer{Outcome: driver.Stored, Err: untallied(w, serverError(a.why[1:]))}
	}
	return notStored(b.failed(serverError(a.why[1:])))
}

// notStored is the answer to a write whose call failed.
func notStored(err error) driver.Answer {
	if lost(err) {
		return driver.Answer{Outcome: driver.Unknown, Err: err}
	}
	return driver.Answer{Outcome: driver.NotStored, Err: err}
}

// errChanged is why a write is repeated that another writer came before.
var errChanged = &driver.Again{Err: errors.New("another writer was quicker"), Conflict: true}

// swap decides in Go about a record that the script could not decide about, and stores the
// document where that record still stands.
func (b *Store) swap(ctx context.Context, w *driver.Write, key string, stands []byte) driver.Answer {
	switch {
	case b.repeated(w) && bytes.Equal(stands, w.Document):
		return driver.Answer{Outcome: driver.Stored}
	case w.Power == driver.Exact:
		return driver.Answer{Outcome: driver.Refused}
	case !w.Allows(stands):
		return w.Answer
	}
	a := b.eval(ctx, b.script, []string{key}, b.appendArgs(nil, exactly(stands), wholeSeconds(w.TTL), w))[0]
	if a.why != "" && a.why[0] == '?' {
		return driver.Answer{Outcome: driver.NotStored, Err: errChanged}
	}
	return b.conclude(ctx, w, key, a)
}

// tally notes which members of groups were stored. A write is repeated whose note may
// come through then: it finds its own record.
func (b *Store) tally(ctx context.Context, writes []*driver.Write) {
	var noted []*driver.Write
	var names []string
	var args []any
	for _, w := range writes {
		if w.Answer.Outcome == driver.Stored && w.Group != "" {
			noted, names = append(noted, w), append(names, b.tallyKey(w.Group))
			args = append(args, w.ID, string(w.State), int(w.Power), wholeSeconds(w.TTL))
		}
	}
	if len(noted) == 0 {
		return
	}
	for i, a := range b.eval(ctx, tallyScript, names, args) {
		if a.err == nil {
			continue
		}
		noted[i].Answer.Err = untallied(noted[i], a.err)
		if _, again := errors.AsType[*driver.Again](a.err); again {
			noted[i].Answer.Outcome = driver.Unknown
		}
	}
}

func untallied(w *driver.Write, err error) error {
	return fmt.Errorf("it is not in the tally of group %q: %w", w.Group, err)
}

// eval runs a script with its share of the arguments for each key.
func (b *Store) eval(ctx context.Context, script *redis.Script, names []string, args []any) []answer {
	if b.server.sharded {
		return b.evalApart(ctx, script, names, args)
	}
	found, err := run(ctx, b, func(c redis.UniversalClient) ([]any, error) {
		return script.Run(ctx, c, names, args...).Slice()
	})
	return answers(len(names), found, err)
}

// evalApart runs a script in a cluster: a call for each key, those to one node together,
// and sends its text to the nodes that do not have it.
func (b *Store) evalApart(ctx context.Context, script *redis.Script, names []string, args []any) []answer {
	each := len(args) / len(names)
	cmds, err := run(ctx, b, func(c redis.UniversalClient) ([]*redis.Cmd, error) {
		cmds := make([]*redis.Cmd, len(names))
		for _, send := range []func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd{script.EvalSha, script.Eval} {
			_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
				for i, cmd := range cmds {
					if cmd == nil || redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
						cmds[i] = send(ctx, p, names[i:i+1], args[i*each:(i+1)*each]...)
					}
				}
				return nil
			})
		}
		return cmds, nil
	})
	if err != nil {
		return answers(len(names), nil, err)
	}
	all := make([]answer, 0, len(names))
	for _, cmd := range cmds {
		found, err := cmd.Slice()
		if err != nil {
			err = b.failed(err)
		}
		all = append(all, answers(1, found, err)[0])
	}
	return all
}

// errScript is what a script's answer is when it makes no sense.
var errScript = errors.New("the script returned something else")

// answers reads what a script returned of n keys.
func answers(n int, found []any, err error) []answer {
	all := make([]answer, n)
	for i := range all {
		all[i].err = err
	}
	for i := 0; i+1 < len(found) && err == nil; i += 2 {
		key, _ := found[i].(int64)
		why, _ := found[i+1].(string)
		if key < 1 || int(key) > n || why == "" {
			return answers(n, nil, errScript)
		}
		all[key-1].why = why
	}
	return all
}

// serverError is an answer that a script passed on.
type serverError string

func (e serverError) Error() string { return string(e) }

// RedisError makes it a redis.Error.
func (serverError) RedisError() {}

var _ redis.Error = serverError("")
