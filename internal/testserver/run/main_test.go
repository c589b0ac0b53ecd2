package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestRunForwardsTheStatusOfTheCommand(t *testing.T) {
	for _, service := range testserver.Services() {
		t.Setenv(service.Env, service.Name+".invalid:1")
	}
	for _, tc := range []struct {
		name string
		args []string
		want int
	}{
		{"success", []string{"--", "true"}, 0},
		{"its own status", []string{"--", "sh", "-c", "exit 7"}, 7},
		{"a signal", []string{"--", "sh", "-c", "kill -9 $$"}, 137},
		{"the environment reaches it", []string{"--", "sh", "-c", `test "$CELERYRESULTS_TEST_REDIS_URL" = redis.invalid:1`}, 0},
		{"a command that does not exist", []string{"--", "no-such-command-here"}, 127},
		{"no command", nil, 2},
		{"an unknown server", []string{"-only", "redis,oracle", "--", "true"}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var diagnostics strings.Builder
			got := run(t.Context(), tc.args, &diagnostics)
			assert.Equal(t, tc.want, got, "args %q, said %q", tc.args, &diagnostics)
		})
	}
}
