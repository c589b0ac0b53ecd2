package rank

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestRule goes through every pair of Celery's states and some others.
func TestRule(t *testing.T) {
	ready := map[string]bool{"SUCCESS": true, "FAILURE": true, "REVOKED": true}
	states := []string{"PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "REVOKED", "REJECTED", "RETRY", "IGNORED", "PROGRESS"}
	for _, comes := range states {
		assert.True(t, Power(comes) >= Nothing, "%s is stored where nothing stands", comes)
		assert.Equal(t, ready[comes], Power(comes) >= Of(""), "%s over a record that can't be read", comes)
		for _, stands := range states {
			want := comes != "PENDING" && stands != "SUCCESS" && (!ready[stands] || ready[comes])
			assert.Equal(t, want, Power(comes) >= Of(stands), "%s over %s", comes, stands)
			assert.True(t, Final >= Of(stands), "Override over %s", stands)
		}
	}
}

func TestFormsSayTheSame(t *testing.T) {
	sql, lua := SQL("t.status", "$1"), Lua()
	for state, rank := range ranks {
		assert.Equal(t, rank, Of(state))
		assert.Contains(t, sql, fmt.Sprintf("WHEN '%s' THEN %d", state, rank))
		assert.Contains(t, lua, fmt.Sprintf("[%q] = %d", state, rank))
	}
	assert.Equal(t, len(ranks), strings.Count(sql, "WHEN"))
	assert.Equal(t, len(ranks), strings.Count(lua, "] = "))
	assert.Contains(t, sql, "$1 >= CASE t.status WHEN")
	assert.Contains(t, sql, fmt.Sprintf("ELSE %d END", Unready))
	assert.Contains(t, lua, fmt.Sprintf("or %d end", Unready))
}
