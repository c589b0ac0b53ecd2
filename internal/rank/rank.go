// Package rank has the rule of which record may replace which, in one table from
// which its forms in Go, SQL and Lua come: a record of a power may be stored over
// one whose rank is not higher.
//
// It follows celery.backends.base.Backend.store_result, which keeps a SUCCESS, and
// goes further: a FAILURE or REVOKED gives way to other ready states only, and a
// PENDING is stored only where nothing stands.
package rank

import (
	"fmt"
	"slices"
	"strings"
)

// The ranks of records that stand, and the powers of those that come. Statements in
// SQL and scripts in Lua have them as numbers.
const (
	Nothing = 0 // stands nowhere; the power of PENDING
	Unready = 1 // the rank and the power of every state that is not ready
	Ready   = 2 // the rank of FAILURE and REVOKED; the power of every ready state
	Final   = 3 // the rank of SUCCESS; the power of Override
)

// ranks are those of the states that are not Unready. The empty state is that of a
// record which can't be read: it gives way to ready states, so that nobody waits for
// ever.
var ranks = map[string]int{"SUCCESS": Final, "FAILURE": Ready, "REVOKED": Ready, "": Ready}

// Of returns the rank of a record of the state that stands; empty: it can't be read.
func Of(state string) int {
	switch state { // the table, without a look-up for each record
	case "SUCCESS":
		return Final
	case "FAILURE", "REVOKED", "":
		return Ready
	}
	return Unready
}

// Power returns the power of a record of the state that is to be stored.
func Power(state string) int {
	switch state {
	case "PENDING":
		return Nothing
	case "SUCCESS", "FAILURE", "REVOKED":
		return Ready
	}
	return Unready
}

// SQL returns the condition that a row whose state is in the column status gives way
// to the power in an expression.
func SQL(status, power string) string {
	var cases strings.Builder
	for _, state := range states() {
		fmt.Fprintf(&cases, " WHEN '%s' THEN %d", state, ranks[state])
	}
	return fmt.Sprintf("%s >= CASE %s%s ELSE %d END", power, status, cases.String(), Unready)
}

// Lua returns the text of a Lua function rank(state), for scripts.
func Lua() string {
	var table strings.Builder
	for _, state := range states() {
		fmt.Fprintf(&table, "[%q] = %d, ", state, ranks[state])
	}
	return fmt.Sprintf("local ranks = {%s}\nlocal function rank(state) return ranks[state] or %d end\n", strings.TrimSuffix(table.String(), ", "), Unready)
}

// states returns the states of the table in an order that does not change.
func states() []string {
	list := make([]string, 0, len(ranks))
	for state := range ranks {
		list = append(list, state)
	}
	slices.Sort(list)
	return list
}
