// Package keys has the names of the keys of Celery's KeyValueStoreBackend
// (celery.backends.base).
package keys

import (
	"strings"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
)

// The prefixes of celery.backends.base.KeyValueStoreBackend.
const (
	taskPrefix  = "celery-task-meta-"
	groupPrefix = "celery-taskset-meta-"
	chordPrefix = "chord-unlock-"
)

// Keys names the keys of one backend.
type Keys struct {
	global string
}

// New returns the keys with the options' prefix.
func New(o celeryresults.TransportOptions) Keys { return Keys{o.KeyPrefix()} }

// Task returns the key of a task's result, or ErrNoTaskID.
func (k Keys) Task(id string) (string, error) { return k.key(taskPrefix, id) }

// Group returns the key of a group, or ErrNoTaskID.
func (k Keys) Group(id string) (string, error) { return k.key(groupPrefix, id) }

// Chord returns the key of the counter of a group's chord, or ErrNoTaskID.
func (k Keys) Chord(id string) (string, error) { return k.key(chordPrefix, id) }

func (k Keys) key(prefix, id string) (string, error) {
	if id == "" {
		return "", celeryresults.ErrNoTaskID
	}
	return k.global + prefix + id, nil
}

// Tasks returns the keys of many tasks, in order, or ErrNoTaskID.
func (k Keys) Tasks(ids []string) ([]string, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		key, err := k.Task(id)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return keys, nil
}

// TaskID returns the id of the task whose result is under key.
func (k Keys) TaskID(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, k.global)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(rest, taskPrefix)
}

// Key returns the key of a record of a kind, or ErrNoTaskID.
func (k Keys) Key(kind driver.Kind, id string) (string, error) { return k.key(string(kind), id) }

// Own returns a key that Celery does not have, behind the global prefix.
func (k Keys) Own(name string) string { return k.global + name }
