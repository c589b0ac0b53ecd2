package dbbackend

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
)

// expiry decides which rows have expired: by their state and the time of their
// last write.
type expiry struct {
	states []stateExpiry // those that have an expiry of their own, sorted
	others time.Duration // of all other states: a duration, or Never
}

type stateExpiry struct {
	state   celeryresults.State
	expires time.Duration // or Never
}

func newExpiry(s *celeryresults.Settings) expiry {
	states := []celeryresults.State{celeryresults.Success, celeryresults.Failure, celeryresults.Revoked}
	for state := range s.DjangoDB.ExpiresByState {
		if !slices.Contains(states, state) {
			states = append(states, state)
		}
	}
	slices.Sort(states)
	e := expiry{others: s.ExpiresIn("")}
	for _, state := range states {
		e.states = append(e.states, stateExpiry{state, s.ExpiresIn(state)})
	}
	return e
}

// of returns the expiry of a state.
func (e expiry) of(state celeryresults.State) time.Duration {
	for _, s := range e.states {
		if s.state == state {
			return s.expires
		}
	}
	return e.others
}

// expired reports whether a row has expired. One whose time can't be read has not.
func (e expiry) expired(state celeryresults.State, written, now time.Time) bool {
	expires := e.of(state)
	return expires != celeryresults.Never && !written.IsZero() && written.Before(now.Add(-expires))
}

// shortest returns the shortest expiry, and false when nothing ever expires.
func (e expiry) shortest() (time.Duration, bool) {
	shortest := e.others
	for _, s := range e.states {
		if shortest == celeryresults.Never || s.expires != celeryresults.Never && s.expires < shortest {
			shortest = s.expires
		}
	}
	return shortest, shortest != celeryresults.Never
}

// condition returns the SQL condition that a row has expired. Its columns begin
// with prefix, and its parameters are numbered from first on; args has their
// values.
func (e expiry) condition(prefix string, first int) string {
	var parts []string
	var known []string
	n := first
	for _, s := range e.states {
		known = append(known, fmt.Sprintf("$%d", n))
		if s.expires != celeryresults.Never {
			parts = append(parts, fmt.Sprintf("%[1]sstatus = $%[2]d AND %[1]sdate_done < $%[3]d", prefix, n, n+1))
			n++
		}
		n++
	}
	if e.others != celeryresults.Never {
		parts = append(parts, fmt.Sprintf("%[1]sstatus NOT IN (%[2]s) AND %[1]sdate_done < $%[3]d", prefix, strings.Join(known, ", "), n))
	} else {
		// Every parameter has to stand somewhere.
		parts = append(parts, fmt.Sprintf("%[1]sstatus IN (%[2]s) AND 1 = 0", prefix, strings.Join(known, ", ")))
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// args returns the values of the parameters of condition at a moment.
func (e expiry) args(now time.Time, bind func(time.Time) any) []any {
	var args []any
	for _, s := range e.states {
		args = append(args, string(s.state))
		if s.expires != celeryresults.Never {
			args = append(args, bind(now.Add(-s.expires)))
		}
	}
	if e.others != celeryresults.Never {
		args = append(args, bind(now.Add(-e.others)))
	}
	return args
}
